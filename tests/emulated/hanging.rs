//! Tests of the real binary with a service that hangs. It answers before Lambda's deadline, and
//! reports exactly the records that failed.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cloud::Cloud;
use testkit::harness::{Mocks, batch, change};
use testkit::mock_salesforce::Endpoint;
use testkit::proxy::Treatment;
use testkit::runtime_api::{Function, InvocationOutcome};
use testkit::server::Reply;
use testkit::stream::sequence_number;
use tokio::time::{Instant, timeout};

/// Lambda's timeout of an invocation.
const TIME: Duration = Duration::from_secs(8);

/// Bound of the wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// Bound of the attempts. A busy machine delays an answer occasionally; a wait without a limit
/// delays all of them.
const TRIES: usize = 5;

const LEADS: usize = 20;
const CUSTOMERS: usize = 20;

/// Returns leads, customers, and an invalid record.
fn changes() -> Vec<Value> {
    let fields = json!({"last_name": "Lovelace", "company": "Acme"});
    let person = |at: usize| {
        let kind = if at < LEADS { "lead" } else { "customer" };
        change("create", &format!("c-{at}"), kind, fields.clone())
    };
    let bad = change("create", "c-bad", "lead", json!({"email": "nobody"}));
    (0..LEADS + CUSTOMERS).map(person).chain([bad]).collect()
}

/// Returns the positions of the records that failed while a service hangs, by an answer that is in
/// time.
async fn failed_while(hang: impl Fn(&Mocks, &Cloud)) -> Vec<usize> {
    failed_with(&[], hang).await
}

/// As [`failed_while`], with `more` variables.
async fn failed_with(more: &[(&str, &str)], hang: impl Fn(&Mocks, &Cloud)) -> Vec<usize> {
    for _ in 0..TRIES {
        let (positions, time) = answer(more, &hang).await;
        if time < TIME {
            return positions;
        }
    }
    panic!("Lambda would have ended all of {TRIES} invocations");
}

/// Returns the positions of the records that failed, and the latency of the answer.
async fn answer(more: &[(&str, &str)], hang: impl Fn(&Mocks, &Cloud)) -> (Vec<usize>, Duration) {
    let mocks = Mocks::start().await;
    let cloud = Cloud::start(&mocks).await;
    hang(&mocks, &cloud);
    let mut variables = cloud.variables();
    let others = [
        ("CONTACT_SYNC_PRESET", "test"),
        (
            "CONTACT_SYNC__HUBSPOT__BASE_URL",
            &*mocks.hubspot_server.url(),
        ),
        ("CONTACT_SYNC__PIPELINE__DEADLINE_MARGIN_MS", "3000"),
    ];
    for (name, value) in others.iter().chain(more) {
        variables.push(((*name).to_owned(), (*value).to_owned()));
    }
    let mut function =
        Function::start(Path::new(env!("CARGO_BIN_EXE_contact-sync")), &variables).await;
    function
        .time_to_first_poll()
        .await
        .expect("the function starts");
    let event = json!({"Records": batch(&changes())}).to_string();
    let start = Instant::now();
    let ended = timeout(ANSWER_TIMEOUT, function.invoke(event, "r-1", TIME)).await;
    let (ended, time) = (
        ended.unwrap_or_else(|_| panic!("no answer: {:?}", function.lines())),
        start.elapsed(),
    );
    assert!(matches!(ended, InvocationOutcome::Answer(_)), "{ended:?}");
    let numbers: Vec<String> = (0..=LEADS + CUSTOMERS)
        .map(|at| sequence_number(0, at))
        .collect();
    let failures = ended.failures();
    let position = |failure: &String| {
        numbers
            .iter()
            .position(|number| number == failure)
            .expect("a record of the batch")
    };
    (failures.iter().map(position).collect(), time)
}

fn leads() -> Vec<usize> {
    (0..LEADS).collect()
}

fn hang(mocks: &Mocks, endpoint: Endpoint) {
    for _ in 0..100 {
        mocks.salesforce.next_of(endpoint, Reply::Hang);
    }
}

#[tokio::test]
async fn leads_fail_while_salesforce_hangs() {
    let failed = failed_while(|mocks, _| hang(mocks, Endpoint::Upsert)).await;
    assert_eq!(failed, leads());
}

#[tokio::test]
async fn leads_fail_while_the_token_endpoint_hangs() {
    let failed = failed_while(|mocks, _| hang(mocks, Endpoint::Token)).await;
    assert_eq!(failed, leads());
}

#[tokio::test]
async fn all_valid_records_fail_while_secrets_manager_hangs() {
    let failed =
        failed_while(|_, cloud| cloud.proxy.treat("secretsmanager", Treatment::Hang)).await;
    assert_eq!(failed, (0..LEADS + CUSTOMERS).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_invalid_record_fails_while_the_dead_letter_queue_hangs() {
    let failed = failed_while(|_, cloud| cloud.proxy.treat("AmazonSQS", Treatment::Hang)).await;
    assert_eq!(
        failed,
        [LEADS + CUSTOMERS],
        "a rejected record without a dead letter is redelivered"
    );
}

#[tokio::test]
async fn all_records_fail_while_every_service_hangs_from_before_the_start() {
    let silent = |mocks: &Mocks, cloud: &Cloud| {
        for endpoint in [Endpoint::Token, Endpoint::Upsert, Endpoint::Query] {
            hang(mocks, endpoint);
        }
        for _ in 0..100 {
            mocks.hubspot.next(Reply::Hang);
        }
        for service in ["secretsmanager", "AmazonSQS", "DynamoDB", "AmazonSSM"] {
            cloud.proxy.treat(service, Treatment::Hang);
        }
    };
    let all: Vec<usize> = (0..=LEADS + CUSTOMERS).collect();
    let parameter = ("CONTACT_SYNC_CONFIG", "ssm:/contact-sync/settings");
    assert_eq!(failed_while(silent).await, all, "without a parameter");
    let failed = failed_with(&[parameter], silent).await;
    assert_eq!(failed, all, "with one");
}

#[tokio::test]
async fn no_record_fails_while_the_state_table_hangs() {
    let failed = failed_while(|_, cloud| cloud.proxy.treat("DynamoDB", Treatment::Hang)).await;
    assert!(failed.is_empty(), "{failed:?}");
}
