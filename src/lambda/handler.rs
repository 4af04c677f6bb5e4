//! Handles invocations: reads the event, runs the pipeline, answers with the failed records.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use lambda_runtime::{Diagnostic, LambdaEvent};
use tracing::{Instrument, Span};

use super::envelope;
use super::response::BatchResponse;
use crate::model::{Position, Record};
use crate::pipeline::{Outcome, Pipeline};
use crate::settle::checkpoint;
use crate::source::layers::{Aggregates, split_aggregates};
use crate::telemetry::{self, Invocation, traces};

/// Provides the pipeline of each invocation.
pub trait PipelineSource: Send + Sync {
    /// Returns the pipeline of an invocation that begins. Waits for settings that were not read
    /// yet, for `limit` at most; `None` where there are none by then.
    fn pipeline(self: Arc<Self>, limit: Duration) -> BoxFuture<'static, Option<Arc<Pipeline>>>;

    /// Returns the function's name, the dimension of its metrics. Empty outside of Lambda.
    fn function(&self) -> &str;

    /// Begins to read changed settings where it is time to, without waiting for the end. Log lines
    /// get the span that `span` makes.
    fn refresh(self: Arc<Self>, _span: &dyn Fn() -> Span) {}

    /// Returns how often settings were refused or could not be read since the last call.
    fn take_errors(&self) -> u64 {
        0
    }
}

impl PipelineSource for Pipeline {
    /// Returns this pipeline, which stays the same.
    fn pipeline(self: Arc<Self>, _: Duration) -> BoxFuture<'static, Option<Arc<Pipeline>>> {
        ready(Some(self)).boxed()
    }

    fn function(&self) -> &str {
        &self.function
    }
}

/// The handler of invocations. A clone is the same handler.
#[derive(Clone)]
pub struct Handler {
    source: Arc<dyn PipelineSource>,
    was_invoked: Arc<AtomicBool>,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("was_invoked", &self.was_invoked)
            .finish_non_exhaustive()
    }
}

/// Why an invocation fails as a whole, so that its batch comes again.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The event holds no record of a supported source. If the invocation succeeded, the service
    /// that sent the event would delete records that the function never wrote.
    #[error(
        "the event holds no record of a supported source (Kinesis, Kafka): find out which mapping, \
         trigger or person invokes the function, and remove it"
    )]
    UnsupportedEvent,
    /// A record failed, but neither it nor any record before it in its shard or partition has a
    /// sequence number or an offset to report.
    #[error(
        "a record failed that has no sequence number and no offset: the whole batch has to come \
         again"
    )]
    NoSequenceNumber,
}

impl HandlerError {
    /// Returns the name in Lambda's error reports, which alarms match.
    fn name(&self) -> &'static str {
        match self {
            Self::UnsupportedEvent => "UnsupportedEvent",
            Self::NoSequenceNumber => "NoSequenceNumber",
        }
    }
}

impl From<HandlerError> for Diagnostic {
    fn from(error: HandlerError) -> Self {
        Self {
            error_type: error.name().to_owned(),
            error_message: error.to_string(),
        }
    }
}

impl Handler {
    /// Makes a handler that runs the pipelines of `source`.
    pub fn new(source: Arc<dyn PipelineSource>) -> Self {
        Self {
            source,
            was_invoked: Arc::default(),
        }
    }

    /// Handles one invocation. The event's payload is its JSON.
    ///
    /// # Errors
    /// Where a failure cannot be reported by its position: the whole batch comes again.
    pub async fn handle(&self, event: LambdaEvent<Bytes>) -> Result<BatchResponse, HandlerError> {
        let LambdaEvent { payload, context } = event;
        let span = traces::invocation(&context.request_id, context.xray_trace_id.as_deref());
        let response = logged(async {
            let text = str::from_utf8(&payload).map_err(|_| HandlerError::UnsupportedEvent)?;
            let records = envelope(text)?;
            let aggregates = Aggregates::of(&records);
            let records = split_aggregates(records, &aggregates);
            let mut shards = records
                .iter()
                .filter_map(|record| record.kinesis()?.shard_id.as_deref());
            if let Some(shard_id) = shards.next() {
                traces::from_shard(shard_id);
            }
            let limit = remaining(context.deadline).map_or(Duration::MAX, |time| time / 2);
            let Some(pipeline) = Arc::clone(&self.source).pipeline(limit).await else {
                let outcome = Outcome::all_failed(records.len());
                self.report(&records, &outcome);
                return response(&records, &outcome.settled.failed);
            };
            // Changed settings are read beside the work, and take effect with the next invocation.
            Arc::clone(&self.source)
                .refresh(&|| traces::beside(&context.request_id, context.xray_trace_id.as_deref()));
            let deadline = pipeline.deadline(remaining(context.deadline));
            let outcome = pipeline.run(&records, deadline).await;
            self.report(&records, &outcome);
            response(&records, &outcome.settled.failed)
        })
        .instrument(span)
        .await;
        traces::flush(remaining(context.deadline)).await;
        response
    }

