//! Looks records up by our keys: before a guarded or conditional write, and before every delete.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::api_error::{ApiError, is_record_id};
use super::batch_response::{BatchResponse, Record, texts_of};
use super::client::Endpoint;
use super::rows::Row;
use super::{HubSpot, Settings, unaccounted};
use crate::adapters::{Call, version};
use crate::json;
use crate::model::{CallError, Held, HeldRecord, Outcome, Payload};

/// Result of the look-up of one key.
pub(super) enum Found {
    /// A record.
    Record {
        /// HubSpot's own id of it.
        id: String,
        /// The version that was written last, and the requested properties.
        held: HeldRecord,
        /// It has the key of another contact, as a contact has that ours was merged into.
        is_foreign: bool,
    },
    /// No record.
    Missing,
    /// HubSpot does not report it; this is the payload's outcome.
    Unknown(Outcome),
}

impl HubSpot {
    /// Looks up the records of these payloads, with the values of `requested` properties.
    pub(super) async fn records(
        &self,
        batch: &[&Payload],
        requested: &[&str],
        call: Call<'_>,
    ) -> Result<Vec<Held>, CallError> {
        let found = self.look_up(batch.to_vec(), requested, call).await?;
        let held = |found| match found {
            Found::Record { held, .. } => Held::Record(held),
            Found::Missing => Held::Nowhere,
            Found::Unknown(outcome) => Held::Unknown(outcome),
        };
        Ok(found.into_iter().map(held).collect())
    }

    /// Looks up every payload's key, and the values of `requested` properties. The results are in
    /// the payloads' order. HubSpot leaves out a property that it does not have.
    pub(super) async fn look_up(
        &self,
        payloads: Vec<&Payload>,
        requested: &[&str],
        call: Call<'_>,
    ) -> Result<Vec<Found>, CallError> {
        let count = payloads.len();
        let rows = self.rows(payloads);
        let Settings {
            id_property,
            version_property,
            ..
        } = &self.settings;
        let mut properties = vec![id_property.as_str()];
        if !version_property.is_empty() {
            properties.push(version_property);
        }
        let others = requested.iter().copied();
        properties.extend(others.filter(|name| name != id_property && name != version_property));
        let body = rows.read_body(&properties);
        let response = self.send(Endpoint::Read, body, call).await?;
        let response = match response.not_found() {
            // No record was found.
            Some(error) if rows.named_by(error).is_empty() => {
                return Ok((0..count).map(|_| Found::Missing).collect());
            }
            Some(error) => BatchResponse::of(error),
            None => self.read_with(!requested.is_empty(), &response, count, |error| {
                rows.suspects(error)
            })?,
        };
        let parts = rows.attribute(&response);
        let errors: Vec<_> = parts
            .iter()
            .map(|row| row.error().filter(|error| !is_not_found(error)))
            .collect();
        let refused = self.outcomes_of_errors(&errors, call)?;
        let mut results = Vec::with_capacity(count);
        for (part, refused) in parts.into_iter().zip(refused) {
            results.push(found(part, refused, requested, |result| {
                !rows.is_own(result)
            }));
        }
        Ok(results)
    }
}

/// Returns the look-up's result for one row. A row for which the response has no part is not taken
/// for a missing record. `refused` is the outcome of a row with an error.
fn found(
    part: Row<'_>,
    refused: Option<Outcome>,
    requested: &[&str],
    is_foreign: impl Fn(&Record<'_>) -> bool,
) -> Found {
    match part {
        Row::Result(result) => match texts_of(result.id).next().filter(|id| is_record_id(id)) {
            Some(id) => Found::Record {
                id: id.into_owned(),
                held: HeldRecord {
                    id: None,
                    version: version_in(result),
                    values: values_in(result, requested),
                },
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

pub(super) fn is_not_found(error: &ApiError) -> bool {
    error.is("OBJECT_NOT_FOUND")
}

/// Parses the version of a record; HubSpot's numbers are texts.
fn version_in(result: &Record<'_>) -> Option<u64> {
    version::parse(&texts_of(result.properties.version).next()?)
}

/// Returns the values of the requested properties.
fn values_in(result: &Record<'_>, requested: &[&str]) -> BTreeMap<String, Box<RawValue>> {
    let Some(mut properties) = result.all.and_then(|all| json::fields(all.get())) else {
        return BTreeMap::new();
    };
    let value = |name: &&str| properties.remove_entry(*name);
    let values = requested.iter().filter_map(value);
    values
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}
