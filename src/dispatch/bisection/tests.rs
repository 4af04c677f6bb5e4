use proptest::prelude::*;
use smallvec::smallvec;

use super::*;
use crate::dispatch::WriteKind;
use crate::dispatch::batch::Batch;
use crate::model::{ContactId, Payload};

fn job(at: usize) -> Job {
    let id = ContactId::new(&format!("c-{at}")).expect("valid");
    Job::new(
        WriteKind::Upsert,
        Payload {
            id,
            body: None,
            if_new: None,
            conditions: None,
            version: 0,
            guarded: false,
            record: None,
            is_compared: false,
            whole: None,
        },
        smallvec![at],
    )
}

fn batch(count: usize) -> Batch {
    Batch::new(WriteKind::Upsert, (0..count).map(job).collect())
}

fn positions(jobs: &[Job]) -> Vec<usize> {
    jobs.iter().map(|job| job.sources[0]).collect()
}

#[test]
fn suspects_are_separated_from_the_others() {
    let first = batch(5).split(&[1, 3]).expect("has calls left");
    assert_eq!(positions(&first.jobs), [0, 2, 4]);
    let bisection = first.bisection.expect("one part is left");
    assert_eq!(
        positions(
            &Batch::next_of(first.kind, bisection)
                .expect("one more")
                .jobs
        ),
        [1, 3]
    );
}

#[test]
fn one_offending_record_of_a_hundred_costs_at_most_16_calls_at_any_position() {
    for offending in 0..100 {
        let mut calls = 1;
        let mut current = batch(100).split(&[]).ok();
        let mut found = None;
        while let Some(mut batch) = current {
            calls += 1;
            let refused = positions(&batch.jobs).contains(&offending);
            current = if refused && batch.jobs.len() > 1 {
                batch.split(&[]).ok()
            } else {
                if refused {
                    found = Some(batch.jobs[0].sources[0]);
                }
                let bisection = batch.bisection.take().expect("part of a bisection");
                Batch::next_of(batch.kind, bisection)
            };
        }
        assert_eq!(found, Some(offending));
        assert!(calls <= 17, "{calls} calls for {offending}");
    }
}

