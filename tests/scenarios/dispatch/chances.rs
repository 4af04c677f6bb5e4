//! Cost of a failed row: bisections, repetitions and attempts, and the code that it is recorded
//! with.

use std::sync::Mutex;
use std::time::Duration;

use contact_sync::model::limits::Retry;
use contact_sync::model::{Outcome, Rejection, RetryMode};
use testkit::harness::Logs;
use tokio::time::Instant;

use super::scripted::{
    MILLI, RETRY, Scripted, each, failed_records, handler, later, leads, many, undelivered,
};

const MINUTE: Duration = Duration::from_mins(1);

fn refused() -> Rejection {
    Rejection::new("REFUSED".into(), "for good")
}

/// The answer names no record until the offending one is alone.
#[tokio::test(start_paused = true)]
async fn an_offending_row_that_is_named_only_alone_is_isolated_within_the_attempts() {
    for max_attempts in [1, Retry::standard().max_attempts] {
        for offending in ["lead-0", "lead-77", "lead-199"] {
            let logs = Logs::listen();
            let system = Scripted::new("one", 200, move |call, _| {
                let is_refused = call.ids.iter().any(|id| id == offending);
                let reply = each(call, |id| match call.ids.len() {
                    1 if id == offending => Some(Outcome::Rejected(refused())),
                    _ if is_refused => later("LOCKED", RetryMode::SplitBatch),
                    _ => None,
                });
                (MILLI * 10, Some(reply))
            });
            let handler = handler(
                &[&system],
                4,
                Retry {
                    max_attempts,
                    ..Retry::standard()
                },
                "",
            );
            assert_eq!(
                failed_records(&handler, &many("lead", 200)).await,
                0,
                "{offending}"
            );
            assert_eq!(
                undelivered(&logs),
                [(offending.to_owned(), "rejected REFUSED".to_owned())]
            );
            assert!(
                system.calls().len() <= 17,
                "two calls for each split: {}",
                system.calls().len()
            );
        }
    }
}

/// Isolating each row would take two calls per row. A bisection has about twenty calls; the
/// attempts of the rows follow.
#[tokio::test(start_paused = true)]
async fn rows_that_stay_locked_in_any_batch_do_not_multiply_the_calls() {
    let system = Scripted::new("one", 200, |call, _| {
        (
            MILLI * 10,
            Some(each(call, |_| later("LOCKED", RetryMode::SplitBatch))),
        )
    });
    let handler = handler(
        &[&system],
        4,
        Retry::standard(),
        "[pipeline]\nfallback_budget_ms = 600000",
    );
    assert_eq!(failed_records(&handler, &many("lead", 200)).await, 200);
    let calls = system.calls().len();
    assert!(calls < 60, "{calls} calls for 200 rows");
}

