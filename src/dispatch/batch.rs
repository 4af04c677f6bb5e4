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
}

impl Search {
    /// A new search among `count` payloads, with room to find one culprit: two calls for each halving, and two to
    /// spare.
    fn among(count: usize) -> Self {
        Self { rest: Vec::new(), calls_left: calls_to_halve(count) + 2 }
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
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::adapters::Payload;
    use crate::contact::ContactId;

    const LIMITS: Limits = Limits { upsert: 4, upsert_calls: 1, delete: 2, delete_calls: 2, lookup: Lookup::UNBOUNDED };

    fn job(kind: Kind, at: usize) -> Job {
        let id = ContactId::new(&format!("c-{at}")).expect("valid");
        Job::new(kind, Payload { id, body: None, version: 0, guarded: false }, smallvec![at])
    }

    fn unit(count: usize) -> Unit {
        Unit::new(Kind::Upsert, (0..count).map(|at| job(Kind::Upsert, at)).collect())
    }

    fn positions(jobs: &[Job]) -> Vec<usize> {
        jobs.iter().map(|job| job.sources[0]).collect()
    }

    #[test]
    fn full_batches_at_once_and_partial_ones_at_the_end() {
        let mut backlog = Backlog::default();
        for at in 0..9 {
            backlog.push(job(Kind::Upsert, at));
        }
        backlog.push(job(Kind::Delete, 9));
        let mut sizes = Vec::new();
        while let Some(unit) = backlog.take(LIMITS, false) {
            sizes.push((unit.kind, unit.jobs.len()));
        }
        while let Some(unit) = backlog.take(LIMITS, true) {
            sizes.push((unit.kind, unit.jobs.len()));
        }
        let expected = [(Kind::Upsert, 4), (Kind::Upsert, 4), (Kind::Delete, 1), (Kind::Upsert, 1)];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn what_is_looked_up_together_fits_into_one_look_up() {
        let lookup = Lookup { room: 9, length: |id| id.as_str().len() };
        let limits = Limits { upsert: 4, delete: 4, lookup, ..LIMITS };
        for (kind, is_guarded, expected) in [
            (Kind::Delete, false, [2, 2, 2, 1]),
            (Kind::Upsert, true, [2, 2, 2, 1]),
            (Kind::Upsert, false, [4, 3, 0, 0]),
        ] {
            let mut backlog = Backlog::default();
            for at in 10..17 {
                let mut job = job(kind, at);
                job.payload.guarded = is_guarded;
                backlog.push(job);
            }
            let sizes = expected.map(|_| backlog.take(limits, true).map_or(0, |unit| unit.jobs.len()));
            assert_eq!(sizes, expected, "{kind:?} {is_guarded}");
        }
        let mut backlog = Backlog::default();
        backlog.push(job(Kind::Delete, 10_000_000));
        assert_eq!(backlog.take(limits, true).map(|unit| unit.jobs.len()), Some(1), "too long for any");
    }

    #[test]
    fn suspects_are_taken_out_first() {
        let first = unit(5).split(&[1, 3]).expect("has calls left");
        assert_eq!(positions(&first.jobs), [0, 2, 4]);
        let search = first.search.expect("goes on");
        assert_eq!(positions(&Unit::next_of(first.kind, search).expect("one more").jobs), [1, 3]);
    }

    #[test]
    fn one_culprit_in_a_hundred_costs_at_most_16_calls_wherever_it_is() {
        for culprit in 0..100 {
            let mut calls = 1;
            let mut current = unit(100).split(&[]).ok();
            let mut found = None;
            while let Some(mut unit) = current {
                calls += 1;
                let refused = positions(&unit.jobs).contains(&culprit);
                current = if refused && unit.jobs.len() > 1 {
                    unit.split(&[]).ok()
                } else {
                    if refused {
                        found = Some(unit.jobs[0].sources[0]);
                    }
                    let search = unit.search.take().expect("part of a search");
                    Unit::next_of(unit.kind, search)
                };
            }
            assert_eq!(found, Some(culprit));
            assert!(calls <= 17, "{calls} calls for {culprit}");
        }
    }

    proptest! {
        #[test]
        fn the_first_payload_is_settled_whoever_is_to_blame_and_whoever_is_named(
            count in 2_usize..=200, odds in 1_u32..=100, named in 0_u32..=100, seed in any::<u64>()
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let culprits: Vec<bool> = (0..count).map(|_| random.u32(..100) < odds).collect();
            let (mut calls, mut settled, mut given_up) = (0, Vec::new(), Vec::new());
            let mut current = Some(unit(count));
            while let Some(mut unit) = current {
                calls += 1;
                let is_refused = unit.jobs.iter().any(|job| culprits[job.sources[0]]);
                if is_refused && unit.jobs.len() > 1 {
                    let suspects: Vec<_> = (0..unit.jobs.len()).filter(|_| random.u32(..100) < named).collect();
                    current = unit.split(&suspects).map_or_else(
                        |(lost, next)| {
                            given_up.extend(positions(&lost));
                            next
                        },
                        Some,
                    );
                } else {
                    settled.extend(positions(&unit.jobs));
                    current = unit.search.take().and_then(|search| Unit::next_of(unit.kind, search));
                }
            }
            prop_assert!(calls <= 3 + calls_to_halve(count), "{calls} calls");
            prop_assert!(settled.contains(&0), "the batch would come again as it was");
            settled.append(&mut given_up);
            settled.sort_unstable();
            prop_assert_eq!(settled, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_search_without_calls_gives_up_what_it_was_refused_for_and_goes_on_with_the_rest() {
        let mut unit = unit(4).split(&[]).expect("has calls left");
        unit.search.as_mut().expect("part of a search").calls_left = 0;
        let (given_up, next) = unit.split(&[]).expect_err("no calls left");
        assert_eq!(positions(&given_up), [0, 1]);
        assert_eq!(positions(&next.expect("the right half").jobs), [2, 3]);
    }
}
