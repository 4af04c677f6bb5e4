//! Tests of the replay of records of Kafka, by invoking the function with them.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks};
use testkit::kafka::{self, ARN};
use testkit::moto::Moto;
use testkit::server::{Answer, Api, Reply, Request, Server};
use testkit::stream::{failures, invoke_event};

use crate::stage::{RunResult, Stage, event};

/// Function that fails to deliver the records with these offsets.
#[derive(Default)]
struct Function {
    failing: Vec<u64>,
    events: Mutex<Vec<Value>>,
}

impl Function {
    /// Returns the events that it received.
    fn events(&self) -> Vec<Value> {
        self.events.lock().expect("sound").clone()
    }
}

impl Api for Function {
    fn reply(&self, request: &Request) -> Reply {
        let answer = match request.path.rsplit('/').next() {
            Some("configuration") => {
                json!({"FunctionName": "sync", "Environment": {"Variables": {}}})
            }
            Some("invocations") => {
                let event: Value = serde_json::from_slice(&request.body).expect("JSON");
                let mut failures = Vec::new();
                for (list, records) in event["records"].as_object().expect("lists") {
                    for record in records.as_array().expect("records") {
                        let offset = record["offset"].as_u64().expect("an offset");
                        if self.failing.contains(&offset) {
                            let identifier = json!({"partition": list, "offset": offset});
                            failures.push(json!({"itemIdentifier": identifier}));
                        }
                    }
                }
                self.events.lock().expect("sound").push(event);
                json!({"batchItemFailures": failures})
            }
            _ => panic!("an unexpected call: {}", request.path),
        };
        Answer::json(200, &answer).into()
    }
}

/// Runs the tool with this function.
async fn admin(stage: &Stage, function: &Server, arguments: &[&str]) -> RunResult {
    let mut command = stage.command(&stage.url, arguments);
    command.env("AWS_ENDPOINT_URL_LAMBDA", function.url());
    let output = command.output().await.expect("the tool runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    RunResult {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn base64(text: &str) -> String {
    base64_simd::STANDARD.encode_to_string(text)
}

/// Builds a dead letter of Kafka.
fn dead_letter(stage: &Stage, partition: u32, offset: u64, id: &str) -> Value {
    let mut dead_letter = stage.dead_letter(id, b"");
    dead_letter["schema"] = "contact-sync/dead-letter/2".into();
    dead_letter["record"] = json!({
        "source": "kafka", "event_source_arn": ARN, "topic": "contacts", "partition": partition,
        "offset": offset, "key": base64(id), "timestamp": 1_763_633_700_123_i64,
        "data": base64(&event(id).to_string()),
    });
    dead_letter
}

#[tokio::test]
async fn a_dead_letter_of_kafka_is_put_back_by_invoking_the_function_with_it() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "kafka-letters").await;
    let function = Arc::new(Function {
        failing: vec![102],
        ..Function::default()
    });
    let server = Server::start(Arc::clone(&function)).await;
    for (partition, offset) in [(0, 101), (0, 100), (0, 102), (1, 100)] {
        let letter = dead_letter(&stage, partition, offset, &format!("c-{partition}{offset}"));
        stage.send(&letter).await;
    }
    let mut omitted = dead_letter(&stage, 2, 7, "c-7");
    omitted["record"]["data"] = Value::Null;
    omitted["record"]["data_omitted"] = true.into();
    stage.send(&omitted).await;

    let without = admin(&stage, &server, &["replay", "--dry-run"]).await;
    assert_eq!(without.code, Some(1), "{without:?}");
    assert!(without.out.contains("name the function"), "{without:?}");

    let ran = admin(&stage, &server, &["replay", "--function", "sync"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.out
            .starts_with("3 changes put back, 3 messages deleted\nnot put back:\n")
            && ran.out.contains("the function failed to deliver it")
            && ran
                .out
                .contains("read the record at its partition and offset"),
        "{ran:?}"
    );
    let events = function.events();
    let [event] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (&event["eventSource"], &event["eventSourceArn"]),
        (&json!("aws:kafka"), &json!(ARN))
    );
    let offsets = |list: &str| -> Vec<Value> {
        let records = event["records"][list].as_array().expect("a list").iter();
        records
            .map(|record| json!([record["offset"], record["replay"]]))
            .collect()
    };
    assert_eq!(
        offsets("contacts-0"),
        [json!([100, true]), json!([101, true]), json!([102, true])],
        "in the order of the partition, marked as put back"
    );
    assert_eq!(offsets("contacts-1"), [json!([100, true])]);
    assert_eq!(
        event["records"]["contacts-1"][0]["value"],
        base64(&crate::stage::event("c-1100").to_string()),
        "the data is that of the dead letter, byte for byte"
    );
    assert_eq!(stage.waiting().await, 2);
}

