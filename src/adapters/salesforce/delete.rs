//! Deletes records: a query by our key, then a collection delete by Salesforce's ids.

use reqwest::Method;

use super::client::ApiRequest;
use super::lookup::StoredRecord;
use super::parts::Part;
use super::{Salesforce, Settings, complete};
use crate::adapters::Call;
use crate::model::{CallError, Outcome, Payload, Reply};

impl Salesforce {
    /// Looks the records up by our key, then deletes them by Salesforce's ids.
    pub(super) async fn delete_batch(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let held = self.look_up(batch, &[], call).await?;
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut records: Vec<(usize, &str)> = Vec::new();
        for (at, payload) in batch.iter().enumerate() {
            let found = held
                .get(payload.id.key())
                .map(Vec::as_slice)
                .unwrap_or_default();
            let newest = found.iter().filter_map(StoredRecord::version).max();
            if found.is_empty() {
                outcomes[at] = Some(Outcome::already_gone());
            } else if self.is_guarded(payload)
                && newest.is_some_and(|newest| newest > payload.version)
            {
                outcomes[at] = Some(Outcome::Stale);
            } else {
                records.extend(found.iter().map(|held| (at, held.id.as_str())));
            }
        }
        if call.dry_run {
            for (at, _) in records.drain(..) {
                outcomes[at] = Some(Outcome::dry_run());
            }
        }
        let size = self.settings.collection_size();
        if self.settings.collections() > 1 && records.len() > size {
            let collections: Vec<&[(usize, &str)]> = records.chunks(size).collect();
            for (at, outcome) in self.send_deletes(&collections, batch, call).await? {
                take_worst(&mut outcomes[at], outcome);
            }
            return Ok(complete(outcomes));
        }
        for part in records.chunks(Settings::LARGEST_BATCH) {
            self.send_delete(part, batch, &mut outcomes, call).await?;
        }
        Ok(complete(outcomes))
    }

    /// Deletes several collections of records, as many in a call as it holds. Returns their
    /// outcomes by the payloads' indexes.
    ///
    /// # Errors
    /// Returns the error of a call without an outcome for any payload.
    async fn send_deletes(
        &self,
        collections: &[&[(usize, &str)]],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Result<Vec<(usize, Outcome)>, CallError> {
        let mut parts = Vec::new();
        for together in collections.chunks(self.settings.collections()) {
            let requests = together.iter().map(|part| self.delete_request(part));
            let responses = self.send_together(requests.collect(), call).await?;
            for (part, response) in together.iter().zip(responses) {
                let sent = part.iter().map(|(at, _)| *at).collect();
                parts.push(Part { sent, response });
            }
        }
        self.outcomes_of_parts(parts, batch, call).await
    }

    /// Deletes one collection of records, and records their outcomes.
    /// <https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-delete.html>
    async fn send_delete(
        &self,
        part: &[(usize, &str)],
        batch: &[&Payload],
        outcomes: &mut [Option<Outcome>],
        call: Call<'_>,
    ) -> Result<(), CallError> {
        let response = self.request(self.delete_request(part), call).await?;
        let sent: Vec<usize> = part.iter().map(|(at, _)| *at).collect();
        let deleted = self.read_rows(&response.body, &sent, batch, call).await?;
        for (at, outcome) in sent.iter().zip(deleted) {
            take_worst(&mut outcomes[*at], outcome);
        }
        Ok(())
    }

    /// Builds the request that deletes these records.
    fn delete_request(&self, part: &[(usize, &str)]) -> ApiRequest {
        let ids: Vec<&str> = part.iter().map(|(_, id)| *id).collect();
        ApiRequest {
            method: Method::DELETE,
            path: format!(
                "/services/data/{}/composite/sobjects",
                self.settings.api_version
            ),
            query: Some(format!("ids={}&allOrNone=false", ids.join(","))),
            body: None,
        }
    }
}

/// Takes the outcome of one of a contact's records. Of several, one that was not deleted decides.
fn take_worst(known: &mut Option<Outcome>, outcome: Outcome) {
    let is_worst = matches!(
        known,
        Some(Outcome::Rejected(_) | Outcome::Retry(_) | Outcome::Failed(_))
    );
    if !is_worst {
        *known = Some(outcome);
    }
}
