//! Systems that misbehave on the wire: the function answers in time, and the other system's records
//! are written.

use std::time::Duration;

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch, change, people};
use testkit::mock_hubspot::Endpoint;
use testkit::server::{Answer, Reply};
use testkit::stream::{failures, invoke, sequence_number};
use tokio::time::{Instant, sleep_until, timeout};

fn misbehaving() -> [Reply; 4] {
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
async fn while_hubspot_hangs_salesforces_records_are_written() {
    let mocks = Mocks::start().await;
    (0..100).for_each(|_| mocks.hubspot.next(Reply::Hang));
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
        "they were under way together"
    );
    // The customers need not be waited for until the time is up.
    mocks.hubspot_server.stop();
    let answer = invocation.await;
    let customers: Vec<String> = (0..1000)
        .filter(|at| at % 2 == 1)
        .map(|at| sequence_number(0, at))
        .collect();
    assert_eq!(failures(&answer), customers);
}

/// How long the function takes to answer where HubSpot replies so; the other system's records are
/// written.
async fn time_to_answer(reply: &Reply) -> Duration {
    let mocks = Mocks::start().await;
    (0..1000).for_each(|_| mocks.hubspot.next(reply.clone()));
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

/// The deadline of each invocation is in 1970, as local emulators have it: the budget of the
/// settings counts.
#[tokio::test]
async fn whatever_the_systems_do_the_function_answers_in_time() {
    for reply in misbehaving() {
        let mut times = Vec::new();
        // A busy machine delays an answer now and then, a wait without a limit delays all.
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

/// A share of one request: a token, a look-up and a second try are requests like the others.
#[tokio::test]
async fn each_request_has_a_stretch_of_its_own_where_the_share_is_one() {
    let stretch = Duration::from_millis(200);
    let document = "[pipeline]\nconcurrency_share = 16\n\
        [salesforce]\nrate_limit = { requests = 16, per_ms = 200 }\n[salesforce.status]\nlead = \"New\"\n\
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
            assert!(*next - *one >= stretch, "{:?} apart", *next - *one);
        }
    }
}

/// More calls than permits, all of which want the token that one of them asks for.
#[tokio::test]
async fn calls_that_wait_for_a_token_hold_no_permit_that_its_request_needs() {
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
            failures(&answer.expect("no call waits for another for ever")),
            [""; 0]
        );
        mocks.salesforce.expire_tokens();
    }
}

/// Settings of real life, with what they have to hold in a table.
#[tokio::test]
async fn a_table_that_cannot_be_reached_is_told_once_and_costs_no_record() {
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
    let told = |line: &&Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("rate limit not shared"))
    };
    assert_eq!(
        logs.lines().iter().filter(told).count(),
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
        "the table is left alone for a while"
    );
}
