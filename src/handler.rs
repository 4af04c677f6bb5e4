//! One invocation in, one answer out: the only room that names the Lambda event's types.
//!
//! The envelope is read leniently, record by record. `aws_lambda_events::KinesisEvent` would refuse a whole batch for
//! one odd record, before anybody could say which: the batch would come again for ever.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lambda_events::event::streams::KinesisEventResponse;
use bytes::Bytes;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::Instrument;

use crate::consume::Record;
use crate::factory::Current;
use crate::fold::Position;
use crate::json::{self, Str};
use crate::pipeline::Outcome;
use crate::telemetry::{self, Invocation, traces};

/// Handles invocations; cheap to clone, and each clone is the same handler.
#[derive(Clone, Debug)]
pub struct Handler {
    current: Arc<Current>,
    was_invoked: Arc<AtomicBool>,
}

/// Why an invocation has no answer, so that its whole batch comes again.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The event is no JSON or holds no list of records, so that nothing can be judged. Lambda keeps it and tries again:
    /// were it answered, its records would be lost without a word.
    #[error(
        "the event is no JSON with a list of `Records`: Kinesis mappings invoke the function, or somebody with such an event"
    )]
    NotKinesis,
    /// A record failed, but neither it nor any record before it has a sequence number to report.
    #[error("a record failed that has no sequence number: the whole batch has to come again")]
    NoSequenceNumber,
}

impl HandlerError {
    /// The name in Lambda's error reports, for people and alarms to match.
    fn name(&self) -> &'static str {
        match self {
            Self::NotKinesis => "NotKinesis",
            Self::NoSequenceNumber => "NoSequenceNumber",
        }
    }
}

impl From<HandlerError> for Diagnostic {
    fn from(error: HandlerError) -> Self {
        Self { error_type: error.name().to_owned(), error_message: error.to_string() }
    }
}

impl Handler {
    /// A handler that sends through what `current` holds.
    pub fn new(current: Current) -> Self {
        Self { current: Arc::new(current), was_invoked: Arc::default() }
    }

    /// Handles one invocation, whose event is the bytes as they came.
    ///
    /// # Errors
    /// Where a failure cannot be reported: then the whole batch comes again.
    pub async fn handle(&self, event: LambdaEvent<Bytes>) -> Result<KinesisEventResponse, HandlerError> {
        let LambdaEvent { payload, context } = event;
        let span = traces::invocation(&context.request_id, context.xray_trace_id.as_deref());
        let answer = async {
            let records = envelope(str::from_utf8(&payload).map_err(|_| HandlerError::NotKinesis)?)?;
            if let Some(shard_id) = records.iter().find_map(|record| record.shard_id.as_deref()) {
                traces::from_shard(shard_id);
            }
            // New settings are read beside the work, and are in force from the next invocation on.
            let pipeline = self.current.pipeline();
            self.current.refresh(|| traces::beside(&context.request_id, context.xray_trace_id.as_deref()));
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
            destinations: destinations.map(|((name, meter), counts)| (*name, *counts, meter)).collect(),
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

/// The failed records' sequence numbers, in batch order. Lambda takes the lowest for its checkpoint, so a record
/// without a number is reported by the nearest one before it: what comes again too often is written again, harmlessly.
fn answer(records: &[Record<'_>], failed: &[Position]) -> Result<KinesisEventResponse, HandlerError> {
    let mut answer = KinesisEventResponse::default();
    let mut last = None;
    for position in failed {
        let number = records[..=*position].iter().rev().find_map(|record| record.sequence_number.as_deref());
        let number = number.ok_or(HandlerError::NoSequenceNumber)?;
        if last != Some(number) {
            answer.add_failure(number);
        }
        last = Some(number);
    }
    Ok(answer)
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(rename = "Records")]
    records: Vec<T>,
}

/// A record whose texts are read as `T`, and whose numbers as `N`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRecord<T, N> {
    kinesis: Option<WireKinesis<T, N>>,
    #[serde(rename = "eventID")]
    event_id: Option<T>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: Option<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireKinesis<T, N> {
    partition_key: Option<T>,
    sequence_number: Option<T>,
    approximate_arrival_timestamp: Option<N>,
    data: Option<T>,
}

/// The records of an event, each as far as it can be read.
///
/// # Errors
/// Where it has no records.
pub fn envelope(event: &str) -> Result<Vec<Record<'_>>, HandlerError> {
    if let Ok(Envelope { records }) = serde_json::from_str(event) {
        return Ok(records.into_iter().map(|wire| record(wire, |Str(text)| Some(text), Some)).collect());
    }
    // One of them is odd, so each is read by itself, and each part of it.
    let Envelope::<&RawValue> { records } = serde_json::from_str(event).map_err(|_| HandlerError::NotKinesis)?;
    Ok(records.into_iter().map(|raw| odd_record(raw).unwrap_or_default()).collect())
}

fn odd_record(raw: &RawValue) -> Option<Record<'_>> {
    let number = |raw: &RawValue| serde_json::from_str(raw.get()).ok();
    Some(record(serde_json::from_str(raw.get()).ok()?, json::text, number))
}

fn record<'a, T, N>(
    wire: WireRecord<T, N>,
    text: impl Fn(T) -> Option<Cow<'a, str>>,
    number: impl FnOnce(N) -> Option<f64>,
) -> Record<'a> {
    let part = |part: Option<T>| part.and_then(&text);
    let shard_id = part(wire.event_id).and_then(shard);
    let event_source_arn = part(wire.event_source_arn);
    let Some(kinesis) = wire.kinesis else {
        return Record { event_source_arn, shard_id, ..Record::default() };
    };
    Record {
        event_source_arn,
        shard_id,
        sequence_number: part(kinesis.sequence_number).filter(|number| !number.is_empty()),
        partition_key: part(kinesis.partition_key),
        approximate_arrival: kinesis.approximate_arrival_timestamp.and_then(number),
        data: part(kinesis.data),
    }
}

