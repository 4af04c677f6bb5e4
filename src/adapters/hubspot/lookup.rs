//! What HubSpot holds under our keys: read before a guarded write, and before every delete.

use super::api_error::{ApiError, is_record_id};
use super::batch_answer::{BatchAnswer, Record, words};
use super::client::Endpoint;
use super::rows::Row;
use super::{HubSpot, unaccounted};
use crate::adapters::{Call, version};
use crate::model::{CallError, Held, Outcome, Payload};

/// What is held under one key.
pub(super) enum Found {
    /// A record.
    Record {
        /// HubSpot's own id of it.
        id: String,
        /// The version that was written last, where the record has one.
        version: Option<u64>,
        /// It shows the key of another contact, as a contact does that ours was merged into.
        is_foreign: bool,
    },
    /// No record.
    Nowhere,
    /// HubSpot does not say; this is what that means for the payload.
    Unsettled(Outcome),
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
            Found::Nowhere => Held::Nowhere,
            Found::Unsettled(outcome) => Held::Unknown(outcome),
        };
        Ok(found.into_iter().map(held).collect())
    }

    /// Looks up every payload's key; the answer is in their order.
    pub(super) async fn look_up(
        &self,
        payloads: Vec<&Payload>,
        call: Call<'_>,
    ) -> Result<Vec<Found>, CallError> {
        let count = payloads.len();
        let rows = self.rows(payloads);
        let mut properties = vec![self.settings.id_property.as_str()];
        properties
            .extend(Some(self.settings.version_property.as_str()).filter(|name| !name.is_empty()));
        let body = rows.read_body(&properties);
        let answer = self.send(Endpoint::Read, body, call).await?;
        let answer = match answer.not_found() {
            // Nobody at all was found.
            Some(problem) if rows.named_by(problem).is_empty() => {
                return Ok((0..count).map(|_| Found::Nowhere).collect());
            }
            Some(problem) => BatchAnswer::of(problem),
            None => self.read(&answer, count, |problem| rows.suspects(problem))?,
        };
        let account = rows.account(&answer);
        let problems: Vec<_> = account
            .iter()
            .map(|row| row.problem().filter(|problem| !is_nowhere(problem)))
            .collect();
        let refused = self.refused_rows(&problems, call)?;
        let found = |(row, refused)| found(row, refused, |result| !rows.knows(result));
        Ok(account.into_iter().zip(refused).map(found).collect())
    }
}

/// Returns what is held under a key. One of which the answer says nothing is not taken for a free
/// one: a record could be there. `refused` is the outcome of a row with an error.
fn found(
    row: Row<'_>,
    refused: Option<Outcome>,
    is_foreign: impl Fn(&Record<'_>) -> bool,
) -> Found {
    match row {
        Row::Result(result) => match words(result.id).next().filter(|id| is_record_id(id)) {
            Some(id) => Found::Record {
                id: id.into_owned(),
                version: version_in(result),
                is_foreign: is_foreign(result),
            },
            None => Found::Unsettled(unaccounted(false)),
        },
        Row::ApiError(problem) if is_nowhere(problem) => Found::Nowhere,
        Row::ApiError(_) => Found::Unsettled(refused.unwrap_or_else(|| unaccounted(false))),
        Row::Counted => Found::Unsettled(unaccounted(true)),
        Row::Nothing { lost } => Found::Unsettled(unaccounted(lost)),
    }
}

fn is_nowhere(problem: &ApiError) -> bool {
    problem.is("OBJECT_NOT_FOUND")
}

/// Reads the version of a record; HubSpot's numbers are texts.
fn version_in(result: &Record<'_>) -> Option<u64> {
    version::read(&words(result.properties.version).next()?)
}
