//! Stores rejected records as dead letters, whole and with the reason, in an SQS queue.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

use crate::model::{Data, Destination, Origin, Position, Record, Rejection, Stage};
use crate::services::{DeadLetterQueue, Sent, ServiceError};
use crate::telemetry;

/// The schema of the messages, contract section 4.
const SCHEMA: &str = "contact-sync/dead-letter/2";

/// Bounds of one call, in messages and in bytes. SQS allows 1 MiB; every queue allows these.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
const MOST_MESSAGES: usize = 10;
const MOST_BYTES: usize = 262_144;

/// Bounds of a rejection's message in characters, of its fields, and of a field's name in
/// characters. A system's message may be as long as its whole response, and a dead letter that does
/// not fit a message would be stored never.
const LONGEST_TEXT: usize = 10_000;
const MOST_FIELDS: usize = 50;
const LONGEST_FIELD: usize = 255;

/// Bound of the calls in flight.
const CALLS_AT_ONCE: usize = 8;

/// The destination of rejected records.
#[derive(Clone, Debug)]
pub enum DeadLetters {
    /// The audit trail alone.
    LogOnly,
    /// An SQS queue.
    Queue(Arc<dyn DeadLetterQueue>, String),
}

/// Dead letters were not stored.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// SQS refused the call or did not respond.
    #[error("the dead letters were not stored")]
    Sqs(#[source] ServiceError),
    /// SQS did not respond in time.
    #[error("the dead letters were not stored in time")]
    OutOfTime,
    /// An earlier dead letter was not stored, and its record's redelivery includes these records.
    #[error("an earlier dead letter was not stored: their records are redelivered with its record")]
    Behind,
}

/// One rejection of one record.
#[derive(Debug)]
pub(super) struct DeadLetter<'a> {
    pub(super) position: Position,
    /// Whether the state table prevents that a redelivery stores the dead letter again.
    pub(super) is_remembered: bool,
    pub(super) record: &'a Record<'a>,
    pub(super) stage: Stage,
    pub(super) destination: Option<Destination>,
    pub(super) rejection: &'a Rejection,
    pub(super) contact_id: Option<&'a str>,
    pub(super) event_id: Option<&'a str>,
}

