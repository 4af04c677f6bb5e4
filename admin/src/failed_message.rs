//! Messages about failed records in a queue or a bucket: dead letters of contact-sync, and the
//! on-failure messages of the event source mapping about batches that it discarded.

mod shown;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) use self::shown::text;

/// Schemas of contact-sync's dead letters, contract section 4. The first release knew Kinesis only.
const DEAD_LETTER_SCHEMAS: [&str; 2] = ["contact-sync/dead-letter/1", "contact-sync/dead-letter/2"];

/// `record.source` of a dead letter of Kafka.
const KAFKA: &str = "kafka";

/// Content of one message or object.
#[derive(Debug)]
pub(crate) enum FailedMessage {
    /// Dead letter of contact-sync: the rejection of one record.
    Rejected(Box<Rejected>),
    /// Batch that the event source mapping discarded.
    Discarded(Box<Discarded>),
    /// Any other content, with the reason why it is not recognized.
    Unknown(&'static str),
}

/// Dead letter of contact-sync.
#[derive(Debug, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) reason: Reason,
    pub(crate) contact_id: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) record: RejectedRecord,
    #[serde(rename = "rejected_at")]
    at: Option<String>,
}

/// Reason of a rejection.
#[derive(Debug, Deserialize)]
pub(crate) struct Reason {
    pub(crate) stage: String,
    pub(crate) destination: Option<String>,
    pub(crate) code: String,
    /// May quote the contact's data if it is the message of a destination.
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) fields: Vec<String>,
}

/// Position of the record in the stream or the topic, and its data.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RejectedRecord {
    source: Option<String>,
    pub(crate) event_source_arn: Option<String>,
    pub(crate) shard_id: Option<String>,
    pub(crate) sequence_number: Option<String>,
    #[serde(default)]
    pub(crate) sub_sequence: u64,
    pub(crate) partition_key: Option<String>,
    /// Seconds since 1970.
    pub(crate) approximate_arrival: Option<f64>,
    pub(crate) explicit_hash_key: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<u32>,
    pub(crate) offset: Option<u64>,
    /// Base64.
    pub(crate) key: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) timestamp: Option<i64>,
    /// Base64.
    pub(crate) data: Option<String>,
    #[serde(default)]
    pub(crate) data_omitted: bool,
}

/// On-failure message of the event source mapping about a batch.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Discarded {
    #[serde(default)]
    request_context: RequestContext,
    timestamp: Option<String>,
    #[serde(flatten)]
    pub(crate) batch: DiscardedBatch,
    /// The event. Only objects in S3 contain it.
    #[serde(default, deserialize_with = "event")]
    pub(crate) payload: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    condition: Option<String>,
    function_arn: Option<String>,
}

/// Position of a discarded batch in its source.
#[derive(Debug, Deserialize)]
pub(crate) enum DiscardedBatch {
    #[serde(rename = "KinesisBatchInfo")]
    Kinesis(BatchInfo),
    #[serde(rename = "KafkaBatchInfo")]
    Kafka(KafkaBatchInfo),
}

/// Position of a batch in the partitions of a topic.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KafkaBatchInfo {
    #[serde(default)]
    batch_size: u64,
    event_source_arn: Option<String>,
    /// First and last offset by `<topic>-<partition>`.
    #[serde(default)]
    records_info: Value,
}

/// Position of a batch in the stream: first and last record, both included.
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

/// Deserializes the event. The documentation shows it as an escaped text; in practice it is an
/// object.
fn event<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    use serde::de::Error as _;
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => serde_json::from_str(&text).map_err(D::Error::custom),
        object => Ok(Some(object)),
    }
}

impl RejectedRecord {
    /// Returns whether the record is of Kafka.
    pub(crate) fn is_kafka(&self) -> bool {
        self.source.as_deref() == Some(KAFKA)
    }
}

impl Discarded {
    /// Returns the ARN of the function that did not take the batch.
    pub(crate) fn function(&self) -> Option<&str> {
        self.request_context.function_arn.as_deref()
    }
}

impl FailedMessage {
    /// Reads the body of a message or an object.
    pub(crate) fn read(body: &str) -> Self {
        let Ok(value) = serde_json::from_str::<Value>(body) else {
            return Self::Unknown("it is not JSON");
        };
        if DEAD_LETTER_SCHEMAS
            .iter()
            .any(|schema| value["schema"] == *schema)
        {
            return match serde_json::from_value(value) {
                Ok(rejected) => Self::Rejected(rejected),
                Err(_) => Self::Unknown("it is a dead letter with unexpected fields"),
            };
        }
        if value["KinesisBatchInfo"].is_object() || value["KafkaBatchInfo"].is_object() {
            return match serde_json::from_value(value) {
                Ok(discarded) => Self::Discarded(discarded),
                Err(_) => Self::Unknown("it is a discarded batch with unexpected fields"),
            };
        }
        Self::Unknown(
            "it is neither a dead letter of contact-sync nor a batch that the mapping discarded",
        )
    }

    /// Returns the time at which the record was rejected or the batch discarded.
    pub(crate) fn at(&self) -> Option<OffsetDateTime> {
        let text = match self {
            Self::Rejected(rejected) => rejected.at.as_deref()?,
            Self::Discarded(discarded) => discarded.timestamp.as_deref()?,
            Self::Unknown(_) => return None,
        };
        OffsetDateTime::parse(text, &Rfc3339).ok()
    }

    /// Returns the stage that rejected the record; `mapping` for a discarded batch.
    pub(crate) fn stage(&self) -> &str {
        match self {
            Self::Rejected(rejected) => &rejected.reason.stage,
            Self::Discarded(_) => "mapping",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Returns the code of the reason; for a batch, the condition under which it was discarded.
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

    /// Returns the destination that rejected the record, if a destination did.
    pub(crate) fn destination(&self) -> Option<&str> {
        self.rejected()?.reason.destination.as_deref()
    }

    /// Returns the id of the contact, if the function could read it.
    pub(crate) fn contact(&self) -> Option<&str> {
        self.rejected()?.contact_id.as_deref()
    }

    /// Returns the number of records that the message is about.
    pub(crate) fn records(&self) -> u64 {
        match self {
            Self::Discarded(discarded) => match &discarded.batch {
                DiscardedBatch::Kinesis(batch) => batch.batch_size,
                DiscardedBatch::Kafka(batch) => batch.batch_size,
            },
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
