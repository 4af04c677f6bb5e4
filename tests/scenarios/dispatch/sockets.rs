//! Tests of destinations with faulty connections: the function answers in time, and the records of
//! the other destination are written.

use std::time::Duration;

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch, change, people};
use testkit::mock_hubspot::Endpoint;
use testkit::server::{Answer, Reply};
use testkit::stream::{failures, invoke, sequence_number};
use tokio::time::{Instant, sleep_until, timeout};

fn faulty_replies() -> [Reply; 4] {
    let answer = Answer::json(200, &json!({"status": "COMPLETE", "results": []}));
    [
        Reply::Hang,
        Reply::Trickle(answer.clone()),
        Reply::Reset,
        Reply::Cut(answer),
    ]
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep_until(Instant::now() + Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn records_for_salesforce_are_written_while_hubspot_hangs() {
    let mocks = Mocks::start().await;
    for _ in 0..100 {
        mocks.hubspot.next(Reply::Hang);
    }
    let handler = mocks.handler(Preset::Test, "[pipeline]\nfallback_budget_ms = 120000");
    let records = batch(&people(1000));
    let invocation = invoke(&handler, &records, "r");
    tokio::pin!(invocation);
    let written = until(|| mocks.salesforce.leads().len() == 500);
    tokio::select! {
        biased;
        () = written => {}
        _ = &mut invocation => panic!("HubSpot hangs: the invocation waits for it"),
    }
    assert!(
        mocks.hubspot.count(Endpoint::Upsert) > 0,
        "the calls were in flight together"
    );
    // Ends the calls of the customers before the deadline.
    mocks.hubspot_server.stop();
    let answer = invocation.await;
    let customers: Vec<String> = (0..1000)
        .filter(|at| at % 2 == 1)
        .map(|at| sequence_number(0, at))
        .collect();
    assert_eq!(failures(&answer), customers);
}

/// Returns the latency of the function while HubSpot replies so. Checks that the records of
/// Salesforce are written.
async fn time_to_answer(reply: &Reply) -> Duration {
    let mocks = Mocks::start().await;
    for _ in 0..1000 {
        mocks.hubspot.next(reply.clone());
    }
    let document = "[pipeline]\nfallback_budget_ms = 4000\ndeadline_margin_ms = 2000";
    let handler = mocks.handler(Preset::Test, document);
    let start = Instant::now();
    let answer = timeout(
        Duration::from_mins(2),
        invoke(&handler, &batch(&people(300)), "r"),
    )
    .await;
    let time = start.elapsed();
    let answer = answer.unwrap_or_else(|_| panic!("no answer: {reply:?}"));
    assert_eq!(failures(&answer).len(), 150, "{reply:?}");
    assert_eq!(mocks.salesforce.leads().len(), 150, "{reply:?}");
    let calls = mocks.hubspot.count(Endpoint::Upsert);
    assert!(calls <= 12, "{calls} calls for {reply:?}");
    time
}

/// The deadline of each invocation is in 1970, as with local emulators, so that the time budget of
/// the settings applies.
#[tokio::test]
async fn the_function_answers_in_time_with_any_faulty_connection() {
    for reply in faulty_replies() {
        let mut times = Vec::new();
        // A busy machine delays an answer occasionally; a wait without a limit delays all of them.
        while times
            .last()
            .is_none_or(|time| *time >= Duration::from_secs(4))
        {
            assert!(
                times.len() < 5,
                "Lambda would have ended it: {reply:?} {times:?}"
            );
            times.push(time_to_answer(&reply).await);
        }
    }
}

/// With a share of one request, token requests, look-ups and repetitions take permits like the
/// others.
#[tokio::test]
async fn each_request_has_a_window_of_its_own_with_a_share_of_one() {
    let window = Duration::from_millis(200);
    let document = "[pipeline]\nconcurrency_share = 16\n\
        [salesforce]\nrate_limit = { requests = 16, per_ms = 200 }\n\
        [salesforce.status]\nlead = \"New\"\n\
        [hubspot]\nrate_limit = { requests = 16, per_ms = 200 }\n[hubspot.retry]\nmax_attempts = 4";
    let mocks = Mocks::start().await;
    let handler = mocks.handler(Preset::Test, document);
    let name = || json!({"last_name": "Lovelace"});
    let both = |operation| {
        ["lead", "customer"].map(|kind| change(operation, &format!("c-{kind}"), kind, name()))
    };
    assert_eq!(
        failures(&invoke(&handler, &batch(&both("create")), "r").await),
        [""; 0]
    );
    mocks.salesforce.expire_tokens();
    assert_eq!(
        failures(&invoke(&handler, &batch(&both("delete")), "r").await),
        [""; 0]
    );
    assert_eq!(
        failures(
            &invoke(
                &handler,
                &batch(&[change("update", "c-new", "lead", json!({}))]),
                "r"
            )
            .await
        ),
        [""; 0]
    );
    let of_salesforce: Vec<_> = mocks.salesforce.seen().iter().map(|seen| seen.at).collect();
    let of_hubspot: Vec<_> = mocks.hubspot.seen().iter().map(|seen| seen.at).collect();
    // Token, query, upsert; (a refused query,) token, query, delete; upsert, upsert with the
    // defaults.
    assert_eq!(
        (
            of_salesforce.len(),
            mocks.salesforce.refused_tokens(),
            of_hubspot.len()
        ),
        (8, 1, 3)
    );
    for at in [of_salesforce, of_hubspot] {
        for (one, next) in at.iter().zip(&at[1..]) {
            assert!(*next - *one >= window, "{:?} apart", *next - *one);
        }
    }
}

/// There are more calls than permits, and all calls need the token that one of them requests.
#[tokio::test]
async fn calls_that_wait_for_a_token_leave_a_permit_for_its_request() {
    let mocks = Mocks::start().await;
    let document = "[pipeline]\nfallback_budget_ms = 60000\n\
        [salesforce]\nbatch_size = 5\nrate_limit = { requests = 2, per_ms = 100 }";
    let handler = mocks.handler(Preset::Test, document);
    let leads: Vec<Value> = people(40)
        .into_iter()
        .filter(|change| change["contact"]["type"] == "lead")
        .collect();
    for _ in 0..2 {
        let answer = timeout(
            Duration::from_secs(30),
            invoke(&handler, &batch(&leads), "r"),
        )
        .await;
        assert_eq!(
            failures(&answer.expect("the calls do not deadlock")),
            [""; 0]
        );
        mocks.salesforce.expire_tokens();
    }
}

/// Uses the settings of a deployment, with a state table that cannot be reached.
#[tokio::test]
async fn an_unreachable_table_is_logged_once_and_fails_no_record() {
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    let handler = mocks.handler(Preset::Test, "[state]\ntable = \"contact-sync-state\"");
    for _ in 0..2 {
        assert!(failures(&invoke(&handler, &batch(&people(100)), "r").await).is_empty());
    }
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (50, 50)
    );
    let is_warning = |line: &&Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("rate limit not shared"))
    };
    assert_eq!(
        logs.lines().iter().filter(is_warning).count(),
        2,
        "once for each destination"
    );
    let counted = logs
        .metrics("hubspot")
        .iter()
        .map(|line| line["LeaseFailures"].as_u64())
        .collect::<Vec<_>>();
    assert_eq!(
        counted,
        [Some(1), Some(0)],
        "the table is not asked again for a pause"
    );
}
