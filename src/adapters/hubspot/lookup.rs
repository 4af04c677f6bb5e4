//! Looks records up by our keys: before a guarded write, and before every delete.

use super::api_error::{ApiError, is_record_id};
use super::batch_response::{BatchResponse, Record, texts_of};
use super::client::Endpoint;
use super::rows::Row;
use super::{HubSpot, unaccounted};
use crate::adapters::{Call, version};
use crate::model::{CallError, Held, Outcome, Payload};

/// Result of the look-up of one key.
pub(super) enum Found {
    /// A record.
    Record {
        /// HubSpot's own id of it.
        id: String,
        /// The version that was written last, where the record has one.
        version: Option<u64>,
        /// It has the key of another contact, as a contact has that ours was merged into.
        is_foreign: bool,
    },
    /// No record.
    Missing,
    /// HubSpot does not report it; this is the payload's outcome.
    Unknown(Outcome),
}

impl HubSpot {
    /// Looks up the versions of the records of these payloads.
    pub(super) async fn versions(
        &self,
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Result<Vec<Held>, CallError> {
        let found = self.look_up(batch.to_vec(), call).await?;
        let held = |found| match found {
            Found::Record { version, .. } => Held::Record(version),
            Found::Missing => Held::Nowhere,
            Found::Unknown(outcome) => Held::Unknown(outcome),
        };
        Ok(found.into_iter().map(held).collect())
    }

    /// Looks up every payload's key. The results are in the payloads' order.
    pub(super) async fn look_up(
        &self,
        payloads: Vec<&Payload>,
        call: Call<'_>,
    ) -> Result<Vec<Found>, CallError> {
        let count = payloads.len();
        let rows = self.rows(payloads);
        let mut properties = vec![self.settings.id_property.as_str()];
        if !self.settings.version_property.is_empty() {
            properties.push(&self.settings.version_property);
        }
        let body = rows.read_body(&properties);
        let response = self.send(Endpoint::Read, body, call).await?;
        let response = match response.not_found() {
            // No record was found.
            Some(error) if rows.named_by(error).is_empty() => {
                return Ok((0..count).map(|_| Found::Missing).collect());
            }
            Some(error) => BatchResponse::of(error),
            None => self.read(&response, count, |error| rows.suspects(error))?,
        };
        let parts = rows.attribute(&response);
        let errors: Vec<_> = parts
            .iter()
            .map(|row| row.error().filter(|error| !is_not_found(error)))
            .collect();
        let refused = self.outcomes_of_errors(&errors, call)?;
        let mut results = Vec::with_capacity(count);
        for (part, refused) in parts.into_iter().zip(refused) {
            results.push(found(part, refused, |result| !rows.is_own(result)));
        }
        Ok(results)
    }
}

/// Returns the look-up's result for one row. A row for which the response has no part is not taken
/// for a missing record. `refused` is the outcome of a row with an error.
fn found(
    part: Row<'_>,
    refused: Option<Outcome>,
    is_foreign: impl Fn(&Record<'_>) -> bool,
) -> Found {
    match part {
        Row::Result(result) => match texts_of(result.id).next().filter(|id| is_record_id(id)) {
            Some(id) => Found::Record {
                id: id.into_owned(),
                version: version_in(result),
                is_foreign: is_foreign(result),
            },
            None => Found::Unknown(unaccounted(false)),
        },
        Row::ApiError(error) if is_not_found(error) => Found::Missing,
        Row::ApiError(_) => Found::Unknown(refused.unwrap_or_else(|| unaccounted(false))),
        Row::Counted => Found::Unknown(unaccounted(true)),
        Row::Nothing { is_ambiguous } => Found::Unknown(unaccounted(is_ambiguous)),
    }
}

fn is_not_found(error: &ApiError) -> bool {
    error.is("OBJECT_NOT_FOUND")
}

/// Parses the version of a record; HubSpot's numbers are texts.
fn version_in(result: &Record<'_>) -> Option<u64> {
    version::parse(&texts_of(result.properties.version).next()?)
}
