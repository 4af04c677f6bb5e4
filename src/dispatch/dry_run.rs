//! A dry run: everything but the writes. What would be looked up before a write is looked up, with
//! the credentials that it takes; a preview leaves that out too.

use std::fmt;
use std::sync::Arc;

use super::batch::Batch;
use super::call::Requests;
use super::{Job, WriteKind};
use crate::model::{Destination, Outcome, Reply};

/// A write that would be made.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// To whom.
    pub destination: Destination,
    /// What it would do.
    pub kind: WriteKind,
    /// The API calls that it would still take: with its look-up, where that was left out.
    pub calls: u32,
    /// What it would carry.
    pub jobs: &'a [&'a Job],
}

/// How a dry run goes.
#[derive(Clone)]
pub struct DryRun {
    looks_up: bool,
    listen: Arc<dyn Fn(&Planned<'_>) + Send + Sync>,
}

impl DryRun {
    /// Looks up, and writes a line for each call that is not made: how many records, and nothing of
    /// what they hold.
    pub fn logged() -> Self {
        let log = |planned: &Planned<'_>| {
            let Planned {
                destination,
                kind,
                calls,
                jobs,
            } = planned;
            let operation = kind.name();
            tracing::info!(%destination, operation, calls, records = jobs.len(), "dry run: not sent");
        };
        Self {
            looks_up: true,
            listen: Arc::new(log),
        }
    }

    /// Makes no call at all, so that no credential is needed and none used. `listen` is told of
    /// every write.
    pub fn preview(listen: impl Fn(&Planned<'_>) + Send + Sync + 'static) -> Self {
        Self {
            looks_up: false,
            listen: Arc::new(listen),
        }
    }

    /// What of `requests` is made.
    pub(super) fn made(&self, requests: Requests) -> Requests {
        Requests {
            lookups: if self.looks_up { requests.lookups } else { 0 },
            writes: 0,
        }
    }

    /// Tells what of the batch would be written, going by the answer of its look-up.
    pub(super) fn tell(
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
            let calls = requests.in_all() - self.made(requests).in_all();
            (self.listen)(&Planned {
                destination,
                kind: batch.kind,
                calls,
                jobs: &jobs,
            });
        }
    }

    /// What becomes of a batch that there is nothing to ask about.
    pub(super) fn unasked(batch: &Batch) -> Vec<Outcome> {
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
