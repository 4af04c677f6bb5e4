//! Whatever the real binary waits for in vain, its answer is there before the deadline that Lambda
//! named, and tells the truth about every record.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cloud::Cloud;
use testkit::harness::{Mocks, batch, change};
use testkit::mock_salesforce::Endpoint;
use testkit::proxy::Treatment;
use testkit::runtime_api::{Ended, Function};
use testkit::server::Reply;
use testkit::stream::sequence_number;
use tokio::time::{Instant, timeout};

/// What Lambda gives an invocation, and tells it.
const TIME: Duration = Duration::from_secs(8);

/// An answer that never comes is waited for so long.
const PATIENCE: Duration = Duration::from_mins(2);

/// So often an answer may be late. A busy machine delays one now and then, a wait without a limit
/// delays all.
const TRIES: usize = 5;

const LEADS: usize = 20;
const CUSTOMERS: usize = 20;

/// Leads, customers, and one that nobody can accept.
fn changes() -> Vec<Value> {
    let fields = json!({"last_name": "Lovelace", "company": "Acme"});
    let person = |at: usize| {
        let kind = if at < LEADS { "lead" } else { "customer" };
        change("create", &format!("c-{at}"), kind, fields.clone())
    };
    let bad = change("create", "c-bad", "lead", json!({"email": "nobody"}));
    (0..LEADS + CUSTOMERS).map(person).chain([bad]).collect()
}

/// The places of the records that come again where something hangs, by an answer that Lambda gets
/// in time.
async fn come_again(hang: impl Fn(&Mocks, &Cloud)) -> Vec<usize> {
    for _ in 0..TRIES {
        let (places, time) = answer(&hang).await;
        if time < TIME {
            return places;
        }
    }
    panic!("Lambda would have ended it, {TRIES} times of {TRIES}");
}

/// The places of the records that come again, and the time after which the answer tells them.
async fn answer(hang: impl Fn(&Mocks, &Cloud)) -> (Vec<usize>, Duration) {
    let mocks = Mocks::start().await;
    let cloud = Cloud::start(&mocks).await;
    hang(&mocks, &cloud);
    let mut variables = cloud.variables();
    for (name, value) in [
        ("CONTACT_SYNC_PRESET", "test"),
        (
            "CONTACT_SYNC__HUBSPOT__BASE_URL",
            &*mocks.hubspot_server.url(),
        ),
        ("CONTACT_SYNC__PIPELINE__DEADLINE_MARGIN_MS", "3000"),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    let mut function =
        Function::start(Path::new(env!("CARGO_BIN_EXE_contact-sync")), &variables).await;
    function
        .time_to_first_poll()
        .await
        .expect("it starts, whatever hangs");
    let event = json!({"Records": batch(&changes())}).to_string();
    let start = Instant::now();
    let ended = timeout(PATIENCE, function.invoke(event, "r-1", TIME)).await;
    let (ended, time) = (
        ended.unwrap_or_else(|_| panic!("no answer: {:?}", function.lines())),
        start.elapsed(),
    );
    assert!(matches!(ended, Ended::Answer(_)), "{ended:?}");
    let numbers: Vec<String> = (0..=LEADS + CUSTOMERS)
        .map(|at| sequence_number(0, at))
        .collect();
    let failures = ended.failures();
    let place = |failure: &String| {
        numbers
            .iter()
            .position(|number| number == failure)
            .expect("ours")
    };
    (failures.iter().map(place).collect(), time)
}

fn leads() -> Vec<usize> {
    (0..LEADS).collect()
}

#[tokio::test]
async fn while_salesforce_hangs() {
    let hang = |mocks: &Mocks, _: &Cloud| {
        (0..100).for_each(|_| mocks.salesforce.next_of(Endpoint::Upsert, Reply::Hang));
    };
    assert_eq!(come_again(hang).await, leads());
}

#[tokio::test]
async fn while_the_token_endpoint_hangs() {
    let hang = |mocks: &Mocks, _: &Cloud| {
        (0..100).for_each(|_| mocks.salesforce.next_of(Endpoint::Token, Reply::Hang));
    };
    assert_eq!(come_again(hang).await, leads());
}

#[tokio::test]
async fn while_secrets_manager_hangs() {
    let failed = come_again(|_, cloud| cloud.proxy.treat("secretsmanager", Treatment::Hang)).await;
    assert_eq!(failed, (0..LEADS + CUSTOMERS).collect::<Vec<_>>());
}

#[tokio::test]
async fn while_the_queue_of_dead_letters_hangs() {
    let failed = come_again(|_, cloud| cloud.proxy.treat("AmazonSQS", Treatment::Hang)).await;
    assert_eq!(
        failed,
        [LEADS + CUSTOMERS],
        "without its dead letter, a rejected record comes again"
    );
}

#[tokio::test]
async fn while_the_state_table_hangs() {
    let failed = come_again(|_, cloud| cloud.proxy.treat("DynamoDB", Treatment::Hang)).await;
    assert!(failed.is_empty(), "{failed:?}");
}
