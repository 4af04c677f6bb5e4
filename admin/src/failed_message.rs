//! What lies in a queue or a bucket of rejected changes: our own dead letters, and what the event
//! source mapping leaves of batches that it gave up.

mod shown;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) use self::shown::text;

/// The schema of our own dead letters, contract section 4.
const OURS: &str = "contact-sync/dead-letter/1";

/// The content of one message or object.
#[derive(Debug)]
pub(crate) enum FailedMessage {
    /// One rejection of one record.
    Rejected(Box<Rejected>),
    /// A batch that the event source mapping gave up.
    Discarded(Box<Discarded>),
    /// Neither; why it is not understood.
    Unknown(&'static str),
}

/// Our own dead letter.
#[derive(Debug, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) reason: Reason,
    pub(crate) contact_id: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) record: Place,
    #[serde(rename = "rejected_at")]
    at: Option<String>,
}

/// Why the record was rejected.
#[derive(Debug, Deserialize)]
pub(crate) struct Reason {
    pub(crate) stage: String,
    pub(crate) destination: Option<String>,
    pub(crate) code: String,
    /// May quote the contact's data where it is a system's.
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) fields: Vec<String>,
}

/// Where in the stream the record was, and its data.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Place {
    pub(crate) event_source_arn: Option<String>,
    pub(crate) shard_id: Option<String>,
    pub(crate) sequence_number: Option<String>,
    #[serde(default)]
    pub(crate) sub_sequence: u64,
    pub(crate) partition_key: Option<String>,
    /// Base64.
    pub(crate) data: Option<String>,
    #[serde(default)]
    pub(crate) data_omitted: bool,
}

/// What the event source mapping says of a batch.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Discarded {
    #[serde(default)]
    request_context: RequestContext,
    timestamp: Option<String>,
    #[serde(rename = "KinesisBatchInfo")]
    pub(crate) batch: BatchInfo,
    /// The whole event, in S3 only.
    #[serde(default, deserialize_with = "event")]
    pub(crate) payload: Option<Vec<EventRecord>>,
}

#[derive(Debug, Default, Deserialize)]
struct RequestContext {
    condition: Option<String>,
}

/// Where in the stream a batch was: first and last record, both included.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchInfo {
    pub(crate) shard_id: String,
    pub(crate) start_sequence_number: String,
    pub(crate) end_sequence_number: String,
    #[serde(default)]
    pub(crate) batch_size: u64,
    pub(crate) stream_arn: String,
}

/// A record of the event, as the function was given it.
#[derive(Debug, Deserialize)]
pub(crate) struct EventRecord {
    pub(crate) kinesis: KinesisPart,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KinesisPart {
    pub(crate) partition_key: String,
    pub(crate) sequence_number: String,
    /// Base64.
    pub(crate) data: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Records")]
    records: Vec<EventRecord>,
}

/// The documentation shows the event as an escaped text; what arrives is an object.
fn event<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<EventRecord>>, D::Error> {
    use serde::de::Error as _;
    let event: Option<Event> = match Value::deserialize(deserializer)? {
        Value::Null => None,
        Value::String(text) => Some(serde_json::from_str(&text).map_err(D::Error::custom)?),
        object => Some(serde_json::from_value(object).map_err(D::Error::custom)?),
    };
    Ok(event.map(|event| event.records))
}

impl FailedMessage {
    /// Reads the body of a message or an object.
    pub(crate) fn read(body: &str) -> Self {
        let Ok(value) = serde_json::from_str::<Value>(body) else {
            return Self::Unknown("it is no JSON");
        };
        if value["schema"] == OURS {
            return serde_json::from_value(value).map_or(
                Self::Unknown("it is a dead letter of another shape"),
                Self::Rejected,
            );
        }
        if value["KinesisBatchInfo"].is_object() {
            return serde_json::from_value(value).map_or(
                Self::Unknown("it is a discarded batch of another shape"),
                Self::Discarded,
            );
        }
        Self::Unknown(
            "it is neither a dead letter of contact-sync nor a batch that the mapping gave up",
        )
    }

    /// When the record was rejected, or the batch given up.
    pub(crate) fn at(&self) -> Option<OffsetDateTime> {
        let text = match self {
            Self::Rejected(rejected) => rejected.at.as_deref()?,
            Self::Discarded(discarded) => discarded.timestamp.as_deref()?,
            Self::Unknown(_) => return None,
        };
        OffsetDateTime::parse(text, &Rfc3339).ok()
    }

    /// Where a record was rejected; a batch was given up by the mapping.
    pub(crate) fn stage(&self) -> &str {
        match self {
            Self::Rejected(rejected) => &rejected.reason.stage,
            Self::Discarded(_) => "mapping",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The reason's code; of a batch, the condition under which it was given up.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Rejected(rejected) => &rejected.reason.code,
            Self::Discarded(discarded) => discarded
                .request_context
                .condition
                .as_deref()
                .unwrap_or("-"),
            Self::Unknown(_) => "-",
        }
    }

    /// The destination that refused, where one did.
    pub(crate) fn destination(&self) -> Option<&str> {
        self.rejected()?.reason.destination.as_deref()
    }

    /// Whose change it is, where that could be read.
    pub(crate) fn contact(&self) -> Option<&str> {
        self.rejected()?.contact_id.as_deref()
    }

    /// How many records it stands for.
    pub(crate) fn records(&self) -> u64 {
        match self {
            Self::Discarded(discarded) => discarded.batch.batch_size,
            Self::Rejected(_) | Self::Unknown(_) => 1,
        }
    }

    fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Discarded(_) | Self::Unknown(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
