//! A stream in small: shards with sequence numbers, batches, a checkpoint at the lowest failed record, redelivery of
//! everything after it.

use std::hash::{DefaultHasher, Hash, Hasher};

use aws_lambda_events::event::streams::KinesisEventResponse;
use contact_sync::handler::Handler;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::generator::Generated;

pub const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes";

/// One shard, and how far it has been read.
#[derive(Debug)]
pub struct Shard {
    pub name: String,
    pub records: Vec<Value>,
    pub checkpoint: usize,
}

/// A sequence number: 56 digits, growing.
pub fn sequence_number(shard: usize, at: usize) -> String {
    format!("4959033827149025660855969253836157109{shard:03}{at:016}")
}

/// A record as a Lambda event carries it.
pub fn record(shard: usize, at: usize, partition_key: &str, data: &[u8]) -> Value {
    let number = sequence_number(shard, at);
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": partition_key,
            "sequenceNumber": number,
            "data": base64_simd::STANDARD.encode_to_string(data),
            "approximateArrivalTimestamp": 1_763_633_700.123,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("shardId-{shard:012}:{number}"),
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/contact-sync",
        "awsRegion": "eu-west-1",
        "eventSourceARN": ARN,
    })
}

/// Spreads records over shards by their partition keys, in order.
pub fn shards(records: impl IntoIterator<Item = Generated>, count: usize) -> Vec<Shard> {
    let new = |at| Shard { name: format!("shardId-{at:012}"), records: Vec::new(), checkpoint: 0 };
    let mut shards: Vec<Shard> = (0..count).map(new).collect();
    for generated in records {
        let mut hasher = DefaultHasher::new();
        generated.partition_key.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % count as u64).expect("fits");
        let shard = &mut shards[at];
        shard.records.push(record(at, shard.records.len(), &generated.partition_key, &generated.data));
    }
    shards
}

/// Invokes the handler with a batch of records.
pub async fn invoke(handler: &Handler, records: &[Value], request_id: &str) -> KinesisEventResponse {
    let event = json!({"Records": records}).to_string();
    let payload = RawValue::from_string(event).expect("JSON");
    let mut context = Context::default();
    request_id.clone_into(&mut context.request_id);
    handler.handle(LambdaEvent::new(payload, context)).await.expect("an answer")
}

/// The failed records' sequence numbers.
pub fn failures(answer: &KinesisEventResponse) -> Vec<String> {
    answer.batch_item_failures.iter().filter_map(|failure| failure.item_identifier.clone()).collect()
}

impl Shard {
    /// Whether everything was read.
    pub fn is_drained(&self) -> bool {
        self.checkpoint >= self.records.len()
    }

    /// Delivers the next batch; the answer moves the checkpoint as Kinesis would. Says how many records of the batch
    /// come again.
    pub async fn deliver(&mut self, handler: &Handler, size: usize, request_id: &str) -> usize {
        let end = (self.checkpoint + size).min(self.records.len());
        let batch = &self.records[self.checkpoint..end];
        let answer = invoke(handler, batch, request_id).await;
        let failed = failures(&answer);
        let number = |record: &Value| record["kinesis"]["sequenceNumber"].as_str().expect("a number").to_owned();
        for identifier in &failed {
            assert!(batch.iter().any(|record| number(record) == *identifier), "{identifier} is not in the batch");
        }
        let lowest = failed.first().map(|first| {
            self.checkpoint + batch.iter().position(|record| number(record) == *first).expect("in the batch")
        });
        self.checkpoint = lowest.unwrap_or(end);
        end - self.checkpoint
    }
}