/// A trigger accepts a limited number of rows in one call.
#[tokio::test(start_paused = true)]
async fn rows_that_succeed_only_in_small_batches_are_delivered_in_one_invocation() {
    for (most, calls) in [(100, 3), (20, 31), (5, 127), (1, 399)] {
        let system = Scripted::new("one", 200, move |call, _| {
            let is_large = call.ids.len() > most;
            (
                MILLI * 10,
                Some(each(call, |_| {
                    is_large
                        .then(|| later("TOO_LARGE", RetryMode::SplitBatch))
                        .flatten()
                })),
            )
        });
        let handler = handler(
            &[&system],
            4,
            Retry::standard(),
            "[pipeline]\nfallback_budget_ms = 600000",
        );
        assert_eq!(
            failed_records(&handler, &many("lead", 200)).await,
            0,
            "{most} rows at most"
        );
        assert_eq!(
            system.calls().len(),
            calls,
            "two calls for each split: {most} rows at most"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_alone_stays_alone_and_gets_the_attempts_of_the_settings() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 8, |call, _| {
        (
            MILLI * 10,
            Some(each(call, |id| {
                (id == "lead-5")
                    .then(|| later("LOCKED", RetryMode::SplitBatch))
                    .flatten()
            })),
        )
    });
    let handler = handler(&[&system], 1, RETRY, "");
    assert_eq!(failed_records(&handler, &many("lead", 8)).await, 1);
    assert_eq!(
        undelivered(&logs),
        [("lead-5".to_owned(), "failed LOCKED".to_owned())]
    );
    assert_eq!(system.sizes(), [8, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_takes_no_attempt_and_each_code_allows_one() {
    for (codes, fate) in [
        (&["MISSING"][..], None),
        (&["MISSING", "DUPLICATE"], None),
        (&["MISSING", "MISSING"], Some("rejected REFUSED")),
        (
            &["MISSING", "DUPLICATE", "MISSING"],
            Some("rejected REFUSED"),
        ),
    ] {
        let logs = Logs::listen();
        let system = Scripted::new("one", 10, move |call, number| {
            let repetition = |id: &str| match codes.get(number) {
                Some(code) if id == "a" => later(code, RetryMode::OnceMore(None, refused())),
                _ => None,
            };
            (MILLI * 10, Some(each(call, repetition)))
        });
        let handler = handler(&[&system], 1, Retry::none(), "");
        assert_eq!(
            failed_records(&handler, &leads(["a", "b"])).await,
            0,
            "{codes:?}"
        );
        let expected: Vec<_> = fate
            .map(|fate| ("a".to_owned(), fate.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(undelivered(&logs), expected, "{codes:?}");
        assert_eq!(
            system.calls().len(),
            codes.len() + usize::from(fate.is_none()),
            "{codes:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_record_is_recorded_with_its_own_code() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 10, |call, _| {
        let reason = |id: &str| match id {
            "a" => later("LOCKED", RetryMode::Same),
            "b" => later("BUSY", RetryMode::Same),
            _ => None,
        };
        (MILLI * 10, Some(each(call, reason)))
    });
    let handler = handler(&[&system], 1, Retry::none(), "");
    assert_eq!(failed_records(&handler, &leads(["a", "b", "c"])).await, 2);
    let expected = [("a", "failed LOCKED"), ("b", "failed BUSY")];
    assert_eq!(
        undelivered(&logs),
        expected.map(|(id, fate)| (id.to_owned(), fate.to_owned()))
    );
}

/// Two changes are refused in one folded payload, then sent one by one. Each was part of two calls,
/// and its value was cut once.
#[tokio::test(start_paused = true)]
async fn changes_that_are_sent_one_by_one_keep_their_count_of_calls() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 10, |call, number| {
        (
            MILLI * 10,
            Some(each(call, |_| {
                (number == 0).then(|| Outcome::Rejected(refused()))
            })),
        )
    });
    let handler = handler(&[&system], 1, RETRY, "");
    assert_eq!(failed_records(&handler, &leads(["a", "a"])).await, 0);
    assert_eq!(logs.fates(), ["delivered", "delivered"]);
    let attempts: Vec<_> = logs
        .audit()
        .iter()
        .map(|line| line["attempts"].as_u64())
        .collect();
    assert_eq!(attempts, [Some(2), Some(2)]);
    assert_eq!(
        logs.metrics("")[0]["ValuesCut"],
        1,
        "the folded payload was cut"
    );
}

/// A transaction holds a lock for ten minutes at most.
#[tokio::test(start_paused = true)]
async fn a_record_that_stays_locked_alone_longer_than_any_transaction_is_rejected() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 8, |call, _| {
        let outcome =
            |id: &str| (id == "lead-5").then(|| later("LOCKED", RetryMode::SplitBatch))?;
        (MILLI * 10, Some(each(call, outcome)))
    });
    let handler = handler(&[&system], 1, RETRY, "");
    let started = Instant::now();
    let mut changes = many("lead", 8);
    while failed_records(&handler, &changes).await > 0 {
        assert!(started.elapsed() < 20 * MINUTE, "{:?}", logs.fates());
        tokio::time::advance(MINUTE).await;
        // The stream continues behind the locked record.
        changes = many("lead", 6).split_off(5);
        changes.extend(leads(["another"]));
    }
    assert!(started.elapsed() >= 15 * MINUTE, "{:?}", logs.fates());
    let fates = logs.fates();
    let last = fates.iter().rfind(|fate| !fate.starts_with("delivered"));
    assert_eq!(last.map(String::as_str), Some("rejected LOCKED"));
}

/// Two changes of one contact are folded into one payload. Its failures prove nothing about a
/// single change.
#[tokio::test(start_paused = true)]
async fn the_failures_of_a_folded_payload_do_not_count_against_its_changes() {
    let logs = Logs::listen();
    let calls = Mutex::new(0);
    let system = Scripted::new("one", 8, move |call, _| {
        let is_folded_or_once_more = || {
            let mut calls = calls.lock().expect("sound");
            *calls += 1;
            // Once in the batch, alone as often as settings allow, then the first change once.
            *calls <= 1 + RETRY.max_attempts + 1
        };
        let fault = || RetryMode::Isolate(refused());
        let outcome = |id: &str| {
            let is_failed = id == "folded" && is_folded_or_once_more();
            is_failed.then(|| later("FAULT", fault()))?
        };
        (MILLI * 10, Some(each(call, outcome)))
    });
    let handler = handler(
        &[&system],
        1,
        RETRY,
        "[pipeline]\nfallback_budget_ms = 600000",
    );
    let mut changes = leads(["folded", "folded"]);
    changes.extend(many("lead", 8));
    assert_eq!(failed_records(&handler, &changes).await, 0);
    assert_eq!(undelivered(&logs), []);
    let alone = system
        .calls()
        .into_iter()
        .filter(|call| call.ids == ["folded"]);
    let expected = RETRY.max_attempts as usize + 1 + 2;
    assert_eq!(
        alone.count(),
        expected,
        "the folded payload, one failed change, and both changes"
    );
}
