//! Salesforce: the conversation. Writes are collection upserts by our own key, deletes a query and a collection delete.
//!
//! <https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-upsert.html>

mod auth;
mod errors;
mod exchange;
mod lookup;
mod model;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::auth::Auth;
use self::errors::Problem;
use self::exchange::Ask;
pub use self::settings::{ConvertedLeads, Settings, Status};
use super::http::Http;
use super::{
    Adapter, Again, Call, CallError, Code, Destination, Limits, Outcome, Payload, Rejection, Reply, Retry, Transformed,
};
use crate::contact::ContactChange;
use crate::secrets::Secret;

/// Records in one collection delete, and ids in its look-up.
/// <https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-delete.html>
const LARGEST_DELETE: usize = 200;

/// The destination `salesforce`.
pub struct Salesforce {
    settings: Settings,
    http: Http,
    auth: Auth,
    /// Sent with every request.
    headers: [(&'static str, &'static str); 3],
}

/// One row of an answer. Failed rows may say `created: true` and may lack `id`: only `success` counts.
#[derive(Default, Deserialize)]
struct Row {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default)]
    errors: Option<Vec<Problem>>,
}

impl Salesforce {
    /// Salesforce as `settings` describe it.
    pub fn new(settings: &Settings, client: Client, secret: Arc<Secret>) -> Self {
        let timeout = Duration::from_millis(settings.request_timeout_ms);
        Self {
            http: Http::new(client, settings.allowed_hosts.clone(), timeout),
            auth: Auth::new(secret),
            headers: [
                // Without it, assignment rules take a lead from its owner with every update.
                ("sforce-auto-assign", if settings.auto_assign { "TRUE" } else { "FALSE" }),
                (
                    "sforce-duplicate-rule-header",
                    if settings.allow_duplicates { "allowSave=true" } else { "allowSave=false" },
                ),
                ("sforce-call-options", "client=contact-sync"),
            ],
            settings: settings.clone(),
        }
    }

