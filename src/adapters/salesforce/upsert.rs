//! Writes records: one collection upsert.

use reqwest::Method;

use super::client::{ApiRequest, is_success};
use super::sent::{HEAD, TAIL};
use super::{Salesforce, Settings, complete};
use crate::adapters::Call;
use crate::model::codes;
use crate::model::{Code, Outcome, Payload, Rejection, Reply};

impl Salesforce {
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
        let open: Vec<usize> = (0..batch.len())
            .filter(|at| outcomes[*at].is_none())
            .collect();
        if call.dry_run {
            for at in open {
                outcomes[at] = Some(Outcome::dry_run());
            }
        } else if !open.is_empty() {
            let written = self.send_upsert(&open, batch, call).await?;
            for (at, outcome) in open.into_iter().zip(written) {
                outcomes[at] = Some(outcome);
            }
        }
        Ok(complete(outcomes))
    }

    /// Writes the payloads at `open`, and returns their outcomes.
    async fn send_upsert(&self, open: &[usize], batch: &[&Payload], call: Call<'_>) -> Reply {
        let bodies: Vec<&str> = open
            .iter()
            .filter_map(|at| Some(batch[*at].body.as_ref()?.get()))
            .collect();
        let Settings {
            api_version,
            sobject,
            external_id_field,
            ..
        } = &self.settings;
        let request = ApiRequest {
            method: Method::PATCH,
            path: format!(
                "/services/data/{api_version}/composite/sobjects/{sobject}/{external_id_field}"
            ),
            query: None,
            body: Some(collection(&bodies).into()),
        };
        let response = self.send(request, call).await?;
        if is_success(&response) {
            self.read_rows(&response.body, open, batch, call).await
        } else {
            self.outcomes_of_refusal(&response, open, batch, call).await
        }
    }
}

/// Builds the request's body from the records' own JSON.
fn collection(records: &[&str]) -> String {
    let length = records.iter().map(|record| record.len() + 1).sum::<usize>();
    let mut body = String::with_capacity(HEAD.len() + length + TAIL.len());
    body.push_str(HEAD);
    for (at, record) in records.iter().enumerate() {
        body.push_str(if at == 0 { "" } else { "," });
        body.push_str(record);
    }
    body.push_str(TAIL);
    body
}
