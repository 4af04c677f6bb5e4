//! Isolation of offending records in virtual time: a record that makes its whole call fail is
//! isolated, the others are delivered, and the circuit breaker stays closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contact_sync::dispatch::WriteKind;
use contact_sync::lambda::Handler;
use contact_sync::model::limits::Retry;
use contact_sync::model::{CallError, FailureCause, Rejection, Reply, RetryMode};
use serde_json::{Value, json};
use testkit::harness::{Logs, change};
use tokio::time::advance;

use super::scripted::{
    MILLI, RETRY, RecordedCall, Scripted, TimedReply, breaker_open, each, failed, failed_for,
    failed_records, good, handler, later, leads, many, throttled, undelivered,
};

const LONG: &str = "[pipeline]\nfallback_budget_ms = 600000";

/// Creates a destination in which each call with one of `offending` gets `reply`, and every other
/// call succeeds.
fn failing_for(
    offending: Vec<String>,
    batch: usize,
    reply: impl Fn(&RecordedCall) -> Reply + Send + Sync + 'static,
) -> Arc<Scripted> {
    Scripted::new("one", batch, move |call, _| -> TimedReply {
        let is_offending = call.ids.iter().any(|id| offending.contains(id));
        (
            MILLI * 10,
            Some(if is_offending {
                reply(call)
            } else {
                good(call)
            }),
        )
    })
}

async fn is_delivered(handler: &Handler, id: &'static str) -> bool {
    failed_records(handler, &leads([id])).await == 0
}

fn fault() -> RetryMode {
    RetryMode::Isolate(Rejection::new("INTERNAL".into(), "alone"))
}

