//! The third system under test: an account of the mock with its adapter.

use std::io::Write as _;
use std::sync::Arc;

use contact_sync::adapters::Adapter;
use contact_sync::http_client;
use contact_sync::model::limits::{RateLimit, Retry};
use contact_sync::secrets::{Secret, SecretSource};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::super::server::{Answer, Mangle, Server};
use super::super::system::{Fault, Records, Setting, System};
use super::mock::refusal;
use super::{MockTinyCrm, Settings, TOKEN, TinyCrm};

/// Account of the mock.
pub struct TinyAccount {
    pub mock: Arc<MockTinyCrm>,
    pub secret: NamedTempFile,
    pub server: Server,
    adapter: Arc<TinyCrm>,
}

impl TinyAccount {
    pub async fn new() -> Self {
        let (mock, server) = MockTinyCrm::start().await;
        let secret = NamedTempFile::new().expect("a file");
        let adapter = Arc::new(adapter(&settings(server.url()), &secret));
        let account = Self {
            mock,
            secret,
            server,
            adapter,
        };
        account.write_token(TOKEN);
        account
    }

    /// Returns a document with which the function and the tool use the account.
    pub fn document(&self) -> String {
        let (url, secret) = (self.server.url(), self.secret.path().display());
        format!("[tinycrm]\nbase_url = \"{url}\"\nsecret_id = \"file:{secret}\"\n")
    }

    pub fn write_token(&self, token: &str) {
        let mut file = self.secret.reopen().expect("the file");
        file.set_len(0).expect("emptied");
        file.write_all(json!({"token": token}).to_string().as_bytes())
            .expect("written");
    }
}

fn adapter(settings: &Settings, secret: &NamedTempFile) -> TinyCrm {
    let source = SecretSource::File(secret.path().to_owned());
    let client = http_client::client().expect("a client");
    TinyCrm::new(settings, client, Arc::new(Secret::new(source)))
}

pub fn settings(base_url: String) -> Settings {
    Settings {
        secret_id: String::new(),
        base_url,
        allowed_hosts: vec!["127.0.0.1".to_owned()],
        api_version: "v2".to_owned(),
        version_field: String::new(),
        batch_size: Settings::LARGEST_BATCH,
        max_in_flight: 2,
        request_timeout_ms: 60_000,
        attributes: [("seats".to_owned(), "plan".to_owned())].into(),
        rate_limit: RateLimit {
            requests: 50,
            per_ms: 1_000,
        },
        retry: Retry::standard(),
    }
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

/// Replaces all headers of the quota by these.
fn with_quota(quota: Option<(u64, u64)>) -> Mangle {
    Mangle::new(move |response: &mut Answer| {
        response
            .headers
            .retain(|(name, _)| !name.starts_with("x-quota-"));
        if let Some((used, max)) = quota {
            let numbers = [("x-quota-used", used), ("x-quota-max", max)];
            response
                .headers
                .extend(numbers.map(|(name, number)| (name.to_owned(), number.to_string())));
        }
    })
}

impl System for TinyAccount {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::clone(&self.adapter) as _
    }

    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>> {
        let mut settings = settings(self.server.url());
        match setting {
            Setting::OtherHost => settings.allowed_hosts = vec!["api.tinycrm.example".to_owned()],
            Setting::UnknownField => {
                settings.attributes = [("plan".to_owned(), "nowhere".to_owned())].into();
            }
            Setting::Version(at) => settings.api_version = ["v2", "v1"].get(at).copied()?.into(),
            Setting::UnknownVersion => settings.api_version = "v0".into(),
        }
        Some(Arc::new(adapter(&settings, &self.secret)))
    }

    fn rival(&self, id: &'static str) -> Option<String> {
        let number = id.strip_prefix("C-")?;
        Some(self.mock.put(&format!("p{number}@example.com")))
    }

    fn records(&self) -> Records {
        self.mock.contacts()
    }

    fn inject(&self, fault: Fault) -> bool {
        let mock = &self.mock;
        match fault {
            Fault::Reply(reply) => mock.next(reply),
            Fault::Lost => mock.lose_answers(1),
            Fault::Mangled(mangle) => mock.mangle(mangle),
            Fault::Short => mock.mangle(Mangle::json(|body| resize(body, false))),
            Fault::Long => mock.mangle(Mangle::json(|body| resize(body, true))),
            Fault::Mute => mock.mangle(Mangle::json(|body| *body = json!([]))),
            Fault::Sparse => mock.mangle(Mangle::json(|body| {
                let rows = body.as_array().map(Vec::len).unwrap_or_default();
                *body = vec![json!({"ok": true, "found": null, "error": null}); rows].into();
            })),
            Fault::QuotaReported { used, max } => mock.mangle(with_quota(Some((used, max)))),
            Fault::QuotaOmitted => mock.mangle(with_quota(None)),
            Fault::Rejected(id) => mock.fail_row(id, json!({"code": "REFUSED"}), 1),
            Fault::Delayed(id) => mock.fail_row(id, json!({"code": "BUSY"}), 1),
            Fault::OffendingRecord(id) => mock.fail_batches_with(&id),
            Fault::Expired => {
                mock.rotate_token("tiny-2");
                self.write_token("tiny-2");
            }
            Fault::Revoked => mock.rotate_token("tiny-2"),
            Fault::Forbidden => mock.next(refusal(403, "FORBIDDEN")),
            Fault::Exhausted => mock.next(refusal(403, "QUOTA_USED")),
            Fault::Throttled => mock.next(refusal(429, "BUSY").with_header("retry-after", 1)),
            Fault::Paused(pause) => {
                mock.next(refusal(503, "DOWN").with_header("retry-after", pause.as_secs()));
            }
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
