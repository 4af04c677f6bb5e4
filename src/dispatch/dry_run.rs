//! Dry runs, which process everything but the writes. A logged dry run makes the look-ups before a
//! write, with real credentials. A preview makes no call.

use std::fmt;
use std::sync::Arc;

use super::batch::Batch;
use super::call::Requests;
use super::{Job, WriteKind};
use crate::model::{Destination, Outcome, Reply};

/// A write that would be made.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// The destination of the write.
    pub destination: Destination,
    /// The operation.
    pub kind: WriteKind,
    /// API calls that it would still take, including its look-up if that was left out.
    pub calls: u32,
    /// The jobs that it would carry.
    pub jobs: &'a [&'a Job],
}

/// Kind of a dry run, and the receiver of its planned writes.
#[derive(Clone)]
pub struct DryRun {
    looks_up: bool,
    on_planned: Arc<dyn Fn(&Planned<'_>) + Send + Sync>,
}

impl DryRun {
    /// Returns a dry run that makes the look-ups, and logs a line for each call that is not made.
    /// The line has the number of records, without their content.
    pub fn logged() -> Self {
        let log = |planned: &Planned<'_>| {
            let Planned {
                destination,
                kind,
                calls,
                jobs,
            } = planned;
            let operation = kind.name();
            let records = jobs.len();
            tracing::info!(%destination, operation, calls, records, "dry run: not sent");
        };
        Self {
            looks_up: true,
            on_planned: Arc::new(log),
        }
    }

    /// Returns a dry run without calls, which needs no credentials. It passes every planned write
    /// to `on_planned`.
    pub fn preview(on_planned: impl Fn(&Planned<'_>) + Send + Sync + 'static) -> Self {
        Self {
            looks_up: false,
            on_planned: Arc::new(on_planned),
        }
    }

    /// Returns those of `requests` that the dry run makes.
    pub(super) fn requests_made(&self, requests: Requests) -> Requests {
        Requests {
            lookups: if self.looks_up { requests.lookups } else { 0 },
            writes: 0,
        }
    }

    /// Reports the jobs of `batch` that would be written, by the answer to its look-up.
    pub(super) fn report(
        &self,
        destination: Destination,
        batch: &Batch,
        reply: &Reply,
        requests: Requests,
    ) {
        let Ok(outcomes) = reply else { return };
        let jobs: Vec<&Job> = batch
            .jobs
            .iter()
            .zip(outcomes)
            .filter(|(_, outcome)| outcome.is_dry_run())
            .map(|(job, _)| job)
            .collect();
        if !jobs.is_empty() {
            let calls = requests.total() - self.requests_made(requests).total();
            (self.on_planned)(&Planned {
                destination,
                kind: batch.kind,
                calls,
                jobs: &jobs,
            });
        }
    }

    /// Returns the outcomes of a batch for which no request is made.
    pub(super) fn outcomes(batch: &Batch) -> Vec<Outcome> {
        batch.jobs.iter().map(|_| Outcome::dry_run()).collect()
    }
}

impl fmt::Debug for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DryRun")
            .field("looks_up", &self.looks_up)
            .finish_non_exhaustive()
    }
}