/// Name of a kind of failure, and its reply.
type Way = (&'static str, fn(&RecordedCall) -> Reply);

/// Returns each kind of failure of a whole call by one record.
fn ways() -> Vec<Way> {
    vec![
        ("a server error", |_| failed("HTTP_500", None, false)),
        ("a pause that is asked for", |_| {
            failed("HTTP_503", Some(MILLI * 100), true)
        }),
        ("a timeout, or an answer that is too long", |_| {
            failed_for(FailureCause::Size)
        }),
        ("an internal error in every row", |call| {
            each(call, |_| later("INTERNAL", fault()))
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_record_that_makes_its_call_fail_is_rejected_and_its_neighbours_are_delivered() {
    for (way, reply) in ways() {
        for kind in [WriteKind::Upsert, WriteKind::Delete] {
            for (count, at) in [(3, 1), (100, 0), (100, 50), (100, 99)] {
                let logs = Logs::listen();
                let system = failing_for(vec![format!("lead-{at}")], 100, reply);
                let handler = handler(&[&system], 4, RETRY, LONG);
                let operation = if kind == WriteKind::Upsert {
                    "create"
                } else {
                    "delete"
                };
                let changes: Vec<Value> = (0..count)
                    .map(|at| change(operation, &format!("lead-{at}"), "lead", json!({})))
                    .collect();
                let failed = failed_records(&handler, &changes).await;
                assert_eq!(
                    failed,
                    0,
                    "{way}, {kind:?}, {at} of {count}: {:?}",
                    system.sizes()
                );
                let rejected = undelivered(&logs);
                assert_eq!(
                    rejected.len(),
                    1,
                    "{way}, {kind:?}, {at} of {count}: {rejected:?}"
                );
                assert_eq!(rejected[0].0, format!("lead-{at}"));
                assert!(rejected[0].1.starts_with("rejected "), "{rejected:?}");
                assert_eq!(breaker_open(&logs), [0], "{way}");
                let calls = system.calls().len();
                assert!(
                    calls <= 34,
                    "{calls} calls: {way}, {kind:?}, {at} of {count}"
                );
            }
        }
    }
}

/// Checks random sets of offending records and every kind of failure: all other records are
/// delivered within the bound of calls, and the breaker stays closed.
#[test]
fn every_set_of_offending_records_is_isolated_in_one_invocation() {
    for seed in 0..60 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(async {
            let mut random = fastrand::Rng::with_seed(seed);
            // The probes are drawn on this thread.
            fastrand::seed(seed);
            let logs = Logs::listen();
            let count = random.usize(2..150);
            // Three consecutive offending probes count as an outage.
            let most = if count < 40 { 2 } else { random.usize(1..=8) };
            let offending: Vec<String> = (0..random.usize(0..=most))
                .map(|_| format!("lead-{}", random.usize(..count)))
                .collect();
            let (way, reply) = ways()[random.usize(..4)];
            let batch = random.usize(2..=100);
            let system = failing_for(offending.clone(), batch, reply);
            let handler = handler(&[&system], random.usize(1..=4), RETRY, LONG);
            let failed = failed_records(&handler, &many("lead", count)).await;
            let context = format!(
                "seed {seed}: {way}, {offending:?} of {count} in batches of {batch}: {:?}",
                undelivered(&logs)
            );
            let undelivered = undelivered(&logs);
            let mut ids: Vec<&String> = undelivered.iter().map(|(id, _)| id).collect();
            let mut expected: Vec<&String> = offending.iter().collect();
            ids.sort();
            expected.sort();
            expected.dedup();
            if expected.len() < count {
                assert_eq!(ids, expected, "{context}");
                assert_eq!(failed, 0, "{context}");
                assert_eq!(breaker_open(&logs), [0], "{context}");
            }
            let levels = usize::try_from(batch.next_power_of_two().ilog2()).expect("small");
            let bound = count.div_ceil(batch) + 8 + expected.len() * (2 * levels + 15);
            assert!(
                system.calls().len() <= bound,
                "{} calls, {bound} at most: {context}",
                system.calls().len()
            );
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_alone_in_its_batch_is_rejected_after_others_succeed_and_never_stops_them() {
    for (way, reply) in ways() {
        let logs = Logs::listen();
        let system = failing_for(vec!["bad".to_owned()], 100, reply);
        let handler = handler(&[&system], 4, RETRY, LONG);
        assert!(is_delivered(&handler, "good-0").await);
        for _ in 0..4 {
            assert!(
                !is_delivered(&handler, "bad").await,
                "{way}: no other record succeeded since its first failure"
            );
        }
        assert!(is_delivered(&handler, "good-1").await, "{way}");
        assert!(
            !is_delivered(&handler, "bad").await,
            "{way}: one failure is not enough"
        );
        assert!(is_delivered(&handler, "good-2").await, "{way}");
        assert!(
            is_delivered(&handler, "bad").await,
            "{way}: a rejected record is settled"
        );
        assert_eq!(
            logs.fates()
                .last()
                .map(|fate| fate.starts_with("rejected ")),
            Some(true),
            "{way}: {:?}",
            logs.fates()
        );
        assert_eq!(breaker_open(&logs).iter().sum::<u64>(), 0, "{way}");
        assert_eq!(
            logs.lines()
                .iter()
                .filter(|line| line["level"] == "ERROR")
                .count(),
            0,
            "{way}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_record_costs_few_calls_in_an_outage_and_is_delivered_after_it() {
    let system = Scripted::new("one", 100, |_, _| {
        (MILLI * 10, Some(failed("HTTP_503", None, true)))
    });
    let handler = handler(&[&system], 4, RETRY, LONG);
    for _ in 0..100 {
        assert!(!is_delivered(&handler, "a").await);
        advance(MILLI * 100).await;
    }
    let calls = system.calls().len();
    assert!((3..=12).contains(&calls), "{calls} calls in ten seconds");
    system.answer_with(|call, _| (MILLI * 10, Some(good(call))));
    advance(Duration::from_secs(30)).await;
    assert!(is_delivered(&handler, "a").await);
    assert!(is_delivered(&handler, "b").await);
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_the_calls_in_flight_and_four_more_for_any_failure() {
    for (way, reply) in ways() {
        for in_flight in [1, 4] {
            let logs = Logs::listen();
            let system = Scripted::new("one", 100, move |call, _| (MILLI * 10, Some(reply(call))));
            let handler = handler(&[&system], in_flight, RETRY, LONG);
            assert_eq!(
                failed_records(&handler, &many("lead", 2000)).await,
                2000,
                "{way}"
            );
            let calls = system.calls().len();
            assert!(
                calls <= in_flight + 4,
                "{calls} calls with {in_flight} in flight: {way}"
            );
            assert_eq!(breaker_open(&logs), [1], "{way}");
            assert!(
                logs.fates().iter().all(|fate| fate.starts_with("failed ")),
                "no record is rejected: {way}"
            );
            system.answer_with(|call, _| (MILLI * 10, Some(good(call))));
            advance(Duration::from_secs(6)).await;
            assert_eq!(
                failed_records(&handler, &many("lead", 2000)).await,
                0,
                "the breaker closes by itself: {way}"
            );
        }
    }
}

/// Offending records often follow each other, and recur in each batch of the shard.
#[tokio::test(start_paused = true)]
async fn consecutive_offending_records_do_not_become_all_probes() {
    let logs = Logs::listen();
    let offending = (0..3).map(|at| format!("lead-{at}")).collect();
    let system = failing_for(offending, 100, |_| failed("HTTP_500", None, false));
    let handler = handler(&[&system], 1, RETRY, LONG);
    for _ in 0..3 {
        assert_eq!(failed_records(&handler, &many("lead", 100)).await, 0);
    }
    assert_eq!(breaker_open(&logs), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_costs_one_call() {
    for cause in [FailureCause::Destination, FailureCause::Record] {
        let system = Scripted::new("one", 100, move |call, number| {
            (
                MILLI * 10,
                Some(if number == 0 {
                    failed_for(cause)
                } else {
                    good(call)
                }),
            )
        });
        let handler = handler(&[&system], 4, RETRY, LONG);
        assert_eq!(failed_records(&handler, &many("lead", 100)).await, 0);
        assert_eq!(system.sizes(), [100, 100], "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_too_large_for_its_time_is_sent_in_smaller_ones_and_the_size_is_remembered() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 200, |call, _| {
        let in_time = call.ids.len() <= 120;
        (
            MILLI * 10,
            Some(if in_time {
                good(call)
            } else {
                failed_for(FailureCause::Size)
            }),
        )
    });
    let handler = handler(&[&system], 1, RETRY, LONG);
    assert_eq!(failed_records(&handler, &many("lead", 200)).await, 0);
    assert_eq!(system.sizes(), [200, 100, 100]);
    assert_eq!(failed_records(&handler, &many("lead", 250)).await, 0);
    assert_eq!(
        system.sizes()[3..],
        [100, 100, 50],
        "a batch of 200 is not tried again"
    );
    let warnings: Vec<_> = logs
        .lines()
        .into_iter()
        .filter(|line| line["batch_size"] == 100)
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0]["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("`one.batch_size`")),
        "{warnings:?}"
    );
    advance(Duration::from_hours(1)).await;
    assert_eq!(failed_records(&handler, &many("lead", 200)).await, 0);
    assert_eq!(system.sizes()[6..], [200, 100, 100], "tried after an hour");
}

/// Creates a destination in which each value has one holder. As in HubSpot, a call is validated
/// against the holders before it.
fn with_unique_values(
    holders: Vec<(&'static str, &'static str)>,
    wanted: Vec<(&'static str, &'static str)>,
) -> Arc<Scripted> {
    let holders = std::sync::Mutex::new(holders);
    Scripted::new("one", 10, move |call, _| {
        let before = holders.lock().expect("sound").clone();
        let reply = each(call, |id| {
            let (id, value) = *wanted.iter().find(|(wanting, _)| *wanting == id)?;
            if before
                .iter()
                .any(|(holder, held)| *held == value && *holder != id)
            {
                return later(
                    "CLASH",
                    RetryMode::Last(Rejection::new("EMAIL_CLASH".into(), "taken")),
                );
            }
            let mut holders = holders.lock().expect("sound");
            holders.retain(|(holder, _)| *holder != id);
            holders.push((id, value));
            None
        });
        (MILLI * 10, Some(reply))
    })
}

#[tokio::test(start_paused = true)]
async fn a_value_that_moves_between_contacts_is_delivered_in_one_invocation() {
    for (wanted, calls) in [
        (vec![("a", "new"), ("b", "of-a")], 2),
        (vec![("b", "of-a"), ("a", "new")], 2),
        // Each contact needs the value of the next one: one contact settles in each round.
        (vec![("c", "of-b"), ("b", "of-a"), ("a", "new")], 3),
    ] {
        let logs = Logs::listen();
        let system = with_unique_values(
            vec![("a", "of-a"), ("b", "of-b"), ("c", "of-c")],
            wanted.clone(),
        );
        let handler = handler(&[&system], 4, RETRY, LONG);
        let ids: Vec<&'static str> = wanted.iter().map(|(id, _)| *id).collect();
        assert_eq!(failed_records(&handler, &leads(ids)).await, 0);
        assert_eq!(undelivered(&logs), [], "{wanted:?}");
        assert_eq!(system.calls().len(), calls, "{wanted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_clash_costs_one_more_call_and_is_rejected() {
    let logs = Logs::listen();
    let system = with_unique_values(
        vec![("stranger", "theirs")],
        vec![("a", "theirs"), ("b", "own")],
    );
    let handler = handler(&[&system], 4, RETRY, LONG);
    assert_eq!(failed_records(&handler, &leads(["a", "b", "c"])).await, 0);
    assert_eq!(
        undelivered(&logs),
        [("a".to_owned(), "rejected EMAIL_CLASH".to_owned())]
    );
    assert_eq!(system.sizes(), [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_row_with_an_internal_error_is_rejected_while_others_succeed_and_else_fails() {
    let of = |bad: &'static str| {
        Scripted::new("one", 100, move |call, _| {
            (
                MILLI * 10,
                Some(each(call, |id| {
                    (bad == "all" || id == bad)
                        .then(|| later("INTERNAL", fault()))
                        .flatten()
                })),
            )
        })
    };
    let logs = Logs::listen();
    let system = of("lead-0");
    assert_eq!(
        failed_records(&handler(&[&system], 4, RETRY, LONG), &many("lead", 10)).await,
        0
    );
    assert_eq!(
        undelivered(&logs),
        [("lead-0".to_owned(), "rejected INTERNAL".to_owned())]
    );
    assert_eq!(
        system.sizes(),
        [10, 1, 1, 1],
        "as many attempts alone as settings allow"
    );
    let logs = Logs::listen();
    let system = of("all");
    assert_eq!(
        failed_records(&handler(&[&system], 4, RETRY, LONG), &many("lead", 10)).await,
        10
    );
    assert!(
        logs.fates().iter().all(|fate| fate == "failed INTERNAL"),
        "{:?}",
        logs.fates()
    );
}

#[tokio::test(start_paused = true)]
async fn offending_records_are_isolated_with_settings_of_one_attempt() {
    let logs = Logs::listen();
    let system = failing_for(vec!["lead-7".to_owned()], 100, |_| {
        failed("HTTP_500", None, false)
    });
    let handler = handler(
        &[&system],
        1,
        Retry {
            max_attempts: 1,
            ..RETRY
        },
        LONG,
    );
    assert_eq!(failed_records(&handler, &many("lead", 100)).await, 0);
    assert_eq!(
        undelivered(&logs),
        [("lead-7".to_owned(), "rejected HTTP_500".to_owned())]
    );
}

/// Covers a batch of offending records, for each of which the destination refuses the whole
/// request.
#[tokio::test(start_paused = true)]
async fn two_hundred_refused_records_are_isolated_in_one_invocation() {
    for (every, named, most) in [
        (1, true, 400),
        (1, false, 400),
        (10, true, 50),
        (10, false, 300),
    ] {
        let logs = Logs::listen();
        let is_bad = move |id: &str| {
            id.trim_start_matches("lead-")
                .parse::<usize>()
                .expect("a number")
                % every
                == 0
        };
        let system = Scripted::new("one", 200, move |call, _| {
            let first = call.ids.iter().position(|id| is_bad(id));
            let reply = match first {
                None => good(call),
                Some(at) => Err(CallError::Refused {
                    rejection: Rejection::new("WRONG_TYPE".into(), "somewhere"),
                    suspects: if named { vec![at] } else { vec![] },
                }),
            };
            (MILLI * 10, Some(reply))
        });
        let handler = handler(&[&system], 4, RETRY, LONG);
        assert_eq!(
            failed_records(&handler, &many("lead", 200)).await,
            0,
            "{every} {named}"
        );
        assert_eq!(undelivered(&logs).len(), 200 / every, "{every} {named}");
        let calls = system.calls().len();
        assert!(
            calls <= most,
            "{calls} calls, one in {every}, named: {named}"
        );
    }
}

/// A rate-limit response is an answer: it proves neither an outage nor the success of a record.
#[tokio::test(start_paused = true)]
async fn rate_limit_responses_are_no_evidence() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let system = Scripted::new("one", 1, move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        (MILLI * 10, Some(throttled("TOO_MANY", Some(MILLI * 10))))
    });
    let handler = handler(&[&system], 1, RETRY, LONG);
    assert_eq!(failed_records(&handler, &many("lead", 20)).await, 20);
    assert!(calls.load(Ordering::Relaxed) >= 20);
}
