//! Dead letters: what can never succeed, whole and with the reason, in an SQS queue.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

use crate::adapters::{Destination, Rejection};
use crate::consume::{Record, Stage};
use crate::fold::Position;
use crate::services::{DeadLetterQueue, Sent, ServiceError};
use crate::telemetry;

/// Messages in one call, and bytes in all of them. SQS takes 1 MiB by now; every queue takes this.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
const MOST_MESSAGES: usize = 10;
const MOST_BYTES: usize = 262_144;

/// What a system says may be as long as its whole answer, and a message that does not fit would
/// come again for ever: so much of its text, so many of the fields that it names and so much of
/// each name, in characters.
const LONGEST_TEXT: usize = 10_000;
const MOST_FIELDS: usize = 50;
const LONGEST_FIELD: usize = 255;

/// Calls under way at once.
const CALLS_AT_ONCE: usize = 8;

/// Where rejected records go.
#[derive(Clone, Debug)]
pub enum DeadLetters {
    /// Only the audit trail tells of them.
    LogOnly,
    /// An SQS queue.
    Queue(Arc<dyn DeadLetterQueue>, String),
}

/// Why dead letters were not stored.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// SQS refused or did not answer.
    #[error("the dead letters were not stored")]
    Sqs(#[source] ServiceError),
    /// SQS did not answer in time.
    #[error("the dead letters were not stored in time")]
    OutOfTime,
    /// They come again behind another one.
    #[error("a dead letter before them was not stored, and they come again with it")]
    Behind,
}

/// One rejection of one record.
#[derive(Debug)]
pub(super) struct DeadLetter<'a> {
    pub(super) position: Position,
    /// Whether the state table keeps it from being stored again where its record comes again.
    pub(super) is_remembered: bool,
    pub(super) record: &'a Record<'a>,
    pub(super) sub_sequence: usize,
    pub(super) stage: Stage,
    pub(super) destination: Option<Destination>,
    pub(super) rejection: &'a Rejection,
    pub(super) contact_id: Option<&'a str>,
    pub(super) event_id: Option<&'a str>,
}

impl DeadLetter<'_> {
    /// The message. Where the record's data would not fit it is left out: a replay fetches it from
    /// the stream.
    fn message(&self, now: &str) -> String {
        let whole = sendable(&self.body(now, self.record.data.as_deref(), false));
        if whole.len() <= MOST_BYTES {
            whole
        } else {
            sendable(&self.body(now, None, true))
        }
    }

    fn body(&self, now: &str, data: Option<&str>, omitted: bool) -> Value {
        let Self {
            record, rejection, ..
        } = self;
        let fields = rejection
            .fields
            .iter()
            .take(MOST_FIELDS)
            .map(|field| cut(field, LONGEST_FIELD));
        let mut place = json!({
            "event_source_arn": record.event_source_arn,
            "shard_id": record.shard_id,
            "sequence_number": record.sequence_number,
            "sub_sequence": self.sub_sequence,
            "partition_key": record.partition_key,
            "approximate_arrival": record.approximate_arrival,
            "data": data,
        });
        if omitted {
            place["data_omitted"] = true.into();
        }
        json!({
            "schema": "contact-sync/dead-letter/1",
            "reason": {
                "stage": self.stage,
                "destination": self.destination.map(|destination| destination.0),
                "code": rejection.code.as_str(),
                "message": cut(&rejection.message, LONGEST_TEXT),
                "fields": fields.collect::<Vec<_>>(),
            },
            "contact_id": self.contact_id,
            "event_id": self.event_id,
            "record": place,
            "rejected_at": now,
        })
    }
}

impl DeadLetters {
    pub(super) fn has_queue(&self) -> bool {
        matches!(self, Self::Queue(..))
    }

