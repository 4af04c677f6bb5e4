//! What HubSpot holds under our keys: read before a guarded write, and before every delete.

use serde_json::{Value, json};

use super::exchange::Endpoint;
use super::problem::{Problem, is_record_id, strings};
use super::rows::Row;
use super::{HubSpot, unaccounted};
use crate::adapters::{Call, CallError, Outcome, Payload};

/// What is held under one key.
pub(super) enum Found {
    /// A record.
    Record {
        /// HubSpot's own id of it.
        id: String,
        /// The version that was written last, where the record has one.
        version: Option<u64>,
    },
    /// No record.
    Nowhere,
    /// HubSpot does not say; this is what that means for the payload.
    Unsettled(Outcome),
}

impl HubSpot {
    /// Looks up every payload's key; the answer is in their order.
    pub(super) async fn look_up(&self, payloads: Vec<&Payload>, call: Call<'_>) -> Result<Vec<Found>, CallError> {
        let count = payloads.len();
        let rows = self.rows(payloads);
        let mut properties = vec![self.settings.id_property.as_str()];
        properties.extend(Some(self.settings.version_property.as_str()).filter(|name| !name.is_empty()));
        let body = rows.read_body(&properties);
        let answer = self.send(Endpoint::Read, body, call).await?;
        let answer = match answer.problem() {
            // Nobody at all was found.
            Some(problem) if answer.status == 404 && problem.is("OBJECT_NOT_FOUND") => {
                if rows.named_by(&problem).is_empty() {
                    return Ok((0..count).map(|_| Found::Nowhere).collect());
                }
                json!({"errors": [answer.json]})
            }
            problem => self.accept(answer, problem.as_ref(), |problem| rows.suspects(problem))?.rows()?,
        };
        let account = rows.account(&answer);
        account.rows.iter().map(|row| self.found(*row, &account.problems, call)).collect()
    }

    /// A key of which the answer says nothing is not taken for a free one: a record could be there.
    fn found(&self, row: Row<'_>, problems: &[Problem], call: Call<'_>) -> Result<Found, CallError> {
        Ok(match row {
            Row::Result(result) => match strings(result.get("id")).next().filter(|id| is_record_id(id)) {
                Some(id) => Found::Record { id, version: self.version_in(result) },
                None => Found::Unsettled(unaccounted(false)),
            },
            Row::Problem(index) if problems[index].is("OBJECT_NOT_FOUND") => Found::Nowhere,
            Row::Problem(index) => Found::Unsettled(self.judge(&problems[index], call)?),
            Row::Counted => Found::Unsettled(unaccounted(true)),
            Row::Nothing { lost } => Found::Unsettled(unaccounted(lost)),
        })
    }

    /// HubSpot's numbers are texts, perhaps with decimals.
    fn version_in(&self, result: &Value) -> Option<u64> {
        let text = strings(result.get("properties")?.get(&self.settings.version_property)).next()?;
        text.trim().split('.').next()?.parse().ok()
    }
}
