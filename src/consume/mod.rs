//! The event consumer: a record's data, as Kinesis carries it, to a [`ContactChange`] that contract
//! section 1 allows. A format of another change feed would be a file beside `change.rs`.

mod change;
#[cfg(feature = "schema")]
mod schema;
mod wire;

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

#[cfg(feature = "schema")]
pub use self::schema::schema;
use crate::adapters::{Code, Rejection};
use crate::contact::{ContactChange, ContactType, Operation};

/// The section `[filter]`: which changes are for us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
pub struct Filter {
    pub types: Vec<ContactType>,
    pub operations: Vec<Operation>,
}

impl Filter {
    /// Why `change` is not for us, if it isn't. A delete without a type passes: it may concern
    /// anything.
    pub fn judge(&self, change: &ContactChange) -> Option<Code> {
        if !self.operations.contains(&change.operation) {
            return Some(Code::new("FILTERED_OPERATION"));
        }
        let passes = change
            .contact
            .kind
            .is_none_or(|kind| self.types.contains(&kind));
        (!passes).then(|| Code::new("FILTERED_TYPE"))
    }
}

/// A record as the stream delivers it. Everything may be missing: an odd record is judged like any
/// other.
#[derive(Clone, Default)]
#[expect(
    missing_docs,
    reason = "the fields are named as in dead letters, contract section 4"
)]
pub struct Record<'a> {
    pub event_source_arn: Option<Cow<'a, str>>,
    pub shard_id: Option<Cow<'a, str>>,
    pub sequence_number: Option<Cow<'a, str>>,
    pub partition_key: Option<Cow<'a, str>>,
    pub approximate_arrival: Option<f64>,
    /// Base64 text.
    pub data: Option<Cow<'a, str>>,
}

impl Record<'_> {
    /// Returns when the stream took the record, or `now` where the record has no believable time of
    /// arrival.
    pub fn arrived_at(&self, now: OffsetDateTime) -> OffsetDateTime {
        let seconds = self.approximate_arrival.filter(|seconds| *seconds > 0.0);
        let since_epoch = seconds.and_then(time::Duration::checked_seconds_f64);
        since_epoch
            .and_then(|time| OffsetDateTime::UNIX_EPOCH.checked_add(time))
            .unwrap_or(now)
    }
}

impl fmt::Debug for Record<'_> {
    /// The place in the stream only: the rest is somebody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("sequence_number", &self.sequence_number)
            .finish_non_exhaustive()
    }
}

/// Where on its way a record was rejected, as dead letters say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Its data is no JSON object of the right shape.
    Decode,
    /// Its values are not allowed.
    Validate,
    /// No destination takes it.
    Route,
    /// A destination refused it.
    Deliver,
}

/// A record that can never succeed, whoever is asked.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Where it was refused.
    pub stage: Stage,
    /// Why.
    pub rejection: Rejection,
    /// The contact's id, where it can be read.
    pub contact_id: Option<Box<str>>,
    /// The event's id, where it can be read.
    pub event_id: Option<Box<str>>,
    /// The operation, where it can be read.
    pub operation: Option<Operation>,
}

impl Refusal {
    fn new(stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        let rejection = Rejection::new(Code::new(code), message);
        Self {
            stage,
            rejection,
            contact_id: None,
            event_id: None,
            operation: None,
        }
    }

    fn of_field(mut self, field: impl Into<String>) -> Self {
        self.rejection = self.rejection.of_field(field);
        self
    }
}

/// Reads one record at a time; what is wrong with one is that one's.
#[derive(Clone, Copy, Debug)]
pub struct EventConsumer;

impl EventConsumer {
    /// Reads the change in the data, which is base64 text, of a record that arrived at that time.
    /// Never panics: what would is refused.
    ///
    /// # Errors
    /// A refusal with a code of its own for everything that contract section 1 does not allow.
    pub fn consume(
        self,
        data: Option<&str>,
        arrived_at: OffsetDateTime,
    ) -> Result<Box<ContactChange>, Box<Refusal>> {
        catch_unwind(AssertUnwindSafe(|| decode(data, arrived_at))).unwrap_or_else(|_| {
            let message = "reading the record failed inside contact-sync";
            Err(Box::new(Refusal::new(
                Stage::Decode,
                "INTERNAL_ERROR",
                message,
            )))
        })
    }
}

fn decode(
    data: Option<&str>,
    arrived_at: OffsetDateTime,
) -> Result<Box<ContactChange>, Box<Refusal>> {
    let refuse = |code, message: &str| Box::new(Refusal::new(Stage::Decode, code, message));
    let data = data.ok_or_else(|| refuse("MISSING_DATA", "the record has no data"))?;
    let bytes = base64_simd::STANDARD.decode_to_vec(data);
    let bytes = bytes.map_err(|_| refuse("INVALID_BASE64", "the record's data is not base64"))?;
    if bytes.is_empty() {
        return Err(refuse("EMPTY_DATA", "the record's data is empty"));
    }
    let text = str::from_utf8(&bytes)
        .map_err(|_| refuse("INVALID_UTF8", "the record's data is not UTF-8"))?;
    let event = wire::parse(text)?;
    change::validate(event, arrived_at)
}

#[cfg(test)]
mod tests;
