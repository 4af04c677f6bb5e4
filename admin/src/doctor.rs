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
use serde_json::{Value, json};
use tokio::time::Instant;

use super::CommandResult;
use super::deployment::{Deployment, Target};
use super::failure::Failure;
use super::guard;
use super::output::{Output, escaped};

/// Time limit of all calls to one destination together.
const CHECK_TIMEOUT: Duration = Duration::from_mins(1);

/// Check that a deployment can do its work, and print a line for each check: ok or the remedy
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin doctor --function contact-sync-all:live
  contact-sync-admin doctor --function contact-sync-all:live --sample 500
  contact-sync-admin doctor --config file:settings.toml --json

Checks the settings, the secrets and the access that they give, the object, fields and properties
that are written, the queue, the table, the parameter, and, with --function, the event source
mapping and its stream. Writes nothing. AWS is called with your own permissions, not with those of
the function.
Exit code 1: a check failed.")]
pub(crate) struct Args {
    /// Read about N records of the stream's last day, and report how many can be decoded
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    Fail,
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
            State::Ok => "ok  ",
            State::Fail => "FAIL",
            State::Skipped => "--  ",
        };
        format!("{state}  {}: {}", self.name, escaped(&self.text))
    }

    fn json(&self) -> Value {
        let is_ok = match self.state {
            State::Ok => Some(true),
            State::Fail => Some(false),
            State::Skipped => None,
        };
        json!({"check": self.name, "ok": is_ok, "text": self.text})
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
    let progress = output.progress("checks", None);
    let deployment = target.deployment().await?;
    let lines = match deployment.settings().await {
        Ok(settings) => {
            let name = format!("preset {}", deployment.environment.preset.name());
            let mut lines = vec![Line::ok("settings", name)];
            lines.extend(
                guard::notes(&settings)
                    .into_iter()
                    .map(|note| Line::skipped("guard", note)),
            );
            lines.extend(Box::pin(check_destinations(&deployment, &settings)).await?);
            lines.extend(resources::check(&deployment, &settings).await);
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
