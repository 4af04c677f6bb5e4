//! Deletes records: a query by our key, then a collection delete by Salesforce's ids.

use reqwest::Method;

use super::client::ApiRequest;
use super::lookup::StoredRecord;
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
        for part in records.chunks(Settings::LARGEST_BATCH) {
            self.send_delete(part, batch, &mut outcomes, call).await?;
        }
        Ok(complete(outcomes))
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
        let ids: Vec<&str> = part.iter().map(|(_, id)| *id).collect();
        let request = ApiRequest {
            method: Method::DELETE,
            path: format!(
                "/services/data/{}/composite/sobjects",
                self.settings.api_version
            ),
            query: Some(format!("ids={}&allOrNone=false", ids.join(","))),
            body: None,
        };
        let response = self.request(request, call).await?;
        let sent: Vec<usize> = part.iter().map(|(at, _)| *at).collect();
        let deleted = self.read_rows(&response.body, &sent, batch, call).await?;
        for (at, outcome) in sent.iter().zip(deleted) {
            // Of several records of one contact, one that was not deleted decides.
            if !matches!(
                outcomes[*at],
                Some(Outcome::Rejected(_) | Outcome::Retry(_) | Outcome::Failed(_))
            ) {
                outcomes[*at] = Some(outcome);
            }
        }
        Ok(())
    }
}
