use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testkit::moto::Moto;
use testkit::server::{Answer, Api, Reply, Request, Server};

use crate::stage::{Stage, event};

/// Kinesis that accepts every third record of a call, throttles the others, and rejects each call
/// with the key `c-7`.
#[derive(Default)]
struct ThrottlingKinesis(Mutex<BTreeMap<String, u32>>);

impl Api for ThrottlingKinesis {
    fn reply(&self, request: &Request) -> Reply {
        assert_eq!(
            request.header("x-amz-target"),
            Some("Kinesis_20131202.PutRecords")
        );
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let records = body["Records"].as_array().expect("records");
        let keys: Vec<&str> = records
            .iter()
            .map(|record| record["PartitionKey"].as_str().expect("a key"))
            .collect();
        if keys.contains(&"c-7") {
            let refusal =
                json!({"__type": "ValidationException", "message": "1 validation error detected"});
            return Answer::json(400, &refusal).into();
        }
        let mut taken = self.0.lock().expect("sound");
        let result = |(at, key): (usize, &&str)| {
            if at % 3 > 0 {
                return json!({
                    "ErrorCode": "ProvisionedThroughputExceededException",
                    "ErrorMessage": "slow down",
                });
            }
            *taken.entry((*key).to_owned()).or_default() += 1;
            json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
        };
        let results: Vec<Value> = keys.iter().enumerate().map(result).collect();
        let failed = results
            .iter()
            .filter(|result| result["ErrorCode"].is_string())
            .count();
        Answer::json(
            200,
            &json!({"FailedRecordCount": failed, "Records": results}),
        )
        .into()
    }
}

/// Kinesis with three records whose second iterator has expired.
#[derive(Default)]
struct ExpiringKinesis(Mutex<Vec<String>>);

impl Api for ExpiringKinesis {
    fn reply(&self, request: &Request) -> Reply {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let record = |number: usize| {
            let data =
                base64_simd::STANDARD.encode_to_string(event(&format!("c-{number}")).to_string());
            let arrival = time::OffsetDateTime::now_utc().unix_timestamp() - 60;
            json!({
                "SequenceNumber": number.to_string(),
                "PartitionKey": format!("c-{number}"),
                "Data": data,
                "ApproximateArrivalTimestamp": arrival,
            })
        };
        let call = request
            .header("x-amz-target")
            .and_then(|target| target.rsplit('.').next())
            .expect("a call");
        let answer = match (call, body["ShardIterator"].as_str().unwrap_or_default()) {
            ("ListShards", _) => json!({"Shards": [{"ShardId": "shardId-000000000000",
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
                "SequenceNumberRange": {"StartingSequenceNumber": "1"}}]}),
            ("GetShardIterator", _) if body["ShardIteratorType"] == "AT_TIMESTAMP" => {
                json!({"ShardIterator": "first"})
            }
            ("GetShardIterator", _) => {
                assert_eq!(
                    (&body["ShardIteratorType"], &body["StartingSequenceNumber"]),
                    (&json!("AFTER_SEQUENCE_NUMBER"), &json!("2"))
                );
                json!({"ShardIterator": "after 2"})
            }
            ("GetRecords", "first") => {
                json!({
                    "Records": [record(1), record(2)],
                    "NextShardIterator": "expired",
                    "MillisBehindLatest": 9,
                })
            }
            ("GetRecords", "after 2") => json!({"Records": [record(3)], "MillisBehindLatest": 0}),
            ("GetRecords", _) => {
                let refusal =
                    json!({"__type": "ExpiredIteratorException", "message": "Iterator expired."});
                return Answer::json(400, &refusal).into();
            }
            ("PutRecords", _) => {
                let records = body["Records"].as_array().expect("records");
                let key =
                    |record: &Value| record["PartitionKey"].as_str().expect("a key").to_owned();
                self.0
                    .lock()
                    .expect("sound")
                    .extend(records.iter().map(key));
                let taken = json!({"SequenceNumber": "9", "ShardId": "shardId-000000000000"});
                json!({"FailedRecordCount": 0, "Records": vec![taken; records.len()]})
            }
            (call, _) => panic!("an unexpected call: {call}"),
        };
        Answer::json(200, &answer).into()
    }
}

/// Queue that delivers messages again while it is read: after each response with new messages, two
/// responses contain the first messages again, with other handles. Only the latest handle deletes.
struct RedeliveringQueue {
    bodies: Vec<String>,
    state: Mutex<RedeliveryState>,
}

#[derive(Default)]
struct RedeliveryState {
    /// Number of messages that were received.
    received: usize,
    /// Number of responses.
    responses: usize,
    /// Latest handle of each message.
    handles: BTreeMap<usize, String>,
    deleted: BTreeSet<usize>,
}

