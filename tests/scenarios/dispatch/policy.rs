//! Order and times of the dispatcher's calls, in virtual time.

use std::time::Duration;

use contact_sync::dispatch::WriteKind;
use contact_sync::model::limits::Retry;
use serde_json::{Value, json};
use testkit::harness::{batch, change};
use testkit::stream::{failures, invoke, sequence_number};
use tokio::time::{Instant, advance, sleep_until};

use super::scripted::{
    MILLI, RETRY, RecordedCall, Scripted, failed, failed_records, good, good_but, handler, leads,
    many, throttled,
};

/// Formats calls, as in `upsert a b`.
fn words(calls: &[RecordedCall]) -> Vec<String> {
    let mut words = Vec::new();
    for call in calls {
        let kind = if call.kind == WriteKind::Upsert {
            "upsert"
        } else {
            "delete"
        };
        words.push(format!("{kind} {}", call.ids.join(" ")));
    }
    words
}

#[tokio::test(start_paused = true)]
async fn records_of_one_destination_are_written_within_a_second_while_another_hangs() {
    let alive = Scripted::new("alive", 100, |call, _| (MILLI * 80, Some(good(call))));
    let hanging = Scripted::new("hanging", 100, |_, _| (MILLI, None));
    let handler = handler(&[&alive, &hanging], 4, RETRY, "");
    let changes = [many("customer", 1000), many("lead", 1000)].concat();
    let start = Instant::now();
    let a_second_later = async {
        sleep_until(start + MILLI * 1000).await;
        (alive.ended(), hanging.ended())
    };
    let (failed, ended) = tokio::join!(failed_records(&handler, &changes), a_second_later);
    assert_eq!(ended, (10, 0), "a thousand leads are ten calls");
    assert_eq!(failed, 1000, "the customers are redelivered");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_destination_delays_only_its_own_records() {
    let alive = Scripted::new("alive", 100, |call, _| (MILLI * 80, Some(good(call))));
    let slowed = Scripted::new("throttled", 100, |call, number| {
        let reply = if number < 8 {
            throttled("TOO_MANY", Some(MILLI * 3000))
        } else {
            good(call)
        };
        (MILLI * 80, Some(reply))
    });
    let retry = Retry {
        max_attempts: 9,
        ..RETRY
    };
    let handler = handler(
        &[&alive, &slowed],
        4,
        retry,
        "[pipeline]\nfallback_budget_ms = 60000",
    );
    let changes = [many("customer", 1000), many("lead", 1000)].concat();
    let start = Instant::now();
    assert_eq!(failed_records(&handler, &changes).await, 0);
    let last = |system: &Scripted| {
        system
            .calls()
            .iter()
            .filter_map(|call| call.ended)
            .max()
            .expect("some")
    };
    assert!(last(&alive) - start < MILLI * 1000);
    assert!(last(&slowed) - start > MILLI * 3000, "it asked for a pause");
    let starts: Vec<Instant> = slowed.calls().iter().map(|call| call.started).collect();
    let early = starts
        .iter()
        .filter(|at| (MILLI * 81..MILLI * 3000).contains(&(**at - start)))
        .count();
    assert_eq!(early, 0, "no call in the pause that was asked for");
}

#[tokio::test(start_paused = true)]
async fn queued_calls_do_not_wait_for_the_end_of_a_long_pause() {
    let system = Scripted::new("one", 1, |call, number| match number {
        0 => (MILLI * 10, Some(throttled("TOO_MANY", Some(MILLI * 2000)))),
        1 => (
            MILLI * 500,
            Some(throttled("TOO_MANY", Some(MILLI * 60_000))),
        ),
        _ => (MILLI * 20, Some(good(call))),
    });
    let handler = handler(
        &[&system],
        4,
        RETRY,
        "[pipeline]\nfallback_budget_ms = 120000",
    );
    let start = Instant::now();
    let failed = failed_records(&handler, &leads(["a", "b", "c", "d", "e", "f"])).await;
    assert_eq!(
        (failed, system.calls().len()),
        (4, 4),
        "c and d were in flight before the first pause"
    );
    assert!(start.elapsed() < MILLI * 3000, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_waits_for_a_retry_delays_no_other_payload() {
    let system = Scripted::new("one", 2, |call, number| {
        let reply = if number < 2 {
            good_but(call, "slow", Some(MILLI * 2000))
        } else {
            good(call)
        };
        (MILLI * 10, Some(reply))
    });
    let handler = handler(&[&system], 2, RETRY, "");
    let start = Instant::now();
    assert_eq!(
        failed_records(&handler, &leads(["slow", "a", "b", "c", "d", "e", "f"])).await,
        0
    );
    let calls = system.calls();
    assert_eq!(
        words(&calls),
        [
            "upsert slow a",
            "upsert b c",
            "upsert d e",
            "upsert f",
            "upsert slow"
        ]
    );
    assert!(calls[3].ended.expect("answered") - start < MILLI * 100);
    assert!(calls[4].started - start >= MILLI * 2000);
}

#[tokio::test(start_paused = true)]
async fn a_payload_without_further_attempts_does_not_fail_the_rest_of_its_call() {
    let system = Scripted::new("one", 2, |call, number| match number {
        0 => (MILLI * 10, Some(good_but(call, "old", Some(MILLI * 500)))),
        1 => (MILLI * 1000, Some(good(call))),
        2 => (MILLI * 10, Some(failed("LOCKED", None, false))),
        _ => (MILLI * 10, Some(good(call))),
    });
    let handler = handler(
        &[&system],
        1,
        Retry {
            max_attempts: 2,
            ..RETRY
        },
        "",
    );
    let changes = [
        leads(["old", "x"]),
        vec![change("delete", "new", "lead", json!({}))],
        leads(["new"]),
    ]
    .concat();
    let answer = invoke(&handler, &batch(&changes), "r").await;
    let expected = ["upsert old x", "delete new", "upsert old new", "upsert new"];
    assert_eq!(words(&system.calls()), expected);
    assert_eq!(failures(&answer), [sequence_number(0, 0)]);
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("small")
}

#[tokio::test(start_paused = true)]
async fn a_delete_and_then_an_upsert_of_one_contact_keep_their_order_and_never_overlap() {
    let system = Scripted::new("one", 100, |call, number| {
        (MILLI * (300 - 40 * small(number % 7)), Some(good(call)))
    });
    let handler = handler(&[&system], 4, RETRY, "");
    let mut changes = Vec::new();
    for at in 0..250 {
        let id = format!("c-{at}");
        changes.push(change("delete", &id, "lead", json!({})));
        changes.push(change("create", &id, "lead", json!({})));
    }
    assert_eq!(failed_records(&handler, &changes).await, 0);
    let calls = system.calls();
    assert_eq!(
        calls.len(),
        6,
        "three deletes and three upserts: {:?}",
        system.sizes()
    );
    for at in 0..250 {
        let id = format!("c-{at}");
        let [delete, upsert] = [WriteKind::Delete, WriteKind::Upsert].map(|kind| {
            calls
                .iter()
                .find(|call| call.kind == kind && call.ids.contains(&id))
                .expect("recorded")
        });
        assert!(delete.ended.expect("answered") <= upsert.started, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_start_only_with_time_left_and_end_before_the_deadline() {
    let system = Scripted::new("one", 10, |_, _| {
        (MILLI * 700, Some(failed("AWAY", None, false)))
    });
    let document = "[pipeline]\nfallback_budget_ms = 3000\ndeadline_margin_ms = 1000";
    let retry = Retry {
        max_attempts: 20,
        ..RETRY
    };
    let handler = handler(&[&system], 1, retry, document);
    let start = Instant::now();
    assert_eq!(failed_records(&handler, &many("lead", 200)).await, 200);
    assert!(start.elapsed() <= MILLI * 2000, "{:?}", start.elapsed());
    let calls = system.calls();
    assert!(!calls.is_empty());
    for call in calls {
        assert_eq!(call.give_up_at - start, MILLI * 2000);
        assert!(
            call.started + MILLI * 50 <= call.give_up_at,
            "started {:?}",
            call.started - start
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_end_after_the_deadline_is_not_started() {
    let system = Scripted::new("one", 10, |call, _| {
        (MILLI * 10, Some(good_but(call, "slow", Some(MILLI * 4000))))
    });
    let handler = handler(
        &[&system],
        1,
        RETRY,
        "[pipeline]\nfallback_budget_ms = 3000",
    );
    let start = Instant::now();
    assert_eq!(failed_records(&handler, &leads(["slow", "a"])).await, 1);
    assert!(start.elapsed() < MILLI * 100, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_the_deadline_lasts_across_invocations() {
    let system = Scripted::new("one", 10, |call, number| {
        let reply = if number == 0 {
            throttled("TOO_MANY", Some(MILLI * 30_000))
        } else {
            good(call)
        };
        (MILLI * 10, Some(reply))
    });
    let handler = handler(&[&system], 1, RETRY, "");
    let start = Instant::now();
    for _ in 0..2 {
        assert_eq!(failed_records(&handler, &many("lead", 50)).await, 50);
        assert!(
            start.elapsed() < MILLI * 100,
            "no call waits for a pause that ends too late: {:?}",
            start.elapsed()
        );
    }
    advance(MILLI * 27_000).await;
    assert_eq!(
        failed_records(&handler, &many("lead", 50)).await,
        0,
        "the rest of the pause fits into the invocation"
    );
    let second = &system.calls()[1];
    assert!(
        second.started - start >= MILLI * 30_000,
        "{:?}",
        second.started - start
    );
}

#[tokio::test(start_paused = true)]
async fn rate_limit_responses_do_not_multiply_the_calls() {
    let system = Scripted::new("one", 1, |_, _| {
        (MILLI, Some(throttled("TOO_MANY", Some(MILLI))))
    });
    let handler = handler(
        &[&system],
        4,
        RETRY,
        "[pipeline]\nfallback_budget_ms = 600000",
    );
    assert_eq!(failed_records(&handler, &many("lead", 1000)).await, 1000);
    let calls = system.calls().len();
    assert!(
        (1000..=1265).contains(&calls),
        "{calls} calls for 1000 payloads"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_halved_under_pressure_and_never_exceed_the_setting() {
    let system = Scripted::new("one", 1, |call, number| {
        let reply = if number < 8 {
            throttled("BUSY", Some(MILLI))
        } else {
            good(call)
        };
        (MILLI * 100, Some(reply))
    });
    let retry = Retry {
        max_attempts: 10,
        ..RETRY
    };
    let handler = handler(
        &[&system],
        8,
        retry,
        "[pipeline]\nfallback_budget_ms = 600000",
    );
    assert_eq!(failed_records(&handler, &many("lead", 400)).await, 0);
    let calls = system.calls();
    let at_once = |at: Instant| {
        calls
            .iter()
            .filter(|other| other.started <= at && other.ended > Some(at))
            .count()
    };
    assert_eq!(
        calls.iter().map(|call| at_once(call.started)).max(),
        Some(8)
    );
    assert!(
        at_once(calls[8].started) <= 4,
        "half after the first refusal"
    );
    assert_eq!(at_once(calls[calls.len() - 9].started), 8, "grown again");
}

#[test]
fn writes_that_follow_others_are_sent_in_partial_batches() {
    for seed in 0..40 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(async {
            let random = std::sync::Mutex::new(fastrand::Rng::with_seed(seed));
            let system = Scripted::new("one", 7, move |call, _| {
                (
                    MILLI * random.lock().expect("sound").u32(1..500),
                    Some(good(call)),
                )
            });
            let handler = handler(&[&system], 3, RETRY, "");
            let mut random = fastrand::Rng::with_seed(seed);
            let changes: Vec<Value> = (0..60)
                .map(|at| {
                    let operation = ["create", "delete", "update"][random.usize(..3)];
                    change(
                        operation,
                        &format!("c-{}", random.usize(..25) + at % 2),
                        "lead",
                        json!({}),
                    )
                })
                .collect();
            let start = Instant::now();
            assert_eq!(failed_records(&handler, &changes).await, 0, "seed {seed}");
            assert!(
                start.elapsed() < Duration::from_secs(9),
                "seed {seed} waited for the deadline"
            );
        });
    }
}
