//! A third system, complete but tiny: it proves that a system is one folder and one entry in the
//! registry. Its API takes batches of rows, keyed by our id, and answers with one row for each.

mod client;
mod mock;
mod model;
mod settings;
mod system;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::doctor::Check;
use contact_sync::adapters::http::Http;
use contact_sync::adapters::{Adapter, Call, System, parse_section};
use contact_sync::model::codes::CodeEntry;
use contact_sync::model::limits::{Limits, Lookup};
use contact_sync::model::{
    CallError, Code, ContactChange, Destination, Held, HeldRecord, Outcome, Payload, Rejection,
    Reply, Retry, RetryMode, Transformed,
};
use contact_sync::secrets::Secret;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::{Client, Method};
use serde_json::json;

use self::client::{Row, rejection};
pub use self::mock::{Endpoint, MockTinyCrm, TOKEN};
pub use self::settings::Settings;
pub use self::system::{TinyAccount, settings};

/// The system in a registry.
pub const SYSTEM: System = System {
    name: "tinycrm",
    label: "TinyCRM",
    defaults: include_str!("defaults.toml"),
    presets: &[("test", include_str!("test.toml"))],
    ranges: settings::RANGES,
    version_key: "tinycrm.version_field",
    codes: &[CodeEntry {
        code: "BUSY",
        stage: "deliver",
        fate: "failed",
        meaning: "The row is in use.",
        remedy: "None is needed.",
    }],
    code_patterns: &[],
    uncounted_calls: "",
    parse: parse_section::<Settings>,
    schema: || Some(json!({"type": "object", "properties": {"batch_size": {"type": "integer"}}})),
};

/// The adapter.
#[derive(Debug)]
pub struct TinyCrm {
    settings: Settings,
    http: Http,
    secret: Arc<Secret>,
}

impl TinyCrm {
    pub fn new(settings: &Settings, client: Client, secret: Arc<Secret>) -> Self {
        let timeout = Duration::from_millis(settings.request_timeout_ms);
        Self {
            settings: settings.clone(),
            http: Http::new(client, settings.allowed_hosts.clone(), timeout),
            secret,
        }
    }

