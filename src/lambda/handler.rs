//! One invocation in, one answer out: the only room that names the Lambda event's types.
//!
//! The envelope is read leniently, record by record ([`envelope`]).

mod envelope;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lambda_events::event::streams::KinesisEventResponse;
use bytes::Bytes;
use lambda_runtime::{Diagnostic, LambdaEvent};
use tracing::Instrument;

pub use self::envelope::envelope;
use crate::consume::Record;
use crate::factory::ReloadablePipeline;
use crate::fold::Position;
use crate::pipeline::Outcome;
use crate::settle::checkpoint;
use crate::telemetry::{self, Invocation, traces};

/// Handles invocations; cheap to clone, and each clone is the same handler.
#[derive(Clone, Debug)]
pub struct Handler {
    current: Arc<ReloadablePipeline>,
    was_invoked: Arc<AtomicBool>,
}

/// Why an invocation has no answer, so that its whole batch comes again.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The event holds no record of a supported source, so that nothing can be judged. Were it
    /// answered, the service that sent it would delete what the function never wrote.
    #[error(
        "the event holds no record of a supported source (Kinesis): find out which mapping, trigger or person invokes the \
         function, and remove it"
    )]
    UnsupportedEvent,
    /// A record failed, but neither it nor any record before it has a sequence number to report.
    #[error("a record failed that has no sequence number: the whole batch has to come again")]
    NoSequenceNumber,
}

impl HandlerError {
    /// The name in Lambda's error reports, for people and alarms to match.
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
    /// A handler that sends through what `current` holds.
    pub fn new(current: ReloadablePipeline) -> Self {
        Self {
            current: Arc::new(current),
            was_invoked: Arc::default(),
        }
    }

    /// Handles one invocation, whose event is the bytes as they came.
    ///
    /// # Errors
    /// Where a failure cannot be reported: then the whole batch comes again.
    pub async fn handle(
        &self,
        event: LambdaEvent<Bytes>,
    ) -> Result<KinesisEventResponse, HandlerError> {
        let LambdaEvent { payload, context } = event;
        let span = traces::invocation(&context.request_id, context.xray_trace_id.as_deref());
        let answer = async {
            let records =
                envelope(str::from_utf8(&payload).map_err(|_| HandlerError::UnsupportedEvent)?)?;
            if let Some(shard_id) = records.iter().find_map(|record| record.shard_id.as_deref()) {
                traces::from_shard(shard_id);
            }
            // New settings are read beside the work, and are in force from the next invocation on.
            let pipeline = self.current.pipeline();
            self.current
                .refresh(|| traces::beside(&context.request_id, context.xray_trace_id.as_deref()));
            let deadline = pipeline.deadline(remaining(context.deadline));
            let outcome = pipeline.run(&records, deadline).await;
            self.tell(&records, &outcome);
            answer(&records, &outcome.settled.failed)
        }
        .instrument(span)
        .await;
        traces::flush(remaining(context.deadline)).await;
        answer
    }

    fn tell(&self, records: &[Record<'_>], outcome: &Outcome) {
        let settled = &outcome.settled;
        let destinations = outcome.meters.iter().zip(&settled.by_destination);
        telemetry::emit(&Invocation {
            cold_start: !self.was_invoked.swap(true, Ordering::Relaxed),
            received: records.len() as u64,
            counts: settled.counts,
            dead_letters_stored: settled.dead_letters_stored,
            state_errors: settled.state_errors,
            config_errors: self.current.take_errors(),
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

/// What is left until `deadline`, in milliseconds of the Unix epoch.
fn remaining(deadline: u64) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Duration::from_millis(deadline).checked_sub(now)
}

/// The failed records' sequence numbers, in batch order. Lambda takes the lowest for its
/// checkpoint, so a record without a number is reported by the nearest one before it: what comes
/// again too often is written again, harmlessly.
fn answer(
    records: &[Record<'_>],
    failed: &[Position],
) -> Result<KinesisEventResponse, HandlerError> {
    let mut answer = KinesisEventResponse::default();
    let mut last = None;
    for position in failed {
        let number =
            checkpoint::identifier(records, *position).ok_or(HandlerError::NoSequenceNumber)?;
        if last != Some(number) {
            answer.add_failure(number);
        }
        last = Some(number);
    }
    Ok(answer)
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

    fn answered(numbers: &[Option<&'static str>], failed: &[usize]) -> Option<Vec<String>> {
        let answer = answer(&numbered(numbers), failed).ok()?;
        Some(
            answer
                .batch_item_failures
                .into_iter()
                .filter_map(|failure| failure.item_identifier)
                .collect(),
        )
    }

    #[test]
    fn a_failed_record_is_reported_by_its_number_or_the_nearest_before_it() {
        assert_eq!(
            answered(&[Some("1"), Some("2"), Some("3")], &[0, 2]),
            Some(vec!["1".into(), "3".into()])
        );
        assert_eq!(
            answered(&[Some("1"), None, None], &[1, 2]),
            Some(vec!["1".into()])
        );
        assert_eq!(answered(&[None, Some("2")], &[0]), None);
        assert_eq!(answered(&[None, Some("2")], &[]), Some(vec![]));
    }
}
