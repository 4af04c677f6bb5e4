//! Writes records: one collection upsert, or for records that must not be created one collection
//! update by Salesforce's own ids.

use reqwest::Method;

use super::client::{ApiRequest, is_success};
use super::sent::{HEAD, TAIL};
use super::{Salesforce, Settings, complete};
use crate::adapters::Call;
use crate::json;
use crate::model::codes;
use crate::model::{Body, Code, MatchPolicy, Outcome, Payload, Rejection, Reply};

/// Salesforce's code for an external id that several records have.
const SEVERAL_RECORDS: &str = "DUPLICATE_EXTERNAL_ID";

impl Salesforce {
    /// Writes every payload that has a body.
    pub(super) async fn upsert_batch(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let is_update = self.settings.r#match == MatchPolicy::UpdateOnly;
        let mut outcomes = vec![None; batch.len()];
        for (payload, outcome) in batch.iter().zip(&mut outcomes) {
            if payload.body.is_none() {
                let rejection =
                    Rejection::new(Code::new(codes::EMPTY_PAYLOAD), "there is nothing to write");
                *outcome = Some(Outcome::Rejected(rejection));
            } else if is_update && payload.record.is_none() {
                // As Salesforce refuses an upsert. The look-up found a record, and not one alone.
                let code = Code::from_system(SEVERAL_RECORDS);
                let rejection = Rejection::new(code, "several records have this id");
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
            let written = if is_update {
                let sent: Vec<Payload> = batch.iter().map(|payload| with_id(payload)).collect();
                let sent: Vec<&Payload> = sent.iter().collect();
                let path = self.collection_path();
                self.send_collection(path, &open, &sent, call).await?
            } else {
                self.send_collection(self.upsert_path(), &open, batch, call)
                    .await?
            };
            for (at, outcome) in open.into_iter().zip(written) {
                outcomes[at] = Some(outcome);
            }
        }
        Ok(complete(outcomes))
    }

    fn collection_path(&self) -> String {
        let version = &self.settings.api_version;
        format!("/services/data/{version}/composite/sobjects")
    }

    fn upsert_path(&self) -> String {
        let Settings {
            sobject,
            external_id_field,
            ..
        } = &self.settings;
        format!("{}/{sobject}/{external_id_field}", self.collection_path())
    }

    /// Writes the payloads at `open` with one call of `path`, and returns their outcomes.
    async fn send_collection(
        &self,
        path: String,
        open: &[usize],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Reply {
        let bodies: Vec<&str> = open
            .iter()
            .filter_map(|at| Some(batch[*at].body.as_ref()?.get()))
            .collect();
        let request = ApiRequest {
            method: Method::PATCH,
            path,
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

/// Returns the payload with the id of its record in its body.
fn with_id(payload: &Payload) -> Payload {
    let mut payload = payload.clone();
    if let (Some(body), Some(record)) = (&payload.body, &payload.record) {
        let mut id = r#"{"id":"#.to_owned();
        json::push_text(&mut id, record);
        id.push('}');
        payload.body = Some(body.with_missing(&Body::from_json(id.into())));
    }
    payload
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
