//! The two systems of production, with their mocks.

use std::sync::Arc;

use contact_sync::adapters::Adapter;
use contact_sync::adapters::hubspot::HubSpot;
use contact_sync::adapters::salesforce::Salesforce;
use contact_sync::http_client;
use contact_sync::secrets::{Secret, SecretSource};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::super::mock_hubspot::{limited, missing_scope};
use super::super::mock_salesforce::{Endpoint, refusal, row_error};
use super::super::org::Org;
use super::super::portal::{self, Portal};
use super::super::server::{Answer, Mangle};
use super::{Fault, Records, Setting, System};

pub fn salesforce() -> BoxFuture<'static, Box<dyn System>> {
    async { Box::new(Org::new().await) as _ }.boxed()
}

/// Starts an org whose object is Contact.
pub fn salesforce_contact() -> BoxFuture<'static, Box<dyn System>> {
    let org = Org::with(
        |behavior| "Contact".clone_into(&mut behavior.sobject),
        |settings| "Contact".clone_into(&mut settings.sobject),
    );
    async { Box::new(org.await) as _ }.boxed()
}

/// Starts an org whose adapter sends several collections in a call.
pub fn salesforce_collections() -> BoxFuture<'static, Box<dyn System>> {
    async { Box::new(Org::with_collections().await) as _ }.boxed()
}

pub fn hubspot() -> BoxFuture<'static, Box<dyn System>> {
    async { Box::new(Portal::new().await) as _ }.boxed()
}

/// Replaces all headers of a response whose names begin with `prefix` by these headers.
fn with_headers(prefix: &'static str, headers: Vec<(&'static str, String)>) -> Mangle {
    Mangle::new(move |response| {
        response
            .headers
            .retain(|(name, _)| !name.starts_with(prefix));
        for (name, value) in &headers {
            response
                .headers
                .push((format!("{prefix}{name}"), value.clone()));
        }
    })
}

/// Replaces all optional values by `null`. A result keeps its key alone.
fn make_sparse(body: &mut Value) {
    for result in body["results"].as_array_mut().into_iter().flatten() {
        let key = result["properties"]["source_id"].take();
        let properties =
            json!({"source_id": key, "email": null, "lifecyclestage": null, "hs_object_id": null});
        *result = json!({
            "id": null,
            "properties": properties,
            "objectWriteTraceId": null,
            "createdAt": null,
        });
    }
    for name in ["status", "errors", "numErrors", "startedAt", "completedAt"] {
        body[name] = Value::Null;
    }
}

fn secret_of(file: &tempfile::NamedTempFile) -> Arc<Secret> {
    Arc::new(Secret::new(SecretSource::File(file.path().to_owned())))
}

/// Modifies the rows of a response of Salesforce, those of each subrequest by themselves.
fn rows(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Mangle {
    Mangle::json(move |body| match body.get_mut("compositeResponse") {
        Some(Value::Array(results)) => {
            for result in results {
                edit(&mut result["body"]);
            }
        }
        _ => edit(body),
    })
}

/// Removes or duplicates the last row.
fn resize(rows: &mut Value, more: bool) {
    let Some(rows) = rows.as_array_mut() else {
        return;
    };
    match rows.pop() {
        Some(last) if more => rows.extend([last.clone(), last]),
        _ => {}
    }
}

impl System for Org {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::clone(&self.salesforce) as _
    }

    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>> {
        let mut settings = self.settings.clone();
        match setting {
            Setting::OtherHost => settings.allowed_hosts = vec!["my.salesforce.com".to_owned()],
            Setting::UnknownField => drop(
                settings
                    .attributes
                    .insert("plan".to_owned(), "Nowhere__c".to_owned()),
            ),
            Setting::Version(at) => {
                settings.api_version = ["v67.0", "v46.0"].get(at).copied()?.into();
            }
            Setting::UnknownVersion => settings.api_version = "v30.0".into(),
        }
        let client = http_client::client().expect("a client");
        Some(Arc::new(Salesforce::new(
            &settings,
            client,
            secret_of(&self.secret),
        )))
    }

    fn rival(&self, id: &'static str) -> Option<String> {
        let owner = "00QXX0000012345";
        let message =
            format!("duplicate value found: Tax__c duplicates value on record with id: {owner}");
        self.mock
            .fail_row(id, row_error("DUPLICATE_VALUE", &message, &[]), 1);
        Some(owner.to_owned())
    }

    fn records(&self) -> Records {
        self.mock.leads()
    }

    fn inject(&self, fault: Fault) -> bool {
        match fault {
            Fault::Reply(reply) => self.mock.next(reply),
            Fault::Lost => self.mock.lose_answers(1),
            Fault::Mangled(mangle) => self.mock.mangle(mangle),
            Fault::Short => self.mock.mangle(rows(|body| resize(body, false))),
            Fault::Long => self.mock.mangle(rows(|body| resize(body, true))),
            Fault::Mute => self.mock.mangle(rows(|body| *body = json!([]))),
            Fault::Sparse => self.mock.mangle(rows(|body| {
                let rows = body.as_array().map(Vec::len).unwrap_or_default();
                let row = json!({"success": true, "id": null, "errors": null, "created": null});
                *body = vec![row; rows].into();
            })),
            Fault::QuotaReported { used, max } => {
                self.mock.mangle(with_headers(
                    "sforce-",
                    vec![("limit-info", format!("api-usage={used}/{max}"))],
                ));
            }
            Fault::QuotaOmitted => self.mock.mangle(with_headers("sforce-", Vec::new())),
            Fault::Forbidden => self.mock.next(refusal(
                403,
                "API_DISABLED_FOR_ORG",
                "The REST API is not enabled.",
            )),
            Fault::Rejected(id) => {
                self.mock.fail_row(
                    id,
                    row_error("INVALID_EMAIL_ADDRESS", "Email: invalid", &["Email"]),
                    1,
                );
            }
            Fault::Delayed(id) => {
                self.mock.fail_row(
                    id,
                    row_error("TERRITORY_REALIGN_IN_PROGRESS", "busy", &[]),
                    1,
                );
            }
            Fault::OffendingRecord(id) => self.mock.fail_batches_with(&id),
            Fault::Expired => self.mock.expire_tokens(),
            Fault::Revoked => {
                self.mock.expire_tokens();
                self.mock.rotate_secret("another");
            }
            Fault::Exhausted => self.mock.next(refusal(
                403,
                "REQUEST_LIMIT_EXCEEDED",
                "TotalRequests Limit exceeded.",
            )),
            Fault::Throttled => {
                self.mock.next(refusal(
                    403,
                    "REQUEST_LIMIT_EXCEEDED",
                    "ConcurrentPerOrgLongTxn Limit exceeded.",
                ));
            }
            Fault::Paused(pause) => {
                let unavailable = refusal(503, "SERVER_UNAVAILABLE", "Server Unavailable");
                self.mock
                    .next(unavailable.with_header("retry-after", pause.as_secs()));
            }
        }
        true
    }

    fn calls(&self) -> usize {
        let answered = self
            .mock
            .seen()
            .iter()
            .filter(|seen| seen.endpoint != Endpoint::Token)
            .count();
        answered + self.mock.refused_tokens() as usize
    }

    fn violations(&self) -> Vec<String> {
        self.mock.violations()
    }
}

