//! Batches of payloads, and the backlog that they are taken from. Pure.

use std::collections::VecDeque;

use super::bisection::Bisection;
use super::job::{Job, WriteKind};
use crate::model::limits::{Limits, Lookup};

/// The payloads of one call.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) kind: WriteKind,
    pub(super) jobs: Vec<Job>,
    /// Calls of these jobs that failed as a whole, before some of them were taken out too.
    pub(super) failures: u32,
    /// Calls of this very batch that failed as a whole.
    pub(super) failures_unchanged: u32,
    /// It has to be split before it is sent again.
    pub(super) to_split: bool,
    /// Successes of its kind before its last call.
    pub(super) successes: u64,
    /// What is left of the batch that it was split from.
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

    /// Splits a batch that was refused, or rows of one: the suspects apart from the others, and
    /// without suspects in halves. The first part becomes the batch; the others wait in its
    /// bisection. `Err` where the bisection has no calls left: the jobs to give up, and the batch
    /// to go on with.
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

    /// Splits a batch whose call failed in halves, and returns the part to go on with.
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

/// What waits for a call.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    upserts: VecDeque<Job>,
    deletes: VecDeque<Job>,
    /// Batches that stay as they are.
    ready: VecDeque<Batch>,
    /// Records that failed alone: each stays alone, and goes after the others.
    alone: VecDeque<Job>,
}

impl Backlog {
    pub(super) fn push(&mut self, job: Job) {
        match job.kind {
            WriteKind::Upsert => self.upserts.push_back(job),
            WriteKind::Delete => self.deletes.push_back(job),
        }
    }

    /// Takes a batch that stays as it is.
    pub(super) fn push_batch(&mut self, batch: Batch) {
        self.ready.push_back(batch);
    }

    /// Takes the next part of a bisection, where there is one.
    pub(super) fn extend(&mut self, next: Option<Batch>) {
        self.ready.extend(next);
    }

    /// Says whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
            && self.deletes.is_empty()
            && self.upserts.is_empty()
            && self.alone.is_empty()
    }

    /// Takes a record that failed alone.
    pub(super) fn push_alone(&mut self, job: Job) {
        self.alone.push_back(job);
    }

    /// Says whether a call could start that nothing would be gained by delaying.
    pub(super) fn has_full_batch(&self, limits: Limits) -> bool {
        !self.ready.is_empty()
            || self.deletes.len() >= limits.delete
            || self.upserts.len() >= limits.upsert
    }

    /// Returns how many calls all of it takes.
    pub(super) fn calls(&self, limits: Limits) -> usize {
        let fresh =
            self.deletes.len().div_ceil(limits.delete) + self.upserts.len().div_ceil(limits.upsert);
        self.ready.len() + self.alone.len() + fresh
    }

    /// Takes the next batch: first those that stay as they are, then deletes (an upsert may follow
    /// each), then upserts, then records that failed alone. Takes less than a full batch only where
    /// `flush` says that no more will come.
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
                    queue
                        .drain(..together(queue, size, limits.lookup))
                        .collect(),
                ));
            }
        }
        if flush { self.take_alone() } else { None }
    }

    /// Takes a single record to probe a destination of which nobody knows whether it is available:
    /// one that has not failed alone, as long as there is one or, without `flush`, one may come.
    /// `random` chooses one of so many: offending records often come in a row.
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

/// Returns how many of the first `most` jobs go together: those that are looked up have to fit into
/// one look-up. One job always goes.
fn together(queue: &VecDeque<Job>, most: usize, lookup: Lookup) -> usize {
    let mut taken = 0_usize;
    let fits = |job: &&Job| {
        if job.kind == WriteKind::Delete || job.payload.is_looked_up() {
            taken = taken.saturating_add((lookup.length)(&job.payload.id));
        }
        taken <= lookup.room
    };
    queue.iter().take(most).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests;
