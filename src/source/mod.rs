//! Decodes the data of records into contact changes, and validates them by contract section 1. The
//! format of another change feed would be a file beside `change.rs`.

mod change;
#[cfg(feature = "schema")]
mod schema;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

#[cfg(feature = "schema")]
pub use self::schema::schema;
use crate::model::codes;
use crate::model::{Code, ContactChange, ContactType, Operation, Refusal, Stage};

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
        catch_unwind(AssertUnwindSafe(|| decode(data, arrived_at))).unwrap_or_else(|_| {
            let message = "reading the record failed inside contact-sync";
            Err(Box::new(Refusal::new(
                Stage::Decode,
                codes::INTERNAL_ERROR,
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
    let data = data.ok_or_else(|| refuse(codes::MISSING_DATA, "the record has no data"))?;
    let bytes = base64_simd::STANDARD.decode_to_vec(data);
    let bytes =
        bytes.map_err(|_| refuse(codes::INVALID_BASE64, "the record's data is not base64"))?;
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
