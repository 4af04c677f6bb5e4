//! Writing: one collection upsert.

use reqwest::Method;

use super::client::{ApiRequest, is_success};
use super::sent::{HEAD, TAIL};
use super::{Salesforce, Settings, settle};
use crate::adapters::{Call, Code, Outcome, Payload, Rejection, Reply};
use crate::codes;

impl Salesforce {
    /// Writes every payload that holds something.
    pub(super) async fn write(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let empty = || Rejection::new(Code::new(codes::EMPTY_PAYLOAD), "there is nothing to write");
        let outcome =
            |payload: &&Payload| payload.body.is_none().then(|| Outcome::Rejected(empty()));
        let mut outcomes: Vec<Option<Outcome>> = batch.iter().map(outcome).collect();
        let open: Vec<usize> = (0..batch.len())
            .filter(|at| outcomes[*at].is_none())
            .collect();
        if call.dry_run {
            for at in open {
                outcomes[at] = Some(Outcome::dry_run());
            }
        } else if !open.is_empty() {
            let written = self.upsert_all(&open, batch, call).await?;
            for (at, outcome) in open.into_iter().zip(written) {
                outcomes[at] = Some(outcome);
            }
        }
        Ok(settle(outcomes))
    }

    /// Writes the payloads at `open`, and returns their outcomes.
    async fn upsert_all(&self, open: &[usize], batch: &[&Payload], call: Call<'_>) -> Reply {
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
        let ask = ApiRequest {
            method: Method::PATCH,
            path: format!(
                "/services/data/{api_version}/composite/sobjects/{sobject}/{external_id_field}"
            ),
            query: None,
            body: Some(collection(&bodies).into()),
        };
        let answer = self.answer(ask, call).await?;
        if is_success(&answer) {
            self.rows(&answer.body, open, batch, call).await
        } else {
            self.refused(&answer, open, batch, call).await
        }
    }
}

/// The request's body around the records' own.
fn collection(records: &[&str]) -> String {
    let room = records.iter().map(|record| record.len() + 1).sum::<usize>();
    let mut body = String::with_capacity(HEAD.len() + room + TAIL.len());
    body.push_str(HEAD);
    for (at, record) in records.iter().enumerate() {
        body.push_str(if at == 0 { "" } else { "," });
        body.push_str(record);
    }
    body.push_str(TAIL);
    body
}
