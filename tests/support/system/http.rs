//! The two systems of this package, behind their mocks.

use std::sync::Arc;

use contact_sync::adapters::hubspot::HubSpot;
use contact_sync::adapters::salesforce::Salesforce;
use contact_sync::adapters::{Adapter, http};
use contact_sync::secrets::{Secret, SecretSource};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::super::mock_hubspot::limited;
use super::super::mock_salesforce::{Endpoint, refusal, row_error};
use super::super::org::{self, Org};
use super::super::portal::{self, Portal};
use super::super::server::{Answer, Mangle};
use super::{Fault, Records, System};

pub fn salesforce() -> BoxFuture<'static, Box<dyn System>> {
    async { Box::new(Org::new().await) as _ }.boxed()
}

pub fn hubspot() -> BoxFuture<'static, Box<dyn System>> {
    async { Box::new(Portal::new().await) as _ }.boxed()
}

fn secret_of(file: &tempfile::NamedTempFile) -> Arc<Secret> {
    Arc::new(Secret::new(SecretSource::File(file.path().to_owned())))
}

/// Drops or doubles the last row.
fn resize(rows: &mut Value, more: bool) {
    let Some(rows) = rows.as_array_mut() else { return };
    match rows.pop() {
        Some(last) if more => rows.extend([last.clone(), last]),
        _ => {}
    }
}

impl System for Org {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::clone(&self.salesforce) as _
    }

    fn astray(&self) -> Option<Arc<dyn Adapter>> {
        let mut settings = org::settings();
        settings.allowed_hosts = vec!["my.salesforce.com".to_owned()];
        let client = http::client().expect("a client");
        Some(Arc::new(Salesforce::new(&settings, client, secret_of(&self.secret))))
    }

    fn records(&self) -> Records {
        self.mock.leads()
    }

    fn strike(&self, fault: Fault) -> bool {
        match fault {
            Fault::Reply(reply) => self.mock.next(reply),
            Fault::Lost => self.mock.lose_answers(1),
            Fault::Mangled(mangle) => self.mock.mangle(mangle),
            Fault::Short => self.mock.mangle(Mangle::json(|body| resize(body, false))),
            Fault::Long => self.mock.mangle(Mangle::json(|body| resize(body, true))),
            Fault::Rejected(id) => {
                self.mock.fail_row(id, row_error("INVALID_EMAIL_ADDRESS", "Email: invalid", &["Email"]), 1);
            }
            Fault::Delayed(id) => self.mock.fail_row(id, row_error("RECORD_IN_USE_BY_WORKFLOW", "busy", &[]), 1),
            Fault::Poison(id) => self.mock.poison(&id),
            Fault::Expired => self.mock.expire_tokens(),
            Fault::Revoked => {
                self.mock.expire_tokens();
                self.mock.rotate_secret("another");
            }
            Fault::Exhausted => self.mock.next(refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")),
            Fault::Throttled => {
                self.mock.next(refusal(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."));
            }
            Fault::Paused(pause) => {
                let away = refusal(503, "SERVER_UNAVAILABLE", "Server Unavailable");
                self.mock.next(away.with_header("retry-after", pause.as_secs()));
            }
        }
        true
    }

    fn calls(&self) -> usize {
        let answered = self.mock.seen().iter().filter(|seen| seen.endpoint != Endpoint::Token).count();
        answered + self.mock.refused_tokens() as usize
    }

    fn mistakes(&self) -> Vec<String> {
        self.mock.mistakes()
    }
}

impl System for Portal {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::clone(&self.hubspot) as _
    }

    fn astray(&self) -> Option<Arc<dyn Adapter>> {
        let mut settings = portal::settings(self.server.url());
        settings.allowed_hosts = vec!["api.hubapi.com".to_owned()];
        let client = http::client().expect("a client");
        Some(Arc::new(HubSpot::new(&settings, client, secret_of(&self.secret))))
    }

    fn records(&self) -> Records {
        self.mock.contacts()
    }

    fn strike(&self, fault: Fault) -> bool {
        match fault {
            Fault::Reply(reply) => self.mock.next(reply),
            Fault::Lost => self.mock.lose_answers(1),
            Fault::Mangled(mangle) => self.mock.mangle(mangle),
            Fault::Short => self.mock.mangle(Mangle::json(|body| resize(&mut body["results"], false))),
            Fault::Long => self.mock.mangle(Mangle::json(|body| resize(&mut body["results"], true))),
            Fault::Rejected(id) => self.mock.fail_row(id, json!({"category": "VALIDATION_ERROR"}), 1),
            Fault::Delayed(id) => self.mock.fail_row(id, json!({"category": "INTERNAL_ERROR"}), 1),
            Fault::Poison(id) => self.mock.poison(&id),
            Fault::Expired => {
                self.mock.rotate_token("pat-mock-2");
                self.write_secret(r#"{"access_token": "pat-mock-2"}"#);
            }
            Fault::Revoked => self.mock.rotate_token("pat-mock-2"),
            Fault::Exhausted => self.mock.next(limited("DAILY", "daily")),
            Fault::Throttled => self.mock.next(limited("SECONDLY", "secondly")),
            Fault::Paused(pause) => self.mock.next(Answer::empty(423).with_header("retry-after", pause.as_secs())),
        }
        true
    }

    fn calls(&self) -> usize {
        self.mock.seen().len() + self.mock.refused_tokens() as usize
    }

    fn mistakes(&self) -> Vec<String> {
        self.mock.mistakes()
    }
}
