//! What the dispatcher does when, in virtual time.

use std::time::Duration;

use contact_sync::dispatch::WriteKind;
use contact_sync::dispatch::settings::Retry;
use serde_json::{Value, json};
use testkit::harness::{batch, change};
use testkit::stream::{failures, invoke, sequence_number};
use tokio::time::{Instant, advance, sleep_until};

use super::scripted::{
    Asked, MILLI, RETRY, Scripted, failed, failed_records, good, good_but, handler, leads, many,
    throttled,
};

/// Calls as words: `upsert a b`.
fn words(asked: &[Asked]) -> Vec<String> {
    let word = |asked: &Asked| {
        let kind = if asked.kind == WriteKind::Upsert {
            "upsert"
        } else {
            "delete"
        };
        format!("{kind} {}", asked.ids.join(" "))
    };
    asked.iter().map(word).collect()
}

#[tokio::test(start_paused = true)]
async fn with_one_system_hanging_the_others_records_are_written_within_a_second() {
    let alive = Scripted::new("alive", 100, |asked, _| (MILLI * 80, Some(good(asked))));
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
    assert_eq!(failed, 1000, "the customers come again");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_system_slows_nobody_but_itself() {
    let alive = Scripted::new("alive", 100, |asked, _| (MILLI * 80, Some(good(asked))));
    let slowed = Scripted::new("throttled", 100, |asked, number| {
        let reply = if number < 8 {
            throttled("TOO_MANY", Some(MILLI * 3000))
        } else {
            good(asked)
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
            .asked()
            .iter()
            .filter_map(|asked| asked.ended)
            .max()
            .expect("some")
    };
    assert!(last(&alive) - start < MILLI * 1000);
    assert!(last(&slowed) - start > MILLI * 3000, "it was told to wait");
    let starts: Vec<Instant> = slowed.asked().iter().map(|asked| asked.started).collect();
    let early = starts
        .iter()
        .filter(|at| (MILLI * 81..MILLI * 3000).contains(&(**at - start)))
        .count();
    assert_eq!(early, 0, "no call in the pause that was asked for");
}

#[tokio::test(start_paused = true)]
async fn who_waits_already_when_a_long_pause_is_asked_for_does_not_wait_it_out() {
    let system = Scripted::new("one", 1, |asked, number| match number {
        0 => (MILLI * 10, Some(throttled("TOO_MANY", Some(MILLI * 2000)))),
        1 => (
            MILLI * 500,
            Some(throttled("TOO_MANY", Some(MILLI * 60_000))),
        ),
        _ => (MILLI * 20, Some(good(asked))),
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
        (failed, system.asked().len()),
        (4, 4),
        "c and d were under way before the first pause"
    );
    assert!(start.elapsed() < MILLI * 3000, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_waits_for_a_retry_holds_back_nothing_but_itself() {
    let system = Scripted::new("one", 2, |asked, number| {
        let reply = if number < 2 {
            good_but(asked, "slow", Some(MILLI * 2000))
        } else {
            good(asked)
        };
        (MILLI * 10, Some(reply))
    });
    let handler = handler(&[&system], 2, RETRY, "");
    let start = Instant::now();
    assert_eq!(
        failed_records(&handler, &leads(["slow", "a", "b", "c", "d", "e", "f"])).await,
        0
    );
    let asked = system.asked();
    assert_eq!(
        words(&asked),
        [
            "upsert slow a",
            "upsert b c",
            "upsert d e",
            "upsert f",
            "upsert slow"
        ]
    );
    assert!(asked[3].ended.expect("answered") - start < MILLI * 100);
    assert!(asked[4].started - start >= MILLI * 2000);
}

#[tokio::test(start_paused = true)]
async fn whose_tries_are_used_up_takes_no_others_of_its_call_along() {
    let system = Scripted::new("one", 2, |asked, number| match number {
        0 => (MILLI * 10, Some(good_but(asked, "old", Some(MILLI * 500)))),
        1 => (MILLI * 1000, Some(good(asked))),
        2 => (MILLI * 10, Some(failed("LOCKED", None, false))),
        _ => (MILLI * 10, Some(good(asked))),
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
    assert_eq!(words(&system.asked()), expected);
    assert_eq!(failures(&answer), [sequence_number(0, 0)]);
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("small")
}

#[tokio::test(start_paused = true)]
async fn a_delete_and_then_an_upsert_of_one_contact_keep_their_order_and_never_overlap() {
    let system = Scripted::new("one", 100, |asked, number| {
        (MILLI * (300 - 40 * small(number % 7)), Some(good(asked)))
    });
    let handler = handler(&[&system], 4, RETRY, "");
    let mut changes = Vec::new();
    for at in 0..250 {
        let id = format!("c-{at}");
        changes.push(change("delete", &id, "lead", json!({})));
        changes.push(change("create", &id, "lead", json!({})));
    }
    assert_eq!(failed_records(&handler, &changes).await, 0);
    let asked = system.asked();
    assert_eq!(
        asked.len(),
        6,
        "three deletes and three upserts: {:?}",
        asked.iter().map(|a| a.ids.len()).collect::<Vec<_>>()
    );
    for at in 0..250 {
        let id = format!("c-{at}");
        let [delete, upsert] = [WriteKind::Delete, WriteKind::Upsert].map(|kind| {
            asked
                .iter()
                .find(|asked| asked.kind == kind && asked.ids.contains(&id))
                .expect("asked")
        });
        assert!(delete.ended.expect("answered") <= upsert.started, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_is_started_that_cannot_end_in_time_and_none_may_take_longer() {
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
    let asked = system.asked();
    assert!(!asked.is_empty());
    for asked in asked {
        assert_eq!(asked.give_up_at - start, MILLI * 2000);
        assert!(
            asked.started + MILLI * 50 <= asked.give_up_at,
            "started {:?}",
            asked.started - start
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_end_after_the_deadline_is_not_begun() {
    let system = Scripted::new("one", 10, |asked, _| {
        (
            MILLI * 10,
            Some(good_but(asked, "slow", Some(MILLI * 4000))),
        )
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
async fn who_asks_for_more_time_than_we_have_is_spared_for_all_of_it() {
    let system = Scripted::new("one", 10, |asked, number| {
        let reply = if number == 0 {
            throttled("TOO_MANY", Some(MILLI * 30_000))
        } else {
            good(asked)
        };
        (MILLI * 10, Some(reply))
    });
    let handler = handler(&[&system], 1, RETRY, "");
    let start = Instant::now();
    for _ in 0..2 {
        assert_eq!(failed_records(&handler, &many("lead", 50)).await, 50);
        assert!(
            start.elapsed() < MILLI * 100,
            "nobody waits for what is too far away: {:?}",
            start.elapsed()
        );
    }
    advance(MILLI * 27_000).await;
    assert_eq!(
        failed_records(&handler, &many("lead", 50)).await,
        0,
        "the rest of it is waited for"
    );
    let second = &system.asked()[1];
    assert!(
        second.started - start >= MILLI * 30_000,
        "{:?}",
        second.started - start
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_multiply_the_calls() {
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
    let calls = system.asked().len();
    assert!(
        (1000..=1265).contains(&calls),
        "{calls} calls for 1000 payloads"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_halved_by_pressure_and_never_over_the_setting() {
    let system = Scripted::new("one", 1, |asked, number| {
        let reply = if number < 8 {
            throttled("BUSY", Some(MILLI))
        } else {
            good(asked)
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
    let asked = system.asked();
    let at_once = |at: Instant| {
        asked
            .iter()
            .filter(|other| other.started <= at && other.ended > Some(at))
            .count()
    };
    assert_eq!(asked.iter().map(|one| at_once(one.started)).max(), Some(8));
    assert!(
        at_once(asked[8].started) <= 4,
        "half after the first refusal"
    );
    assert_eq!(at_once(asked[asked.len() - 9].started), 8, "and grown back");
}

#[test]
fn follow_ups_are_sent_even_where_they_never_fill_a_batch() {
    for seed in 0..40 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(async {
            let random = std::sync::Mutex::new(fastrand::Rng::with_seed(seed));
            let system = Scripted::new("one", 7, move |asked, _| {
                (
                    MILLI * random.lock().expect("sound").u32(1..500),
                    Some(good(asked)),
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
