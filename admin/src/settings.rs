//! `settings`: prints the effective settings with their layers, prints the JSON Schema of a
//! document, or checks a document.

mod mapping;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use contact_sync::settings::{self, DocumentSource, Effective, Layer, Layers, SettingsError};
use serde_json::{Value, json};

use self::mapping::Comparison;
use super::Ending;
use super::deployment::{Target, names};
use super::failure::Failure;
use super::guard;
use super::output::{Output, table};

/// Remedy for settings without a queue, which a deployment sets.
pub(crate) const SET_QUEUE: &str =
    "set CONTACT_SYNC__DEAD_LETTER__QUEUE_URL, or name a deployed function with --function";

/// Show the effective settings, each with the layer that set it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin settings --function contact-sync-hubspot:live
  contact-sync-admin settings --check settings.toml \\
    --function contact-sync-hubspot:live
  contact-sync-admin settings --check settings.toml --offline
  contact-sync-admin settings --schema > settings.schema.json

--check reads the document, then the fields of each system that it selects.
The secrets are read with your own permissions. Writes nothing.
Exit codes of --check: 0 good; 1 the document or its mapping has a mistake;
3 the document is good, and the fields of a system could not be read.")]
pub(crate) struct Args {
    /// Print the JSON Schema of a settings document instead
    #[arg(long, conflicts_with = "check")]
    schema: bool,
    /// Check this document instead, with the preset and the variables of this shell, or of the
    /// deployed --function, and compare its mapping with the systems; prints every error
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Check the document alone, without a call to a system
    #[arg(long, requires = "check")]
    offline: bool,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, target: &Target, output: &Output) -> Result<Ending, Failure> {
    if args.schema {
        let schema = settings::schema(target.registry);
        output.result(&schema, &format!("{schema:#}"));
        return Ok(Ending::Complete);
    }
    if let Some(file) = &args.check {
        return check(file, args.offline, target, output).await;
    }
    let (environment, text) = target.document().await?;
    let layers = environment.layers(target.registry, &text)?;
    let destinations = names(target.registry);
    let settings = layers.draft(&destinations)?;
    if let Err(missing) = layers.settings(&destinations) {
        let remedy = if target.function.is_none() {
            format!("; {SET_QUEUE}")
        } else {
            String::new()
        };
        output.note(&format!(
            "the function does not start with these settings: {missing}{remedy}"
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
    output.result(&json, &text.join("\n"));
    Ok(Ending::Complete)
}

/// Checks a document. A document is good if the function would start with it, and if the systems
/// have the fields of its mapping. Only the queue may be missing: a deployment sets it.
async fn check(
    file: &Path,
    is_offline: bool,
    target: &Target,
    output: &Output,
) -> Result<Ending, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(
            format!("{}: {error}", file.display()),
            "name a readable file",
        )
    })?;
    let environment = target.environment().await?;
    let name = DocumentSource::File(file.to_owned()).to_string();
    let (document, mut syntax) = Layer::recover(name, &text);
    syntax.extend(document.check_as_document().err());
    let destinations = names(target.registry);
    let layers = Layers::new(
        target.registry,
        environment.preset,
        std::iter::once(document).chain(environment.overrides),
    )?;
    let errors = all_errors(&syntax, &layers, &destinations);
    let (function, preset) = (&target.function, environment.preset.name());
    if !errors.is_empty() {
        for error in &errors {
            output.error(error);
        }
        output.json(
            &json!({"good": false, "function": function, "preset": preset, "mistakes": errors}),
        );
        return Ok(Ending::WorkLeft);
    }
    let has_queue = layers.settings(&destinations).is_ok();
    let settings = layers.draft(&destinations)?;
    let comparison = if is_offline {
        None
    } else {
        Some(Comparison::make(environment.preset, &settings, target).await?)
    };
    let mapping = comparison.as_ref().map(Comparison::json);
    let comparison = comparison.unwrap_or_default();
    if !comparison.faults.is_empty() {
        for fault in &comparison.faults {
            output.error(fault);
        }
        for note in &comparison.notes {
            output.note(note);
        }
        output.json(&json!({
            "good": false,
            "function": function,
            "preset": preset,
            "mistakes": comparison.faults,
            "mapping": mapping,
        }));
        return Ok(Ending::WorkLeft);
    }
    let notes = guard::notes(&settings);
    let mut text = format!("{} is good for ", file.display());
    if let Some(function) = function {
        let _ = write!(text, "the function {function}, ");
    }
    let _ = write!(text, "the preset {preset}");
    if !has_queue {
        let _ = match function {
            None => write!(text, "; it names no dead_letter.queue_url: {SET_QUEUE}"),
            Some(_) => write!(
                text,
                "; neither it nor the function names the dead_letter.queue_url that {preset} needs"
            ),
        };
    }
    let json = json!({
        "good": true,
        "function": function,
        "preset": preset,
        "has_queue": has_queue,
        "mapping": mapping,
        "notes": notes,
    });
    if is_offline {
        text.push_str("; mapping not checked: --offline");
    }
    let lines = [&[text], comparison.notes.as_slice(), &notes].concat();
    output.result(&json, &lines.join("\n"));
    if comparison.is_incomplete {
        return Ok(Ending::CheckedInPart);
    }
    Ok(Ending::Complete)
}

/// Returns every syntax error, and every error in the values that could be parsed, by line.
fn all_errors(syntax: &[SettingsError], layers: &Layers, destinations: &[&str]) -> Vec<String> {
    let mut errors: Vec<String> = syntax.iter().map(ToString::to_string).collect();
    // A value with a syntax error is not validated: its line has one error.
    let broken: Vec<Option<String>> = errors.iter().map(|error| location(error)).collect();
    for error in layers.errors(destinations) {
        let error = error.to_string();
        if !broken.contains(&location(&error)) {
            errors.push(error);
        }
    }
    errors.sort_by_key(|error| line(error));
    errors
}

/// Returns the location of an error: the document and the line.
fn location(error: &str) -> Option<String> {
    Some(error.split_once(": ")?.0.to_owned())
}

/// Returns the line of an error. An error in a variable has no line, and is sorted last.
fn line(error: &str) -> usize {
    let line = error
        .split_once(", line ")
        .and_then(|(_, rest)| rest.split_once(':')?.0.parse().ok());
    line.unwrap_or(usize::MAX)
}
