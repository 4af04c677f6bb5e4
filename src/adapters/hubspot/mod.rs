//! HubSpot: the conversation. Writes are batch upserts by our own key, deletes are a look-up and an
//! archive.
//!
//! <https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide>

mod api_error;
mod auth;
mod batch_answer;
mod client;
mod delete;
mod doctor;
mod errors;
mod lookup;
mod model;
mod refused;
mod rows;
mod settings;
mod upsert;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Client;

use self::auth::Auth;
pub(crate) use self::model::own_properties;
use self::rows::Rows;
pub use self::settings::{LifecycleStage, Settings};
use super::http::Http;
use super::{
    Adapter, AdapterDeps, AdapterSpec, Call, CallError, Code, Destination, Held, Limits, Lookup,
    Outcome, Payload, Rejection, Reply, Retry, RetryMode, Transformed,
};
use crate::contact::ContactChange;
use crate::secrets::Secret;

/// The destination `hubspot`.
#[derive(Debug)]
pub struct HubSpot {
    settings: Settings,
    http: Http,
    auth: Auth,
    batch_url: String,
}

impl HubSpot {
    /// HubSpot as `settings` describe it.
    pub fn new(settings: &Settings, client: Client, secret: Arc<Secret>) -> Self {
        let timeout = Duration::from_millis(settings.request_timeout_ms);
        Self {
            http: Http::new(client, settings.allowed_hosts.clone(), timeout),
            auth: Auth::new(secret),
            batch_url: client::batch_url(settings),
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
            keeps_versions: !settings.version_property.is_empty(),
        }
    }

    fn rows<'a>(&'a self, payloads: Vec<&'a Payload>) -> Rows<'a> {
        Rows::new(payloads, &self.settings.id_property)
    }

    fn is_guarded(&self, payload: &Payload) -> bool {
        payload.guarded && !self.settings.version_property.is_empty()
    }
}

impl Adapter for HubSpot {
    fn destination(&self) -> Destination {
        Destination("hubspot")
    }

    fn limits(&self) -> Limits {
        let batch = self.settings.batch_size.clamp(1, Settings::LARGEST_BATCH);
        Limits {
            upsert: batch,
            upsert_calls: 1,
            delete: batch,
            delete_calls: 2,
            lookup: Lookup::UNBOUNDED,
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
        .map(|outcome| outcome.unwrap_or_else(|| unaccounted(false)))
        .collect()
}

/// Returns the outcome of a row of which the answer says nothing. Where it says something of a row
/// that it does not name (`lost`), the row is sent in a smaller batch: alone, it is the one. Else
/// this record may be the cause: HubSpot is known to leave out what it merged.
fn unaccounted(lost: bool) -> Outcome {
    let code = Code::new("UNACCOUNTED");
    let how = if lost {
        RetryMode::SplitBatch
    } else {
        let message = "HubSpot's answer does not say what became of the record";
        RetryMode::Isolate(Rejection::new(code.clone(), message))
    };
    Outcome::Retry(Retry {
        code,
        after: None,
        how,
    })
}
