//! Writes contacts: one batch upsert, or for contacts that must not be created one batch update.

use super::api_error::ApiError;
use super::batch_response::{BatchResponse, Record};
use super::client::Endpoint;
use super::lookup::is_not_found;
use super::model::{STAGE, begins_with_stage};
use super::rows::{Row, value_in};
use super::{HubSpot, complete, unaccounted};
use crate::adapters::Call;
use crate::json;
use crate::model::codes;
use crate::model::{Code, MatchPolicy, Outcome, Payload, Rejection, Reply};

impl HubSpot {
    /// Writes every payload that has a body.
    pub(super) async fn upsert_batch(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let mut outcomes = vec![None; batch.len()];
        for (payload, outcome) in batch.iter().zip(&mut outcomes) {
            if payload.body.is_none() {
                let rejection =
                    Rejection::new(Code::new(codes::EMPTY_PAYLOAD), "there is nothing to write");
                *outcome = Some(Outcome::Rejected(rejection));
            }
        }
        let open = open(&outcomes);
        if call.dry_run {
            for index in open {
                outcomes[index] = Some(Outcome::dry_run());
            }
        } else if !open.is_empty() {
            let rows: Vec<_> = open.iter().map(|index| batch[*index]).collect();
            let written = self
                .send_upsert(rows, call)
                .await
                .map_err(|error| error.of_part(&open))?;
            for (index, outcome) in open.into_iter().zip(written) {
                outcomes[index] = Some(outcome);
            }
        }
        Ok(complete(outcomes))
    }

    async fn send_upsert(&self, payloads: Vec<&Payload>, call: Call<'_>) -> Reply {
        let rows = self.rows(payloads);
        let is_update = self.settings.r#match == MatchPolicy::UpdateOnly;
        let endpoint = if is_update {
            Endpoint::Update
        } else {
            Endpoint::Upsert
        };
        let response = self.send(endpoint, rows.upsert_body(), call).await?;
        let count = rows.payloads.len();
        if let Some(outcomes) = self.without_misconfigured(&response, &rows, call) {
            return Ok(outcomes);
        }
        let response = match response.not_found() {
            Some(error) if is_update => BatchResponse::of(error),
            _ => self.read(&response, count, |error| rows.suspects(error))?,
        };
        let parts = rows.attribute(&response);
        let is_missing = |error: &ApiError| is_update && is_not_found(error);
        let errors: Vec<_> = parts
            .iter()
            .map(|row| row.error().filter(|error| !is_missing(error)))
            .collect();
        let refused = self.outcomes_of_errors(&errors, call)?;
        let mut outcomes = Vec::with_capacity(count);
        for ((payload, row), refused) in rows.payloads.iter().zip(parts).zip(refused) {
            outcomes.push(match row {
                Row::Result(record) if record.is_new() => payload.created(),
                Row::Result(record) => Outcome::Delivered(kept_stage(record, payload)),
                Row::Counted => Outcome::Delivered(None),
                Row::ApiError(error) if is_missing(error) => {
                    Outcome::Skipped(Code::new(codes::NO_MATCH))
                }
                Row::ApiError(_) => refused.unwrap_or_else(|| unaccounted(false)),
                Row::Nothing { is_ambiguous } => unaccounted(is_ambiguous),
            });
        }
        let kept = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Delivered(Some(_))))
            .count();
        if kept > 0 {
            tracing::info!(
                destination = "hubspot",
                count = kept,
                "later lifecycle stages were kept"
            );
        }
        Ok(outcomes)
    }
}

/// Returns the indexes that have no outcome yet.
fn open(outcomes: &[Option<Outcome>]) -> Vec<usize> {
    (0..outcomes.len())
        .filter(|index| outcomes[*index].is_none())
        .collect()
}

/// Returns the code of a delivery whose stage HubSpot kept. A stage only moves forward: HubSpot
/// ignores a backward one with a 2xx. That is logged, and is no failure.
fn kept_stage(record: &Record<'_>, payload: &Payload) -> Option<Code> {
    let (held, sent) = (record.properties.stage?, payload.body.as_ref()?);
    if begins_with_stage(sent, held) {
        return None;
    }
    let is_other = !json::text(held)?.eq_ignore_ascii_case(&value_in(sent, STAGE)?);
    is_other.then(|| Code::new(codes::LIFECYCLE_STAGE_KEPT))
}
