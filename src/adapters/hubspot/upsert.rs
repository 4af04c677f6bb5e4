//! Writing: what the guard leaves, as one batch upsert.

use serde::Deserialize;
use serde_json::Value;

use super::exchange::{Endpoint, from_part};
use super::lookup::Found;
use super::rows::Row;
use super::{HubSpot, model, settle, unaccounted};
use crate::adapters::{Call, CallError, Code, Outcome, Payload, Rejection, Reply};

impl HubSpot {
    /// Every payload gets its outcome from the guard, or else from the write.
    pub(super) async fn write(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let mut outcomes = self.guard(batch, call).await?;
        for (payload, outcome) in batch.iter().zip(&mut outcomes) {
            if payload.body.is_none() && outcome.is_none() {
                let rejection = Rejection::new(Code::new("EMPTY_PAYLOAD"), "there is nothing to write");
                *outcome = Some(Outcome::Rejected(rejection));
            }
        }
        let open = open(&outcomes);
        if !open.is_empty() {
            let rows: Vec<_> = open.iter().map(|index| batch[*index]).collect();
            let written = self.write_all(rows, call).await.map_err(|error| from_part(error, &open))?;
            open.iter().zip(written).for_each(|(index, outcome)| outcomes[*index] = Some(outcome));
        }
        Ok(settle(outcomes))
    }

    /// An outcome for each payload that must not be written: the destination holds a newer version, or does not say.
    async fn guard(&self, batch: &[&Payload], call: Call<'_>) -> Result<Vec<Option<Outcome>>, CallError> {
        let mut outcomes = vec![None; batch.len()];
        let guarded: Vec<_> = (0..batch.len()).filter(|index| self.is_guarded(batch[*index])).collect();
        if guarded.is_empty() {
            return Ok(outcomes);
        }
        let payloads = guarded.iter().map(|index| batch[*index]).collect();
        let found = self.look_up(payloads, call).await.map_err(|error| from_part(error, &guarded))?;
        for (index, found) in guarded.into_iter().zip(found) {
            outcomes[index] = match found {
                Found::Record { version, .. } if version > Some(batch[index].version) => Some(Outcome::Stale),
                Found::Record { .. } | Found::Nowhere => None,
                Found::Unsettled(outcome) => Some(outcome),
            };
        }
        Ok(outcomes)
    }

    async fn write_all(&self, payloads: Vec<&Payload>, call: Call<'_>) -> Reply {
        let sent_stages: Vec<_> = payloads.iter().map(|payload| stage_in(payload)).collect();
        let rows = self.rows(payloads);
        let Ok(body) = rows.upsert_body() else {
            let rejection = Rejection::new(Code::new("UNWRITABLE"), "the record cannot be written as JSON");
            return Err(CallError::Refused { rejection, suspects: Vec::new() });
        };
        let answer = self.ask(Endpoint::Upsert, body, call, |problem| rows.suspects(problem)).await?;
        let answer = answer.rows()?;
        let account = rows.account(&answer);
        let mut outcomes = Vec::with_capacity(account.rows.len());
        for (row, sent) in account.rows.iter().zip(sent_stages) {
            outcomes.push(match row {
                Row::Result(result) => Outcome::Delivered(kept_stage(result, sent.as_deref())),
                Row::Counted => Outcome::Delivered(None),
                Row::Problem(index) => self.judge(&account.problems[*index], call)?,
                Row::Nothing { lost } => unaccounted(*lost),
            });
        }
        let is_kept = |outcome: &&Outcome| matches!(outcome, Outcome::Delivered(Some(_)));
        let kept = outcomes.iter().filter(is_kept).count();
        if kept > 0 {
            tracing::info!(destination = "hubspot", count = kept, "later lifecycle stages were kept");
        }
        Ok(outcomes)
    }
}

/// The indexes that have no outcome yet.
fn open(outcomes: &[Option<Outcome>]) -> Vec<usize> {
    (0..outcomes.len()).filter(|index| outcomes[*index].is_none()).collect()
}

fn stage_in(payload: &Payload) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        lifecyclestage: Option<String>,
    }
    let body: Body = serde_json::from_str(payload.body.as_ref()?.get()).ok()?;
    body.lifecyclestage
}

/// A stage only moves forward: HubSpot ignores a backward one with a 2xx. That is told, and is no failure.
fn kept_stage(result: &Value, sent: Option<&str>) -> Option<Code> {
    let held = result.get("properties")?.get(model::STAGE)?.as_str()?;
    let is_other = !held.eq_ignore_ascii_case(sent?);
    is_other.then(|| Code::new("LIFECYCLE_STAGE_KEPT"))
}
