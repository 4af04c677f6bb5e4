//! `preview`: what would be sent where, by the function's own rooms in a dry run. Nothing is
//! called.

mod counts;
mod input;
mod report;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args as ClapArgs;
use contact_sync::adapters::Body;
use contact_sync::consume::Record;
use contact_sync::dispatch::{DryRun, WriteKind};
use contact_sync::factory::{self, DESTINATIONS, Factory};
use contact_sync::pipeline::Pipeline;

use self::report::Report;
use super::Outcome;
use super::deployment::Target;
use super::output::Output;

/// More than any file takes; the pipeline wants a deadline.
const LONGEST: Duration = Duration::from_hours(1);

/// Show what would be sent where for a file of changes, record by record, without sending it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  contact-sync-admin preview events/mixed.json
  contact-sync-admin preview changes.ndjson --config file:settings.toml --summary
  export-contacts | contact-sync-admin preview - --function contact-sync

The end tells how many records would be written, superseded, filtered and rejected. Exit code 1: one would be rejected.")]
pub(crate) struct Args {
    /// A Lambda event with Kinesis records, one change, a JSON array of changes, or one change a
    /// line; `-` reads standard input
    file: PathBuf,
    /// Show only how many there are of each outcome, and the calls
    #[arg(long)]
    summary: bool,
}

/// One record of a call that would be made.
pub(crate) struct Write {
    pub(crate) destination: &'static str,
    /// The call's number, from 1, among the destination's.
    pub(crate) batch: usize,
    pub(crate) kind: WriteKind,
    /// The records that it carries; the last gives it its content.
    pub(crate) sources: Vec<usize>,
    pub(crate) body: Option<Body>,
    /// The fields that it adds where the record does not exist yet.
    pub(crate) if_new: Option<Body>,
}

/// What the dry run told.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) writes: Vec<Write>,
    /// Each destination's batches and API calls.
    pub(crate) calls: Vec<(&'static str, usize, u32)>,
}

pub(crate) async fn run(args: &Args, target: &Target, output: Output) -> Outcome {
    let text = input::text(&args.file)?;
    let (environment, document) = target.document().await?;
    // A preview stores no dead letter, so that it needs no queue.
    let settings = factory::layers(&environment, &document)?.draft(&DESTINATIONS)?;
    let nowhere = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .build();
    let pipeline = Factory::default().pipeline(environment.preset, &settings, &nowhere)?;
    let records = input::records(&text);
    let report = preview(pipeline, &records).await;
    output.answer(&report.to_json(args.summary), &report.to_text(args.summary));
    Ok(report.is_clean())
}

async fn preview(mut pipeline: Pipeline, records: &[Record<'_>]) -> Report {
    let plan = Arc::new(Mutex::new(Plan::default()));
    let told = Arc::clone(&plan);
    let dry_run = DryRun::preview(move |planned| {
        told.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(planned);
    });
    let connections = pipeline.connections.iter().cloned().map(|mut connection| {
        connection.dispatcher.dry_run = Some(dry_run.clone());
        connection
    });
    pipeline.connections = connections.collect();
    // A preview is of the changes, whatever became of them earlier, and asks nobody.
    pipeline.settler.settled_set = None;
    let sent = pipeline
        .send(records, tokio::time::Instant::now() + LONGEST)
        .await;
    let plan = std::mem::take(&mut *plan.lock().unwrap_or_else(PoisonError::into_inner));
    Report::new(&sent, plan, records)
}
