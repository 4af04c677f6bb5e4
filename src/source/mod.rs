//! Decodes the data of records into contact changes, and validates them by contract section 1.
//!
//! The own format is in `wire.rs` (its JSON) and `change.rs` (its rules). Rows of change feeds are
//! in `rows/`, a file for each format.

mod change;
pub mod layers;
mod rows;
#[cfg(feature = "schema")]
mod schema;
mod settings;
mod wire;

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use self::layers::DecompressionBudget;
pub use self::rows::{Decoded, Filtered, RowDecoder, RowRecord};
#[cfg(feature = "schema")]
pub use self::schema::schema;
pub use self::settings::{Format, SourceSettings, Tombstones};
use crate::model::codes;
use crate::model::{Code, ContactChange, ContactType, Operation, Origin, Record, Refusal, Stage};

/// The section `[filter]`: the changes that are synchronized.
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
    /// Returns the code for which `change` is filtered, if it is. A delete without a type passes:
    /// it may concern a contact of any type.
    pub fn excludes(&self, change: &ContactChange) -> Option<Code> {
        if !self.operations.contains(&change.operation) {
            return Some(Code::new(codes::FILTERED_OPERATION));
        }
        let passes = change
            .contact
            .kind
            .is_none_or(|kind| self.types.contains(&kind));
        if passes {
            None
        } else {
            Some(Code::new(codes::FILTERED_TYPE))
        }
    }
}

/// Decodes the records of a source, in the format that its settings name. A clone is the same
/// decoder.
#[derive(Clone, Debug)]
pub struct RecordDecoder {
    /// Present where the records are rows.
    rows: Option<RowDecoder>,
}

impl RecordDecoder {
    /// Compiles checked settings.
    pub fn new(settings: &SourceSettings) -> Self {
        Self {
            rows: RowDecoder::new(settings),
        }
    }

    /// Decodes the content of `record`, which arrived at `now` where it does not say when. Never
    /// panics: a panic while decoding becomes a refusal.
    ///
    /// # Errors
    /// A refusal with a code of its own for each violation of contract section 1.
    pub fn decode(
        &self,
        record: &Record<'_>,
        now: OffsetDateTime,
    ) -> Result<Decoded, Box<Refusal>> {
        self.decode_within(record, now, &mut DecompressionBudget::default())
    }

    /// Decodes the content of `record` as [`Self::decode`] does, and takes its decompressed bytes
    /// from the budget of its event.
    ///
    /// # Errors
    /// A refusal with a code of its own for each violation of contract section 1.
    pub fn decode_within(
        &self,
        record: &Record<'_>,
        now: OffsetDateTime,
        budget: &mut DecompressionBudget,
    ) -> Result<Decoded, Box<Refusal>> {
        match &self.rows {
            Some(rows) => caught(|| decode_row(rows, record, now, budget)),
            None => caught(|| decode(record, now, budget)).map(Decoded::Change),
        }
    }
}

/// Runs `decode`. A panic becomes a refusal.
fn caught<T>(decode: impl FnOnce() -> Result<T, Box<Refusal>>) -> Result<T, Box<Refusal>> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let message = "reading the record failed inside contact-sync";
        Err(refuse(codes::INTERNAL_ERROR, message))
    })
}

/// Removes the layers around the record's data, and decodes the row in it.
fn decode_row(
    rows: &RowDecoder,
    record: &Record<'_>,
    now: OffsetDateTime,
    budget: &mut DecompressionBudget,
) -> Result<Decoded, Box<Refusal>> {
    let unwrapped = match layers::base64::decode(record)? {
        Some(data) => Some(layers::unwrap(data, budget)?),
        None => None,
    };
    let key = record.key();
    let event = unwrapped.as_ref();
    let arrived_at = record.arrived_at(now);
    rows.decode(RowRecord {
        data: event.map(|event| &*event.data),
        is_tombstone: record.is_tombstone(),
        key: key.as_deref(),
        event_id: event.and_then(|event| event.event_id.as_deref()),
        occurred_at: event.and_then(|event| event.occurred_at.as_deref()),
        debezium: event.map(|event| &event.debezium),
        position: &RecordPosition(record),
        // An old row must not become newer by its redelivery.
        written_at: record.timestamp().unwrap_or(arrived_at),
        arrived_at,
        is_replay: record.replay || event.is_some_and(|event| event.replay),
    })
}

