//! The circuit breaker at work: what opens it, what it does meanwhile, and how it closes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::{Cause, Code, Outcome, Rejection, RetryMode};
use contact_sync::dispatch::WriteKind;
use contact_sync::dispatch::settings::Retry;
use serde_json::json;
use testkit::harness::{Logs, change};
use tokio::time::{Instant, advance};

use super::scripted::{
    Asked, AuditFields, MILLI, RETRY, Scripted, breaker_open, each, failed, failed_records, good,
    handler, later, many, stopped, throttled,
};

type Script = Arc<dyn Fn(&Asked, usize) -> AuditFields + Send + Sync>;

#[tokio::test(start_paused = true)]
async fn a_stopped_system_is_left_alone_until_one_call_has_looked() {
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
        assert_eq!(system.asked().len(), 1, "{cause:?} opens at once");
        assert_eq!(failed_records(&handler, &many("lead", 50)).await, 50);
        assert_eq!(
            system.asked().len(),
            1,
            "{cause:?} stays in mind between invocations"
        );
        advance(Duration::from_mins(6)).await;
        system.now(|asked, _| (MILLI * 10, Some(good(asked))));
        assert_eq!(failed_records(&handler, &many("lead", 50)).await, 0);
        assert_eq!(breaker_open(&logs), [1, 1, 0], "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_system_opens_the_breaker_after_a_while_and_a_probe_closes_it() {
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
    assert_eq!(system.sizes()[5..], [1], "one record probes");
    advance(Duration::from_secs(11)).await;
    system.now(|asked, _| (MILLI * 10, Some(good(asked))));
    assert_eq!(failed_records(&handler, &many("lead", 500)).await, 0);
    assert_eq!(breaker_open(&logs), [1, 1, 0]);
    let told = logs
        .lines()
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .count();
    assert_eq!(told, 1, "the operator is told once");
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
    system.now(|_, _| (MILLI, None));
    assert_eq!(failed_records(&handler, &many("lead", 10)).await, 10);
    advance(Duration::from_mins(1)).await;
    system.now(|asked, _| (MILLI * 10, Some(good(asked))));
    assert_eq!(failed_records(&handler, &many("lead", 10)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn once_the_probe_has_its_answer_everything_beside_it_is_sent() {
    let system = Scripted::new("one", 100, |_, _| {
        (MILLI * 10, Some(stopped(Cause::Unavailable)))
    });
    let handler = handler(&[&system], 4, RETRY, "");
    assert_eq!(failed_records(&handler, &many("customer", 10)).await, 10);
    advance(Duration::from_mins(6)).await;
    system.now(|asked, _| (MILLI * 300, Some(good(asked))));
    assert_eq!(failed_records(&handler, &many("customer", 1000)).await, 0);
    let asked = system.asked();
    let probe = asked[1].ended.expect("answered");
    assert!(
        asked[2..].iter().all(|asked| asked.started >= probe),
        "one call looks, alone"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_probe_in_vain_fails_without_a_call() {
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
        let before = system.asked().len();
        system.now(move |_, _| {
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
        assert_eq!(system.asked().len() - before, 1);
        assert!(start.elapsed() <= MILLI * 3000);
    }
}

/// Whoever names a time to wait is short of breath, but an outage all the same.
#[tokio::test(start_paused = true)]
async fn server_errors_open_the_breaker_whether_or_not_they_name_a_time() {
    for after in [None, Some(MILLI * 100)] {
        let system = Scripted::new("one", 10, move |_, _| {
            (MILLI * 10, Some(failed("HTTP_503", after, true)))
        });
        let handler = handler(&[&system], 1, RETRY, "");
        assert_eq!(failed_records(&handler, &many("lead", 500)).await, 500);
        assert_eq!(system.asked().len(), 5, "{after:?}");
        advance(Duration::from_secs(6)).await;
        assert_eq!(failed_records(&handler, &many("lead", 500)).await, 500);
        assert_eq!(
            system.asked().len(),
            6,
            "the probe does not close it: {after:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_calls_are_no_outage_and_are_fewer_after_a_pause() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 10, |asked, number| {
        let reply = if number < 12 {
            throttled("HTTP_429", None)
        } else {
            good(asked)
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
    let asked = system.asked();
    let pauses = asked[..13]
        .windows(2)
        .filter(|pair| pair[1].started - pair[0].started >= MILLI * 1000)
        .count();
    assert!(
        pauses >= 8,
        "a second after each answer, and soon one call at a time: {pauses}"
    );
}

/// An outage of which something else is answered all the while: who is refused then, and how.
#[tokio::test(start_paused = true)]
async fn while_nothing_is_written_nothing_is_rejected_for_it() {
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
    let gone = |asked: &Asked| each(asked, |_| Some(Outcome::already_gone()));
    let is_delete = |asked: &Asked| asked.kind == WriteKind::Delete;
    let scripts: [(&str, Script); 6] = [
        (
            "one row is refused",
            Arc::new(move |asked, _| (MILLI, Some(each(asked, refused)))),
        ),
        (
            "every third call is one too many",
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
            Arc::new(move |asked, _| {
                (
                    MILLI,
                    Some(if is_delete(asked) {
                        gone(asked)
                    } else {
                        broken()
                    }),
                )
            }),
        ),
        (
            "deletes succeed",
            Arc::new(move |asked, _| {
                (
                    MILLI,
                    Some(if is_delete(asked) {
                        good(asked)
                    } else {
                        broken()
                    }),
                )
            }),
        ),
        (
            "upserts succeed",
            Arc::new(move |asked, _| {
                (
                    MILLI,
                    Some(if is_delete(asked) {
                        broken()
                    } else {
                        good(asked)
                    }),
                )
            }),
        ),
        (
            "some deletes find nothing",
            Arc::new(move |asked, _| {
                let found = asked.ids.iter().all(|id| id.ends_with('7'));
                (
                    MILLI,
                    Some(if is_delete(asked) && found {
                        gone(asked)
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
        let system = Scripted::new("one", size, move |asked, at| script(asked, at));
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
        let calls = system.asked().len();
        assert!(calls <= 12 * 6, "{way}, batches of {size}: {calls} calls");
    }
}
