//! What may be seen of a dead letter: the contact's data only where it is to be revealed.

use serde_json::{Value, json};

use super::{Discarded, FailedMessage, Place, Reason, Rejected};

const HIDDEN: &str = "(hidden: --reveal)";

/// The encodings of a record's data. Data that was no base64 when it arrived is shown as it stands
/// in the letter.
const TEXT: &str = "utf-8";
const BINARY: &str = "base64";
const AS_IT_STANDS: &str = "none";

impl FailedMessage {
    /// Returns all that may be seen of it.
    pub(crate) fn whole(&self, reveal: bool) -> Value {
        match self {
            Self::Rejected(rejected) => rejected.whole(reveal),
            Self::Discarded(discarded) => discarded.whole(),
            Self::Unknown(why) => json!({"unknown": why}),
        }
    }
}

impl Rejected {
    fn whole(&self, reveal: bool) -> Value {
        let Self { reason, record, .. } = self;
        let shown = |text: &str, is_shown: bool| if is_shown { text } else { HIDDEN }.to_owned();
        let (data, encoding) = match (record.readable(), reveal) {
            (Some((data, encoding)), true) => (Some(data), Some(encoding)),
            (Some(_), false) => (Some(HIDDEN.to_owned()), None),
            (None, _) => (None, None),
        };
        json!({
            "reason": {
                "stage": reason.stage, "destination": reason.destination, "code": reason.code,
                "fields": reason.fields, "message": shown(&reason.message, reveal || reason.quotes_nothing()),
            },
            "contact_id": self.contact_id,
            "event_id": self.event_id,
            "rejected_at": self.at,
            "record": {
                "event_source_arn": record.event_source_arn, "shard_id": record.shard_id,
                "sequence_number": record.sequence_number, "sub_sequence": record.sub_sequence,
                "partition_key": record.partition_key.as_deref().map(|key| shown(key, reveal)),
                "data_omitted": record.data_omitted, "data": data, "data_encoding": encoding,
            },
        })
    }
}

impl Reason {
    /// Returns whether the message cannot hold a contact's data. Before a record is sent the
    /// messages are contact-sync's own: field names, limits and places. Those of the systems are
    /// safe where they say only what is shown anyway.
    fn quotes_nothing(&self) -> bool {
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

impl Place {
    /// Returns the data as it arrived, and its encoding: text where it is UTF-8.
    fn readable(&self) -> Option<(String, &'static str)> {
        let data = self.data.as_deref()?;
        Some(
            match base64_simd::STANDARD
                .decode_to_vec(data)
                .map(String::from_utf8)
            {
                Ok(Ok(text)) => (text, TEXT),
                Ok(Err(_)) => (data.to_owned(), BINARY),
                Err(_) => (data.to_owned(), AS_IT_STANDS),
            },
        )
    }
}

impl Discarded {
    fn whole(&self) -> Value {
        json!({
            "condition": self.request_context.condition,
            "given_up_at": self.timestamp,
            "batch": {
                "stream_arn": self.batch.stream_arn, "shard_id": self.batch.shard_id,
                "start_sequence_number": self.batch.start_sequence_number,
                "end_sequence_number": self.batch.end_sequence_number,
                "batch_size": self.batch.batch_size,
            },
            "holds_its_records": self.payload.is_some(),
        })
    }
}

/// Returns the text of a letter that is shown whole. Data that is revealed comes last, byte for
/// byte, where JSON would escape it.
pub(crate) fn text(whole: &Value) -> String {
    let record = &whole["record"];
    let (Some(data), Some(encoding)) = (record["data"].as_str(), record["data_encoding"].as_str())
    else {
        return format!("{whole:#}");
    };
    let mut whole = whole.clone();
    whole["record"]["data"] = "(below)".into();
    // A terminal obeys control characters.
    let is_plain = |char: char| !char.is_control() || matches!(char, '\t' | '\n' | '\r');
    let (what, data) = match encoding {
        BINARY => ("not UTF-8 text, as base64", data.to_owned()),
        _ if !data.chars().all(is_plain) => {
            whole["record"]["data_encoding"] = BINARY.into();
            (
                "text with control characters, as base64",
                base64_simd::STANDARD.encode_to_string(data),
            )
        }
        TEXT => ("as it arrived", data.to_owned()),
        _ => (
            "no base64 when it arrived, as it stands in the message",
            data.to_owned(),
        ),
    };
    format!("{whole:#}\n\ndata ({what}):\n{data}")
}
