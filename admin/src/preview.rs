//! `preview`: runs a file of changes through the function's pipeline in a dry run, and prints the
//! writes that it would send. No destination is called.

mod counts;
mod input;
mod report;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args as ClapArgs;
use contact_sync::app::App;
use contact_sync::dispatch::{DryRun, WriteKind};
use contact_sync::model::{Body, Conditions, Record};
use contact_sync::pipeline::Pipeline;
use contact_sync::source::layers::{Aggregates, split_aggregates};

use self::report::Report;
use super::CommandResult;
use super::deployment::{Target, names};
use super::failure::Failure;
use super::output::Output;

/// Deadline of the pipeline, longer than any file takes.
const DEADLINE: Duration = Duration::from_hours(1);

/// Show the writes that a file of changes would cause, record by record, without sending them
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin preview events/mixed.json
  contact-sync-admin preview changes.ndjson --config file:settings.toml
  contact-sync-admin preview changes.ndjson --summary
  export-contacts | contact-sync-admin preview - \\
    --function contact-sync-hubspot:live

The last lines count the records that would be written, superseded, filtered
and rejected.
Exit code 1: a record would be rejected.")]
pub(crate) struct Args {
    /// A Lambda event, one record of the format of the settings, a JSON array of records, or one
    /// record per line (`null` is a tombstone); `-` reads standard input
    file: PathBuf,
    /// Show only the number of records of each outcome, and the calls
    #[arg(long)]
    summary: bool,
}

/// Planned write of one payload.
pub(crate) struct Write {
    pub(crate) destination: &'static str,
    /// Number of the batch among those of the destination, from 1.
    pub(crate) batch: usize,
    pub(crate) kind: WriteKind,
    /// Indices of the records that are folded into the payload; the last one determines its
    /// content.
    pub(crate) sources: Vec<usize>,
    pub(crate) body: Option<Body>,
    /// Fields that are added if the record does not exist yet: defaults, and columns that did not
    /// change.
    pub(crate) if_new: Option<Body>,
    /// Fields that are written under a condition.
    pub(crate) conditions: Option<Box<Conditions>>,
}

/// Writes and calls that the dry run planned.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) writes: Vec<Write>,
    /// Name, number of batches and number of API calls of each destination.
    pub(crate) calls: Vec<(&'static str, usize, u32)>,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, target: &Target, output: &Output) -> CommandResult {
    let content = input::content(&args.file)?;
    let (environment, document) = target.document().await?;
    // A preview stores no dead letter, so that it needs no queue.
    let registry = target.registry;
    let settings = environment
        .layers(registry, &document)?
        .draft(&names(registry))?;
    let aws = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .build();
    let pipeline = App::of(registry).pipeline(environment.preset, &settings, &aws)?;
    let records = input::records(&content);
    let aggregates = Aggregates::of(&records);
    let records = split_aggregates(records, &aggregates);
    let uncounted = registry.iter().map(|system| system.uncounted_calls);
    let report = preview(pipeline, &records).await.with_uncounted(uncounted);
    output.result(&report.to_json(args.summary), &report.to_text(args.summary));
    Ok(report.is_clean())
}

/// Reads the bytes of a file, or of standard input if the file is `-`.
pub(crate) fn content(file: &Path) -> Result<Vec<u8>, Failure> {
    input::content(file)
}

/// Parses records of any format: a Lambda event, an array, one record, or one per line.
pub(crate) fn records(content: &[u8]) -> Vec<Record<'_>> {
    input::records(content)
}

/// Returns whether no record would be rejected, and the table of the records' writes.
pub(crate) async fn records_report(pipeline: Pipeline, records: &[Record<'_>]) -> (bool, String) {
    let report = preview(pipeline, records).await;
    (report.is_clean(), report.records_text())
}

/// Runs the records through the pipeline in a dry run.
async fn preview(mut pipeline: Pipeline, records: &[Record<'_>]) -> Report {
    let plan = Arc::new(Mutex::new(Plan::default()));
    let shared_plan = Arc::clone(&plan);
    let dry_run = DryRun::preview(move |planned| {
        shared_plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(planned);
    });
    let connections = pipeline.connections.iter().cloned().map(|mut connection| {
        connection.dispatcher.dry_run = Some(dry_run.clone());
        connection
    });
    pipeline.connections = connections.collect();
    // A preview ignores the outcomes of earlier invocations, and does not call the state table.
    pipeline.settler.settled_set = None;
    let sent = pipeline
        .send(records, tokio::time::Instant::now() + DEADLINE)
        .await;
    let plan = std::mem::take(&mut *plan.lock().unwrap_or_else(PoisonError::into_inner));
    Report::new(&sent, plan, records)
}