/// The shard in `shardId-000000000006:4959…`.
fn shard(event_id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let length = event_id.find(':')?;
    match event_id {
        Cow::Borrowed(text) => Some(Cow::Borrowed(&text[..length])),
        Cow::Owned(mut text) => {
            text.truncate(length);
            Some(Cow::Owned(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(numbers: &[Option<&'static str>]) -> Vec<Record<'static>> {
        numbers
            .iter()
            .map(|number| Record { sequence_number: number.map(Cow::Borrowed), ..Record::default() })
            .collect()
    }

    fn answered(numbers: &[Option<&'static str>], failed: &[usize]) -> Option<Vec<String>> {
        let answer = answer(&numbered(numbers), failed).ok()?;
        Some(answer.batch_item_failures.into_iter().filter_map(|failure| failure.item_identifier).collect())
    }

    #[test]
    fn a_failed_record_is_reported_by_its_number_or_the_nearest_before_it() {
        assert_eq!(answered(&[Some("1"), Some("2"), Some("3")], &[0, 2]), Some(vec!["1".into(), "3".into()]));
        assert_eq!(answered(&[Some("1"), None, None], &[1, 2]), Some(vec!["1".into()]));
        assert_eq!(answered(&[None, Some("2")], &[0]), None);
        assert_eq!(answered(&[None, Some("2")], &[]), Some(vec![]));
    }

    #[test]
    fn an_odd_record_leaves_its_neighbours_readable() {
        let event = r#"{"Records":[7,null,{"kinesis":"x"},{"kinesis":{"sequenceNumber":5,"data":"e30="}},
            {"eventID":"shardId-000000000006:123","kinesis":{"sequenceNumber":"123","data":"e\u00330=","partitionKey":"k",
             "approximateArrivalTimestamp":1.5},"eventSourceARN":"arn"}]}"#;
        let records = envelope(event).expect("records");
        assert_eq!(records.len(), 5);
        assert_eq!(records[3].data.as_deref(), Some("e30="));
        let last = &records[4];
        assert_eq!((last.shard_id.as_deref(), last.data.as_deref()), (Some("shardId-000000000006"), Some("e30=")));
        assert_eq!((last.approximate_arrival, last.sequence_number.as_deref()), (Some(1.5), Some("123")));
    }

    #[test]
    fn an_event_without_a_list_of_records_is_an_error_and_an_empty_list_is_none() {
        let judged = |event: &str| envelope(event).map(|records| records.len()).ok();
        for event in [
            "{}",
            "null",
            "[]",
            "7",
            r#"{"Records":null}"#,
            r#"{"Records":{}}"#,
            r#"{"records":[]}"#,
            "",
            r#"{"Records":[]"#,
            r#"{"Records":[]}}"#,
        ] {
            assert_eq!(judged(event), None, "{event}");
        }
        assert_eq!(judged(r#"{"Records":[]}"#), Some(0));
    }

    proptest! {
        #[test]
        fn no_envelope_panics(text in r#"\{"Records":(\[(\{"kinesis":[a-z0-9{}":,]{0,30}\},?)*\]|[a-z0-9"]{1,8})\}"#) {
            let _ = envelope(&text);
        }
    }
}
