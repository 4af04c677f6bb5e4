//! What a failed row costs: halvings, second chances, tries, and the code that is told of it.

use contact_sync::adapters::{Outcome, Rejection, RetryMode};
use contact_sync::dispatch::settings::Retry;
use testkit::harness::Logs;

use super::scripted::{
    MILLI, RETRY, Scripted, each, failed_records, handler, later, leads, many, undelivered,
};

fn refused() -> Rejection {
    Rejection::new("REFUSED".into(), "for good")
}

/// The answer blames nobody, until the culprit is alone.
#[tokio::test(start_paused = true)]
async fn a_row_that_is_told_of_only_alone_is_found_with_the_tries_that_settings_allow() {
    for max_attempts in [1, Retry::standard().max_attempts] {
        for culprit in ["lead-0", "lead-77", "lead-199"] {
            let logs = Logs::listen();
            let system = Scripted::new("one", 200, move |asked, _| {
                let is_hit = asked.ids.iter().any(|id| id == culprit);
                let reply = each(asked, |id| match asked.ids.len() {
                    1 if id == culprit => Some(Outcome::Rejected(refused())),
                    _ if is_hit => later("LOCKED", RetryMode::SplitBatch),
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
                "{culprit}"
            );
            assert_eq!(
                undelivered(&logs),
                [(culprit.to_owned(), "rejected REFUSED".to_owned())]
            );
            assert!(
                system.asked().len() <= 17,
                "two calls for each halving: {}",
                system.asked().len()
            );
        }
    }
}

/// Down to each row alone it would be two calls for each. A search has some twenty, and then there
/// are the tries.
#[tokio::test(start_paused = true)]
async fn rows_that_stay_locked_whatever_their_company_do_not_multiply_the_calls() {
    let system = Scripted::new("one", 200, |asked, _| {
        (
            MILLI * 10,
            Some(each(asked, |_| later("LOCKED", RetryMode::SplitBatch))),
        )
    });
    let handler = handler(
        &[&system],
        4,
        Retry::standard(),
        "[pipeline]\nfallback_budget_ms = 600000",
    );
    assert_eq!(failed_records(&handler, &many("lead", 200)).await, 200);
    let calls = system.asked().len();
    assert!(calls < 60, "{calls} calls for 200 rows");
}

/// A trigger bears so many rows in one call, and no more.
#[tokio::test(start_paused = true)]
async fn what_passes_in_small_company_only_passes_in_one_invocation() {
    for (most, calls) in [(100, 3), (20, 31), (5, 127), (1, 399)] {
        let system = Scripted::new("one", 200, move |asked, _| {
            let is_large = asked.ids.len() > most;
            (
                MILLI * 10,
                Some(each(asked, |_| {
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
            "{most} at most"
        );
        assert_eq!(
            system.asked().len(),
            calls,
            "two for each halving: {most} at most"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_fails_alone_has_as_many_tries_as_settings_allow_and_stays_alone() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 8, |asked, _| {
        (
            MILLI * 10,
            Some(each(asked, |id| {
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
    let sizes: Vec<usize> = system.asked().iter().map(|asked| asked.ids.len()).collect();
    assert_eq!(sizes, [8, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_second_chance_needs_no_further_try_and_each_code_has_one() {
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
        let system = Scripted::new("one", 10, move |asked, number| {
            let chance = |id: &str| {
                let code = codes.get(number).filter(|_| id == "a")?;
                later(code, RetryMode::OnceMore(None, refused()))
            };
            (MILLI * 10, Some(each(asked, chance)))
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
            system.asked().len(),
            codes.len() + usize::from(fate.is_none()),
            "{codes:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn each_record_is_told_its_own_reason() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 10, |asked, _| {
        let reason = |id: &str| match id {
            "a" => later("LOCKED", RetryMode::Same),
            "b" => later("BUSY", RetryMode::Same),
            _ => None,
        };
        (MILLI * 10, Some(each(asked, reason)))
    });
    let handler = handler(&[&system], 1, Retry::none(), "");
    assert_eq!(failed_records(&handler, &leads(["a", "b", "c"])).await, 2);
    let expected = [("a", "failed LOCKED"), ("b", "failed BUSY")];
    assert_eq!(
        undelivered(&logs),
        expected.map(|(id, fate)| (id.to_owned(), fate.to_owned()))
    );
}

/// What was sent together, was refused, and was sent one by one: each was part of two calls, and
/// was cut once.
#[tokio::test(start_paused = true)]
async fn what_is_sent_again_one_by_one_keeps_its_count() {
    let logs = Logs::listen();
    let system = Scripted::new("one", 10, |asked, number| {
        (
            MILLI * 10,
            Some(each(asked, |_| {
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
        "the folded one was cut"
    );
}
