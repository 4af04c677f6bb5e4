//! Batches of payloads, and the backlog from which they are taken. Pure.

use std::collections::VecDeque;

use super::bisection::Bisection;
use super::job::{Job, WriteKind};
use crate::model::limits::{Limits, Lookup};

/// The payloads of one call.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) kind: WriteKind,
    pub(super) jobs: Vec<Job>,
    /// Calls with these jobs that failed as a whole, also those that carried further jobs.
    pub(super) failures: u32,
    /// Calls with exactly these jobs that failed as a whole.
    pub(super) failures_unchanged: u32,
    /// Whether it has to be split before its next call.
    pub(super) to_split: bool,
    /// Successes of its kind before its last call.
    pub(super) successes: u64,
    /// The other parts of the batch from which it was split.
    pub(super) bisection: Option<Bisection>,
}

impl Batch {
    pub(super) fn new(kind: WriteKind, jobs: Vec<Job>) -> Self {
        Self {
            kind,
            jobs,
            failures: 0,
            failures_unchanged: 0,
            to_split: false,
            successes: 0,
            bisection: None,
        }
    }

    /// Splits a batch of which the whole or single rows were refused. Separates the suspects from
    /// the others; without suspects, splits in halves. Returns the first part; its bisection
    /// holds the others.
    ///
    /// # Errors
    /// Returns the jobs to give up and the next part, where the bisection has no calls left.
    pub(super) fn split(self, suspects: &[usize]) -> Result<Self, (Vec<Job>, Option<Self>)> {
        let Self {
            kind,
            jobs,
            bisection,
            ..
        } = self;
        let bisection = bisection.unwrap_or_else(|| Bisection::among(jobs.len()));
        match bisection.split(jobs, suspects) {
            Ok(bisection) => Self::next_of(kind, bisection).ok_or_else(|| (Vec::new(), None)),
            Err((given_up, bisection)) => Err((given_up, Self::next_of(kind, bisection))),
        }
    }

    /// Splits a batch in halves after its call failed. Returns the part to send next.
    pub(super) fn split_failed(self) -> Option<Self> {
        let Self {
            kind,
            jobs,
            bisection,
            ..
        } = self;
        let bisection = bisection.unwrap_or_else(|| Bisection::among(jobs.len()));
        Self::next_of(kind, bisection.split_failed(jobs))
    }

    /// Returns the next part of a bisection.
    pub(super) fn next_of(kind: WriteKind, mut bisection: Bisection) -> Option<Self> {
        let jobs = bisection.next_part()?;
        Some(Self {
            bisection: Some(bisection),
            ..Self::new(kind, jobs)
        })
    }
}

/// Jobs and batches that wait for a call.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    upserts: VecDeque<Job>,
    deletes: VecDeque<Job>,
    /// Batches that are sent unchanged.
    ready: VecDeque<Batch>,
    /// Records that failed alone. Each is sent alone, after the others.
    alone: VecDeque<Job>,
}

impl Backlog {
    pub(super) fn push(&mut self, job: Job) {
        match job.kind {
            WriteKind::Upsert => self.upserts.push_back(job),
            WriteKind::Delete => self.deletes.push_back(job),
        }
    }

    /// Adds a batch that is sent unchanged.
    pub(super) fn push_batch(&mut self, batch: Batch) {
        self.ready.push_back(batch);
    }

    /// Adds the next part of a bisection, if there is one.
    pub(super) fn extend(&mut self, next: Option<Batch>) {
        self.ready.extend(next);
    }

    /// Returns whether no job waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
            && self.deletes.is_empty()
            && self.upserts.is_empty()
            && self.alone.is_empty()
    }

    /// Adds a record that failed alone.
    pub(super) fn push_alone(&mut self, job: Job) {
        self.alone.push_back(job);
    }

    /// Returns whether a batch is complete, so that its call gains nothing from a delay.
    pub(super) fn has_full_batch(&self, limits: Limits) -> bool {
        !self.ready.is_empty()
            || self.deletes.len() >= limits.delete
            || self.upserts.len() >= limits.upsert
    }

    /// Returns the number of calls that the whole backlog takes.
    pub(super) fn calls(&self, limits: Limits) -> usize {
        let fresh =
            self.deletes.len().div_ceil(limits.delete) + self.upserts.len().div_ceil(limits.upsert);
        self.ready.len() + self.alone.len() + fresh
    }

    /// Takes the next batch: first unchanged batches, then deletes (an upsert may follow each),
    /// then upserts, then records that failed alone. Takes less than a full batch, or a record that
    /// failed alone, only with `flush`: no further jobs will arrive.
    pub(super) fn take(&mut self, limits: Limits, flush: bool) -> Option<Batch> {
        if let Some(batch) = self.ready.pop_front() {
            return Some(batch);
        }
        for (kind, queue, size) in [
            (WriteKind::Delete, &mut self.deletes, limits.delete),
            (WriteKind::Upsert, &mut self.upserts, limits.upsert),
        ] {
            if queue.len() >= size || (flush && !queue.is_empty()) {
                return Some(Batch::new(
                    kind,
                    queue.drain(..fitting(queue, size, limits.lookup)).collect(),
                ));
            }
        }
        if flush { self.take_alone() } else { None }
    }

    /// Takes a single record as a probe while the destination's availability is in doubt. Prefers a
    /// record that has not failed alone; takes one that has only with `flush`, when no other can
    /// arrive. `random` returns an index below its argument: it chooses the record of a batch,
    /// because offending records often follow each other.
    pub(super) fn take_probe(
        &mut self,
        flush: bool,
        random: impl Fn(usize) -> usize,
    ) -> Option<Batch> {
        if let Some(mut batch) = self.ready.pop_front() {
            let kind = batch.kind;
            let job = batch.jobs.remove(random(batch.jobs.len()));
            batch.failures_unchanged = 0;
            if batch.jobs.is_empty() {
                self.ready.extend(
                    batch
                        .bisection
                        .and_then(|bisection| Batch::next_of(kind, bisection)),
                );
            } else {
                self.ready.push_front(batch);
            }
            return Some(Batch::new(kind, vec![job]));
        }
        let fresh = self
            .deletes
            .pop_front()
            .or_else(|| self.upserts.pop_front());
        match fresh {
            Some(job) => Some(Batch::new(job.kind, vec![job])),
            None if flush => self.take_alone(),
            None => None,
        }
    }

    fn take_alone(&mut self) -> Option<Batch> {
        self.alone
            .pop_front()
            .map(|job| Batch::new(job.kind, vec![job]))
    }
}

/// Returns how many of the first `most` jobs fit into one batch, at least one: the jobs that need a
/// look-up have to fit into a single one.
fn fitting(queue: &VecDeque<Job>, most: usize, lookup: Lookup) -> usize {
    let mut taken = 0_usize;
    let fits = |job: &&Job| {
        if job.kind == WriteKind::Delete || job.payload.is_looked_up() {
            taken = taken.saturating_add((lookup.length)(&job.payload.id));
        }
        taken <= lookup.capacity
    };
    queue.iter().take(most).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests;
