//! `settings`: what is in force and where each value came from, the document's JSON Schema, and whether a document is
//! good.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use contact_sync::factory::{self, DESTINATIONS};
use contact_sync::settings::{self, DocumentSource, Effective};
use serde_json::{Value, json};

use super::Outcome;
use super::deployment::Target;
use super::failure::Failure;
use super::output::{Output, table};

/// How a shell comes to the queue of a deployment.
const SET_QUEUE: &str = "set CONTACT_SYNC__DEAD_LETTER__QUEUE_URL, or name a deployed function with --function";

/// Show the settings in force, each with the layer that it came from
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Print the JSON Schema of a settings document instead
    #[arg(long, conflicts_with = "check")]
    schema: bool,
    /// Judge this document instead, as the function would with the preset and the variables of this shell, or of the
    /// deployed --function
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
        output.note(&format!("the function does not start like this: {missing}; {SET_QUEUE}"));
    }
    let effective = settings::effective(&layers, &settings);
    let json: Vec<Value> = effective.iter().map(Effective::to_json).collect();
    let row = |setting: &Effective| [setting.key.clone(), setting.value.to_string(), setting.from.clone()];
    output.answer(&json.into(), &table(["SETTING", "VALUE", "FROM"], effective.iter().map(row)));
    Ok(true)
}

/// A document is good where the function would start with it. Only a queue may come from the deployment later.
async fn check(file: &Path, target: &Target, output: Output) -> Outcome {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("{}: {error}", file.display()), "name a readable file"))?;
    let mut environment = target.environment().await?;
    environment.document = Some(DocumentSource::File(file.to_owned()));
    let layers = factory::layers(&environment, &text)?;
    layers.draft(&DESTINATIONS).map_err(|error| Failure::new(error.to_string(), "correct the document"))?;
    let has_queue = layers.settings(&DESTINATIONS).is_ok();
    let preset = environment.preset.name();
    let whose = target.function.as_ref().map(|function| format!("the function {function}, ")).unwrap_or_default();
    let queue = if has_queue { String::new() } else { format!("; it names no dead_letter.queue_url: {SET_QUEUE}") };
    let text = format!("{} is good for {whose}the preset {preset}{queue}", file.display());
    let function = &target.function;
    output.answer(&json!({"good": true, "function": function, "preset": preset, "has_queue": has_queue}), &text);
    Ok(true)
}