impl System for Portal {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::clone(&self.hubspot) as _
    }

    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>> {
        let mut settings = portal::settings(self.server.url());
        match setting {
            Setting::OtherHost => settings.allowed_hosts = vec!["api.hubapi.com".to_owned()],
            Setting::UnknownField => drop(
                settings
                    .attributes
                    .insert("plan".to_owned(), "plan_name".to_owned()),
            ),
            Setting::Version(at) => {
                settings.api_version = ["2026-09", "2026-03", "v3"].get(at).copied()?.into();
            }
            Setting::UnknownVersion => settings.api_version = "2019-03".into(),
        }
        let client = http_client::client().expect("a client");
        Some(Arc::new(HubSpot::new(
            &settings,
            client,
            secret_of(&self.secret),
        )))
    }

    fn rival(&self, id: &'static str) -> Option<String> {
        let number = id.strip_prefix("C-")?;
        Some(
            self.mock
                .put(None, &[("email", &format!("p{number}@example.com"))]),
        )
    }

    fn records(&self) -> Records {
        self.mock.contacts()
    }

    fn inject(&self, fault: Fault) -> bool {
        match fault {
            Fault::Reply(reply) => self.mock.next(reply),
            Fault::Lost => self.mock.lose_answers(1),
            Fault::Mangled(mangle) => self.mock.mangle(mangle),
            Fault::Short => self
                .mock
                .mangle(Mangle::json(|body| resize(&mut body["results"], false))),
            Fault::Long => self
                .mock
                .mangle(Mangle::json(|body| resize(&mut body["results"], true))),
            Fault::Mute => self
                .mock
                .mangle(Mangle::json(|body| body["results"] = json!([]))),
            Fault::Sparse => self.mock.mangle(Mangle::json(make_sparse)),
            Fault::QuotaReported { used, max } => {
                let daily = [("daily", max), ("daily-remaining", max - used)];
                let headers = daily.map(|(name, calls)| (name, calls.to_string()));
                self.mock
                    .mangle(with_headers("x-hubspot-ratelimit-", headers.into()));
            }
            Fault::QuotaOmitted => self
                .mock
                .mangle(with_headers("x-hubspot-ratelimit-", Vec::new())),
            Fault::Forbidden => self.mock.next(missing_scope("crm.objects.contacts.write")),
            Fault::Rejected(id) => {
                self.mock
                    .fail_row(id, json!({"category": "VALIDATION_ERROR"}), 1);
            }
            Fault::Delayed(id) => self
                .mock
                .fail_row(id, json!({"category": "INTERNAL_ERROR"}), 1),
            Fault::OffendingRecord(id) => self.mock.fail_batches_with(&id),
            Fault::Expired => {
                self.mock.rotate_token("pat-mock-2");
                self.write_secret(r#"{"access_token": "pat-mock-2"}"#);
            }
            Fault::Revoked => self.mock.rotate_token("pat-mock-2"),
            Fault::Exhausted => self.mock.next(limited("DAILY", "daily")),
            Fault::Throttled => self.mock.next(limited("SECONDLY", "secondly")),
            Fault::Paused(pause) => self
                .mock
                .next(Answer::empty(423).with_header("retry-after", pause.as_secs())),
        }
        true
    }

    fn calls(&self) -> usize {
        self.mock.seen().len() + self.mock.refused_tokens() as usize
    }

    fn violations(&self) -> Vec<String> {
        self.mock.violations()
    }
}
