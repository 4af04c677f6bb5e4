//! Tests of the circuit breaker in virtual time: its causes, its open state, its probes and its
//! closing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::dispatch::WriteKind;
use contact_sync::model::limits::Retry;
use contact_sync::model::{Cause, Code, Outcome, Rejection, RetryMode};
use serde_json::json;
use testkit::harness::{Logs, change};
use tokio::time::{Instant, advance};

use super::scripted::{
    MILLI, RETRY, RecordedCall, Scripted, TimedReply, breaker_open, each, failed, failed_records,
    good, handler, later, many, stopped, throttled,
};

type Script = Arc<dyn Fn(&RecordedCall, usize) -> TimedReply + Send + Sync>;

#[tokio::test(start_paused = true)]
async fn a_stopped_destination_gets_no_calls_until_a_probe_succeeds() {
    for cause in [
        Cause::Quota,
        Cause::Credential,
        Cause::Configuration,
        Cause::Unavailable,
    ] {
        let logs = Logs::listen();
        let system = Scripted::new("one", 10, move |_, _| (MILLI * 10, Some(stopped(cause))));
        let handler = handler(&[&system], 1, RETRY, "");
        assert_eq!(failed_records(&handler, &many("lead", 50)).await, 50);
        assert_eq!(system.calls().len(), 1, "{cause:?} opens at once");
        assert_eq!(failed_records(&handler, &many("lead", 50)).await, 50);
        assert_eq!(
            system.calls().len(),
            1,
            "{cause:?} is remembered between invocations"
        );
        advance(Duration::from_mins(6)).await;
        system.answer_with(|call, _| (MILLI * 10, Some(good(call))));
        assert_eq!(failed_records(&handler, &many("lead", 50)).await, 0);
        assert_eq!(breaker_open(&logs), [1, 1, 0], "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_destination_opens_the_breaker_and_a_probe_closes_it() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 10, |_, _| {
        (MILLI * 10, Some(failed("HTTP_500", None, false)))
    });
    let handler = handler(&[&system], 1, RETRY, "");
    assert_eq!(failed_records(&handler, &many("lead", 500)).await, 500);
    assert_eq!(
        system.sizes(),
        [10, 10, 1, 1, 1],
        "two batches, then three records as probes"
    );
    advance(Duration::from_secs(6)).await;
    assert_eq!(failed_records(&handler, &many("lead", 500)).await, 500);
    assert_eq!(system.sizes()[5..], [1], "one record is the probe");
    advance(Duration::from_secs(11)).await;
    system.answer_with(|call, _| (MILLI * 10, Some(good(call))));
    assert_eq!(failed_records(&handler, &many("lead", 500)).await, 0);
    assert_eq!(breaker_open(&logs), [1, 1, 0]);
    let errors = logs
        .lines()
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .count();
    assert_eq!(errors, 1, "the outage is logged once");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_cut_off_by_the_deadline_does_not_keep_the_breaker_open() {
    let system = Scripted::new("one", 10, |_, _| {
        (MILLI * 10, Some(stopped(Cause::Configuration)))
    });
    let handler = handler(
        &[&system],
        1,
        RETRY,
        "[pipeline]\nfallback_budget_ms = 2000",
    );
    failed_records(&handler, &many("lead", 10)).await;
    advance(Duration::from_secs(20)).await;
    system.answer_with(|_, _| (MILLI, None));
    assert_eq!(failed_records(&handler, &many("lead", 10)).await, 10);
    advance(Duration::from_mins(1)).await;
    system.answer_with(|call, _| (MILLI * 10, Some(good(call))));
    assert_eq!(failed_records(&handler, &many("lead", 10)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn all_other_calls_are_made_after_the_answer_to_the_probe() {
    let system = Scripted::new("one", 100, |_, _| {
        (MILLI * 10, Some(stopped(Cause::Unavailable)))
    });
    let handler = handler(&[&system], 4, RETRY, "");
    assert_eq!(failed_records(&handler, &many("customer", 10)).await, 10);
    advance(Duration::from_mins(6)).await;
    system.answer_with(|call, _| (MILLI * 300, Some(good(call))));
    assert_eq!(failed_records(&handler, &many("customer", 1000)).await, 0);
    let calls = system.calls();
    let probe = calls[1].ended.expect("answered");
    assert!(
        calls[2..].iter().all(|call| call.started >= probe),
        "the probe is the only call in flight"
    );
}

#[tokio::test(start_paused = true)]
async fn records_that_wait_for_a_failed_probe_fail_without_a_call() {
    let system = Scripted::new("one", 100, |_, _| {
        (MILLI * 10, Some(stopped(Cause::Unavailable)))
    });
    let handler = handler(
        &[&system],
        4,
        RETRY,
        "[pipeline]\nfallback_budget_ms = 3000",
    );
    assert_eq!(failed_records(&handler, &many("customer", 10)).await, 10);
    for hangs in [false, true] {
        advance(Duration::from_mins(6)).await;
        let before = system.calls().len();
        system.answer_with(move |_, _| {
            (
                MILLI * 300,
                (!hangs).then(|| failed("HTTP_500", None, false)),
            )
        });
        let start = Instant::now();
        assert_eq!(
            failed_records(&handler, &many("customer", 1000)).await,
            1000
        );
        assert_eq!(system.calls().len() - before, 1);
        assert!(start.elapsed() <= MILLI * 3000);
    }
}

/// A server error with a time to wait is evidence of an outage as well.
#[tokio::test(start_paused = true)]
async fn server_errors_open_the_breaker_with_and_without_a_time_to_wait() {
    for after in [None, Some(MILLI * 100)] {
        let system = Scripted::new("one", 10, move |_, _| {
            (MILLI * 10, Some(failed("HTTP_503", after, true)))
        });
        let handler = handler(&[&system], 1, RETRY, "");
        assert_eq!(failed_records(&handler, &many("lead", 500)).await, 500);
        assert_eq!(system.calls().len(), 5, "{after:?}");
        advance(Duration::from_secs(6)).await;
        assert_eq!(failed_records(&handler, &many("lead", 500)).await, 500);
        assert_eq!(
            system.calls().len(),
            6,
            "the probe does not close it: {after:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rate_limit_responses_are_no_outage_and_reduce_the_calls() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 10, |call, number| {
        let reply = if number < 12 {
            throttled("HTTP_429", None)
        } else {
            good(call)
        };
        (MILLI * 10, Some(reply))
    });
    let retry = Retry {
        max_attempts: 20,
        ..RETRY
    };
    let handler = handler(
        &[&system],
        4,
        retry,
        "[pipeline]\nfallback_budget_ms = 600000",
    );
    assert_eq!(failed_records(&handler, &many("lead", 500)).await, 0);
    assert_eq!(breaker_open(&logs), [0]);
    assert_eq!(logs.metrics("one")[0]["RateLimited"], 12);
    let calls = system.calls();
    let pauses = calls[..13]
        .windows(2)
        .filter(|pair| pair[1].started - pair[0].started >= MILLI * 1000)
        .count();
    assert!(
        pauses >= 8,
        "a pause of a second after each answer, and soon a single call in flight: {pauses}"
    );
}

/// Covers outages in which some calls are still answered: which records are rejected, and with
/// which code.
#[tokio::test(start_paused = true)]
async fn records_are_not_rejected_for_an_outage_while_none_is_written() {
    let broken = || failed("HTTP_500", None, false);
    let refused = |id: &str| {
        let rejection = Rejection::new(Code::new("STRING_TOO_LONG"), "");
        let faulty = RetryMode::Isolate(Rejection::new(Code::new("INTERNAL_ERROR"), ""));
        if id == "lead-0" {
            Some(Outcome::Rejected(rejection))
        } else {
            later("INTERNAL_ERROR", faulty)
        }
    };
    let gone = |call: &RecordedCall| each(call, |_| Some(Outcome::already_gone()));
    let is_delete = |call: &RecordedCall| call.kind == WriteKind::Delete;
    let scripts: [(&str, Script); 6] = [
        (
            "one row is refused",
            Arc::new(move |call, _| (MILLI, Some(each(call, refused)))),
        ),
        (
            "every third call is throttled",
            Arc::new(move |_, at| {
                (
                    MILLI,
                    Some(if at % 3 == 2 {
                        throttled("HTTP_429", None)
                    } else {
                        broken()
                    }),
                )
            }),
        ),
        (
            "deletes find nothing",
            Arc::new(move |call, _| {
                (
                    MILLI,
                    Some(if is_delete(call) {
                        gone(call)
                    } else {
                        broken()
                    }),
                )
            }),
        ),
        (
            "deletes succeed",
            Arc::new(move |call, _| {
                (
                    MILLI,
                    Some(if is_delete(call) {
                        good(call)
                    } else {
                        broken()
                    }),
                )
            }),
        ),
        (
            "upserts succeed",
            Arc::new(move |call, _| {
                (
                    MILLI,
                    Some(if is_delete(call) {
                        broken()
                    } else {
                        good(call)
                    }),
                )
            }),
        ),
        (
            "some deletes find nothing",
            Arc::new(move |call, _| {
                let found = call.ids.iter().all(|id| id.ends_with('7'));
                (
                    MILLI,
                    Some(if is_delete(call) && found {
                        gone(call)
                    } else {
                        broken()
                    }),
                )
            }),
        ),
    ];
    for ((way, script), size) in scripts
        .into_iter()
        .flat_map(|script| [(script.clone(), 20), (script, 200)])
    {
        let logs = Logs::listen();
        let system = Scripted::new("one", size, move |call, at| script(call, at));
        let handler = handler(&[&system], 2, RETRY, "");
        let mut changes = many("lead", 60);
        let deletes = if way.contains("deletes") || way.contains("upserts") {
            60
        } else {
            0
        };
        for number in 0..deletes {
            changes.push(change(
                "delete",
                &format!("old-{number}"),
                "lead",
                json!({}),
            ));
        }
        for _ in 0..12 {
            failed_records(&handler, &changes).await;
            advance(Duration::from_secs(20)).await;
        }
        let fates = logs.fates();
        let rejected: BTreeSet<_> = fates
            .iter()
            .filter(|fate| fate.starts_with("rejected"))
            .collect();
        let expected: &[&str] = if way == "one row is refused" {
            &["rejected STRING_TOO_LONG"]
        } else {
            &[]
        };
        assert_eq!(
            rejected.into_iter().collect::<Vec<_>>(),
            expected,
            "{way}, batches of {size}"
        );
        let calls = system.calls().len();
        assert!(calls <= 12 * 6, "{way}, batches of {size}: {calls} calls");
    }
}
