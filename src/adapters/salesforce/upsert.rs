//! Writing: what the guard leaves, as one collection upsert. One look-up serves the guard and the
//! defaults of records that do not exist yet.

use std::borrow::Cow;
use std::collections::HashMap;

use reqwest::Method;

use super::exchange::{Ask, is_success};
use super::lookup::Held;
use super::sent::{HEAD, TAIL};
use super::{Salesforce, Settings, held_version, settle};
use crate::adapters::{Call, CallError, Code, Outcome, Payload, Rejection, Reply};

impl Salesforce {
    /// Every payload gets its outcome from the guard, or else from the write.
    pub(super) async fn write(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let held = self.held(batch, call).await?;
        let held = |payload: &Payload| held.get(payload.id.key()).map(Vec::as_slice).unwrap_or_default();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut open = Vec::with_capacity(batch.len());
        for (at, payload) in batch.iter().enumerate() {
            match &payload.body {
                None => outcomes[at] = Some(empty()),
                Some(_) if self.is_stale(payload, held(payload)) => outcomes[at] = Some(Outcome::Stale),
                Some(_) => open.push(at),
            }
        }
        if call.dry_run {
            for at in open {
                outcomes[at] = Some(Outcome::dry_run());
            }
        } else if !open.is_empty() {
            let whole: Vec<Cow<'_, Payload>> =
                batch.iter().map(|payload| with_defaults_if_new(payload, held(payload))).collect();
            let whole: Vec<&Payload> = whole.iter().map(AsRef::as_ref).collect();
            let written = self.upsert_all(&open, &whole, call).await?;
            for (at, outcome) in open.into_iter().zip(written) {
                outcomes[at] = Some(outcome);
            }
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

    /// Writes the payloads at `open`, and returns their outcomes.
    async fn upsert_all(&self, open: &[usize], batch: &[&Payload], call: Call<'_>) -> Reply {
        let bodies: Vec<&str> = open.iter().filter_map(|at| Some(batch[*at].body.as_ref()?.get())).collect();
        let Settings { api_version, sobject, external_id_field, .. } = &self.settings;
        let ask = Ask {
            method: Method::PATCH,
            path: format!("/services/data/{api_version}/composite/sobjects/{sobject}/{external_id_field}"),
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

fn empty() -> Outcome {
    Outcome::Rejected(Rejection::new(Code::new("EMPTY_PAYLOAD"), "there is nothing to write"))
}

/// Adds the defaults of new records where none is held. A record that someone makes between look-up
/// and write gets them, too: Salesforce has no upsert that tells the two apart.
fn with_defaults_if_new<'a>(payload: &'a Payload, held: &[Held]) -> Cow<'a, Payload> {
    match (&payload.body, &payload.if_new) {
        (Some(body), Some(defaults)) if held.is_empty() => {
            Cow::Owned(Payload { body: Some(body.with_missing(defaults)), ..payload.clone() })
        }
        _ => Cow::Borrowed(payload),
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
