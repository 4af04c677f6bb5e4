//! One record's trouble stays its own: what makes its whole call fail is isolated, its neighbours
//! are delivered, and a verdict about the destination is never drawn from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contact_sync::adapters::{CallError, FailureCause, Rejection, Reply, RetryMode};
use contact_sync::dispatch::WriteKind;
use contact_sync::dispatch::settings::Retry;
use contact_sync::handler::Handler;
use serde_json::{Value, json};
use testkit::harness::{Logs, change};
use tokio::time::advance;

use super::scripted::{
    Asked, AuditFields, MILLI, RETRY, Scripted, breaker_open, each, failed, failed_for,
    failed_records, good, handler, later, leads, many, throttled, undelivered,
};

const LONG: &str = "[pipeline]\nfallback_budget_ms = 600000";

/// A system in which each call that holds one of `offending` fails so, and every other call
/// succeeds.
fn hurt_by(
    offending: Vec<String>,
    batch: usize,
    reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Arc<Scripted> {
    Scripted::new("one", batch, move |asked, _| -> AuditFields {
        let is_hurt = asked.ids.iter().any(|id| offending.contains(id));
        (
            MILLI * 10,
            Some(if is_hurt { reply(asked) } else { good(asked) }),
        )
    })
}

async fn is_delivered(handler: &Handler, id: &'static str) -> bool {
    failed_records(handler, &leads([id])).await == 0
}

fn fault() -> RetryMode {
    RetryMode::Isolate(Rejection::new("INTERNAL".into(), "alone"))
}

/// A way to fail, and its name.
type Way = (&'static str, fn(&Asked) -> Reply);

/// Each way in which one record may make its whole call fail.
fn ways() -> Vec<Way> {
    vec![
        ("a server error", |_| failed("HTTP_500", None, false)),
        ("a pause that is asked for", |_| {
            failed("HTTP_503", Some(MILLI * 100), true)
        }),
        ("a timeout, or an answer that is too long", |_| {
            failed_for(FailureCause::Size)
        }),
        ("a fault told of every row", |asked| {
            each(asked, |_| later("INTERNAL", fault()))
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_record_that_makes_its_call_fail_is_rejected_and_its_neighbours_are_delivered() {
    for (way, reply) in ways() {
        for kind in [WriteKind::Upsert, WriteKind::Delete] {
            for (count, at) in [(3, 1), (100, 0), (100, 50), (100, 99)] {
                let logs = Logs::listen();
                let system = hurt_by(vec![format!("lead-{at}")], 100, reply);
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
                let calls = system.asked().len();
                assert!(
                    calls <= 34,
                    "{calls} calls: {way}, {kind:?}, {at} of {count}"
                );
            }
        }
    }
}

/// For every set of offending records and every way to fail, all others are delivered within the
/// bound, and the breaker stays closed.
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
            // Three probes in a row that offend are an outage.
            let most = if count < 40 { 2 } else { random.usize(1..=8) };
            let offending: Vec<String> = (0..random.usize(0..=most))
                .map(|_| format!("lead-{}", random.usize(..count)))
                .collect();
            let (way, reply) = ways()[random.usize(..4)];
            let batch = random.usize(2..=100);
            let system = hurt_by(offending.clone(), batch, reply);
            let handler = handler(&[&system], random.usize(1..=4), RETRY, LONG);
            let failed = failed_records(&handler, &many("lead", count)).await;
            let told = format!(
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
                assert_eq!(ids, expected, "{told}");
                assert_eq!(failed, 0, "{told}");
                assert_eq!(breaker_open(&logs), [0], "{told}");
            }
            let halvings = usize::try_from(batch.next_power_of_two().ilog2()).expect("small");
            let bound = count.div_ceil(batch) + 8 + expected.len() * (2 * halvings + 15);
            assert!(
                system.asked().len() <= bound,
                "{} calls, {bound} at most: {told}",
                system.asked().len()
            );
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_alone_in_its_batch_never_stops_the_others_and_is_rejected_once_they_succeed() {
    for (way, reply) in ways() {
        let logs = Logs::listen();
        let system = hurt_by(vec!["bad".to_owned()], 100, reply);
        let handler = handler(&[&system], 4, RETRY, LONG);
        assert!(is_delivered(&handler, "good-0").await);
        for _ in 0..4 {
            assert!(
                !is_delivered(&handler, "bad").await,
                "{way}: nothing else succeeded since it failed first"
            );
        }
        assert!(is_delivered(&handler, "good-1").await, "{way}");
        assert!(
            !is_delivered(&handler, "bad").await,
            "{way}: once is not enough"
        );
        assert!(is_delivered(&handler, "good-2").await, "{way}");
        assert!(
            is_delivered(&handler, "bad").await,
            "{way}: rejected is settled"
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
async fn a_lone_record_costs_few_calls_while_nothing_succeeds_and_is_delivered_once_the_system_is_back()
 {
    let system = Scripted::new("one", 100, |_, _| {
        (MILLI * 10, Some(failed("HTTP_503", None, true)))
    });
    let handler = handler(&[&system], 4, RETRY, LONG);
    for _ in 0..100 {
        assert!(!is_delivered(&handler, "a").await);
        advance(MILLI * 100).await;
    }
    let calls = system.asked().len();
    assert!((3..=12).contains(&calls), "{calls} calls in ten seconds");
    system.now(|asked, _| (MILLI * 10, Some(good(asked))));
    advance(Duration::from_secs(30)).await;
    assert!(is_delivered(&handler, "a").await);
    assert!(is_delivered(&handler, "b").await);
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_the_calls_in_flight_and_four_more_whatever_fails() {
    for (way, reply) in ways() {
        for in_flight in [1, 4] {
            let logs = Logs::listen();
            let system =
                Scripted::new("one", 100, move |asked, _| (MILLI * 10, Some(reply(asked))));
            let handler = handler(&[&system], in_flight, RETRY, LONG);
            assert_eq!(
                failed_records(&handler, &many("lead", 2000)).await,
                2000,
                "{way}"
            );
            let calls = system.asked().len();
            assert!(
                calls <= in_flight + 4,
                "{calls} calls with {in_flight} in flight: {way}"
            );
            assert_eq!(breaker_open(&logs), [1], "{way}");
            assert!(
                logs.fates().iter().all(|fate| fate.starts_with("failed ")),
                "nothing is rejected: {way}"
            );
            system.now(|asked, _| (MILLI * 10, Some(good(asked))));
            advance(Duration::from_secs(6)).await;
            assert_eq!(
                failed_records(&handler, &many("lead", 2000)).await,
                0,
                "it heals by itself: {way}"
            );
        }
    }
}

/// Records that offend often come in a row, and in each batch of the shard.
#[tokio::test(start_paused = true)]
async fn offending_records_in_a_row_are_not_each_probe() {
    let logs = Logs::listen();
    let offending = (0..3).map(|at| format!("lead-{at}")).collect();
    let system = hurt_by(offending, 100, |_| failed("HTTP_500", None, false));
    let handler = handler(&[&system], 1, RETRY, LONG);
    for _ in 0..3 {
        assert_eq!(failed_records(&handler, &many("lead", 100)).await, 0);
    }
    assert_eq!(breaker_open(&logs), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_costs_one_call() {
    for cause in [FailureCause::Destination, FailureCause::Record] {
        let system = Scripted::new("one", 100, move |asked, number| {
            (
                MILLI * 10,
                Some(if number == 0 {
                    failed_for(cause)
                } else {
                    good(asked)
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
    let system = Scripted::new("one", 200, |asked, _| {
        let in_time = asked.ids.len() <= 120;
        (
            MILLI * 10,
            Some(if in_time {
                good(asked)
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
        "not tried at 200 again"
    );
    let told: Vec<_> = logs
        .lines()
        .into_iter()
        .filter(|line| line["batch_size"] == 100)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0]["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("`one.batch_size`")),
        "{told:?}"
    );
    advance(Duration::from_hours(1)).await;
    assert_eq!(failed_records(&handler, &many("lead", 200)).await, 0);
    assert_eq!(system.sizes()[6..], [200, 100, 100], "an hour later it is");
}

/// A system in which each value has one holder, judged by what it holds before the call, as HubSpot
/// does.
fn with_unique_values(
    holders: Vec<(&'static str, &'static str)>,
    wanted: Vec<(&'static str, &'static str)>,
) -> Arc<Scripted> {
    let holders = std::sync::Mutex::new(holders);
    Scripted::new("one", 10, move |asked, _| {
        let before = holders.lock().expect("sound").clone();
        let reply = each(asked, |id| {
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
async fn a_value_handed_from_one_contact_to_another_is_delivered_in_one_invocation() {
    for (wanted, calls) in [
        (vec![("a", "new"), ("b", "of-a")], 2),
        (vec![("b", "of-a"), ("a", "new")], 2),
        // Each wants the value of the next: one settles in each round.
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
        assert_eq!(system.asked().len(), calls, "{wanted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_true_clash_costs_one_more_call_and_is_rejected() {
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
async fn a_row_that_always_meets_a_fault_is_rejected_while_others_succeed_and_fails_while_none_does()
 {
    let of = |bad: &'static str| {
        Scripted::new("one", 100, move |asked, _| {
            (
                MILLI * 10,
                Some(each(asked, |id| {
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
        "as many tries alone as settings allow"
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
async fn settings_of_one_attempt_isolate_too() {
    let logs = Logs::listen();
    let system = hurt_by(vec!["lead-7".to_owned()], 100, |_| {
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

/// A whole batch of offenders, each told of by the refusal of the whole request.
#[tokio::test(start_paused = true)]
async fn two_hundred_refused_records_are_all_found_in_one_invocation() {
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
        let system = Scripted::new("one", 200, move |asked, _| {
            let first = asked.ids.iter().position(|id| is_bad(id));
            let reply = match first {
                None => good(asked),
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
        let calls = system.asked().len();
        assert!(
            calls <= most,
            "{calls} calls, one in {every}, named: {named}"
        );
    }
}

/// Too many calls is an answer: it neither proves an outage nor that another record succeeds.
#[tokio::test(start_paused = true)]
async fn a_throttled_system_is_neither_in_doubt_nor_evidence() {
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
