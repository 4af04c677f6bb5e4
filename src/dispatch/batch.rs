//! Batching: what waits to be sent, and when it is worth a call. Pure.

use std::collections::VecDeque;

use super::job::{Job, Kind};
use crate::adapters::{Limits, Lookup};

/// Jobs of one call.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) kind: Kind,
    pub(super) jobs: Vec<Job>,
    /// What is left of the batch that it was split from.
    pub(super) search: Option<Search>,
}

/// The search for the payload that makes a system refuse a whole batch, or rows that may pass in smaller company: by the names that the answer gives, else by
/// halving. The part with the first payload goes first, and always has the calls that it needs: a search that runs out
/// of calls has settled the first payload at least. The stream goes on behind it, so that a batch which comes again
/// and again is shorter each time, whoever is in it and whomever the answers name.
#[derive(Debug)]
pub(super) struct Search {
    /// Parts not sent yet; the last is next.
    pub(super) rest: Vec<Vec<Job>>,
    /// Calls of the adapter that the search may still add: one request each for upserts without a guard, two for others,
    /// whose part is looked up anew.
    pub(super) calls_left: u32,
    /// It is among rows that have outcomes of their own, and not among those of a batch that is refused as a whole.
    pub(super) is_by_row: bool,
}

impl Search {
    /// A new search among `count` payloads, with room to find one culprit: two calls for each halving, and two to
    /// spare.
    fn among(count: usize) -> Self {
        Self { rest: Vec::new(), calls_left: calls_to_halve(count) + 2, is_by_row: false }
    }

    /// Where rows have outcomes of their own, a part of which some are settled pays for the search of the next one: of the
    /// `unsettled` of that part, or of the part behind it. So what passes in small company only (a limit of what one call
    /// may cost) passes in one invocation, and calls that settle nothing are counted.
    pub(super) fn pay(&mut self, unsettled: usize) {
        let next = self.rest.last().map_or(0, Vec::len).max(unsettled);
        if self.is_by_row {
            self.calls_left = self.calls_left.max(calls_to_halve(next) + 2);
        }
    }
}

/// A call for each part.
const CALLS_OF_A_SPLIT: u32 = 2;

/// What finding one culprit among `count` payloads takes: two calls for each halving.
fn calls_to_halve(count: usize) -> u32 {
    2 * count.next_power_of_two().ilog2()
}

impl Unit {
    pub(super) fn new(kind: Kind, jobs: Vec<Job>) -> Self {
        Self { kind, jobs, search: None }
    }

    /// Jobs that go in smaller company, each by its own outcome.
    pub(super) fn by_row(kind: Kind, jobs: Vec<Job>, search: Option<Search>) -> Self {
        let search = search.unwrap_or_else(|| Search { is_by_row: true, ..Search::among(jobs.len()) });
        Self { kind, jobs, search: Some(search) }
    }

    /// Splits a refused batch: the suspects apart from the others, and without suspects in halves. The first part
    /// becomes the unit; the others wait in its search. `Err` where the search has no calls left: the jobs to give
    /// up, and the unit to go on with.
    pub(super) fn split(self, suspects: &[usize]) -> Result<Self, (Vec<Job>, Option<Self>)> {
        let Self { kind, mut jobs, search } = self;
        let mut search = search.unwrap_or_else(|| Search::among(jobs.len()));
        let parts = by_name(&mut jobs, suspects, search.calls_left).unwrap_or_else(|| {
            let right = jobs.split_off(jobs.len() / 2);
            [std::mem::take(&mut jobs), right]
        });
        if search.calls_left < CALLS_OF_A_SPLIT {
            let given_up = parts.into_iter().flatten().collect();
            return Err((given_up, Self::next_of(kind, search)));
        }
        search.calls_left -= CALLS_OF_A_SPLIT;
        search.rest.extend(parts.into_iter().rev());
        Self::next_of(kind, search).ok_or_else(|| (Vec::new(), None))
    }

    /// The next part of a search.
    pub(super) fn next_of(kind: Kind, mut search: Search) -> Option<Self> {
        let jobs = search.rest.pop()?;
        Some(Self { kind, jobs, search: Some(search) })
    }
}

/// The suspects apart from the others, the part with the first payload first; takes the jobs only where that is of use
/// and leaves the calls to find a culprit in the first part.
fn by_name(jobs: &mut Vec<Job>, suspects: &[usize], calls_left: u32) -> Option<[Vec<Job>; 2]> {
    let named = (0..jobs.len()).filter(|at| suspects.contains(at)).count();
    let is_first_named = suspects.contains(&0);
    let first = if is_first_named { named } else { jobs.len() - named };
    let is_useful = named > 0 && named < jobs.len();
    if !is_useful || calls_left < CALLS_OF_A_SPLIT + calls_to_halve(first) {
        return None;
    }
    let all = std::mem::take(jobs).into_iter().enumerate();
    let (first, second): (Vec<_>, Vec<_>) = all.partition(|(at, _)| suspects.contains(at) == is_first_named);
    let strip = |part: Vec<(usize, Job)>| part.into_iter().map(|(_, job)| job).collect();
    Some([strip(first), strip(second)])
}

/// What waits for a call.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    upserts: VecDeque<Job>,
    deletes: VecDeque<Job>,
    ready: VecDeque<Unit>,
}

impl Backlog {
    pub(super) fn push(&mut self, job: Job) {
        match job.kind {
            Kind::Upsert => self.upserts.push_back(job),
            Kind::Delete => self.deletes.push_back(job),
        }
    }

    /// A unit that keeps its own company.
    pub(super) fn push_unit(&mut self, unit: Unit) {
        self.ready.push_back(unit);
    }

    /// Whether a call could start that nothing would be gained by delaying.
    pub(super) fn has_full_batch(&self, limits: Limits) -> bool {
        !self.ready.is_empty() || self.deletes.len() >= limits.delete || self.upserts.len() >= limits.upsert
    }

    /// The calls that all of it takes.
    pub(super) fn calls(&self, limits: Limits) -> usize {
        self.ready.len() + self.deletes.len().div_ceil(limits.delete) + self.upserts.len().div_ceil(limits.upsert)
    }

    /// The next unit: first what keeps its own company, then deletes (an upsert may follow each), then upserts. Less
    /// than a full batch only where `flush` says that no more will come.
    pub(super) fn take(&mut self, limits: Limits, flush: bool) -> Option<Unit> {
        if let Some(unit) = self.ready.pop_front() {
            return Some(unit);
        }
        for (kind, queue, size) in
            [(Kind::Delete, &mut self.deletes, limits.delete), (Kind::Upsert, &mut self.upserts, limits.upsert)]
        {
            if queue.len() >= size || (flush && !queue.is_empty()) {
                return Some(Unit::new(kind, queue.drain(..together(queue, size, limits.lookup)).collect()));
            }
        }
        None
    }
}

/// How many of the first `most` jobs go together: those that are looked up have to fit into one look-up. One job always
/// goes.
fn together(queue: &VecDeque<Job>, most: usize, lookup: Lookup) -> usize {
    let mut taken = 0_usize;
    let fits = |job: &&Job| {
        if job.kind == Kind::Delete || job.payload.guarded {
            taken = taken.saturating_add((lookup.length)(&job.payload.id));
        }
        taken <= lookup.room
    };
    queue.iter().take(most).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests;