    /// Writes every payload that has a body.
    async fn upsert_batch(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        let mut outcomes = Vec::new();
        let mut rows = Vec::new();
        for payload in batch {
            match &payload.body {
                Some(body) => {
                    let id = json!(payload.id.as_str());
                    rows.push(format!(r#"{{"id":{id},"fields":{}}}"#, body.get()));
                    outcomes.push(None);
                }
                None => outcomes.push(Some(Outcome::Rejected(Rejection::new(
                    Code::new("EMPTY_PAYLOAD"),
                    "there is nothing to write",
                )))),
            }
        }
        if call.dry_run || rows.is_empty() {
            let open = outcomes.into_iter();
            return Ok(open
                .map(|outcome| outcome.unwrap_or_else(Outcome::dry_run))
                .collect());
        }
        let body = format!("[{}]", rows.join(","));
        let answers = self.send_rows("upsert", body, rows.len(), call).await?;
        self.report(&answers, call);
        let mut answers = answers.iter().map(outcome_of);
        Ok(outcomes
            .into_iter()
            .map(|outcome| {
                outcome
                    .or_else(|| answers.next())
                    .unwrap_or_else(unaccounted)
            })
            .collect())
    }

    /// Deletes the records. Looks them up before where versions are compared, or nothing is
    /// written.
    async fn delete_batch(&self, batch: &[&Payload], call: Call<'_>) -> Reply {
        if !call.dry_run && !batch.iter().any(|payload| payload.guarded) {
            let rows = self.send_ids("delete", batch, call).await?;
            return Ok(rows.iter().map(outcome_of).collect());
        }
        let held = self.versions(batch, call).await?;
        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        for (payload, held) in batch.iter().zip(held) {
            outcomes.push(match held {
                Held::Nowhere => Some(Outcome::already_gone()),
                Held::Unknown(outcome) => Some(outcome),
                Held::Record(held) if payload.guarded && held.version > Some(payload.version) => {
                    Some(Outcome::Stale)
                }
                Held::Record(_) if call.dry_run => Some(Outcome::dry_run()),
                Held::Record(_) => None,
            });
        }
        let open: Vec<&Payload> = batch
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_none())
            .map(|(payload, _)| *payload)
            .collect();
        let rows = if open.is_empty() {
            Vec::new()
        } else {
            self.send_ids("delete", &open, call).await?
        };
        let mut rows = rows.iter().map(outcome_of);
        Ok(outcomes
            .into_iter()
            .map(|outcome| outcome.or_else(|| rows.next()).unwrap_or_else(unaccounted))
            .collect())
    }

    async fn versions(&self, batch: &[&Payload], call: Call<'_>) -> Result<Vec<Held>, CallError> {
        let rows = self.send_ids("read", batch, call).await?;
        Ok(rows
            .iter()
            .map(|row| match (row.found, &row.error) {
                (Some(true), None) => Held::Record(HeldRecord {
                    version: row.version,
                    ..HeldRecord::default()
                }),
                (Some(false), None) => Held::Nowhere,
                _ => Held::Unknown(outcome_of(row)),
            })
            .collect())
    }

    /// Reports each field that the settings name and the account lacks once.
    fn report(&self, rows: &[Row], call: Call<'_>) {
        let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
        for error in rows.iter().filter_map(|row| row.error.as_ref()) {
            let field = error.field.as_deref().unwrap_or_default();
            let is_ours = self
                .settings
                .attributes
                .values()
                .any(|known| known == field);
            if is_misconfigured(&error.code) && is_ours {
                *missing.entry(field).or_default() += 1;
            }
        }
        for (field, records) in missing {
            call.metrics.config_error();
            tracing::error!(
                destination = SYSTEM.name,
                field,
                records,
                "create the field"
            );
        }
    }
}

impl Adapter for TinyCrm {
    fn destination(&self) -> Destination {
        Destination(SYSTEM.name)
    }

    fn limits(&self) -> Limits {
        Limits {
            upsert: self.settings.batch_size,
            upsert_calls: 1,
            delete: self.settings.batch_size,
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
        _fields: &'a [&'a str],
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        self.versions(batch, call).boxed()
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.upsert_batch(batch, call).boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.delete_batch(batch, call).boxed()
    }

    fn examine<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Vec<Check>> {
        async move {
            match self.send(Method::GET, "fields", String::new(), call).await {
                Ok(_) => vec![Check::ok("tinycrm token", "accepted")],
                Err(CallError::Stop(stop)) => vec![Check::fail("tinycrm token", stop.remedy)],
                Err(error) => vec![Check::fail("tinycrm token", error.code().to_string())],
            }
        }
        .boxed()
    }
}

/// Returns whether the code is about the settings and the account, and not about the record.
fn is_misconfigured(code: &str) -> bool {
    code == "UNKNOWN_FIELD"
}

fn outcome_of(row: &Row) -> Outcome {
    match (&row.error, row.ok) {
        (Some(error), _) if error.code == "BUSY" => retry("BUSY", RetryMode::Same),
        (Some(error), _) if is_misconfigured(&error.code) => {
            Outcome::Failed(Code::new("UNKNOWN_FIELD"))
        }
        (Some(error), _) => Outcome::Rejected(rejection(error)),
        (None, Some(true)) if row.found == Some(false) => Outcome::already_gone(),
        (None, Some(true)) => Outcome::Delivered(None),
        (None, _) => unaccounted(),
    }
}

/// Returns the outcome of a row that the response does not account for.
fn unaccounted() -> Outcome {
    retry("NO_RESULT", RetryMode::SplitBatch)
}

fn retry(code: &'static str, how: RetryMode) -> Outcome {
    Outcome::Retry(Retry {
        code: Code::new(code),
        after: None,
        how,
    })
}
