//! On-failure messages and objects about discarded batches.
//! <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::stream;
use super::batch::{Batch, InvocationOutcome};
use super::stream::Record;

/// Id of the mapping, part of an object's key.
const MAPPING: &str = "8b1b2f0e-0000-4000-8000-000000000001";

/// Destination of discarded batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Message to SQS or SNS: the position of the batch in the stream, without data.
    #[default]
    Message,
    /// Object in S3: the position and the whole event.
    Object(Payload),
}

/// Form of the event in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// JSON object, as captured.
    Captured,
    /// Text that contains JSON, as documented.
    Documented,
}

/// Condition under which a batch was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    RetryAttemptsExhausted,
    RecordAgeExceeded,
}

/// Discarded batch.
#[derive(Clone, Debug)]
pub struct Discarded {
    pub condition: Condition,
    pub records: Vec<Arc<Record>>,
    /// Body of the message, or content of the object.
    pub document: Value,
    /// Key of the object.
    pub key: Option<String>,
}

/// Context in which a batch is discarded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Discarding<'a> {
    pub(super) on_failure: OnFailure,
    pub(super) stream_arn: &'a str,
    pub(super) now: Duration,
    /// Number of batches that were discarded before.
    pub(super) earlier: usize,
}

impl Discarding<'_> {
    /// Builds the message or object. `last` is the outcome of the last invocation, if there was
    /// one.
    pub(super) fn discarded(
        self,
        batch: Batch,
        condition: Condition,
        last: Option<&InvocationOutcome>,
    ) -> Discarded {
        let mut document = json!({
            "requestContext": {
                "requestId": batch.request_id,
                "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:contact-sync",
                "condition": format!("{condition:?}"),
                // At least one, as observed for batches that were too old for an invocation.
                "approximateInvokeCount": batch.attempts.max(1),
            },
            "version": "1.0",
            "timestamp": timestamp(self.now),
            "KinesisBatchInfo": self.batch_info(&batch.records),
        });
        if condition == Condition::RetryAttemptsExhausted
            && let Some(last) = last
        {
            let error = matches!(last, InvocationOutcome::Error).then_some("Unhandled");
            document["responseContext"] =
                json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": error});
        }
        match self.on_failure {
            OnFailure::Message => {}
            OnFailure::Object(Payload::Documented) => document["payload"] = batch.event().into(),
            OnFailure::Object(Payload::Captured) => {
                document["payload"] = serde_json::from_str(&batch.event()).expect("JSON");
            }
        }
        let is_object = self.on_failure != OnFailure::Message;
        let key = match batch.records.first() {
            Some(first) if is_object => Some(self.key(first.shard)),
            _ => None,
        };
        Discarded {
            condition,
            records: batch.records,
            document,
            key,
        }
    }

    fn batch_info(self, records: &[Arc<Record>]) -> Value {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Value::Null;
        };
        json!({
            "shardId": format!("shardId-{:012}", first.shard),
            "startSequenceNumber": first.sequence_number,
            "endSequenceNumber": last.sequence_number,
            "approximateArrivalOfFirstRecord": timestamp(first.arrives),
            "approximateArrivalOfLastRecord": timestamp(last.arrives),
            "batchSize": records.len(),
            "streamArn": self.stream_arn,
        })
    }

    /// Returns the key of an object,
    /// `aws/lambda/MAPPING/SHARD/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-UUID`: keys sort by shard and time.
    fn key(self, shard: usize) -> String {
        let timestamp = timestamp(self.now);
        let (day, time) = (
            timestamp[..10].replace('-', "/"),
            timestamp[..19].replace(':', "."),
        );
        let uuid = format!("{:08x}-0000-4000-8000-000000000000", self.earlier);
        format!("aws/lambda/{MAPPING}/shardId-{shard:012}/{day}/{time}-{uuid}")
    }
}

/// Formats the simulated time.
fn timestamp(since_start: Duration) -> String {
    let start = OffsetDateTime::UNIX_EPOCH + Duration::from_secs_f64(stream::ARRIVAL);
    let at = (start + since_start)
        .replace_millisecond(0)
        .expect("in range");
    at.format(&Rfc3339).expect("a format")
}
