//! Adapter of HubSpot. Writes are batch upserts by our own key; deletes are a look-up and an
//! archive.
//!
//! <https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide>

mod api_error;
mod auth;
mod batch_response;
mod client;
mod delete;
mod doctor;
mod errors;
mod lookup;
mod mapping_check;
mod model;
mod refusal;
mod rows;
mod settings;
mod upsert;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Client;

use self::auth::Auth;
pub use self::errors::CODES;
use self::rows::Rows;
pub use self::settings::{LifecycleStage, Settings};
use super::doctor::Check;
use super::http::Http;
use super::{Adapter, Call, System, parse_section, section_schema};
use crate::model::codes;
use crate::model::limits::{Limits, Lookup};
use crate::model::{
    CallError, Code, ContactChange, Destination, Held, Outcome, Payload, RefusedValue, Rejection,
    Reply, RetryMode, Transformed,
};
use crate::secrets::Secret;

/// HubSpot in the registry.
pub const SYSTEM: System = System {
    name: "hubspot",
    label: "HubSpot",
    defaults: include_str!("defaults.toml"),
    presets: &[
        ("staging", include_str!("presets/staging.toml")),
        (
            "high-throughput",
            include_str!("presets/high-throughput.toml"),
        ),
        ("local", include_str!("presets/local.toml")),
        ("test", include_str!("presets/test.toml")),
    ],
    ranges: settings::RANGES,
    version_key: "hubspot.version_property",
    codes: CODES,
    code_patterns: &[],
    uncounted_calls: "",
    parse: parse_section::<Settings>,
    schema: section_schema::<Settings>,
};

/// The destination `hubspot`.
#[derive(Debug)]
pub struct HubSpot {
    settings: Settings,
    http: Http,
    auth: Auth,
    batch_url: String,
}

impl HubSpot {
    /// Builds the adapter from its settings.
    pub fn new(settings: &Settings, client: Client, secret: Arc<Secret>) -> Self {
        let timeout = Duration::from_millis(settings.request_timeout_ms);
        Self {
            http: Http::new(client, settings.allowed_hosts.clone(), timeout),
            auth: Auth::new(secret),
            batch_url: client::batch_url(settings),
            settings: settings.clone(),
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
        Destination(SYSTEM.name)
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
        model::transform(changes, &[], &self.settings)
    }

    fn transform_without(
        &self,
        changes: &[&ContactChange],
        refused: &[RefusedValue],
    ) -> Transformed {
        model::transform(changes, refused, &self.settings)
    }

    fn prepare<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, ()> {
        self.connect(call).boxed()
    }

    fn held<'a>(
        &'a self,
        batch: &'a [&'a Payload],
        fields: &'a [&'a str],
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        self.records(batch, fields, call).boxed()
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.upsert_batch(batch, call).boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.delete_batch(batch, call).boxed()
    }

    fn examine<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Vec<Check>> {
        self.checks(call).boxed()
    }

    fn compare_mapping<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Vec<Check>, Check>> {
        self.mapping_checks(call).boxed()
    }
}

/// Gives each payload without an outcome the outcome of an unaccounted row.
fn complete(outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(|| unaccounted(false)))
        .collect()
}

/// Returns the outcome of a row that the response does not account for. Where the response has
/// parts that name no row (`is_ambiguous`), the row is sent again in a smaller batch: a part is
/// attributed to a row that is alone. Otherwise this record may be the cause: HubSpot is known to
/// leave out records that it merged.
fn unaccounted(is_ambiguous: bool) -> Outcome {
    let code = Code::new(codes::NO_RESULT);
    let how = if is_ambiguous {
        RetryMode::SplitBatch
    } else {
        let message = "HubSpot's response does not account for the record";
        RetryMode::Isolate(Rejection::new(code.clone(), message))
    };
    Outcome::retry(code, how)
}
