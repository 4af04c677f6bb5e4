//! What is told of a batch that nobody gets again, and where.
//! <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::stream;
use super::batch::{Batch, Ended};
use super::stream::Record;

/// The mapping's own id, part of an object's key.
const MAPPING: &str = "8b1b2f0e-0000-4000-8000-000000000001";

/// The destination of discarded batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// A message to SQS or SNS: where in the stream the records are, and none of their data.
    #[default]
    Message,
    /// An object in S3: the same, and the whole event, which needs no stream any more.
    Object(Payload),
}

/// In which form an object holds the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// As JSON: what was captured.
    Captured,
    /// As a text that holds JSON: what is documented.
    Documented,
}

/// Why a batch was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    RetryAttemptsExhausted,
    RecordAgeExceeded,
}

/// A discarded batch.
#[derive(Clone, Debug)]
pub struct Discarded {
    pub condition: Condition,
    pub records: Vec<Arc<Record>>,
    /// The message's body, or what is in the object.
    pub document: Value,
    /// The object's key.
    pub key: Option<String>,
}

/// Where and when a batch is discarded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Discarding<'a> {
    pub(super) on_failure: OnFailure,
    pub(super) stream_arn: &'a str,
    pub(super) now: Duration,
    /// How many were discarded before.
    pub(super) earlier: usize,
}

impl Discarding<'_> {
    /// `last` is how the last invocation ended, if there was one.
    pub(super) fn discarded(
        self,
        batch: Batch,
        condition: Condition,
        last: Option<&Ended>,
    ) -> Discarded {
        let mut document = json!({
            "requestContext": {
                "requestId": batch.request_id,
                "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:contact-sync",
                "condition": format!("{condition:?}"),
                // One at least: it was observed for batches that were too old for any.
                "approximateInvokeCount": batch.attempts.max(1),
            },
            "version": "1.0",
            "timestamp": timestamp(self.now),
            "KinesisBatchInfo": self.batch_info(&batch.records),
        });
        if condition == Condition::RetryAttemptsExhausted
            && let Some(last) = last
        {
            let error = matches!(last, Ended::Error).then_some("Unhandled");
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
        let key = batch
            .records
            .first()
            .filter(|_| is_object)
            .map(|first| self.key(first.shard));
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

    /// `aws/lambda/MAPPING/SHARD/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-UUID`, so that keys sort by shard
    /// and time.
    fn key(self, shard: usize) -> String {
        let timestamp = timestamp(self.now);
        let (day, time) = (
            timestamp[..10].replace('-', "/"),
            timestamp[..19].replace(':', "."),
        );
        format!(
            "aws/lambda/{MAPPING}/shardId-{shard:012}/{day}/{time}-{:08x}-0000-4000-8000-000000000000",
            self.earlier
        )
    }
}

/// Of the simulated time.
fn timestamp(since_start: Duration) -> String {
    let start = OffsetDateTime::UNIX_EPOCH + Duration::from_secs_f64(stream::ARRIVAL);
    let at = (start + since_start)
        .replace_millisecond(0)
        .expect("in range");
    at.format(&Rfc3339).expect("a format")
}
