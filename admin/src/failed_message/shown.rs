//! Redacted and revealed views of a failed message. Contact data is part of the revealed view only.

use serde_json::{Value, json};

use super::super::output::pretty_json;
use super::{Discarded, DiscardedBatch, FailedMessage, Reason, Rejected, RejectedRecord};

const HIDDEN: &str = "(hidden: --reveal)";

/// Encodings of a record's data. Data that is not valid base64 is printed as the dead letter
/// contains it, with the encoding `none`.
const TEXT: &str = "utf-8";
const BINARY: &str = "base64";
const INVALID_BASE64: &str = "none";

impl FailedMessage {
    /// Returns the document to print, with contact data only if `reveal` is set.
    pub(crate) fn document(&self, reveal: bool) -> Value {
        match self {
            Self::Rejected(rejected) => rejected.document(reveal),
            Self::Discarded(discarded) => discarded.document(),
            Self::Unknown(reason) => json!({"unknown": reason}),
        }
    }
}

/// Returns the text, or a placeholder if it is hidden.
fn redacted(text: &str, is_shown: bool) -> &str {
    if is_shown { text } else { HIDDEN }
}

impl Rejected {
    fn document(&self, reveal: bool) -> Value {
        let Self { reason, record, .. } = self;
        let (data, encoding) = match record.decoded_data() {
            Some((data, encoding)) if reveal => (Some(data), Some(encoding)),
            Some(_) => (Some(HIDDEN.to_owned()), None),
            None => (None, None),
        };
        let shows_message = reveal || reason.is_free_of_contact_data();
        json!({
            "reason": {
                "stage": reason.stage,
                "destination": reason.destination,
                "code": reason.code,
                "fields": reason.fields,
                "message": redacted(&reason.message, shows_message),
            },
            "contact_id": self.contact_id,
            "event_id": self.event_id,
            "rejected_at": self.at,
            "record": record.document((data, encoding), reveal),
        })
    }
}

impl Reason {
    /// Returns whether the message cannot contain a contact's data. Before a record is sent the
    /// messages are contact-sync's own: field names, limits and positions. The message of a
    /// destination is safe if it consists only of the code and of field names.
    fn is_free_of_contact_data(&self) -> bool {
        let is_ours = matches!(self.stage.as_str(), "decode" | "validate" | "route");
        let is_part_of_name = |char: char| char.is_alphanumeric() || matches!(char, '_' | '.');
        let mut words = self
            .message
            .split(|char| !is_part_of_name(char))
            .filter(|word| !word.is_empty());
        let is_shown =
            |word: &str| word == self.code || self.fields.iter().any(|field| field == word);
        is_ours || words.all(is_shown)
    }
}

impl RejectedRecord {
    /// Returns the document of the record. A key may hold contact data.
    fn document(&self, (data, encoding): (Option<String>, Option<&str>), reveal: bool) -> Value {
        let shown =
            |key: &Option<String>| key.as_deref().map(|key| redacted(key, reveal).to_owned());
        let mut document = if self.is_kafka() {
            json!({
                "source": "kafka",
                "topic": self.topic,
                "partition": self.partition,
                "offset": self.offset,
                "key": shown(&self.key),
                "timestamp": self.timestamp,
            })
        } else {
            json!({
                "shard_id": self.shard_id,
                "sequence_number": self.sequence_number,
                "sub_sequence": self.sub_sequence,
                "partition_key": shown(&self.partition_key),
            })
        };
        if let Some(key) = shown(&self.explicit_hash_key) {
            document["explicit_hash_key"] = key.into();
        }
        document["event_source_arn"] = self.event_source_arn.as_deref().into();
        document["data_omitted"] = self.data_omitted.into();
        document["data"] = data.into();
        document["data_encoding"] = encoding.into();
        document
    }

    /// Decodes the data. Returns it as text if it is UTF-8, else as base64, with its encoding.
    fn decoded_data(&self) -> Option<(String, &'static str)> {
        let data = self.data.as_deref()?;
        let Ok(bytes) = base64_simd::STANDARD.decode_to_vec(data) else {
            return Some((data.to_owned(), INVALID_BASE64));
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some((text, TEXT)),
            Err(_) => Some((data.to_owned(), BINARY)),
        }
    }
}

impl Discarded {
    fn document(&self) -> Value {
        let batch = match &self.batch {
            DiscardedBatch::Kinesis(batch) => json!({
                "stream_arn": batch.stream_arn,
                "shard_id": batch.shard_id,
                "start_sequence_number": batch.start_sequence_number,
                "end_sequence_number": batch.end_sequence_number,
                "batch_size": batch.batch_size,
            }),
            DiscardedBatch::Kafka(batch) => json!({
                "event_source_arn": batch.event_source_arn,
                "records_info": batch.records_info,
                "batch_size": batch.batch_size,
            }),
        };
        json!({
            "condition": self.request_context.condition,
            "given_up_at": self.timestamp,
            "batch": batch,
            "holds_its_records": self.payload.is_some(),
        })
    }
}

/// Formats a document for the terminal. Revealed data comes last, byte for byte, because JSON would
/// escape it. Data with control characters, which a terminal would interpret, is printed as base64.
pub(crate) fn text(document: &Value) -> String {
    let record = &document["record"];
    let (Some(data), Some(encoding)) = (record["data"].as_str(), record["data_encoding"].as_str())
    else {
        return pretty_json(document);
    };
    let mut document = document.clone();
    document["record"]["data"] = "(below)".into();
    let is_plain = |char: char| !char.is_control() || matches!(char, '\t' | '\n' | '\r');
    let (label, data) = match encoding {
        BINARY => ("not UTF-8 text, as base64", data.to_owned()),
        _ if !data.chars().all(is_plain) => {
            document["record"]["data_encoding"] = BINARY.into();
            (
                "text with control characters, as base64",
                base64_simd::STANDARD.encode_to_string(data),
            )
        }
        TEXT => ("as it arrived", data.to_owned()),
        _ => (
            "not valid base64, as the message contains it",
            data.to_owned(),
        ),
    };
    format!("{}\n\ndata ({label}):\n{data}", pretty_json(&document))
}