    /// Stores the letters, in their order, and says of each whether it is stored, or needs no
    /// storing. No call is begun at `until`. Behind a letter that is not stored, no call is begun
    /// for one that would be stored again with it.
    pub(super) async fn store(&self, letters: &[DeadLetter<'_>], until: Instant) -> Vec<bool> {
        let Self::Queue(client, url) = self else {
            return vec![true; letters.len()];
        };
        let mut stored = vec![false; letters.len()];
        let mut failures = Failures::default();
        let has_failed = AtomicBool::new(false);
        let is_due =
            |letter: &DeadLetter<'_>| letter.is_remembered || !has_failed.load(Ordering::Relaxed);
        let messages = messages(letters, is_due).take_while(|_| Instant::now() < until);
        let calls = batches(messages)
            .take_while(|_| Instant::now() < until)
            .map(|batch| send(client.as_ref(), url, batch, until));
        let mut calls = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE);
        while let Some((count, ended)) = calls.next().await {
            let taken = failures.take(count, ended);
            has_failed.fetch_or(taken.len() < count, Ordering::Relaxed);
            for at in taken {
                if let Some(is_stored) = stored.get_mut(at) {
                    *is_stored = true;
                }
            }
        }
        failures.not_begun(letters.len(), until);
        failures.report(stored.iter().filter(|is_stored| !**is_stored).count());
        stored
    }
}

/// Why letters are not stored, so that a whole invocation reports it in few lines.
#[derive(Default)]
struct Failures {
    /// Letters of calls that have ended.
    ended: usize,
    /// Each reason of a call that failed, once.
    reasons: Vec<String>,
    /// Letters that SQS refused one by one, by code.
    refused: BTreeMap<String, usize>,
}

impl Failures {
    /// Takes the outcome of a call with so many letters. Returns those that are stored.
    fn take(&mut self, count: usize, ended: Result<Sent, DeadLetterError>) -> Vec<usize> {
        self.ended += count;
        match ended {
            Ok(Sent { stored, refused }) => {
                for code in refused {
                    *self.refused.entry(code).or_default() += 1;
                }
                stored
            }
            Err(error) => {
                self.add(&error);
                Vec::new()
            }
        }
    }

    /// Notes why not all of so many letters were handed out.
    fn not_begun(&mut self, letters: usize, until: Instant) {
        if self.ended == letters {
            return;
        }
        let is_late = Instant::now() >= until;
        self.add(if is_late {
            &DeadLetterError::OutOfTime
        } else {
            &DeadLetterError::Behind
        });
    }

    fn add(&mut self, error: &DeadLetterError) {
        let reason = telemetry::chain(error);
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Reports that so many letters are not stored.
    fn report(&self, letters: usize) {
        for (code, letters) in &self.refused {
            tracing::error!(
                code,
                letters,
                "dead letters refused by the queue: their records come again"
            );
        }
        if !self.reasons.is_empty() {
            let letters = letters.saturating_sub(self.refused.values().sum());
            let error = self.reasons.join("; ");
            tracing::error!(
                letters,
                error,
                "dead letters not stored: their records come again"
            );
        }
    }
}

/// Makes the messages of the letters that are due by the time that each is needed.
fn messages<'a>(
    letters: &'a [DeadLetter<'_>],
    is_due: impl Fn(&DeadLetter<'_>) -> bool + 'a,
) -> impl Iterator<Item = (usize, String)> + 'a {
    let now = OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .unwrap_or_else(|_| OffsetDateTime::now_utc());
    let now = now.format(&Rfc3339).unwrap_or_default();
    let due = letters
        .iter()
        .enumerate()
        .filter(move |(_, letter)| is_due(letter));
    due.map(move |(at, letter)| (at, letter.message(&now)))
}

fn cut(text: &str, most: usize) -> &str {
    text.char_indices()
        .nth(most)
        .map_or(text, |(end, _)| &text[..end])
}

/// JSON as SQS takes it: two characters that a text may hold it refuses, and they can be written
/// otherwise.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn sendable(body: &Value) -> String {
    body.to_string()
        .replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff")
}

/// Which of the records that share its sequence number a record is: the parts of a KPL aggregate
/// do, under enhanced fan-out.
pub(super) fn sub_sequence(records: &[Record<'_>], position: Position) -> usize {
    let Some((own, before)) = records.get(..=position).and_then(<[_]>::split_last) else {
        return 0;
    };
    let is_part = |record: &&Record<'_>| {
        record.sequence_number.is_some() && record.sequence_number == own.sequence_number
    };
    before.iter().rev().take_while(is_part).count()
}

