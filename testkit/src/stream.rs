//! Records of an event, and a single invocation. The module `kinesis` simulates whole streams.

use contact_sync::lambda::{BatchResponse, Handler, ItemIdentifier};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use time::OffsetDateTime;

pub const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/contact-changes";

/// Arrival of the records, in seconds since the Unix epoch.
pub const ARRIVAL: f64 = 1_795_169_700.123;

/// Returns the arrival time of the records, in whole seconds.
pub fn arrival() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_169_700).expect("in range")
}

/// Builds a sequence number of 56 digits, ascending in a shard.
pub fn sequence_number(shard: usize, at: usize) -> String {
    format!("4959033827149025660855969253836157109{shard:03}{at:016}")
}

/// Builds a record of a Lambda event.
pub fn record(shard: usize, at: usize, partition_key: &str, data: &[u8]) -> Value {
    let number = sequence_number(shard, at);
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": partition_key,
            "sequenceNumber": number,
            "data": base64_simd::STANDARD.encode_to_string(data),
            "approximateArrivalTimestamp": ARRIVAL,
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

/// Invokes the handler with a batch of records.
pub async fn invoke(handler: &Handler, records: &[Value], request_id: &str) -> BatchResponse {
    invoke_event(handler, &json!({"Records": records}), request_id).await
}

/// Invokes the handler with an event.
pub async fn invoke_event(handler: &Handler, event: &Value, request_id: &str) -> BatchResponse {
    let mut context = Context::default();
    request_id.clone_into(&mut context.request_id);
    handler
        .handle(LambdaEvent::new(event.to_string().into(), context))
        .await
        .expect("an answer")
}

/// Returns the sequence numbers of the failed records.
pub fn failures(answer: &BatchResponse) -> Vec<String> {
    let mut numbers = Vec::new();
    for failure in &answer.batch_item_failures {
        match &failure.item_identifier {
            ItemIdentifier::SequenceNumber(number) => numbers.push(number.clone()),
            ItemIdentifier::Offset { .. } => panic!("no failure of Kinesis: {failure:?}"),
        }
    }
    numbers
}
