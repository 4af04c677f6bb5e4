//! Deleting: a look-up by our key, then an archive by HubSpot's ids.

use std::collections::HashMap;

use super::api_error::ApiError;
use super::batch_answer::BatchAnswer;
use super::client::Endpoint;
use super::lookup::Found;
use super::{HubSpot, settle, unaccounted};
use crate::adapters::Call;
use crate::model::{CallError, Outcome, Payload, Reply};

impl HubSpot {
    /// Finds the records by our key, then archives them by HubSpot's: an archive takes no other.
    pub(super) async fn remove(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let found = self.look_up(batch.to_vec(), call).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut records = Records::new();
        for (index, found) in found.into_iter().enumerate() {
            outcomes.push(match found {
                Found::Nowhere => Some(already_gone()),
                Found::Unsettled(outcome) => Some(outcome),
                // To archive it would delete a contact of which the event says nothing.
                Found::Record {
                    is_foreign: true, ..
                } => Some(unaccounted(false)),
                Found::Record { version, .. }
                    if self.is_guarded(batch[index]) && version > Some(batch[index].version) =>
                {
                    Some(Outcome::Stale)
                }
                Found::Record { id, .. } => {
                    records.entry(id).or_default().push(index);
                    None
                }
            });
        }
        if call.dry_run {
            records
                .values()
                .flatten()
                .for_each(|index| outcomes[*index] = Some(Outcome::dry_run()));
        } else if !records.is_empty() {
            self.archive(&records, &mut outcomes, call).await?;
        }
        Ok(settle(outcomes))
    }

    async fn archive(
        &self,
        records: &Records,
        outcomes: &mut [Option<Outcome>],
        call: Call<'_>,
    ) -> Result<(), CallError> {
        let inputs: Vec<_> = records
            .keys()
            .map(|id| serde_json::json!({"id": id}))
            .collect();
        let body = serde_json::json!({"inputs": inputs})
            .to_string()
            .into_bytes();
        let answer = self.send(Endpoint::Archive, body, call).await?;
        let rest = match answer.not_found() {
            // Somebody else was faster. What it names is gone, and of the others nothing was
            // archived.
            Some(problem) => {
                self.read_archived(&BatchAnswer::of(problem), records, outcomes, call)?
            }
            None if answer.http.status == 204 => Outcome::Delivered(None),
            None => {
                let answer =
                    self.read(&answer, records.len(), |problem| named_by(problem, records))?;
                self.read_archived(&answer, records, outcomes, call)?
            }
        };
        for index in records.values().flatten() {
            outcomes[*index].get_or_insert_with(|| rest.clone());
        }
        Ok(())
    }

    /// Documented is the 204 alone: another 2xx counts for what it says. Gives the outcome of those
    /// that it does not name.
    fn read_archived(
        &self,
        answer: &BatchAnswer<'_>,
        records: &Records,
        outcomes: &mut [Option<Outcome>],
        call: Call<'_>,
    ) -> Result<Outcome, CallError> {
        let mut rest = if answer.is_complete {
            Outcome::Delivered(None)
        } else {
            unaccounted(false)
        };
        let problems: Vec<_> = answer.errors.iter().map(Option::as_ref).collect();
        let refused = self.refused_rows(&problems, call)?;
        for (problem, refused) in problems.into_iter().zip(refused) {
            let (Some(problem), Some(refused)) = (problem, refused) else {
                rest = unaccounted(records.len() > 1);
                continue;
            };
            let outcome = if problem.is("OBJECT_NOT_FOUND") {
                already_gone()
            } else {
                refused
            };
            match named_by(problem, records) {
                rows if rows.is_empty() && records.len() == 1 => rest = outcome,
                rows if rows.is_empty() => rest = unaccounted(true),
                rows => rows
                    .into_iter()
                    .for_each(|index| outcomes[index] = Some(outcome.clone())),
            }
        }
        Ok(rest)
    }
}

/// HubSpot's ids, each with the payloads that it was found for.
type Records = HashMap<String, Vec<usize>>;

/// The payloads whose records `problem` names.
fn named_by(problem: &ApiError, records: &Records) -> Vec<usize> {
    problem
        .ids
        .iter()
        .filter_map(|id| records.get(id))
        .flatten()
        .copied()
        .collect()
}

fn already_gone() -> Outcome {
    Outcome::already_gone()
}