/// Formats the position of a record: `<sequence number>`, with `:<sub-sequence>` within an
/// aggregate, or `<topic>-<partition>@<offset>`.
struct RecordPosition<'r>(&'r Record<'r>);

impl fmt::Display for RecordPosition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.origin {
            Origin::Kinesis(origin) => {
                f.write_str(origin.sequence_number.as_deref().unwrap_or_default())?;
                match origin.sub_sequence {
                    0 => Ok(()),
                    sub_sequence => write!(f, ":{sub_sequence}"),
                }
            }
            Origin::Kafka(origin) => {
                let offset = origin.offset.unwrap_or_default();
                write!(f, "{}@{offset}", origin.topic_partition)
            }
        }
    }
}

/// Decodes one contact change at a time.
#[derive(Clone, Copy, Debug)]
pub struct EventConsumer;

impl EventConsumer {
    /// Decodes the change of `record`, which arrived at `now` where it does not say when. Never
    /// panics: a panic while decoding becomes a refusal.
    ///
    /// # Errors
    /// A refusal with a code of its own for each violation of contract section 1.
    pub fn consume(
        self,
        record: &Record<'_>,
        now: OffsetDateTime,
    ) -> Result<Box<ContactChange>, Box<Refusal>> {
        caught(|| decode(record, now, &mut DecompressionBudget::default()))
    }
}

/// Decodes the record's data, and marks a change that the event marks as put back.
fn decode(
    record: &Record<'_>,
    now: OffsetDateTime,
    budget: &mut DecompressionBudget,
) -> Result<Box<ContactChange>, Box<Refusal>> {
    let data = layers::base64::decode(record)?;
    let data = data.ok_or_else(|| refuse(codes::MISSING_DATA, NO_DATA))?;
    let arrived_at = record.arrived_at(now);
    let mut change = match decode_plain(&data, arrived_at) {
        Some(change) => change?,
        None => decode_layers(data, arrived_at, budget)?,
    };
    change.replay |= record.replay;
    Ok(change)
}

/// Decodes data without a layer, which most records have; `None` for other data, and for data that
/// cannot be parsed.
fn decode_plain(
    data: &[u8],
    arrived_at: OffsetDateTime,
) -> Option<Result<Box<ContactChange>, Box<Refusal>>> {
    if data.first() != Some(&b'{') {
        return None;
    }
    let mut event = wire::parse(str::from_utf8(data).ok()?).ok()?;
    if event.is_cloud_event() {
        return None;
    }
    Some(change::validate(&mut event, arrived_at))
}

/// Removes the layers around the record's data, and decodes it.
fn decode_layers(
    data: Cow<'_, [u8]>,
    arrived_at: OffsetDateTime,
    budget: &mut DecompressionBudget,
) -> Result<Box<ContactChange>, Box<Refusal>> {
    /// The bytes that an attribute takes beside its name and its value.
    const ATTRIBUTE: usize = 100;
    let unwrapped = layers::unwrap(data, budget)?;
    if unwrapped.data.is_empty() {
        return Err(refuse(codes::EMPTY_DATA, "the record's data is empty"));
    }
    let text = str::from_utf8(&unwrapped.data)
        .map_err(|_| refuse(codes::INVALID_UTF8, "the record's data is not UTF-8"))?;
    let mut event = wire::parse(text)?;
    event.set_absent(
        unwrapped.event_id.as_deref(),
        unwrapped.occurred_at.as_deref(),
    );
    let mut change = change::validate(&mut event, arrived_at)?;
    change.replay |= unwrapped.replay;
    if unwrapped.was_compressed {
        budget.take(ATTRIBUTE * change.contact.attributes.values.len());
    }
    Ok(change)
}

/// The message of a record without data.
const NO_DATA: &str = "the record has no data that can be read";

/// Makes the refusal of a record whose data cannot be decoded.
fn refuse(code: &'static str, message: &str) -> Box<Refusal> {
    Box::new(Refusal::new(Stage::Decode, code, message))
}

#[cfg(test)]
mod tests;