    /// Emits the metrics of the invocation, and logs its counts.
    fn report(&self, records: &[Record<'_>], outcome: &Outcome) {
        let settled = &outcome.settled;
        let destinations = outcome.meters.iter().zip(&settled.by_destination);
        telemetry::emit(&Invocation {
            function: self.source.function(),
            cold_start: !self.was_invoked.swap(true, Ordering::Relaxed),
            received: records.len() as u64,
            counts: settled.counts,
            dead_letters_stored: settled.dead_letters_stored,
            state_errors: settled.state_errors,
            config_errors: self.source.take_errors(),
            partitions: partitions(records),
            destinations: destinations
                .map(|((name, meter), counts)| (*name, *counts, meter))
                .collect(),
        });
        let counts = settled.counts;
        tracing::info!(
            records = records.len(),
            delivered = counts.delivered,
            filtered = counts.filtered,
            superseded = counts.superseded,
            rejected = counts.rejected,
            failed = counts.failed,
            skipped_settled = counts.skipped_settled,
            "batch settled"
        );
    }
}

/// Counts the records of Kafka by partition.
fn partitions<'a>(records: &'a [Record<'_>]) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for origin in records.iter().filter_map(Record::kafka) {
        *counts.entry(&*origin.topic_partition).or_default() += 1;
    }
    counts
}

/// Logs the error of an invocation, within its span.
async fn logged<T>(
    invocation: impl Future<Output = Result<T, HandlerError>>,
) -> Result<T, HandlerError> {
    let result = invocation.await;
    if let Err(error) = &result {
        let code = error.name();
        let error: &dyn std::error::Error = error;
        tracing::error!(code, error, "invocation failed");
    }
    result
}

/// Returns the time until `deadline`, which is in milliseconds of the Unix epoch. `None` where it
/// has passed.
pub(super) fn remaining(deadline: u64) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Duration::from_millis(deadline).checked_sub(now)
}

/// Returns the identifiers of the failed records, in batch order. Of a shard or a partition, Lambda
/// takes the lowest for its checkpoint, so a record without a number is reported by the nearest one
/// before it. Records that come again without need are written again, which is harmless.
fn response(records: &[Record<'_>], failed: &[Position]) -> Result<BatchResponse, HandlerError> {
    let mut response = BatchResponse::default();
    let mut last = None;
    for position in failed {
        let identifier =
            checkpoint::identifier(records, *position).ok_or(HandlerError::NoSequenceNumber)?;
        if last != Some(identifier) {
            response.batch_item_failures.push(identifier.into());
        }
        last = Some(identifier);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{Value, json};

    use super::*;
    use crate::model::{KafkaOrigin, KinesisOrigin, Origin};

    fn record(origin: Origin<'static>) -> Record<'static> {
        Record {
            origin,
            ..Record::default()
        }
    }

    fn answer(records: &[Record<'_>], failed: &[usize]) -> Option<Value> {
        let response = response(records, failed).ok()?;
        Some(serde_json::to_value(response).expect("JSON"))
    }

    fn reported(numbers: &[Option<&'static str>], failed: &[usize]) -> Option<Value> {
        let mut records = Vec::new();
        for number in numbers {
            records.push(record(Origin::Kinesis(KinesisOrigin {
                sequence_number: number.map(Cow::Borrowed),
                ..KinesisOrigin::default()
            })));
        }
        answer(&records, failed)
    }

    fn failures(numbers: &[&str]) -> Value {
        let failures = numbers
            .iter()
            .map(|number| json!({"itemIdentifier": number}));
        json!({"batchItemFailures": failures.collect::<Vec<_>>()})
    }

    #[test]
    fn a_failed_record_is_reported_by_its_number_or_the_nearest_before_it() {
        assert_eq!(
            reported(&[Some("1"), Some("2"), Some("3")], &[0, 2]),
            Some(failures(&["1", "3"]))
        );
        assert_eq!(
            reported(&[Some("1"), None, None], &[1, 2]),
            Some(failures(&["1"]))
        );
        assert_eq!(reported(&[None, Some("2")], &[0]), None);
        assert_eq!(reported(&[None, Some("2")], &[]), Some(failures(&[])));
    }

    #[test]
    fn a_failed_record_of_kafka_is_reported_by_its_partition_and_offset() {
        let at = |topic_partition: &'static str, offset| {
            record(Origin::Kafka(KafkaOrigin {
                topic_partition: topic_partition.into(),
                offset,
                ..KafkaOrigin::default()
            }))
        };
        let records = [
            at("c-0", Some(100)),
            at("c-0", None),
            at("d-e-1", None),
            at("d-e-1", Some(7)),
        ];
        let failure = |partition, offset| {
            let identifier = json!({"partition": partition, "offset": offset});
            json!({"itemIdentifier": identifier})
        };
        assert_eq!(
            answer(&records, &[0, 1, 3]),
            Some(json!({"batchItemFailures": [failure("c-0", 100), failure("d-e-1", 7)]}))
        );
        assert_eq!(
            answer(&records, &[2]),
            None,
            "no offset is before it in its partition"
        );
    }
}
