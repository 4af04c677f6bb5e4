//! `settings`: what is in force and where each value came from, the document's JSON Schema, and
//! whether a document is good.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use contact_sync::factory::{self, DESTINATIONS};
use contact_sync::settings::{self, DocumentSource, Effective, Layer, Layers, SettingsError};
use serde_json::{Value, json};

use super::Outcome;
use super::deployment::Target;
use super::failure::Failure;
use super::guard;
use super::output::{Output, table};

/// How a shell comes to the queue of a deployment.
pub(crate) const SET_QUEUE: &str =
    "set CONTACT_SYNC__DEAD_LETTER__QUEUE_URL, or name a deployed function with --function";

/// Show the settings in force, each with the layer that it came from
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin settings --function contact-sync
  contact-sync-admin settings --check settings.toml --function contact-sync
  contact-sync-admin settings --schema > settings.schema.json")]
pub(crate) struct Args {
    /// Print the JSON Schema of a settings document instead
    #[arg(long, conflicts_with = "check")]
    schema: bool,
    /// Check this document instead, as the function would with the preset and the variables of this
    /// shell, or of the deployed --function; every mistake is told
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, target: &Target, output: Output) -> Outcome {
    if args.schema {
        let schema = settings::schema();
        output.answer(&schema, &format!("{schema:#}"));
        return Ok(true);
    }
    if let Some(file) = &args.check {
        return check(file, target, output).await;
    }
    let (environment, text) = target.document().await?;
    let layers = factory::layers(&environment, &text)?;
    let settings = layers.draft(&DESTINATIONS)?;
    if let Err(missing) = layers.settings(&DESTINATIONS) {
        let how = if target.function.is_none() {
            format!("; {SET_QUEUE}")
        } else {
            String::new()
        };
        output.note(&format!(
            "the function does not start like this: {missing}{how}"
        ));
    }
    let effective = settings::effective(&layers, &settings);
    let json: Vec<Value> = effective.iter().map(Effective::to_json).collect();
    let row = |setting: &Effective| {
        [
            setting.key.clone(),
            setting.value.to_string(),
            setting.from.clone(),
        ]
    };
    let mut text = vec![table(
        ["SETTING", "VALUE", "FROM"],
        effective.iter().map(row),
    )];
    text.extend(guard::notes(&settings));
    output.answer(&json, &text.join("\n"));
    Ok(true)
}

/// A document is good where the function would start with it. Only a queue may come from the
/// deployment later.
async fn check(file: &Path, target: &Target, output: Output) -> Outcome {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(
            format!("{}: {error}", file.display()),
            "name a readable file",
        )
    })?;
    let environment = target.environment().await?;
    let name = DocumentSource::File(file.to_owned()).to_string();
    let (document, syntax) = Layer::recover(name, &text);
    let layers = Layers::new(
        environment.preset,
        std::iter::once(document).chain(environment.overrides),
    )?;
    let mistakes = all_mistakes(&syntax, &layers);
    let (function, preset) = (&target.function, environment.preset.name());
    if !mistakes.is_empty() {
        for mistake in &mistakes {
            output.mistake(mistake);
        }
        output.json(
            &json!({"good": false, "function": function, "preset": preset, "mistakes": mistakes}),
        );
        return Ok(false);
    }
    let has_queue = layers.settings(&DESTINATIONS).is_ok();
    let notes = guard::notes(&layers.draft(&DESTINATIONS)?);
    let whose = function
        .as_ref()
        .map(|function| format!("the function {function}, "))
        .unwrap_or_default();
    let queue = match (has_queue, function) {
        (true, _) => String::new(),
        (false, None) => format!("; it names no dead_letter.queue_url: {SET_QUEUE}"),
        (false, Some(_)) => {
            format!(
                "; neither it nor the function names the dead_letter.queue_url that {preset} needs"
            )
        }
    };
    let text = format!(
        "{} is good for {whose}the preset {preset}{queue}",
        file.display()
    );
    let json = json!({
        "good": true, "function": function, "preset": preset, "has_queue": has_queue, "notes": notes,
    });
    output.answer(&json, &[&[text], notes.as_slice()].concat().join("\n"));
    Ok(true)
}

/// Every mistake in the syntax, and every one in what could be read all the same.
fn all_mistakes(syntax: &[SettingsError], layers: &Layers) -> Vec<String> {
    let mut mistakes: Vec<String> = syntax.iter().map(ToString::to_string).collect();
    let place = |mistake: &str| mistake.split_once(": ").map(|(place, _)| place.to_owned());
    // What stands on the line of a broken value is that value, or nothing that was written.
    let broken: Vec<Option<String>> = mistakes.iter().map(|mistake| place(mistake)).collect();
    for mistake in layers.mistakes(&DESTINATIONS) {
        let mistake = mistake.to_string();
        if !broken.contains(&place(&mistake)) {
            mistakes.push(mistake);
        }
    }
    mistakes.sort_by_key(|mistake| line(mistake));
    mistakes
}

/// The line that a mistake is on; a variable has none, and comes last.
fn line(mistake: &str) -> usize {
    let line = mistake
        .split_once(", line ")
        .and_then(|(_, rest)| rest.split_once(':')?.0.parse().ok());
    line.unwrap_or(usize::MAX)
}
