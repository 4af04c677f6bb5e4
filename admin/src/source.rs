//! `source guess`: reads sample records, and prints the section `[source]` with which the function
//! would read them.

mod guess;
mod names;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use contact_sync::app::App;
use contact_sync::model::Record;
use contact_sync::source::layers::{Aggregates, split_aggregates};
use serde_json::json;

use self::guess::{Guess, guess};
use super::CommandResult;
use super::deployment::{self, Target};
use super::failure::Failure;
use super::feed::FeedRecord;
use super::output::Output;
use super::preview;

/// Most records whose writes are shown.
const SHOWN: usize = 5;

/// Find the settings with which the function reads a feed
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin source guess events/rows/debezium.json")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Guess(GuessArgs),
}

/// Print a [source] section for sample records: each column whose name says its contact field, and
/// the others as comments
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin source guess events/rows/debezium.json > settings.toml
  contact-sync-admin preview events/rows/debezium.json \\
    --config file:settings.toml

The output is a settings document. Its last comments show what the first
records would become.
Exit code 1: a record would be rejected.")]
pub(crate) struct GuessArgs {
    /// Records of the feed, one per line (`null` is a tombstone), or a Lambda event; `-` reads
    /// standard input
    file: PathBuf,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, target: &Target, output: &Output) -> CommandResult {
    let Command::Guess(args) = &args.command;
    let content = preview::content(&args.file)?;
    let records = preview::records(&content);
    let aggregates = Aggregates::of(&records);
    let records = split_aggregates(records, &aggregates);
    let samples: Vec<FeedRecord> = records.iter().map(FeedRecord::of).collect();
    let guess = guess(&samples).ok_or_else(|| {
        Failure::new(
            format!("{}: no record is of a known format", args.file.display()),
            "name a file with records of Debezium, DMS or a DynamoDB stream, one per line",
        )
    })?;
    let section = guess.to_toml();
    let shown = &records[..records.len().min(SHOWN)];
    let (is_clean, becomes) = becomes(&section, shown, target).await?;
    let json = json!({"source": section, "becomes": becomes});
    output.result(&json, &document(&guess, &section, &becomes));
    Ok(is_clean)
}

/// Returns the report of the records' writes with the guessed section, and whether no record is
/// rejected.
async fn becomes(
    section: &str,
    records: &[Record<'_>],
    target: &Target,
) -> Result<(bool, String), Failure> {
    let environment = target.environment().await?;
    let registry = target.registry;
    let settings = environment
        .layers(registry, section)?
        .draft(&deployment::names(registry))?;
    let aws = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .build();
    let pipeline = App::of(registry).pipeline(environment.preset, &settings, &aws)?;
    Ok(preview::records_report(pipeline, records).await)
}

/// Writes the document: the section, and what the first records become as comments.
fn document(guess: &Guess, section: &str, becomes: &str) -> String {
    let mut text = section.to_owned();
    if guess.is_contact_change() {
        text.insert_str(
            0,
            "# The records are contact changes, which need no section.\n",
        );
    }
    text += "\n# What the first records become:\n";
    for line in becomes.lines() {
        let _ = writeln!(text, "{}", format!("#   {line}").trim_end());
    }
    text.trim_end().to_owned()
}
