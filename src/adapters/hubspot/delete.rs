//! Deletes contacts: a look-up by our key, then an archive by HubSpot's ids.

use std::collections::HashMap;

use super::api_error::ApiError;
use super::batch_response::BatchResponse;
use super::client::Endpoint;
use super::lookup::Found;
use super::{HubSpot, complete, unaccounted};
use crate::adapters::Call;
use crate::model::{CallError, Outcome, Payload, Reply};

impl HubSpot {
    /// Looks the records up by our key, then archives them by HubSpot's ids: an archive accepts no
    /// other.
    pub(super) async fn delete_batch(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let found = self.look_up(batch.to_vec(), &[], call).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut records = Records::new();
        for (index, found) in found.into_iter().enumerate() {
            outcomes.push(match found {
                Found::Missing => Some(Outcome::already_gone()),
                Found::Unknown(outcome) => Some(outcome),
                // An archive would delete a contact that the event does not name.
                Found::Record {
                    is_foreign: true, ..
                } => Some(unaccounted(false)),
                Found::Record { held, .. }
                    if self.is_guarded(batch[index])
                        && held.version > Some(batch[index].version) =>
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
            for index in records.values().flatten() {
                outcomes[*index] = Some(Outcome::dry_run());
            }
        } else if !records.is_empty() {
            self.send_archive(&records, &mut outcomes, call).await?;
        }
        Ok(complete(outcomes))
    }

    async fn send_archive(
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
        let response = self.send(Endpoint::Archive, body, call).await?;
        let rest = match response.not_found() {
            // The records were deleted in the meantime. Those that the error names are gone; of the
            // others none was archived.
            Some(error) => {
                self.read_archived(&BatchResponse::of(error), records, outcomes, call)?
            }
            None if response.http.status == 204 => Outcome::Delivered(None),
            None => {
                let response =
                    self.read(&response, records.len(), |error| named_by(error, records))?;
                self.read_archived(&response, records, outcomes, call)?
            }
        };
        for index in records.values().flatten() {
            outcomes[*index].get_or_insert_with(|| rest.clone());
        }
        Ok(())
    }

    /// Records the outcomes that a response other than the documented 204 reports. Returns the
    /// outcome of the records that it does not name.
    fn read_archived(
        &self,
        response: &BatchResponse<'_>,
        records: &Records,
        outcomes: &mut [Option<Outcome>],
        call: Call<'_>,
    ) -> Result<Outcome, CallError> {
        let mut rest = if response.is_complete {
            Outcome::Delivered(None)
        } else {
            unaccounted(false)
        };
        let errors: Vec<_> = response.errors.iter().map(Option::as_ref).collect();
        let refused = self.outcomes_of_errors(&errors, call)?;
        for (error, refused) in errors.into_iter().zip(refused) {
            let (Some(error), Some(refused)) = (error, refused) else {
                rest = unaccounted(records.len() > 1);
                continue;
            };
            let outcome = if error.is("OBJECT_NOT_FOUND") {
                Outcome::already_gone()
            } else {
                refused
            };
            match named_by(error, records) {
                rows if rows.is_empty() && records.len() == 1 => rest = outcome,
                rows if rows.is_empty() => rest = unaccounted(true),
                rows => {
                    for index in rows {
                        outcomes[index] = Some(outcome.clone());
                    }
                }
            }
        }
        Ok(rest)
    }
}

/// HubSpot's ids, each with the payloads whose look-up found it.
type Records = HashMap<String, Vec<usize>>;

/// Returns the payloads whose records the error names.
fn named_by(error: &ApiError, records: &Records) -> Vec<usize> {
    error
        .ids
        .iter()
        .filter_map(|id| records.get(id))
        .flatten()
        .copied()
        .collect()
}
