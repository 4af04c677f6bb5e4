//! HubSpot: the conversation. Writes are batch upserts by our own key, deletes are a look-up and an archive.
//!
//! <https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide>

mod auth;
mod batch_answer;
mod delete;
#[cfg(feature = "admin")]
mod doctor;
mod errors;
mod exchange;
mod lookup;
mod model;
mod problem;
mod rows;
mod settings;
mod unfit;
mod upsert;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Client;

use self::auth::Auth;
pub(crate) use self::model::own_properties;
use self::problem::Problem;
use self::rows::Rows;
pub use self::settings::{LifecycleStage, Settings};
use super::http::Http;
use super::{
    Adapter, Call, CallError, Code, Destination, External, Limits, Lookup, Outcome, Payload, Reply, Retry, RetryMode,
    Tools, Transformed,
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
            batch_url: exchange::batch_url(settings),
            settings: settings.clone(),
        }
    }

    /// The same, as the factory takes it.
    pub(crate) fn external(settings: &Settings, tools: &Tools) -> External {
        External {
            adapter: Arc::new(Self::new(settings, tools.http(), tools.secret(&settings.secret_id))),
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

    /// What becomes of a row with this error; an error for the whole call where our settings are to blame.
    fn judge(&self, problem: &Problem, call: Call<'_>) -> Result<Outcome, CallError> {
        if let Some(unfit) = errors::of_settings(problem, &self.settings) {
            return Err(CallError::Stop(unfit.stop));
        }
        let outcome = errors::of_row(problem, &self.settings);
        if matches!(outcome, Outcome::Rejected(_)) && !errors::is_known(problem) {
            call.meter.unknown_code();
        }
        Ok(outcome)
    }
}

impl Adapter for HubSpot {
    fn destination(&self) -> Destination {
        Destination("hubspot")
    }

    fn limits(&self) -> Limits {
        let batch = self.settings.batch_size.clamp(1, Settings::LARGEST_BATCH);
        Limits { upsert: batch, upsert_calls: 1, delete: batch, delete_calls: 2, lookup: Lookup::UNBOUNDED }
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

/// What has no outcome by now has failed.
fn settle(outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| unaccounted(false))).collect()
}

/// The answer does not say what became of a row. Where it says something of nobody, the row is sent in smaller
/// company: alone, it is the one that is meant.
fn unaccounted(lost: bool) -> Outcome {
    let how = if lost { RetryMode::SplitBatch } else { RetryMode::Same };
    Outcome::Retry(Retry { code: Code::new("UNACCOUNTED"), after: None, how })
}
