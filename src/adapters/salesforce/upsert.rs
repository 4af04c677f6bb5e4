//! Writing: what the guard leaves, as one collection upsert. One look-up serves the guard and the
//! defaults of records that do not exist yet.

use std::borrow::Cow;
use std::collections::HashMap;

use reqwest::Method;

use super::exchange::Ask;
use super::lookup::Held;
use super::{Salesforce, Settings, held_version, settle};
use crate::adapters::{Body, Call, CallError, Code, Outcome, Payload, Rejection, Reply};

impl Salesforce {
    /// Every payload gets its outcome from the guard, or else from the write.
    pub(super) async fn write(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let held = self.held(batch, call).await?;
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut open = Vec::with_capacity(batch.len());
        let mut bodies = Vec::with_capacity(batch.len());
        for (at, payload) in batch.iter().enumerate() {
            let held = held.get(payload.id.key()).map(Vec::as_slice).unwrap_or_default();
            match &payload.body {
                None => outcomes[at] = Some(empty()),
                Some(_) if self.is_stale(payload, held) => outcomes[at] = Some(Outcome::Stale),
                Some(body) => {
                    open.push(at);
                    bodies.push(with_defaults_if_new(body, payload, held));
                }
            }
        }
        if call.dry_run {
            open.iter().for_each(|at| outcomes[*at] = Some(Outcome::dry_run()));
        } else if !bodies.is_empty() {
            let answer = self.ask(self.upsert_of(&bodies), call).await?;
            let written = self.rows(&answer.body, &open, batch, call).await?;
            open.into_iter().zip(written).for_each(|(at, outcome)| outcomes[at] = Some(outcome));
        }
        Ok(settle(outcomes))
    }

    /// Looks up the payloads that have to be looked up; makes no call where none has.
    async fn held(&self, batch: &[&Payload], call: Call<'_>) -> Result<HashMap<String, Vec<Held>>, CallError> {
        let is_asked = |payload: &&Payload| self.is_guarded(payload) || payload.if_new.is_some();
        let asked: Vec<&Payload> = batch.iter().copied().filter(is_asked).collect();
        if asked.is_empty() { Ok(HashMap::new()) } else { self.look_up(&asked, call).await }
    }

    /// Reports whether Salesforce holds a newer version of a guarded payload's contact.
    fn is_stale(&self, payload: &Payload, held: &[Held]) -> bool {
        let newest = held.iter().filter_map(|held| held.version).max();
        self.is_guarded(payload) && newest.is_some_and(|newest| newest > held_version(payload))
    }

    fn upsert_of(&self, records: &[Cow<'_, Body>]) -> Ask {
        let Settings { api_version, sobject, external_id_field, .. } = &self.settings;
        Ask {
            method: Method::PATCH,
            path: format!("/services/data/{api_version}/composite/sobjects/{sobject}/{external_id_field}"),
            query: None,
            body: Some(collection(records).into()),
        }
    }
}

fn empty() -> Outcome {
    Outcome::Rejected(Rejection::new(Code::new("EMPTY_PAYLOAD"), "there is nothing to write"))
}

/// Adds the defaults of new records where none is held. A record that someone makes between look-up
/// and write gets them, too: Salesforce has no upsert that tells the two apart.
fn with_defaults_if_new<'a>(body: &'a Body, payload: &Payload, held: &[Held]) -> Cow<'a, Body> {
    match &payload.if_new {
        Some(defaults) if held.is_empty() => Cow::Owned(body.with_missing(defaults)),
        _ => Cow::Borrowed(body),
    }
}

/// The request's body around the records' own.
fn collection(records: &[Cow<'_, Body>]) -> String {
    let (head, tail) = (r#"{"allOrNone":false,"records":["#, "]}");
    let room = records.iter().map(|record| record.get().len() + 1).sum::<usize>();
    let mut body = String::with_capacity(head.len() + room + tail.len());
    body.push_str(head);
    for (at, record) in records.iter().enumerate() {
        body.push_str(if at == 0 { "" } else { "," });
        body.push_str(record.get());
    }
    body.push_str(tail);
    body
}