impl RedeliveringQueue {
    fn receive(&self, most: usize) -> Value {
        let mut state = self.state.lock().expect("sound");
        let has_new_messages = state.responses.is_multiple_of(3);
        state.responses += 1;
        let range = if has_new_messages {
            let first = state.received;
            state.received = (first + most).min(self.bodies.len());
            first..state.received
        } else {
            0..most.min(state.received)
        };
        let mut messages = Vec::new();
        for at in range {
            let handle = format!("{at} {}", state.responses);
            state.handles.insert(at, handle.clone());
            messages.push(json!({
                "MessageId": at.to_string(),
                "ReceiptHandle": handle,
                "Body": self.bodies[at],
            }));
        }
        json!({"Messages": messages})
    }

    fn delete(&self, entries: &[Value]) -> Value {
        let mut state = self.state.lock().expect("sound");
        let mut done = Vec::new();
        for entry in entries {
            let found = state
                .handles
                .iter()
                .find(|(_, handle)| entry["ReceiptHandle"] == **handle);
            let at = *found.expect("the latest handle").0;
            state.deleted.insert(at);
            done.push(json!({"Id": entry["Id"]}));
        }
        json!({"Successful": done, "Failed": []})
    }
}

impl Api for RedeliveringQueue {
    fn reply(&self, request: &Request) -> Reply {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let entries = body["Entries"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let answer = match request.header("x-amz-target").expect("a call") {
            "AmazonSQS.GetQueueAttributes" => {
                json!({"Attributes": {"ApproximateNumberOfMessages": "25"}})
            }
            "AmazonSQS.ReceiveMessage" => {
                let most = body["MaxNumberOfMessages"].as_u64().expect("a number");
                self.receive(usize::try_from(most).expect("ten at most"))
            }
            "AmazonSQS.DeleteMessageBatch" => self.delete(entries),
            "AmazonSQS.ChangeMessageVisibilityBatch" => {
                let done: Vec<Value> = entries
                    .iter()
                    .map(|entry| json!({"Id": entry["Id"]}))
                    .collect();
                json!({"Successful": done, "Failed": []})
            }
            call => panic!("an unexpected call: {call}"),
        };
        Answer::json(200, &answer).into()
    }
}

#[tokio::test]
async fn a_queue_that_redelivers_messages_is_read_to_its_end() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "queue").await;
    let body = |at: usize| {
        let id = format!("c-{at}");
        let mut dead_letter = stage.dead_letter(&id, event(&id).to_string().as_bytes());
        dead_letter["reason"]["code"] = if at < 20 { "OTHER" } else { "TOO_LONG" }.into();
        dead_letter.to_string()
    };
    let bodies = (0..25).map(body).collect();
    let queue = Arc::new(RedeliveringQueue {
        bodies,
        state: Mutex::default(),
    });
    let server = Server::start(Arc::clone(&queue)).await;
    stage
        .variables
        .push(("AWS_ENDPOINT_URL_SQS".to_owned(), server.url()));
    let ran = stage
        .admin(&["replay", "--round", "5", "--code", "TOO_LONG"])
        .await;
    assert_eq!(
        ran.out, "5 changes put back, 5 messages deleted, 20 excluded by the filters\n",
        "{ran:?}"
    );
    assert_eq!(stage.records().await.len(), 5);
    assert_eq!(
        queue.state.lock().expect("sound").deleted,
        (20..25).collect()
    );
}

#[tokio::test]
async fn a_replay_of_the_stream_continues_after_an_expired_iterator() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "expired").await;
    let kinesis = Arc::new(ExpiringKinesis::default());
    let server = Server::start(Arc::clone(&kinesis)).await;
    stage
        .variables
        .push(("AWS_ENDPOINT_URL_KINESIS".to_owned(), server.url()));
    let ran = stage
        .admin(&["replay", "--from", "1h", "--stream", "changes"])
        .await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "3 changes put back\n"),
        "{ran:?}"
    );
    assert_eq!(*kinesis.0.lock().expect("sound"), ["c-1", "c-2", "c-3"]);
}

#[tokio::test]
async fn throttled_records_are_put_again_and_only_their_messages_are_deleted() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "throttled").await;
    for at in 0..20 {
        let id = format!("c-{at}");
        stage
            .send(&stage.dead_letter(&id, event(&id).to_string().as_bytes()))
            .await;
    }
    let kinesis = Arc::new(ThrottlingKinesis::default());
    let server = Server::start(Arc::clone(&kinesis)).await;
    stage
        .variables
        .push(("AWS_ENDPOINT_URL_KINESIS".to_owned(), server.url()));
    let ran = stage.admin(&["replay", "--json"]).await;
    let report = ran.json();
    assert_eq!(
        (ran.code, &report["put_back"], &report["deleted"]),
        (Some(1), &json!(19), &json!(19)),
        "{report}"
    );
    let reason = report["left"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("too large, or no key"), "{reason}");
    assert_eq!(
        stage.visible().await,
        1,
        "the message of the rejected record is kept"
    );
    let taken = kinesis.0.lock().expect("sound").clone();
    assert_eq!(taken.len(), 19);
    assert!(taken.values().all(|times| *times == 1), "{taken:?}");
}
