//! End-to-end test from a Kinesis stream to both destinations. Producers put records into an
//! emulation of Kinesis, and the simulated mapping reads them and invokes the real binary. The
//! binary uses settings, secrets, a queue and a table of the emulation, as on AWS, and both mocks.
//! `make e2e` runs this test alone.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use testkit::generator::{Generated, MockStreamGenerator, Plan, attribute_settings};
use testkit::harness::Mocks;
use testkit::kinesis::{Invocation, Mapping, Stream};
use testkit::moto::Moto;
use testkit::runtime_api::Function;
use testkit::stream::ARN;
use tokio::sync::Mutex;

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");
const TIME: Duration = Duration::from_secs(30);
const NAME: &str = "contact-changes";
const SHARDS: i32 = 3;

/// Puts the records into the stream, as a producer does.
async fn put(kinesis: &aws_sdk_kinesis::Client, records: &[Generated]) {
    kinesis
        .create_stream()
        .stream_name(NAME)
        .shard_count(SHARDS)
        .send()
        .await
        .expect("a stream");
    // A call has at most 500 records.
    // <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
    for chunk in records.chunks(500) {
        let entry = |record: &Generated| {
            let entry = PutRecordsRequestEntry::builder().partition_key(&record.partition_key);
            entry
                .data(record.data.clone().into())
                .build()
                .expect("whole")
        };
        let call = kinesis
            .put_records()
            .stream_name(NAME)
            .set_records(Some(chunk.iter().map(entry).collect()));
        let response = call.send().await.expect("a response");
        assert_eq!(response.failed_record_count().unwrap_or_default(), 0);
    }
}

/// Creates the settings as in a deployment: a document in Parameter Store, and variables.
async fn variables(moto: &Moto, mocks: &Mocks, queue: &str) -> Vec<(String, String)> {
    let document = format!(
        "[dead_letter]\nqueue_url = \"{queue}\"\n[state]\ntable = \"{}\"\n{}",
        moto.table().await,
        attribute_settings()
    );
    moto.parameter("/contact-sync/settings", &document).await;
    moto.secrets(mocks).await;
    let variables = [
        ("CONTACT_SYNC_PRESET", "test"),
        ("CONTACT_SYNC_CONFIG", "ssm:/contact-sync/settings"),
        (
            "CONTACT_SYNC__HUBSPOT__BASE_URL",
            &mocks.hubspot_server.url(),
        ),
        ("AWS_ENDPOINT_URL", &moto.url),
    ];
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test]
async fn a_stream_of_an_emulated_kinesis_reaches_both_systems_through_the_real_binary() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    mocks.salesforce.throttle_every(7);
    mocks.hubspot.throttle_every(7);
    let kinesis = aws_sdk_kinesis::Client::new(&moto.config());
    let plan = Plan {
        records: 1500,
        contacts: 300,
        one_bad_in: 100,
        ..Plan::default()
    };
    let records: Vec<Generated> = MockStreamGenerator::new(plan).collect();
    put(&kinesis, &records).await;
    let stream = Stream::read(&kinesis, ARN).await;
    assert_eq!(stream.len(), records.len());
    let used = stream
        .shards
        .iter()
        .filter(|shard| !shard.is_empty())
        .count();
    assert!(used > 1, "all records are in one shard");

    let (sqs, queue) = moto.queue().await;
    let variables = variables(&moto, &mocks, &queue).await;
    let mut environments = VecDeque::new();
    for _ in 0..2 {
        environments.push_back(Mutex::new(
            Function::start(Path::new(BINARY), &variables).await,
        ));
    }
    // During the first invocations HubSpot is unavailable, and their records are redelivered. One
    // environment receives at least eight of these replies, after which its breaker opens.
    for _ in 0..16 {
        mocks
            .hubspot
            .next(testkit::server::Answer::html(503, "<h1>Sorry</h1>"));
    }
    let mapping = Mapping {
        batch_size: 200,
        backoff: (Duration::from_millis(50), Duration::from_secs(1)),
        ..Mapping::default()
    };
    let function = async |invocation: Invocation| {
        // Each shard uses one environment.
        let environment = &environments[invocation.records[0].shard % environments.len()];
        let outcome = environment
            .lock()
            .await
            .invoke(invocation.event, &invocation.request_id, TIME)
            .await;
        outcome.into()
    };
    let drained =
        tokio::time::timeout(Duration::from_mins(30), mapping.drain(&stream, function)).await;
    let report = drained.expect("drained in half an hour");
    assert!(report.records() > stream.len(), "no record was redelivered");
    assert_eq!(report.lost(&stream), 0);

    // `tests/emulated/crash.rs` shows that this detects broken promises.
    let dead_letters = moto.messages(&sqs, &queue).await;
    assert_eq!(mocks.broken_promises(&records, &dead_letters), [""; 0]);
    let bad = records
        .iter()
        .filter(|record| record.change.is_none())
        .count();
    let mut lines = Vec::new();
    for environment in environments {
        lines.extend(environment.into_inner().lines());
    }
    // On a busy machine a late queue or table causes a redelivery, and with it a second dead
    // letter.
    let is_late = |line: &String| {
        ["settled set not", "not stored"]
            .iter()
            .any(|text| line.contains(text))
    };
    assert!(
        dead_letters.len() == bad || lines.iter().any(is_late),
        "{} dead letters of {bad} records",
        dead_letters.len()
    );
}
