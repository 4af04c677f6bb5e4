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
    for (kind, is_guarded, expected) in
        [(Kind::Delete, false, [2, 2, 2, 1]), (Kind::Upsert, true, [2, 2, 2, 1]), (Kind::Upsert, false, [4, 3, 0, 0])]
    {
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

#[test]
fn the_part_with_the_first_payload_goes_first_and_has_the_calls_to_find_a_culprit() {
    // Halving three payloads takes four calls, and the split itself two.
    for (count, suspects, calls_left, expected) in [
        (5, &[1, 3][..], 18, Some([vec![0, 2, 4], vec![1, 3]])),
        (5, &[0, 3], 18, Some([vec![0, 3], vec![1, 2, 4]])),
        (5, &[1, 3], 6, Some([vec![0, 2, 4], vec![1, 3]])),
        (5, &[1, 3], 5, None),
        (4, &[], 18, None),
        (4, &[0, 1, 2, 3], 18, None),
        (4, &[7], 18, None),
    ] {
        let mut jobs = unit(count).jobs;
        let parts = by_name(&mut jobs, suspects, calls_left).map(|parts| parts.map(|part| positions(&part)));
        assert_eq!(parts, expected, "{suspects:?} of {count} with {calls_left} calls left");
        assert_eq!(jobs.len(), if parts.is_some() { 0 } else { count });
    }
}

#[test]
fn what_waits_is_counted_in_calls_and_starts_as_soon_as_nothing_is_gained_by_delay() {
    for (units, deletes, upserts, is_full, calls) in [
        (0, 0, 0, false, 0),
        (0, 1, 3, false, 2),
        (0, 2, 0, true, 1),
        (0, 0, 4, true, 1),
        (1, 0, 0, true, 1),
        (1, 3, 5, true, 5),
    ] {
        let mut backlog = Backlog::default();
        (0..deletes).for_each(|at| backlog.push(job(Kind::Delete, at)));
        (0..upserts).for_each(|at| backlog.push(job(Kind::Upsert, at)));
        (0..units).for_each(|_| backlog.push_unit(unit(3)));
        let seen = (backlog.has_full_batch(LIMITS), backlog.calls(LIMITS));
        assert_eq!(seen, (is_full, calls), "{units} units, {deletes} deletes, {upserts} upserts");
        let first = backlog.take(LIMITS, false).map(|unit| unit.jobs.len());
        let expected = if units > 0 { Some(3) } else { is_full.then_some(if deletes > 0 { 2 } else { 4 }) };
        assert_eq!(first, expected, "what keeps its own company goes first");
    }
}
