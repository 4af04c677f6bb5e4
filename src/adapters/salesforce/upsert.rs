//! Writing: what the guard leaves, as one collection upsert.

use reqwest::Method;

use super::exchange::Ask;
use super::{Salesforce, Settings, held_version, settle};
use crate::adapters::{Call, CallError, Code, Outcome, Payload, Rejection, Reply};

impl Salesforce {
    /// Every payload gets its outcome from the guard, or else from the write.
    pub(super) async fn write(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let mut outcomes = self.stale(batch, call).await?;
        let mut open = Vec::with_capacity(batch.len());
        let mut bodies = Vec::with_capacity(batch.len());
        for (at, payload) in batch.iter().enumerate().filter(|(at, _)| outcomes[*at].is_none()) {
            if let Some(body) = &payload.body {
                open.push(at);
                bodies.push(body.get());
            }
        }
        if call.dry_run {
            open.iter().for_each(|at| outcomes[*at] = Some(Outcome::dry_run()));
        } else if !bodies.is_empty() {
            let Settings { api_version, sobject, external_id_field, .. } = &self.settings;
            let ask = Ask {
                method: Method::PATCH,
                path: format!("/services/data/{api_version}/composite/sobjects/{sobject}/{external_id_field}"),
                query: None,
                body: Some(collection(&bodies).into()),
            };
            let answer = self.ask(ask, call).await?;
            let written = self.rows(&answer.body, &open, batch, call).await?;
            open.into_iter().zip(written).for_each(|(at, outcome)| outcomes[at] = Some(outcome));
        }
        Ok(settle(outcomes))
    }

    /// An outcome for each payload that must not be written: it is empty, or guarded and Salesforce holds its contact
    /// in a newer version.
    async fn stale(&self, batch: &[&Payload], call: Call<'_>) -> Result<Vec<Option<Outcome>>, CallError> {
        let empty = || Rejection::new(Code::new("EMPTY_PAYLOAD"), "there is nothing to write");
        let outcome = |payload: &&Payload| payload.body.is_none().then(|| Outcome::Rejected(empty()));
        let mut outcomes: Vec<Option<Outcome>> = batch.iter().map(outcome).collect();
        let guarded: Vec<&Payload> = batch.iter().copied().filter(|payload| self.is_guarded(payload)).collect();
        if guarded.is_empty() {
            return Ok(outcomes);
        }
        let held = self.look_up(&guarded, call).await?;
        for (payload, outcome) in batch.iter().zip(&mut outcomes) {
            let newest = held.get(payload.id.key()).into_iter().flatten().filter_map(|held| held.version).max();
            if self.is_guarded(payload) && newest.is_some_and(|newest| newest > held_version(payload)) {
                *outcome = Some(Outcome::Stale);
            }
        }
        Ok(outcomes)
    }
}

/// The request's body around the records' own.
fn collection(records: &[&str]) -> String {
    let (head, tail) = (r#"{"allOrNone":false,"records":["#, "]}");
    let room = records.iter().map(|record| record.len() + 1).sum::<usize>();
    let mut body = String::with_capacity(head.len() + room + tail.len());
    body.push_str(head);
    for (at, record) in records.iter().enumerate() {
        body.push_str(if at == 0 { "" } else { "," });
        body.push_str(record);
    }
    body.push_str(tail);
    body
}
