//! Handles invocations: reads the event, runs the pipeline, answers with the failed records.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lambda_events::event::streams::KinesisEventResponse;
use bytes::Bytes;
use lambda_runtime::{Diagnostic, LambdaEvent};
use tracing::{Instrument, Span};

use super::kinesis::envelope;
use crate::model::{Position, Record};
use crate::pipeline::{Outcome, Pipeline};
use crate::settle::checkpoint;
use crate::telemetry::{self, Invocation, traces};

/// Provides the pipeline of each invocation.
pub trait PipelineSource: Send + Sync {
    /// Returns the pipeline of an invocation that begins.
    fn pipeline(self: Arc<Self>) -> Arc<Pipeline>;

    /// Begins to read changed settings where it is time to, without waiting for the end. Log lines
    /// get the span that `span` makes.
    fn refresh(self: Arc<Self>, _span: &dyn Fn() -> Span) {}

    /// Returns how many settings were refused since the last call.
    fn take_errors(&self) -> u64 {
        0
    }
}

impl PipelineSource for Pipeline {
    /// Returns this pipeline, which stays the same.
    fn pipeline(self: Arc<Self>) -> Arc<Pipeline> {
        self
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
        "the event holds no record of a supported source (Kinesis): find out which mapping, \
         trigger or person invokes the function, and remove it"
    )]
    UnsupportedEvent,
    /// A record failed, but neither it nor any record before it has a sequence number to report.
    #[error("a record failed that has no sequence number: the whole batch has to come again")]
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
    /// Where a failure cannot be reported by sequence number: the whole batch comes again.
    pub async fn handle(
        &self,
        event: LambdaEvent<Bytes>,
    ) -> Result<KinesisEventResponse, HandlerError> {
        let LambdaEvent { payload, context } = event;
        let span = traces::invocation(&context.request_id, context.xray_trace_id.as_deref());
        let response = logged(async {
            let records =
                envelope(str::from_utf8(&payload).map_err(|_| HandlerError::UnsupportedEvent)?)?;
            if let Some(shard_id) = records.iter().find_map(|record| record.shard_id.as_deref()) {
                traces::from_shard(shard_id);
            }
            // Changed settings are read beside the work, and take effect with the next invocation.
            let pipeline = Arc::clone(&self.source).pipeline();
            Arc::clone(&self.source)
                .refresh(&|| traces::beside(&context.request_id, context.xray_trace_id.as_deref()));
            let deadline = pipeline.deadline(remaining(context.deadline));
            let outcome = pipeline.run(&records, deadline).await;
            self.report(&pipeline.function, &records, &outcome);
            response(&records, &outcome.settled.failed)
        })
        .instrument(span)
        .await;
        traces::flush(remaining(context.deadline)).await;
        response
    }

    /// Emits the metrics of the invocation, and logs its counts.
    fn report(&self, function: &str, records: &[Record<'_>], outcome: &Outcome) {
        let settled = &outcome.settled;
        let destinations = outcome.meters.iter().zip(&settled.by_destination);
        telemetry::emit(&Invocation {
            function,
            cold_start: !self.was_invoked.swap(true, Ordering::Relaxed),
            received: records.len() as u64,
            counts: settled.counts,
            dead_letters_stored: settled.dead_letters_stored,
            state_errors: settled.state_errors,
            config_errors: self.source.take_errors(),
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

/// Returns the failed records' sequence numbers, in batch order. Lambda takes the lowest for its
/// checkpoint, so a record without a number is reported by the nearest one before it. Records that
/// come again without need are written again, which is harmless.
fn response(
    records: &[Record<'_>],
    failed: &[Position],
) -> Result<KinesisEventResponse, HandlerError> {
    let mut response = KinesisEventResponse::default();
    let mut last = None;
    for position in failed {
        let number =
            checkpoint::identifier(records, *position).ok_or(HandlerError::NoSequenceNumber)?;
        if last != Some(number) {
            response.add_failure(number);
        }
        last = Some(number);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn numbered(numbers: &[Option<&'static str>]) -> Vec<Record<'static>> {
        numbers
            .iter()
            .map(|number| Record {
                sequence_number: number.map(Cow::Borrowed),
                ..Record::default()
            })
            .collect()
    }

    fn reported(numbers: &[Option<&'static str>], failed: &[usize]) -> Option<Vec<String>> {
        let response = response(&numbered(numbers), failed).ok()?;
        Some(
            response
                .batch_item_failures
                .into_iter()
                .filter_map(|failure| failure.item_identifier)
                .collect(),
        )
    }

    #[test]
    fn a_failed_record_is_reported_by_its_number_or_the_nearest_before_it() {
        assert_eq!(
            reported(&[Some("1"), Some("2"), Some("3")], &[0, 2]),
            Some(vec!["1".into(), "3".into()])
        );
        assert_eq!(
            reported(&[Some("1"), None, None], &[1, 2]),
            Some(vec!["1".into()])
        );
        assert_eq!(reported(&[None, Some("2")], &[0]), None);
        assert_eq!(reported(&[None, Some("2")], &[]), Some(vec![]));
    }
}
