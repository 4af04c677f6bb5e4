//! Decodes the data of records into contact changes, and validates them by contract section 1.
//!
//! The own format is in `wire.rs` (its JSON) and `change.rs` (its rules). Rows of change feeds are
//! in `rows/`, a file for each format.

mod change;
mod rows;
#[cfg(feature = "schema")]
mod schema;
mod settings;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use self::rows::{Decoded, Filtered, RowDecoder, RowRecord};
#[cfg(feature = "schema")]
pub use self::schema::schema;
pub use self::settings::{Format, SourceSettings, Tombstones};
use crate::model::codes;
use crate::model::{Code, ContactChange, ContactType, Operation, Record, Refusal, Stage};

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

/// Decodes one record at a time.
#[derive(Clone, Copy, Debug)]
pub struct EventConsumer;

impl EventConsumer {
    /// Decodes the change in `data`, base64 text, of a record that arrived at `arrived_at`. Never
    /// panics: a panic while decoding becomes a refusal.
    ///
    /// # Errors
    /// A refusal with a code of its own for each violation of contract section 1.
    pub fn consume(
        self,
        data: Option<&str>,
        arrived_at: OffsetDateTime,
    ) -> Result<Box<ContactChange>, Box<Refusal>> {
        caught(|| decode(data, arrived_at))
    }
}

/// Decodes the records of a source, in the format that its settings name. A clone is the same
/// decoder.
#[derive(Clone, Debug)]
pub struct RecordDecoder {
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
        let arrived_at = record.arrived_at(now);
        let Some(rows) = &self.rows else {
            let change = EventConsumer.consume(record.data.as_deref(), arrived_at);
            return change.map(Decoded::Change);
        };
        caught(|| {
            let bytes = match record.data.as_deref() {
                Some(data) => Some(decode_base64(data)?),
                None => None,
            };
            rows.decode(RowRecord {
                data: bytes.as_deref(),
                key: record.partition_key.as_deref().map(str::as_bytes),
                position: record.sequence_number.as_deref().unwrap_or_default(),
                arrived_at,
                is_replay: false,
            })
        })
    }
}

/// Runs `decode`. A panic becomes a refusal.
fn caught<T>(decode: impl FnOnce() -> Result<T, Box<Refusal>>) -> Result<T, Box<Refusal>> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let message = "reading the record failed inside contact-sync";
        Err(refuse(codes::INTERNAL_ERROR, message))
    })
}

fn refuse(code: &'static str, message: &str) -> Box<Refusal> {
    Box::new(Refusal::new(Stage::Decode, code, message))
}

fn decode_base64(data: &str) -> Result<Vec<u8>, Box<Refusal>> {
    let bytes = base64_simd::STANDARD.decode_to_vec(data);
    bytes.map_err(|_| refuse(codes::INVALID_BASE64, "the record's data is not base64"))
}

fn decode(
    data: Option<&str>,
    arrived_at: OffsetDateTime,
) -> Result<Box<ContactChange>, Box<Refusal>> {
    let data = data.ok_or_else(|| refuse(codes::MISSING_DATA, "the record has no data"))?;
    let bytes = decode_base64(data)?;
    if bytes.is_empty() {
        return Err(refuse(codes::EMPTY_DATA, "the record's data is empty"));
    }
    let text = str::from_utf8(&bytes)
        .map_err(|_| refuse(codes::INVALID_UTF8, "the record's data is not UTF-8"))?;
    let event = wire::parse(text)?;
    change::validate(event, arrived_at)
}

#[cfg(test)]
mod tests;
