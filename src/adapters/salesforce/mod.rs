//! Adapter of Salesforce. Writes are collection upserts by our own key; deletes are a query and a
//! collection delete.
//!
//! <https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-upsert.html>

mod api_error;
mod auth;
mod client;
mod composite;
mod delete;
mod describe;
mod doctor;
mod errors;
mod lookup;
mod mapping;
mod mapping_check;
mod misconfigured;
mod model;
mod parts;
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
pub use self::errors::{CODES, PATTERNS};
pub use self::settings::{ConvertedLeads, Settings, Status};
use super::doctor::Check;
use super::http::Http;
use super::{Adapter, Call, System, parse_section, section_schema};
use crate::model::codes;
use crate::model::limits::Limits;
use crate::model::{
    CallError, Code, ContactChange, Destination, Held, Outcome, Payload, RefusedValue, Rejection,
    Reply, RetryMode, Transformed,
};
use crate::secrets::Secret;

/// Salesforce in the registry.
pub const SYSTEM: System = System {
    name: "salesforce",
    label: "Salesforce",
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
    version_key: "salesforce.version_field",
    codes: CODES,
    code_patterns: PATTERNS,
    uncounted_calls: "one for a Salesforce token if none is cached, \
                      and one for each batch with new leads that lack LastName or Company",
    parse: parse_section::<Settings>,
    schema: section_schema::<Settings>,
};

/// The destination `salesforce`.
pub struct Salesforce {
    settings: Settings,
    http: Http,
    auth: Auth,
    /// Headers of every request.
    headers: [(&'static str, &'static str); 3],
}

impl Salesforce {
    /// Builds the adapter from its settings.
    pub fn new(settings: &Settings, client: Client, secret: Arc<Secret>) -> Self {
        let timeout = Duration::from_millis(settings.request_timeout_ms);
        Self {
            http: Http::new(client, settings.allowed_hosts.clone(), timeout),
            auth: Auth::new(secret),
            headers: [
                // Without it, assignment rules change the owner of a lead at every update.
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

    fn is_guarded(&self, payload: &Payload) -> bool {
        payload.guarded && !self.settings.version_field.is_empty()
    }
}

impl Adapter for Salesforce {
    fn destination(&self) -> Destination {
        Destination(SYSTEM.name)
    }

    fn limits(&self) -> Limits {
        let batch = self.settings.collection_size() * self.settings.collections();
        Limits {
            upsert: batch,
            upsert_calls: 1,
            delete: batch,
            delete_calls: 2,
            lookup: self.lookup(),
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
        .map(|outcome| outcome.unwrap_or_else(unaccounted))
        .collect()
}

/// Returns the outcome of a row that the response does not account for. The record may be the
/// cause.
fn unaccounted() -> Outcome {
    let code = Code::new(codes::NO_RESULT);
    let rejection = Rejection::new(
        code.clone(),
        "Salesforce's responses do not account for this record",
    );
    Outcome::retry(code, RetryMode::Isolate(rejection))
}
