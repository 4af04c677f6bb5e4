//! Isolation of offending records over real HTTP: the other records are delivered, the offending
//! one becomes one dead letter, and the destination stays available.

use std::time::Duration;

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch, change};
use testkit::server::{Answer, Reply};
use testkit::stream::{failures, invoke};

const DOCUMENT: &str = "
    [pipeline]
    fallback_budget_ms = 120000
    [salesforce]
    request_timeout_ms = 400
    retry = { max_attempts = 3, base_delay_ms = 20, max_delay_ms = 200 }
    [hubspot]
    request_timeout_ms = 400
    retry = { max_attempts = 3, base_delay_ms = 20, max_delay_ms = 200 }
";

/// Returns each kind of failure of a call with the offending record.
fn ways() -> Vec<(&'static str, Reply)> {
    let internal = json!({"status": "error", "message": "internal error", "correlationId": "c-1"});
    let unknown =
        json!([{"errorCode": "UNKNOWN_EXCEPTION", "message": "An unexpected error occurred."}]);
    let page = "<html><body>Forbidden</body></html>";
    vec![
        ("HubSpot's 500", Answer::json(500, &internal).into()),
        ("Salesforce's 500", Answer::json(500, &unknown).into()),
        ("a page with 403", Answer::html(403, page).into()),
        ("a page with 503", Answer::html(503, page).into()),
        ("a call that hangs", Reply::Hang),
        ("a connection that is closed", Reply::Reset),
        (
            "a connection that is cut",
            Reply::Cut(Answer::json(200, &json!({"results": []}))),
        ),
        (
            "an oversized answer",
            Answer::json(200, &json!("x".repeat(11 << 20))).into(),
        ),
    ]
}

fn people(kind: &str, operation: &str, count: usize) -> Vec<Value> {
    let fields =
        |at: usize| json!({"last_name": format!("Nr {at}"), "email": format!("p{at}@example.com")});
    (0..count)
        .map(|at| change(operation, &format!("p-{at}"), kind, fields(at)))
        .collect()
}

/// Returns the contacts that were rejected, and the fates of all others.
fn rejected(logs: &Logs) -> (Vec<String>, Vec<String>) {
    let fates = logs.audit().into_iter().zip(logs.fates());
    let (rejected, others): (Vec<_>, Vec<_>) =
        fates.partition(|(_, fate)| fate.starts_with("rejected "));
    let id = |(line, _): (Value, String)| line["contact_id"].as_str().expect("an id").to_owned();
    (
        rejected.into_iter().map(id).collect(),
        others.into_iter().map(|(_, fate)| fate).collect(),
    )
}

#[tokio::test]
async fn an_offending_record_becomes_one_dead_letter_and_its_neighbours_are_delivered() {
    for kind in ["lead", "customer"] {
        for (way, reply) in ways() {
            let mocks = Mocks::start().await;
            let handler = mocks.handler(Preset::Test, DOCUMENT);
            mocks.salesforce.reply_to_each_with("p-1", reply.clone());
            mocks.hubspot.reply_to_each_with("p-1", reply);
            let logs = Logs::listen();
            // On a machine under load other calls may fail too. Then one invocation may not
            // suffice.
            let mut redelivered = 0;
            while !failures(&invoke(&handler, &batch(&people(kind, "create", 3)), "r-1").await)
                .is_empty()
            {
                redelivered += 1;
                assert!(redelivered < 5, "{kind}, {way}: {:?}", logs.fates());
            }
            let (rejected, others) = rejected(&logs);
            assert_eq!(rejected, ["p-1"], "{kind}, {way}");
            assert_eq!(others.len(), 2 + 3 * redelivered, "{kind}, {way}");
            let delivered = others.iter().filter(|fate| *fate == "delivered").count();
            assert!(delivered >= 2, "{kind}, {way}: {others:?}");
            if redelivered == 0 {
                let lines = logs.lines();
                let is_outage = |line: &Value| {
                    let message = line["message"].as_str();
                    message.is_some_and(|text| text.starts_with("destination unavailable"))
                };
                assert!(!lines.iter().any(is_outage), "{kind}, {way}");
            }
            let another = change("create", "another", kind, json!({"last_name": "Other"}));
            assert!(
                failures(&invoke(&handler, &batch(&[another]), "r-2").await).is_empty(),
                "{kind}, {way}"
            );
        }
    }
}

/// The look-up before a delete fails like an upsert.
#[tokio::test]
async fn an_offending_delete_is_isolated_by_its_look_up() {
    for kind in ["lead", "customer"] {
        let mocks = Mocks::start().await;
        let handler = mocks.handler(Preset::Test, DOCUMENT);
        assert!(
            failures(&invoke(&handler, &batch(&people(kind, "create", 5)), "r-1").await).is_empty()
        );
        let broken = Answer::html(500, "<html>");
        mocks.salesforce.reply_to_each_with("p-3", broken.clone());
        mocks.hubspot.reply_to_each_with("p-3", broken);
        let logs = Logs::listen();
        assert!(
            failures(&invoke(&handler, &batch(&people(kind, "delete", 5)), "r-2").await).is_empty(),
            "{kind}"
        );
        assert_eq!(rejected(&logs).0, ["p-3"], "{kind}");
        assert_eq!(
            mocks.salesforce.leads().len() + mocks.hubspot.contacts().len(),
            1,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_batch_that_takes_longer_than_its_time_is_delivered_in_smaller_ones() {
    let slow = |salesforce: &mut testkit::mock_salesforce::Behavior| {
        salesforce.latency_per_record = Duration::from_millis(20);
    };
    let mocks = Mocks::start_with(slow, |_| {}).await;
    let document = DOCUMENT.replace("request_timeout_ms = 400", "request_timeout_ms = 3000");
    let handler = mocks.handler(Preset::Test, &document);
    let logs = Logs::listen();
    let answer = invoke(&handler, &batch(&people("lead", "create", 200)), "r-1").await;
    assert_eq!(
        failures(&answer).len(),
        0,
        "{:?}",
        mocks
            .salesforce
            .sizes(testkit::mock_salesforce::Endpoint::Upsert)
    );
    let warnings = logs
        .lines()
        .into_iter()
        .filter(|line| line["batch_size"].is_u64());
    assert_eq!(warnings.count(), 1, "the accepted size is logged");
    assert_eq!(mocks.salesforce.leads().len(), 200);
}