/// Splits messages into those that share a call, each batch when it is asked for.
fn batches(
    messages: impl Iterator<Item = (usize, String)>,
) -> impl Iterator<Item = Vec<(usize, String)>> {
    let mut messages = messages.peekable();
    iter::from_fn(move || {
        let first = messages.next()?;
        let mut bytes = first.1.len();
        let mut batch = vec![first];
        while batch.len() < MOST_MESSAGES
            && let Some(message) =
                messages.next_if(|(_, message)| bytes + message.len() <= MOST_BYTES)
        {
            bytes += message.1.len();
            batch.push(message);
        }
        Some(batch)
    })
}

/// Makes one call. Returns its number of letters besides.
async fn send(
    client: &dyn DeadLetterQueue,
    url: &str,
    batch: Vec<(usize, String)>,
    until: Instant,
) -> (usize, Result<Sent, DeadLetterError>) {
    let count = batch.len();
    let ended = match timeout_at(until, client.send(url, batch)).await {
        Err(_) => Err(DeadLetterError::OutOfTime),
        Ok(Err(error)) => Err(DeadLetterError::Sqs(error)),
        Ok(Ok(sent)) => Ok(sent),
    };
    (count, ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::Code;

    #[test]
    fn a_call_carries_ten_messages_and_no_more_than_fits() {
        let sizes = |sizes: &[usize]| -> Vec<usize> {
            batches(sizes.iter().map(|size| "x".repeat(*size)).enumerate())
                .map(|batch| batch.len())
                .collect()
        };
        assert_eq!(sizes(&[10; 25]), [10, 10, 5]);
        assert_eq!(sizes(&[MOST_BYTES / 2, MOST_BYTES / 2, 1]), [2, 1]);
        assert_eq!(sizes(&[MOST_BYTES, MOST_BYTES]), [1, 1]);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn characters_that_a_queue_refuses_are_written_otherwise() {
        let body = json!({"contact_id": "a\u{fffe}b\u{ffff}c\u{1}d"});
        let text = sendable(&body);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), body);
        let is_taken =
            |char: char| matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert!(text.chars().all(is_taken), "{text}");
    }

    #[test]
    fn the_message_has_the_contracts_shape_and_omits_data_that_does_not_fit() {
        let rejection = Rejection::new(Code::new("INVALID_EMAIL_ADDRESS"), "no").of_field("Email");
        let record = |data: String| Record {
            sequence_number: Some(
                "49590338271490256608559692538361571095921575989136588898".into(),
            ),
            shard_id: Some("shardId-000000000006".into()),
            partition_key: Some("c-1001".into()),
            approximate_arrival: Some(1_763_633_700.123),
            data: Some(data.into()),
            ..Record::default()
        };
        let message = |record: &Record<'_>| {
            let letter = DeadLetter {
                position: 0,
                is_remembered: false,
                record,
                sub_sequence: 0,
                stage: Stage::Deliver,
                destination: Some(Destination("salesforce")),
                rejection: &rejection,
                contact_id: Some("c-1001"),
                event_id: Some("e-1"),
            };
            serde_json::from_str::<Value>(&letter.message("2026-11-20T10:15:01Z")).expect("JSON")
        };
        insta::assert_json_snapshot!("dead_letter", message(&record("e30=".to_owned())));
        let large = message(&record("A".repeat(300_000)));
        assert_eq!(large["record"]["data"], Value::Null);
        assert_eq!(large["record"]["data_omitted"], true);
    }

    #[test]
    fn an_answer_of_any_length_fits_a_message_and_leaves_room_for_the_data() {
        let mut rejection = Rejection::new(Code::new("X"), "\u{1}".repeat(1_000_000));
        rejection.fields = vec!["\u{1}".repeat(1_000_000); 1_000];
        let record = Record {
            data: Some("A".repeat(50_000).into()),
            ..Record::default()
        };
        let letter = DeadLetter {
            position: 0,
            is_remembered: false,
            record: &record,
            sub_sequence: 0,
            stage: Stage::Deliver,
            destination: None,
            rejection: &rejection,
            contact_id: None,
            event_id: None,
        };
        let message = letter.message("2026-11-20T10:15:01Z");
        assert!(message.len() <= MOST_BYTES, "{}", message.len());
        assert!(message.contains("AAAA"));
    }
}
