//! `doctor`: checks that a deployment can do its work, and prints a line for each check.

mod resources;
mod sample;
mod stream;

use std::time::Duration;

use clap::Args as ClapArgs;
use contact_sync::adapters::{Call, Unlimited, doctor};
use contact_sync::app::App;
use contact_sync::settings::Settings;
use contact_sync::telemetry::DestinationMetrics;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::CommandResult;
use super::deployment::{Deployment, Target};
use super::failure::Failure;
use super::guard;
use super::output::{BAD, GOOD, NEUTRAL, Output, WARNING, escaped, styled};

/// Time limit of all calls to one destination together.
const CHECK_TIMEOUT: Duration = Duration::from_mins(1);

/// Check that a deployment can do its work, and print a line for each check: ok, a warning or the
/// remedy
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin doctor --function contact-sync-hubspot:live
  contact-sync-admin doctor --function contact-sync-hubspot:live --sample 500
  contact-sync-admin doctor --config file:settings.toml --json

Checks the settings, the secrets and the access that they give, the object,
fields and properties that are written, the queue, the table, the parameter,
and, with --function, the event source mapping and its stream. Writes nothing.
AWS is called with your own permissions, not with those of the function.
A warning (WARN) names a risk or a loss, and is no failure: read it.
Exit code 1: a check failed.")]
pub(crate) struct Args {
    /// Read about N records of the stream's last day, and report how many can be decoded, their
    /// formats, and columns and before images that are missing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sample: Option<u32>,
}

/// Result of one check: a line of the output.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    state: State,
    text: String,
}

/// State of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// The deployment works, and its line names a risk or a loss.
    Warn,
    Fail,
    /// Not checked, or not in use.
    Skipped,
}

impl Line {
    fn ok(name: &str, text: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Ok,
            text: text.into(),
        }
    }

    fn warn(name: &str, text: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Warn,
            text: text.into(),
        }
    }

    fn fail(name: &str, text: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Fail,
            text: text.into(),
        }
    }

    fn skipped(name: &str, text: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Skipped,
            text: text.into(),
        }
    }

    /// Builds a failed line from `errors`, or an ok line with `text` if there are none.
    fn from_errors(name: &str, text: impl Into<String>, errors: &[String]) -> Self {
        if errors.is_empty() {
            Self::ok(name, text)
        } else {
            Self::fail(name, errors.join("; "))
        }
    }

    fn text(&self) -> String {
        let state = match self.state {
            State::Ok => styled(GOOD, "ok  "),
            State::Warn => styled(WARNING, "WARN"),
            State::Fail => styled(BAD, "FAIL"),
            State::Skipped => styled(NEUTRAL, "--  "),
        };
        format!("{state}  {}: {}", self.name, escaped(&self.text))
    }

    fn json(&self) -> Value {
        let is_ok = match self.state {
            State::Ok => Some(true),
            State::Fail => Some(false),
            State::Warn | State::Skipped => None,
        };
        json!({"check": self.name, "state": self.state, "ok": is_ok, "text": self.text})
    }
}

impl From<doctor::Check> for Line {
    fn from(check: doctor::Check) -> Self {
        match check.finding {
            Ok(found) => Self::ok(check.name, found),
            Err(remedy) => Self::fail(check.name, remedy),
        }
    }
}

/// Runs the checks.
pub(crate) async fn run(args: &Args, target: &Target, output: &Output) -> CommandResult {
    let progress = output.progress("checks of the settings:", None);
    let deployment = target.deployment().await?;
    let lines = match deployment.settings().await {
        Ok(settings) => {
            let name = format!("preset {}", deployment.environment.preset.name());
            let mut lines = vec![Line::ok("settings", name)];
            lines.extend(
                guard::notes(&settings)
                    .into_iter()
                    .map(|note| Line::warn("guard", note)),
            );
            let report = |next: &'static str, lines: &[Line]| {
                progress.set_message(next);
                progress.set_position(lines.len() as u64);
            };
            report("checks, now of the destinations:", &lines);
            lines.extend(Box::pin(check_destinations(&deployment, &settings)).await?);
            report("checks, now of the AWS resources:", &lines);
            lines.extend(resources::check(&deployment, &settings).await);
            report("checks, now of the stream:", &lines);
            let sample = args.sample.map(|records| records as usize);
            lines.extend(stream::check(&deployment, target, &settings, sample).await);
            lines
        }
        // The other checks need the settings.
        Err(failure) => vec![Line::fail("settings", failure.to_string())],
    };
    drop(progress);
    let text: Vec<String> = lines.iter().map(Line::text).collect();
    output.result(
        &json!({"checks": lines.iter().map(Line::json).collect::<Vec<_>>()}),
        &text.join("\n"),
    );
    Ok(lines.iter().all(|line| line.state != State::Fail))
}

/// Runs the checks of all systems.
async fn check_destinations(
    deployment: &Deployment,
    settings: &Settings,
) -> Result<Vec<Line>, Failure> {
    let metrics = DestinationMetrics::default();
    let call = Call {
        give_up_at: Instant::now() + CHECK_TIMEOUT,
        metrics: &metrics,
        permits: &Unlimited,
        dry_run: false,
    };
    let preset = deployment.environment.preset;
    let examined = App::of(deployment.registry)
        .examine(preset, settings, &deployment.aws, call)
        .await?;
    let mut lines = Vec::new();
    for (name, checks) in examined {
        match checks {
            Some(checks) => lines.extend(checks.into_iter().map(Line::from)),
            None => lines.push(Line::skipped(
                name,
                "not in use: no type that filter.types passes is routed to it, or \
                 pipeline.destinations leaves it to another function",
            )),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_its_state_in_text_and_in_json() {
        for (line, word, state, is_ok) in [
            (
                Line::ok("a", "b"),
                "\u{1b}[32mok  \u{1b}[0m",
                "ok",
                json!(true),
            ),
            (
                Line::warn("a", "b"),
                "\u{1b}[33mWARN\u{1b}[0m",
                "warn",
                json!(null),
            ),
            (
                Line::fail("a", "b"),
                "\u{1b}[1m\u{1b}[31mFAIL\u{1b}[0m",
                "fail",
                json!(false),
            ),
            (
                Line::skipped("a", "b"),
                "\u{1b}[2m--  \u{1b}[0m",
                "skipped",
                json!(null),
            ),
        ] {
            assert_eq!(line.text(), format!("{word}  a: b"));
            let document = json!({"check": "a", "state": state, "ok": is_ok, "text": "b"});
            assert_eq!(line.json(), document);
        }
    }
}