impl DeadLetter<'_> {
    /// Builds the message. Omits record data that does not fit: a replay fetches it from the
    /// stream. Omits a key that does not fit either: Kafka and KPL aggregates do not bound keys.
    /// Data that the event does not hold readably counts as omitted, because a replay puts a record
    /// back as a tombstone where its data is null and not omitted.
    fn message(&self, now: &str) -> String {
        let mut body = self.body(now);
        let whole = sendable(&body);
        if whole.len() <= MOST_BYTES {
            return whole;
        }
        let record = &mut body["record"];
        record["data"] = Value::Null;
        record["data_omitted"] = true.into();
        let without_data = sendable(&body);
        if without_data.len() <= MOST_BYTES {
            return without_data;
        }
        let key = match self.record.origin {
            Origin::Kinesis(_) => "partition_key",
            Origin::Kafka(_) => "key",
        };
        body["record"][key] = Value::Null;
        sendable(&body)
    }

    fn body(&self, now: &str) -> Value {
        let Self {
            record, rejection, ..
        } = self;
        let fields = rejection
            .fields
            .iter()
            .take(MOST_FIELDS)
            .map(|field| cut(field, LONGEST_FIELD));
        let mut place = place(record);
        place["data"] = record.data.as_ref().map(base64).into();
        if record.data.is_none() && !record.is_tombstone() {
            place["data_omitted"] = true.into();
        }
        json!({
            "schema": SCHEMA,
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

    /// Opens a connection to the queue.
    pub(crate) async fn connect(&self) {
        if let Self::Queue(client, url) = self {
            client.connect(url).await;
        }
    }

    /// Stores the dead letters in their order. Returns for each whether it is stored, or needs no
    /// storing. Starts no call at `until`. After a dead letter that is not stored, starts no call
    /// for one that a redelivery would store again.
    pub(super) async fn store(&self, dead_letters: &[DeadLetter<'_>], until: Instant) -> Vec<bool> {
        let Self::Queue(client, url) = self else {
            return vec![true; dead_letters.len()];
        };
        let mut stored = vec![false; dead_letters.len()];
        let mut failures = Failures::default();
        let has_failed = AtomicBool::new(false);
        let is_due = |dead_letter: &DeadLetter<'_>| {
            dead_letter.is_remembered || !has_failed.load(Ordering::Relaxed)
        };
        let messages = messages(dead_letters, is_due).take_while(|_| Instant::now() < until);
        let calls = batches(messages)
            .take_while(|_| Instant::now() < until)
            .map(|batch| send(client.as_ref(), url, batch, until));
        let mut calls = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE);
        while let Some((count, result)) = calls.next().await {
            let accepted = failures.take(count, result);
            has_failed.fetch_or(accepted.len() < count, Ordering::Relaxed);
            for at in accepted {
                if let Some(is_stored) = stored.get_mut(at) {
                    *is_stored = true;
                }
            }
        }
        failures.take_not_started(dead_letters.len(), until);
        failures.report(stored.iter().filter(|is_stored| !**is_stored).count());
        stored
    }
}

/// The reasons for dead letters that are not stored, so that an invocation logs few lines.
#[derive(Default)]
struct Failures {
    /// Dead letters of finished calls.
    finished: usize,
    /// Each distinct reason of failed calls.
    reasons: Vec<String>,
    /// Dead letters that SQS refused within a call, by code.
    refused: BTreeMap<String, usize>,
}

impl Failures {
    /// Takes the result of a call with `count` dead letters. Returns those that are stored.
    fn take(&mut self, count: usize, result: Result<Sent, DeadLetterError>) -> Vec<usize> {
        self.finished += count;
        match result {
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

    /// Adds the reason for calls that were not started, where not all `count` dead letters were
    /// sent.
    fn take_not_started(&mut self, count: usize, until: Instant) {
        if self.finished == count {
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

    /// Logs that `count` dead letters are not stored.
    fn report(&self, count: usize) {
        for (code, letters) in &self.refused {
            tracing::error!(
                code,
                letters,
                "dead letters refused by the queue: their records are redelivered"
            );
        }
        if !self.reasons.is_empty() {
            let letters = count.saturating_sub(self.refused.values().sum());
            let error = self.reasons.join("; ");
            tracing::error!(
                letters,
                error,
                "dead letters not stored: their records are redelivered"
            );
        }
    }
}

/// Builds the message of each dead letter that is due, lazily.
fn messages<'a>(
    dead_letters: &'a [DeadLetter<'_>],
    is_due: impl Fn(&DeadLetter<'_>) -> bool + 'a,
) -> impl Iterator<Item = (usize, String)> + 'a {
    let now = OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .unwrap_or_else(|_| OffsetDateTime::now_utc());
    let now = now.format(&Rfc3339).unwrap_or_default();
    let due = dead_letters
        .iter()
        .enumerate()
        .filter(move |(_, dead_letter)| is_due(dead_letter));
    due.map(move |(at, dead_letter)| (at, dead_letter.message(&now)))
}

fn cut(text: &str, most: usize) -> &str {
    match text.char_indices().nth(most) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Formats JSON for SQS. Escapes the two characters that SQS refuses.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn sendable(body: &Value) -> String {
    body.to_string()
        .replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff")
}

/// Returns the source of a record and its position there, without its data.
fn place(record: &Record<'_>) -> Value {
    match &record.origin {
        Origin::Kinesis(origin) => {
            let mut place = json!({
                "source": "kinesis",
                "event_source_arn": record.event_source_arn,
                "shard_id": origin.shard_id,
                "sequence_number": origin.sequence_number,
                "sub_sequence": origin.sub_sequence,
                "partition_key": origin.partition_key,
                "approximate_arrival": origin.approximate_arrival,
            });
            if let Some(key) = origin.hash_key() {
                place["explicit_hash_key"] = key.to_string().into();
            }
            place
        }
        Origin::Kafka(origin) => json!({
            "source": "kafka",
            "event_source_arn": record.event_source_arn,
            "topic": origin.topic(),
            "partition": origin.partition(),
            "offset": origin.offset,
            "key": origin.key,
            "timestamp": origin.timestamp,
        }),
    }
}

/// Returns the data as base64 text.
fn base64<'a>(data: &'a Data<'_>) -> Cow<'a, str> {
    match data {
        Data::Base64(text) => Cow::Borrowed(text),
        Data::Bytes(bytes) => Cow::Owned(base64_simd::STANDARD.encode_to_string(bytes)),
    }
}

/// Groups messages by calls, lazily.
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

/// Makes one call. Returns the number of its dead letters, and the result.
async fn send(
    client: &dyn DeadLetterQueue,
    url: &str,
    batch: Vec<(usize, String)>,
    until: Instant,
) -> (usize, Result<Sent, DeadLetterError>) {
    let count = batch.len();
    let result = match timeout_at(until, client.send(url, batch)).await {
        Err(_) => Err(DeadLetterError::OutOfTime),
        Ok(Err(error)) => Err(DeadLetterError::Sqs(error)),
        Ok(Ok(sent)) => Ok(sent),
    };
    (count, result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Code, KafkaOrigin, KinesisOrigin};

    #[test]
    fn a_call_carries_at_most_ten_messages_and_its_bound_of_bytes() {
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
    fn characters_that_sqs_refuses_are_escaped() {
        let body = json!({"contact_id": "a\u{fffe}b\u{ffff}c\u{1}d"});
        let text = sendable(&body);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), body);
        let is_accepted =
            |char: char| matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert!(text.chars().all(is_accepted), "{text}");
    }

    #[test]
    fn a_message_has_the_contracts_shape_and_omits_data_that_does_not_fit() {
        let rejection = Rejection::new(Code::new("INVALID_EMAIL_ADDRESS"), "no").of_field("Email");
        let kinesis = Origin::Kinesis(KinesisOrigin {
            sequence_number: Some(
                "49590338271490256608559692538361571095921575989136588898".into(),
            ),
            sub_sequence: 0,
            shard_id: Some("shardId-000000000006".into()),
            partition_key: Some("c-1001".into()),
            approximate_arrival: Some(1_763_633_700.123),
            explicit_hash_key: None,
        });
        let record = |data: String| Record {
            origin: kinesis.clone(),
            ..Record::of_data(data)
        };
        let message = |record: &Record<'_>| {
            let dead_letter = DeadLetter {
                position: 0,
                is_remembered: false,
                record,
                stage: Stage::Deliver,
                destination: Some(Destination("salesforce")),
                rejection: &rejection,
                contact_id: Some("c-1001"),
                event_id: Some("e-1"),
            };
            serde_json::from_str::<Value>(&dead_letter.message("2026-11-20T10:15:01Z"))
                .expect("JSON")
        };
        insta::assert_json_snapshot!("dead_letter", message(&record("e30=".to_owned())));
        let part = Record {
            data: Some(Data::Bytes(b"{}")),
            ..record(String::new())
        };
        assert_eq!(message(&part)["record"]["data"], "e30=", "its own bytes");
        let hash_key = |key| {
            let mut hashed = record("e30=".to_owned());
            if let Origin::Kinesis(origin) = &mut hashed.origin {
                origin.explicit_hash_key = Some(key);
            }
            message(&hashed)["record"].get("explicit_hash_key").cloned()
        };
        assert_eq!(hash_key("17"), Some("17".into()));
        let greatest = u128::MAX.to_string();
        assert_eq!(hash_key(&greatest), Some(greatest.as_str().into()));
        for invalid in ["", "340282366920938463463374607431768211456", "-1", "x"] {
            assert_eq!(hash_key(invalid), None, "{invalid:?} decides no shard");
        }
        let kafka = Record {
            origin: Origin::Kafka(KafkaOrigin {
                topic_partition: "contacts-0".into(),
                offset: Some(100),
                key: Some("Yy0xMDAx".into()),
                timestamp: Some(1_763_633_700_123),
                ..KafkaOrigin::default()
            }),
            ..Record::of_data("e30=")
        };
        insta::assert_json_snapshot!("dead_letter_of_kafka", message(&kafka));
        let large = message(&record("A".repeat(300_000)));
        assert_eq!(large["record"]["data"], Value::Null);
        assert_eq!(large["record"]["data_omitted"], true);
    }

    #[test]
    fn a_rejection_of_any_length_fits_a_message_together_with_the_data() {
        let mut rejection = Rejection::new(Code::new("X"), "\u{1}".repeat(1_000_000));
        rejection.fields = vec!["\u{1}".repeat(1_000_000); 1_000];
        let record = Record::of_data("A".repeat(50_000));
        let dead_letter = DeadLetter {
            position: 0,
            is_remembered: false,
            record: &record,
            stage: Stage::Deliver,
            destination: None,
            rejection: &rejection,
            contact_id: None,
            event_id: None,
        };
        let message = dead_letter.message("2026-11-20T10:15:01Z");
        assert!(message.len() <= MOST_BYTES, "{}", message.len());
        assert!(message.contains("AAAA"));
    }

    #[test]
    fn a_key_of_any_length_fits_a_message_or_is_omitted() {
        let rejection = Rejection::new(Code::new("X"), "no");
        let of_kinesis = |key: String| {
            let origin = KinesisOrigin {
                partition_key: Some(key.into()),
                ..KinesisOrigin::default()
            };
            ("partition_key", Origin::Kinesis(origin))
        };
        let of_kafka = |key: String| {
            let origin = KafkaOrigin {
                key: Some(key.into()),
                ..KafkaOrigin::default()
            };
            ("key", Origin::Kafka(origin))
        };
        for (length, is_kept) in [(200_000, true), (300_000, false)] {
            let key = "k".repeat(length);
            for (name, origin) in [of_kinesis(key.clone()), of_kafka(key.clone())] {
                let record = Record {
                    origin,
                    ..Record::of_data("A".repeat(100_000))
                };
                let dead_letter = DeadLetter {
                    position: 0,
                    is_remembered: false,
                    record: &record,
                    stage: Stage::Decode,
                    destination: None,
                    rejection: &rejection,
                    contact_id: None,
                    event_id: None,
                };
                let message = dead_letter.message("2026-11-20T10:15:01Z");
                assert!(message.len() <= MOST_BYTES, "{name}: {}", message.len());
                let message: Value = serde_json::from_str(&message).expect("JSON");
                let expected = is_kept.then_some(&*key);
                assert_eq!(message["record"][name].as_str(), expected, "{name}");
                assert_eq!(message["record"]["data_omitted"], true, "{name}");
            }
        }
    }
}
