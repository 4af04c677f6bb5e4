//! Writing: one batch upsert.

use super::batch_answer::Record;
use super::client::Endpoint;
use super::model::{STAGE, begins_with_stage};
use super::rows::{Row, value_in};
use super::{HubSpot, settle, unaccounted};
use crate::adapters::{Call, Code, Outcome, Payload, Rejection, Reply};
use crate::codes;
use crate::json;

impl HubSpot {
    /// Writes every payload that holds something.
    pub(super) async fn write(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
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
            open.iter()
                .for_each(|index| outcomes[*index] = Some(Outcome::dry_run()));
        } else if !open.is_empty() {
            let rows: Vec<_> = open.iter().map(|index| batch[*index]).collect();
            let written = self
                .write_all(rows, call)
                .await
                .map_err(|error| error.of_part(&open))?;
            open.iter()
                .zip(written)
                .for_each(|(index, outcome)| outcomes[*index] = Some(outcome));
        }
        Ok(settle(outcomes))
    }

    async fn write_all(&self, payloads: Vec<&Payload>, call: Call<'_>) -> Reply {
        let rows = self.rows(payloads);
        let answer = self
            .send(Endpoint::Upsert, rows.upsert_body(), call)
            .await?;
        let count = rows.payloads.len();
        if let Some(outcomes) = self.without_misconfigured(&answer, &rows, call) {
            return Ok(outcomes);
        }
        let answer = self.read(&answer, count, |problem| rows.suspects(problem))?;
        let account = rows.account(&answer);
        let problems: Vec<_> = account.iter().map(|row| row.problem()).collect();
        let refused = self.refused_rows(&problems, call)?;
        let mut outcomes = Vec::with_capacity(count);
        for ((payload, row), refused) in rows.payloads.iter().zip(account).zip(refused) {
            outcomes.push(match row {
                Row::Result(record) => Outcome::Delivered(kept_stage(record, payload)),
                Row::Counted => Outcome::Delivered(None),
                Row::ApiError(_) => refused.unwrap_or_else(|| unaccounted(false)),
                Row::Nothing { lost } => unaccounted(lost),
            });
        }
        let is_kept = |outcome: &&Outcome| matches!(outcome, Outcome::Delivered(Some(_)));
        let kept = outcomes.iter().filter(is_kept).count();
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

/// The indexes that have no outcome yet.
fn open(outcomes: &[Option<Outcome>]) -> Vec<usize> {
    (0..outcomes.len())
        .filter(|index| outcomes[*index].is_none())
        .collect()
}

/// A stage only moves forward: HubSpot ignores a backward one with a 2xx. That is told, and is no
/// failure.
fn kept_stage(record: &Record<'_>, payload: &Payload) -> Option<Code> {
    let (held, sent) = (record.properties.stage?, payload.body.as_ref()?);
    if begins_with_stage(sent, held) {
        return None;
    }
    let is_other = !json::text(held)?.eq_ignore_ascii_case(&value_in(sent, STAGE)?);
    is_other.then(|| Code::new(codes::LIFECYCLE_STAGE_KEPT))
}
