//! What is told of a batch that nobody gets again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::stream;
use super::batch::{Batch, Ended};
use super::stream::Record;

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
    /// The message to a queue: no data, only where the records are.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
    pub message: Value,
}

impl Discarded {
    /// `last` is how the last invocation ended, if there was one.
    pub(super) fn new(batch: Batch, condition: Condition, last: Option<&Ended>, now: Duration) -> Self {
        let mut message = json!({
            "requestContext": {
                "requestId": batch.request_id,
                "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:contact-sync",
                "condition": format!("{condition:?}"),
                // One at least: it was observed for batches that were too old for any.
                "approximateInvokeCount": batch.attempts.max(1),
            },
            "version": "1.0",
            "timestamp": timestamp(now),
            "KinesisBatchInfo": batch_info(&batch.records),
        });
        if condition == Condition::RetryAttemptsExhausted
            && let Some(last) = last
        {
            let error = matches!(last, Ended::Error).then_some("Unhandled");
            message["responseContext"] =
                json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": error});
        }
        Self { condition, records: batch.records, message }
    }
}

fn batch_info(records: &[Arc<Record>]) -> Value {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Value::Null };
    json!({
        "shardId": format!("shardId-{:012}", first.shard),
        "startSequenceNumber": first.sequence_number,
        "endSequenceNumber": last.sequence_number,
        "approximateArrivalOfFirstRecord": timestamp(first.arrives),
        "approximateArrivalOfLastRecord": timestamp(last.arrives),
        "batchSize": records.len(),
        "streamArn": stream::ARN,
    })
}

/// Of the simulated time.
fn timestamp(since_start: Duration) -> String {
    let start = OffsetDateTime::UNIX_EPOCH + Duration::from_secs_f64(stream::ARRIVAL);
    let at = (start + since_start).replace_millisecond(0).expect("in range");
    at.format(&Rfc3339).expect("a format")
}