#[tokio::test]
async fn an_older_row_of_kafka_without_a_time_of_its_own_is_stale_after_a_replay() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let mut stage = Stage::new(&moto, "kafka-rows").await;
    stage.read_rows();
    let function = Arc::new(Function::default());
    let server = Server::start(Arc::clone(&function)).await;
    let handler = stage.handler(&moto, &mocks);
    let people = [("c-1", "lead"), ("c-2", "customer")];
    let logs = Logs::listen();
    for ((id, kind), offset) in people.into_iter().zip(0..) {
        let row = |email: &str| json!({"id": id, "kind": kind, "email": email}).to_string();
        let mut older = dead_letter(&stage, 0, offset, id);
        older["record"]["data"] = base64(&row("old@example.net")).into();
        stage.send(&older).await;
        let newer = row("new@example.net");
        let newer = kafka::record(0, 10 + offset, id, Some(newer.as_bytes()));
        let answer = kafka::invoke(&handler, &[newer], "r")
            .await
            .expect("an answer");
        let failed = kafka::failures(&answer);
        assert!(failed.is_empty(), "{:?}", logs.fates());
    }
    let ran = admin(&stage, &server, &["replay", "--function", "sync"]).await;
    assert_eq!(
        ran.out, "2 changes put back, 2 messages deleted\n",
        "{ran:?}"
    );
    for event in function.events() {
        assert!(failures(&invoke_event(&handler, &event, "r").await).is_empty());
    }
    assert_eq!(logs.fates()[2..], ["superseded STALE", "superseded STALE"]);
}

#[tokio::test]
async fn a_batch_of_kafka_is_put_back_from_its_event_and_kept_without_one() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "kafka-batches").await;
    let function = Arc::new(Function::default());
    let server = Server::start(Arc::clone(&function)).await;
    let record = |offset: u64, id: &str| {
        json!({"topic": "contacts", "partition": 0, "offset": offset, "key": base64(id),
            "value": base64(&event(id).to_string()), "headers": []})
    };
    let mut discarded = json!({
        "requestContext": {"requestId": "r", "functionArn": "own",
            "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 11},
        "responseContext": {"statusCode": 200, "executedVersion": "1"},
        "version": "1.0", "timestamp": "2026-11-20T10:15:01.234Z",
        "KafkaBatchInfo": {
            "batchSize": 2, "eventSourceArn": ARN, "bootstrapServers": "b-1:9098", "payloadSize": 9,
            "recordsInfo": {"contacts-0": {"firstRecordOffset": 7, "lastRecordOffset": 9}},
        },
    });
    stage.send(&discarded).await;
    let offsets_alone = admin(&stage, &server, &["replay"]).await;
    assert_eq!(offsets_alone.code, Some(1), "{offsets_alone:?}");
    assert!(
        offsets_alone
            .out
            .contains("the message names offsets alone"),
        "{offsets_alone:?}"
    );

    discarded["payload"] = json!({
        "eventSource": "aws:kafka", "eventSourceArn": ARN,
        "records": {"contacts-0": [record(7, "c-7"), record(9, "c-9")]},
    });
    stage.send(&discarded).await;
    let ran = admin(&stage, &server, &["replay"]).await;
    assert!(
        ran.out
            .starts_with("2 changes put back, 1 message deleted\n"),
        "{ran:?}"
    );
    let events = function.events();
    let lists: Vec<usize> = events
        .iter()
        .map(|event| {
            event["records"]["contacts-0"]
                .as_array()
                .map_or(0, Vec::len)
        })
        .collect();
    assert_eq!(
        lists,
        [2],
        "the function that did not take the batch gets it"
    );
}
