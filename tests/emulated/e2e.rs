//! From a Kinesis stream to both systems: producers put records into an emulation of Kinesis, the
//! simulated mapping reads them from there and invokes the real binary, which finds its settings,
//! secrets, queue and table where it finds them on AWS, and both mocks behind them. `make e2e` runs
//! this alone.

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

/// What a producer does.
async fn put(kinesis: &aws_sdk_kinesis::Client, records: &[Generated]) {
    kinesis
        .create_stream()
        .stream_name(NAME)
        .shard_count(SHARDS)
        .send()
        .await
        .expect("a stream");
    // A call takes 500.
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
        let answer = call.send().await.expect("an answer");
        assert_eq!(answer.failed_record_count().unwrap_or_default(), 0);
    }
}

/// The settings are where a deployment has them: a document in Parameter Store, and the rest in
/// variables.
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
    // The first invocations meet a system that is away, and what it missed comes again: of these
    // answers one environment gets eight at least, after which its breaker opens.
    (0..16).for_each(|_| {
        mocks
            .hubspot
            .next(testkit::server::Answer::html(503, "<h1>Sorry</h1>"));
    });
    let mapping = Mapping {
        batch_size: 200,
        backoff: (Duration::from_millis(50), Duration::from_secs(1)),
        ..Mapping::default()
    };
    let function = async |invocation: Invocation| {
        // A shard keeps to one environment, as long as there is room.
        let environment = &environments[invocation.records[0].shard % environments.len()];
        let ended = environment
            .lock()
            .await
            .invoke(invocation.event, &invocation.request_id, TIME)
            .await;
        ended.into()
    };
    let drained =
        tokio::time::timeout(Duration::from_mins(30), mapping.drain(&stream, function)).await;
    let report = drained.expect("drained in half an hour");
    assert!(report.records() > stream.len(), "nothing came again");
    assert_eq!(report.lost(&stream), 0);

    // `tests/emulated/crash.rs` shows that this finds what is broken.
    let letters = moto.messages(&sqs, &queue).await;
    assert_eq!(mocks.broken_promises(&records, &letters), [""; 0]);
    let bad = records
        .iter()
        .filter(|record| record.change.is_none())
        .count();
    let mut lines = Vec::new();
    for environment in environments {
        lines.extend(environment.into_inner().lines());
    }
    // A queue or a table that is late on a busy machine makes a record come again, and its letter
    // with it.
    let is_late = |line: &String| {
        ["settled set not", "not stored"]
            .iter()
            .any(|text| line.contains(text))
    };
    assert!(
        letters.len() == bad || lines.iter().any(is_late),
        "{} letters of {bad} records",
        letters.len()
    );
}
