//! Salesforce: the conversation. Writes are collection upserts by our own key, deletes a query and
//! a collection delete.
//!
//! <https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-upsert.html>

mod api_error;
mod auth;
mod client;
mod delete;
mod describe;
mod doctor;
mod errors;
mod lookup;
mod misconfigured;
mod model;
mod refusal;
mod remedies;
mod rows;
mod sent;
mod settings;
mod upsert;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Client;

use self::auth::Auth;
pub(crate) use self::model::own_fields;
pub use self::settings::{ConvertedLeads, Settings, Status};
use super::http::Http;
use super::{
    Adapter, AdapterDeps, AdapterSpec, Call, CallError, Code, Destination, Held, Limits, Outcome,
    Payload, Rejection, Reply, Retry, RetryMode, Transformed,
};
use crate::contact::ContactChange;
use crate::secrets::Secret;

/// The destination `salesforce`.
pub struct Salesforce {
    settings: Settings,
    http: Http,
    auth: Auth,
    /// Sent with every request.
    headers: [(&'static str, &'static str); 3],
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
                (
                    "sforce-auto-assign",
                    if settings.auto_assign {
                        "TRUE"
                    } else {
                        "FALSE"
                    },
                ),
                (
                    "sforce-duplicate-rule-header",
                    if settings.allow_duplicates {
                        "allowSave=true"
                    } else {
                        "allowSave=false"
                    },
                ),
                ("sforce-call-options", "client=contact-sync"),
            ],
            settings: settings.clone(),
        }
    }

    /// The same, as the factory takes it.
    pub(crate) fn spec(settings: &Settings, deps: &AdapterDeps) -> AdapterSpec {
        AdapterSpec {
            adapter: Arc::new(Self::new(
                settings,
                deps.http(),
                deps.secret(&settings.secret_id),
            )),
            rate_limit: settings.rate_limit,
            retry: settings.retry,
            max_in_flight: settings.max_in_flight,
            keeps_versions: !settings.version_field.is_empty(),
        }
    }

    fn is_guarded(&self, payload: &Payload) -> bool {
        payload.guarded && !self.settings.version_field.is_empty()
    }
}

impl Adapter for Salesforce {
    fn destination(&self) -> Destination {
        Destination("salesforce")
    }

    fn limits(&self) -> Limits {
        let batch = self.settings.batch_size.clamp(1, Settings::LARGEST_BATCH);
        Limits {
            upsert: batch,
            upsert_calls: 1,
            delete: batch,
            delete_calls: 2,
            lookup: self.lookup(),
        }
    }

    fn transform(&self, changes: &[&ContactChange]) -> Transformed {
        model::transform(changes, &self.settings)
    }

    fn held<'a>(
        &'a self,
        batch: &'a [&'a Payload],
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        self.versions(batch, call).boxed()
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.write(batch, call).boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.remove(batch, call).boxed()
    }
}

/// What has no outcome by now has failed.
fn settle(outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(unanswered))
        .collect()
}

/// The answer does not say what became of a row. One record may be the reason.
fn unanswered() -> Outcome {
    let code = Code::new("NO_RESULT");
    let rejection = Rejection::new(
        code.clone(),
        "Salesforce's answers say nothing of this record",
    );
    Outcome::Retry(Retry {
        code,
        after: None,
        how: RetryMode::Isolate(rejection),
    })
}