    /// Every payload gets its outcome from the guard, or else from the write.
    async fn write(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let mut outcomes = self.stale(batch, call).await?;
        let open = open(&outcomes);
        let bodies: Vec<&str> = open.iter().map(|at| batch[*at].body.as_ref().map_or("", |body| body.get())).collect();
        if bodies.iter().any(|body| body.is_empty()) {
            let suspects = open.iter().copied().filter(|at| batch[*at].body.is_none()).collect();
            let rejection = Rejection::new(Code::new("EMPTY_PAYLOAD"), "there is nothing to write");
            return Err(CallError::Refused { rejection, suspects });
        }
        if !bodies.is_empty() {
            let Settings { api_version, sobject, external_id_field, .. } = &self.settings;
            let ask = Ask {
                method: Method::PATCH,
                path: format!("/services/data/{api_version}/composite/sobjects/{sobject}/{external_id_field}"),
                query: None,
                body: Some(format!(r#"{{"allOrNone":false,"records":[{}]}}"#, bodies.join(",")).into()),
            };
            let answer = self.ask(ask, call).await?;
            let written = self.rows(&answer.body, &open, batch, call)?;
            open.into_iter().zip(written).for_each(|(at, outcome)| outcomes[at] = Some(outcome));
        }
        Ok(settle(outcomes))
    }

    /// An outcome for each guarded payload whose contact Salesforce holds in a newer version.
    async fn stale(&self, batch: &[&Payload], call: Call<'_>) -> Result<Vec<Option<Outcome>>, CallError> {
        let mut outcomes = vec![None; batch.len()];
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

    fn is_guarded(&self, payload: &Payload) -> bool {
        payload.guarded && !self.settings.version_field.is_empty()
    }

    /// The outcomes of the payloads at `sent`, which the answer's rows tell by their places.
    fn rows(&self, answer: &[u8], sent: &[usize], batch: &[&Payload], call: Call<'_>) -> Reply {
        let unreadable = || CallError::Retry { code: Code::new("UNREADABLE_ANSWER"), after: None, pressure: false };
        let rows: Vec<&RawValue> = serde_json::from_slice(answer).map_err(|_| unreadable())?;
        let mut rows: Vec<Row> = rows.iter().map(|row| serde_json::from_str(row.get()).unwrap_or_default()).collect();
        if rows.len() > sent.len() {
            return Err(unreadable());
        }
        rows.resize_with(sent.len(), Row::default);
        let nameless = Problem::default();
        let reasonless = Problem::reasonless();
        let problems: Vec<Option<&Problem>> =
            rows.iter()
                .map(|row| match row.success {
                    Some(true) => None,
                    _ => Some(
                        errors::deciding(row.errors.as_deref().unwrap_or_default())
                            .unwrap_or(if row.success.is_some() { &reasonless } else { &nameless }),
                    ),
                })
                .collect();
        if let Some(stop) = errors::of_all_rows(&problems, &self.settings) {
            return Err(CallError::Stop(stop));
        }
        let outcome = |(problem, at): (Option<&Problem>, &usize)| match problem {
            None => Outcome::Delivered(None),
            Some(problem) if problem.code.is_none() => unanswered(),
            Some(problem) => {
                if !errors::is_known(problem) {
                    call.meter.unknown_code();
                    tracing::warn!(destination = "salesforce", code = %problem.code(), "unknown status code");
                }
                errors::of_row(problem, batch[*at].body.as_deref(), &self.settings)
            }
        };
        Ok(problems.into_iter().zip(sent).map(outcome).collect())
    }

    /// Finds the records by our key, then deletes them by Salesforce's.
    async fn remove(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let held = self.look_up(batch, call).await?;
        let gone = || Outcome::Delivered(Some(Code::new("ALREADY_GONE")));
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut records: Vec<(usize, &str)> = Vec::new();
        for (at, payload) in batch.iter().enumerate() {
            let found = held.get(payload.id.key()).map(Vec::as_slice).unwrap_or_default();
            let newest = found.iter().filter_map(|held| held.version).max();
            if found.is_empty() {
                outcomes[at] = Some(gone());
            } else if self.is_guarded(payload) && newest.is_some_and(|newest| newest > held_version(payload)) {
                outcomes[at] = Some(Outcome::Stale);
            } else {
                records.extend(found.iter().map(|held| (at, held.id.as_str())));
            }
        }
        for part in records.chunks(LARGEST_DELETE) {
            let ids: Vec<&str> = part.iter().map(|(_, id)| *id).collect();
            let ask = Ask {
                method: Method::DELETE,
                path: format!("/services/data/{}/composite/sobjects", self.settings.api_version),
                query: Some(format!("ids={}&allOrNone=false", ids.join(","))),
                body: None,
            };
            let answer = self.ask(ask, call).await?;
            let sent: Vec<usize> = part.iter().map(|(at, _)| *at).collect();
            for (at, outcome) in sent.iter().zip(self.rows(&answer.body, &sent, batch, call)?) {
                // Of several records of one contact, the one that is still there decides.
                if !matches!(outcomes[*at], Some(Outcome::Rejected(_) | Outcome::Retry(_))) {
                    outcomes[*at] = Some(outcome);
                }
            }
        }
        Ok(settle(outcomes))
    }
}

impl Adapter for Salesforce {
    fn destination(&self) -> Destination {
        Destination("salesforce")
    }

    fn limits(&self) -> Limits {
        Limits {
            upsert: self.settings.batch_size.clamp(1, Settings::LARGEST_BATCH),
            upsert_calls: 1,
            delete: self.settings.batch_size.clamp(1, LARGEST_DELETE),
            delete_calls: 2,
        }
    }

    fn transform(&self, changes: &[&ContactChange]) -> Transformed {
        model::transform(changes, &self.settings)
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.write(batch, call).boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.remove(batch, call).boxed()
    }
}

/// The places that have no outcome yet.
fn open(outcomes: &[Option<Outcome>]) -> Vec<usize> {
    (0..outcomes.len()).filter(|at| outcomes[*at].is_none()).collect()
}

/// What has no outcome by now has failed.
fn settle(outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unanswered)).collect()
}

/// A payload's version as the field would hold it.
fn held_version(payload: &Payload) -> u64 {
    payload.version.min(model::LARGEST_VERSION)
}

fn unanswered() -> Outcome {
    Outcome::Retry(Retry { code: Code::new("NO_RESULT"), after: None, how: Again::Same })
}