proptest! {
    #[test]
    fn the_first_payload_is_settled_with_any_offending_and_any_named_records(
        count in 2_usize..=200, odds in 1_u32..=100, named in 0_u32..=100, seed in any::<u64>()
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let offending: Vec<bool> = (0..count).map(|_| random.u32(..100) < odds).collect();
        let (mut calls, mut settled, mut given_up) = (0, Vec::new(), Vec::new());
        let mut current = Some(batch(count));
        while let Some(mut batch) = current {
            calls += 1;
            let is_refused = batch.jobs.iter().any(|job| offending[job.sources[0]]);
            if is_refused && batch.jobs.len() > 1 {
                let mut suspects = Vec::new();
                for at in 0..batch.jobs.len() {
                    if random.u32(..100) < named {
                        suspects.push(at);
                    }
                }
                current = match batch.split(&suspects) {
                    Ok(next) => Some(next),
                    Err((lost, next)) => {
                        given_up.extend(positions(&lost));
                        next
                    }
                };
            } else {
                settled.extend(positions(&batch.jobs));
                let bisection = batch.bisection.take();
                current = bisection.and_then(|bisection| Batch::next_of(batch.kind, bisection));
            }
        }
        prop_assert!(calls <= 3 + calls_to_halve(count), "{calls} calls");
        prop_assert!(settled.contains(&0), "the batch would be redelivered unchanged");
        settled.append(&mut given_up);
        settled.sort_unstable();
        prop_assert_eq!(settled, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn a_bisection_without_calls_gives_up_the_refused_part_and_continues_with_the_rest() {
    let mut batch = batch(4).split(&[]).expect("has calls left");
    batch
        .bisection
        .as_mut()
        .expect("part of a bisection")
        .calls_left = 0;
    let (given_up, next) = batch.split(&[]).expect_err("no calls left");
    assert_eq!(positions(&given_up), [0, 1]);
    assert_eq!(positions(&next.expect("the right half").jobs), [2, 3]);
}

#[test]
fn the_part_with_the_first_payload_goes_first_with_the_calls_to_isolate_a_record() {
    // Bisecting three payloads takes four calls, and the split itself two.
    for (count, suspects, calls_left, expected) in [
        (5, &[1, 3][..], 18, Some([vec![0, 2, 4], vec![1, 3]])),
        (5, &[0, 3], 18, Some([vec![0, 3], vec![1, 2, 4]])),
        (5, &[3], 18, Some([vec![3], vec![0, 1, 2, 4]])),
        (5, &[3], 5, None),
        (5, &[1, 3], 6, Some([vec![0, 2, 4], vec![1, 3]])),
        (5, &[1, 3], 5, None),
        (4, &[], 18, None),
        (4, &[0, 1, 2, 3], 18, None),
        (4, &[7], 18, None),
    ] {
        let mut jobs = batch(count).jobs;
        let parts = separate(&mut jobs, suspects, calls_left)
            .map(|parts| parts.map(|part| positions(&part)));
        assert_eq!(
            parts, expected,
            "{suspects:?} of {count} with {calls_left} calls left"
        );
        assert_eq!(jobs.len(), if parts.is_some() { 0 } else { count });
    }
}

#[test]
fn the_other_parts_go_before_the_halves_of_a_failed_one() {
    let whole = batch(8).split_failed().expect("has calls left");
    let right = whole.split_failed().expect("has calls left");
    assert_eq!(positions(&right.jobs), [4, 5, 6, 7]);
    let bisection = right.bisection.expect("one part is left");
    assert_eq!(
        positions(
            &Batch::next_of(WriteKind::Upsert, bisection)
                .expect("one more")
                .jobs
        ),
        [0, 1]
    );
}

proptest! {
    #[test]
    fn offending_records_are_isolated_and_others_succeed_within_the_bound(
        count in 1_usize..=200, offending in proptest::collection::hash_set(0_usize..200, 0..30)
    ) {
        let mut offending: Vec<usize> = offending.into_iter().filter(|at| *at < count).collect();
        let (mut calls, mut delivered, mut isolated) = (0, Vec::new(), Vec::new());
        let mut current = Some(batch(count));
        while let Some(mut batch) = current {
            calls += 1;
            let fails = batch.jobs.iter().any(|job| offending.contains(&job.sources[0]));
            if fails && batch.jobs.len() > 1 {
                current = Some(batch.split(&[]).expect("each isolation renews the calls"));
                continue;
            }
            if fails {
                isolated.extend(positions(&batch.jobs));
            } else {
                delivered.extend(positions(&batch.jobs));
            }
            current = batch.bisection.take().and_then(|mut bisection| {
                bisection.renew(0);
                Batch::next_of(batch.kind, bisection)
            });
        }
        let most = 1 + u32::try_from(offending.len()).expect("few") * (calls_to_halve(count) + 2);
        prop_assert!(calls <= most, "{} calls for {} of {}", calls, offending.len(), count);
        let others: Vec<_> = (0..count).filter(|at| !offending.contains(at)).collect();
        isolated.sort_unstable();
        offending.sort_unstable();
        delivered.sort_unstable();
        prop_assert_eq!(isolated, offending);
        prop_assert_eq!(delivered, others);
    }
}

#[test]
fn the_accepted_size_is_that_of_the_largest_part_unless_a_record_failed_alone() {
    let mut bisection = Bisection::for_size(200)
        .split((0..200).map(job).collect(), &[])
        .expect("has calls left");
    for size in [100, 50, 50] {
        bisection.next_part();
        bisection.note_accepted(size);
    }
    assert_eq!(bisection.accepted_size(), Some(100));
    bisection.note_offending_record();
    assert_eq!(bisection.accepted_size(), None);
    let mut other = Bisection::among(200);
    other.note_accepted(100);
    assert_eq!(
        other.accepted_size(),
        None,
        "the batch did not fail for its size"
    );
}
