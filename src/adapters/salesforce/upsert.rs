//! Writes records: one collection upsert, or several in one call. Records that must not be created
//! are updated by Salesforce's own ids.

use reqwest::Method;

use super::client::{ApiRequest, is_success};
use super::composite::has_expression;
use super::parts::Part;
use super::sent::{HEAD, TAIL};
use super::{Salesforce, Settings, complete};
use crate::adapters::Call;
use crate::json;
use crate::model::codes;
use crate::model::{Body, CallError, Code, MatchPolicy, Outcome, Payload, Rejection, Reply};

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
            let updated: Vec<Payload> = if is_update {
                batch.iter().map(|payload| with_id(payload)).collect()
            } else {
                Vec::new()
            };
            let updated: Vec<&Payload> = updated.iter().collect();
            let sent = if is_update { &updated } else { batch };
            for (at, outcome) in self.send_open(&open, sent, call).await? {
                outcomes[at] = Some(outcome);
            }
        }
        Ok(complete(outcomes))
    }

    /// Writes the payloads at `open`. Returns their outcomes by index.
    ///
    /// # Errors
    /// Returns the error of a call without an outcome for any payload.
    async fn send_open(
        &self,
        open: &[usize],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Result<Vec<(usize, Outcome)>, CallError> {
        if self.settings.collections() > 1 && open.len() > self.settings.collection_size() {
            return self.send_collections(open, batch, call).await;
        }
        let response = self.send(self.write_request(open, batch), call).await?;
        let written = if is_success(&response) {
            self.read_rows(&response.body, open, batch, call).await
        } else {
            self.outcomes_of_refusal(&response, open, batch, call).await
        }?;
        Ok(open.iter().copied().zip(written).collect())
    }

    /// Writes the payloads at `open`, of which one collection holds only a part, in one call.
    /// Returns their outcomes by index. Records with a text that Salesforce would evaluate follow
    /// in a request of their own.
    ///
    /// # Errors
    /// Returns the error of a call without an outcome for any payload.
    async fn send_collections(
        &self,
        open: &[usize],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Result<Vec<(usize, Outcome)>, CallError> {
        let is_literal = |at: &usize| {
            let body = batch[*at].body.as_ref();
            body.is_some_and(|body| has_expression(body.get()))
        };
        let (alone, together): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|at| is_literal(at));
        let size = self.settings.collection_size();
        let mut parts = Vec::new();
        if !together.is_empty() {
            let requests = together.chunks(size);
            let requests = requests.map(|sent| self.write_request(sent, batch));
            let responses = self.send_together(requests.collect(), call).await?;
            for (sent, response) in together.chunks(size).zip(responses) {
                let sent = sent.to_vec();
                parts.push(Part { sent, response });
            }
        }
        for sent in alone.chunks(size) {
            let response = self.send(self.write_request(sent, batch), call).await;
            let sent = sent.to_vec();
            parts.push(Part { sent, response });
        }
        self.outcomes_of_parts(parts, batch, call).await
    }

    /// Builds the request that writes the payloads at `open`: an upsert, or an update by the ids in
    /// their bodies.
    fn write_request(&self, open: &[usize], batch: &[&Payload]) -> ApiRequest {
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
        let collections = format!("/services/data/{api_version}/composite/sobjects");
        let path = if self.settings.r#match == MatchPolicy::UpdateOnly {
            collections
        } else {
            format!("{collections}/{sobject}/{external_id_field}")
        };
        ApiRequest {
            method: Method::PATCH,
            path,
            query: None,
            body: Some(collection(&bodies).into()),
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
