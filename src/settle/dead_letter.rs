//! Dead letters: what can never succeed, whole and with the reason, in an SQS queue.

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

use crate::adapters::{Destination, Rejection};
use crate::consume::{Record, Stage};
use crate::fold::Position;

/// Messages in one call, and bytes in all of them. SQS takes 1 MiB by now; every queue takes this.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
const MOST_MESSAGES: usize = 10;
const MOST_BYTES: usize = 262_144;

/// What a system says may be as long as its whole answer, and a message that does not fit would come again for ever: so
/// much of its text, so many of the fields that it names and so much of each name, in characters.
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
    Queue(aws_sdk_sqs::Client, String),
}

/// Why dead letters were not stored.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// SQS refused or did not answer.
    #[error("the dead letters were not stored")]
    Sqs(#[source] Box<aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError>),
    /// SQS did not answer in time.
    #[error("the dead letters were not stored in time")]
    OutOfTime,
}

/// One rejection of one record.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    pub(super) position: Position,
    pub(super) record: &'a Record<'a>,
    pub(super) sub_sequence: usize,
    pub(super) stage: Stage,
    pub(super) destination: Option<Destination>,
    pub(super) rejection: &'a Rejection,
    pub(super) contact_id: Option<&'a str>,
    pub(super) event_id: Option<&'a str>,
}

impl Letter<'_> {
    /// The message. Where the record's data would not fit it is left out: a replay fetches it from the stream.
    fn message(&self, now: &str) -> String {
        let whole = sendable(&self.body(now, self.record.data.as_deref(), false));
        if whole.len() <= MOST_BYTES { whole } else { sendable(&self.body(now, None, true)) }
    }

    fn body(&self, now: &str, data: Option<&str>, omitted: bool) -> Value {
        let Self { record, rejection, .. } = self;
        let fields = rejection.fields.iter().take(MOST_FIELDS).map(|field| cut(field, LONGEST_FIELD));
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

    /// Stores the letters; says of each whether it is stored, or needs no storing.
    pub(super) async fn store(&self, letters: &[Letter<'_>], until: Instant) -> Vec<bool> {
        let Self::Queue(client, url) = self else {
            return vec![true; letters.len()];
        };
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or_else(|_| OffsetDateTime::now_utc());
        let now = now.format(&Rfc3339).unwrap_or_default();
        let messages: Vec<String> = letters.iter().map(|letter| letter.message(&now)).collect();
        let mut stored = vec![false; letters.len()];
        let sends = batches(&messages).into_iter().map(|batch| send(client, url, &messages, batch, until));
        let mut sends = stream::iter(sends).buffer_unordered(CALLS_AT_ONCE);
        while let Some(done) = sends.next().await {
            match done {
                Ok(done) => done.into_iter().for_each(|at| stored[at] = true),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "dead letters not stored: their records come again");
                }
            }
        }
        stored
    }
}

fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// JSON as SQS takes it: two characters that a text may hold it refuses, and they can be written otherwise.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn sendable(body: &Value) -> String {
    body.to_string().replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// Which of the records that share its sequence number a record is: the parts of a KPL aggregate do, under enhanced
/// fan-out.
pub(super) fn sub_sequence(records: &[Record<'_>], position: Position) -> usize {
    let Some((own, before)) = records.get(..=position).and_then(<[_]>::split_last) else {
        return 0;
    };
    let is_part =
        |record: &&Record<'_>| record.sequence_number.is_some() && record.sequence_number == own.sequence_number;
    before.iter().rev().take_while(is_part).count()
}

/// Which messages share a call.
fn batches(messages: &[String]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut bytes = usize::MAX;
    for (at, message) in messages.iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if batch.len() < MOST_MESSAGES && bytes + message.len() <= MOST_BYTES => {
                batch.push(at);
                bytes += message.len();
            }
            _ => {
                batches.push(vec![at]);
                bytes = message.len();
            }
        }
    }
    batches
}

/// One call. The answer names the messages that are stored.
async fn send(
    client: &aws_sdk_sqs::Client,
    url: &str,
    messages: &[String],
    batch: Vec<usize>,
    until: Instant,
) -> Result<Vec<usize>, DeadLetterError> {
    let entries = batch.into_iter().filter_map(|at| {
        let entry = SendMessageBatchRequestEntry::builder().id(at.to_string()).message_body(messages.get(at)?);
        entry.build().ok()
    });
    let call = client.send_message_batch().queue_url(url).set_entries(Some(entries.collect())).send();
    let answer = timeout_at(until, call).await.map_err(|_| DeadLetterError::OutOfTime)?;
    let answer = answer.map_err(|error| DeadLetterError::Sqs(Box::new(error.into_service_error())))?;
    for failure in answer.failed() {
        tracing::error!(code = failure.code(), "a dead letter was not stored: its record comes again");
    }
    Ok(answer.successful().iter().filter_map(|success| success.id().parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::Code;

    #[test]
    fn a_call_carries_ten_messages_and_no_more_than_fits() {
        let sizes = |sizes: &[usize]| -> Vec<usize> {
            let messages: Vec<String> = sizes.iter().map(|size| "x".repeat(*size)).collect();
            batches(&messages).iter().map(Vec::len).collect()
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
        let is_taken = |char: char| matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert!(text.chars().all(is_taken), "{text}");
    }

    #[test]
    fn the_message_has_the_contracts_shape_and_omits_data_that_does_not_fit() {
        let rejection = Rejection::new(Code::new("INVALID_EMAIL_ADDRESS"), "no").of_field("Email");
        let record = |data: String| Record {
            sequence_number: Some("49590338271490256608559692538361571095921575989136588898".into()),
            shard_id: Some("shardId-000000000006".into()),
            partition_key: Some("c-1001".into()),
            approximate_arrival: Some(1_763_633_700.123),
            data: Some(data.into()),
            ..Record::default()
        };
        let message = |record: &Record<'_>| {
            let letter = Letter {
                position: 0,
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
        let record = Record { data: Some("A".repeat(50_000).into()), ..Record::default() };
        let letter = Letter {
            position: 0,
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
