use smallvec::smallvec;

use super::*;
use crate::model::{Body, ContactId, Payload};

const LIMITS: Limits = Limits {
    upsert: 4,
    upsert_calls: 1,
    delete: 2,
    delete_calls: 2,
    lookup: Lookup::UNBOUNDED,
};

fn job(kind: WriteKind, at: usize) -> Job {
    let id = ContactId::new(&format!("c-{at}")).expect("valid");
    Job::new(
        kind,
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
    Batch::new(
        WriteKind::Upsert,
        (0..count).map(|at| job(WriteKind::Upsert, at)).collect(),
    )
}

#[test]
fn full_batches_are_taken_at_once_and_partial_ones_at_the_end() {
    let mut backlog = Backlog::default();
    for at in 0..9 {
        backlog.push(job(WriteKind::Upsert, at));
    }
    backlog.push(job(WriteKind::Delete, 9));
    let mut sizes = Vec::new();
    while let Some(batch) = backlog.take(LIMITS, false) {
        sizes.push((batch.kind, batch.jobs.len()));
    }
    while let Some(batch) = backlog.take(LIMITS, true) {
        sizes.push((batch.kind, batch.jobs.len()));
    }
    let expected = [
        (WriteKind::Upsert, 4),
        (WriteKind::Upsert, 4),
        (WriteKind::Delete, 1),
        (WriteKind::Upsert, 1),
    ];
    assert_eq!(sizes, expected);
}

#[test]
fn payloads_of_a_batch_fit_into_one_look_up() {
    let lookup = Lookup {
        capacity: 9,
        length: |id| id.as_str().len(),
    };
    let limits = Limits {
        upsert: 4,
        delete: 4,
        lookup,
        ..LIMITS
    };
    for (kind, is_guarded, has_defaults, expected) in [
        (WriteKind::Delete, false, false, [2, 2, 2, 1]),
        (WriteKind::Upsert, true, false, [2, 2, 2, 1]),
        (WriteKind::Upsert, false, true, [2, 2, 2, 1]),
        (WriteKind::Upsert, false, false, [4, 3, 0, 0]),
    ] {
        let mut backlog = Backlog::default();
        for at in 10..17 {
            let mut job = job(kind, at);
            job.payload.guarded = is_guarded;
            job.payload.if_new = has_defaults.then(|| Body::of(serde_json::Map::new()));
            backlog.push(job);
        }
        let sizes = expected.map(|_| {
            backlog
                .take(limits, true)
                .map_or(0, |batch| batch.jobs.len())
        });
        assert_eq!(sizes, expected, "{kind:?} {is_guarded} {has_defaults}");
    }
    let mut backlog = Backlog::default();
    backlog.push(job(WriteKind::Delete, 10_000_000));
    assert_eq!(
        backlog.take(limits, true).map(|batch| batch.jobs.len()),
        Some(1),
        "a payload that exceeds the look-up goes alone"
    );
}

#[test]
fn the_backlog_counts_its_calls_and_starts_a_full_batch_at_once() {
    for (batches, deletes, upserts, is_full, calls) in [
        (0, 0, 0, false, 0),
        (0, 1, 3, false, 2),
        (0, 2, 0, true, 1),
        (0, 0, 4, true, 1),
        (1, 0, 0, true, 1),
        (1, 3, 5, true, 5),
    ] {
        let mut backlog = Backlog::default();
        for at in 0..deletes {
            backlog.push(job(WriteKind::Delete, at));
        }
        for at in 0..upserts {
            backlog.push(job(WriteKind::Upsert, at));
        }
        for _ in 0..batches {
            backlog.push_batch(batch(3));
        }
        assert_eq!(
            (backlog.has_full_batch(LIMITS), backlog.calls(LIMITS)),
            (is_full, calls),
            "{batches} batches, {deletes} deletes, {upserts} upserts"
        );
        let first = backlog.take(LIMITS, false).map(|batch| batch.jobs.len());
        let expected = if batches > 0 {
            Some(3)
        } else {
            is_full.then_some(if deletes > 0 { 2 } else { 4 })
        };
        assert_eq!(first, expected, "unchanged batches go first");
    }
}

#[test]
fn records_that_failed_alone_stay_alone_and_go_last() {
    let mut backlog = Backlog::default();
    backlog.push_alone(job(WriteKind::Upsert, 9));
    backlog.push(job(WriteKind::Upsert, 0));
    backlog.push(job(WriteKind::Upsert, 1));
    assert_eq!(taken(&mut backlog, false), None, "more jobs may arrive");
    assert_eq!(taken(&mut backlog, true), Some(vec![0, 1]));
    assert_eq!(taken(&mut backlog, true), Some(vec![9]));
    assert!(backlog.is_empty());
}

fn taken(backlog: &mut Backlog, flush: bool) -> Option<Vec<usize>> {
    let batch = backlog.take(LIMITS, flush)?;
    Some(positions(&batch.jobs))
}

#[test]
fn a_probe_is_a_single_record_that_has_not_failed_alone_where_there_is_one() {
    let mut backlog = Backlog::default();
    backlog.push_alone(job(WriteKind::Upsert, 9));
    backlog.push(job(WriteKind::Upsert, 8));
    backlog.push_batch(batch(4).split(&[]).expect("has calls left"));
    for (flush, expected) in [
        (false, vec![vec![0], vec![1], vec![2], vec![3], vec![8]]),
        (true, vec![vec![9]]),
    ] {
        let mut probes = Vec::new();
        while let Some(batch) = backlog.take_probe(flush, |_| 0) {
            probes.push(positions(&batch.jobs));
        }
        assert_eq!(probes, expected, "flush: {flush}");
    }
}

fn positions(jobs: &[Job]) -> Vec<usize> {
    jobs.iter().map(|job| job.sources[0]).collect()
}
