//! The section `[tinycrm]` and its checks. `defaults.toml` documents each key.

use std::collections::BTreeMap;
use std::sync::Arc;

use contact_sync::adapters::http::check_url;
use contact_sync::adapters::section_checks::{fields, hosts, rate_limit, retry, secret_id};
use contact_sync::adapters::{AdapterSpec, SystemSettings};
use contact_sync::checks::{CheckResult, InvalidValue, Ranges, ensure, within};
use contact_sync::model::limits::{RateLimit, Retry};
use contact_sync::secrets::Secret;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};

use super::TinyCrm;
use super::model::own_fields;

pub(super) const RANGES: &Ranges = &[
    ("tinycrm.batch_size", 1..=Settings::LARGEST_BATCH as u64),
    ("tinycrm.max_in_flight", 1..=10),
    ("tinycrm.request_timeout_ms", 1..=60_000),
    ("tinycrm.rate_limit.requests", 1..=10_000),
    ("tinycrm.rate_limit.per_ms", 1..=60_000),
    ("tinycrm.retry.max_attempts", 1..=20),
    ("tinycrm.retry.base_delay_ms", 1..=900_000),
    ("tinycrm.retry.max_delay_ms", 1..=900_000),
];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub secret_id: String,
    pub base_url: String,
    pub allowed_hosts: Vec<String>,
    pub api_version: String,
    pub version_field: String,
    pub batch_size: usize,
    pub max_in_flight: usize,
    pub request_timeout_ms: u64,
    pub attributes: BTreeMap<String, String>,
    pub rate_limit: RateLimit,
    pub retry: Retry,
}

impl Settings {
    /// Most rows in one request.
    pub const LARGEST_BATCH: usize = 50;

    fn check_base_url(&self) -> CheckResult {
        let reason = match Url::parse(&self.base_url) {
            Ok(url) => check_url(&url, &self.allowed_hosts).err(),
            Err(error) => Some(error.to_string()),
        };
        match reason {
            None => Ok(()),
            Some(reason) => Err(InvalidValue::new(
                "tinycrm.base_url",
                format!("is refused: {reason}"),
            )
            .with_other("tinycrm.allowed_hosts")),
        }
    }
}

impl SystemSettings for Settings {
    fn check(&self, files_allowed: bool) -> CheckResult {
        secret_id("tinycrm.secret_id", &self.secret_id, files_allowed)?;
        hosts("tinycrm.allowed_hosts", &self.allowed_hosts)?;
        self.check_base_url()?;
        let is_known = ["v1", "v2"].contains(&&*self.api_version);
        ensure("tinycrm.api_version", is_known, || {
            format!("is `{}`; allowed: v1 or v2", self.api_version)
        })?;
        let special = [("tinycrm.version_field", &*self.version_field)];
        fields(
            &own_fields(),
            &special,
            "tinycrm.attributes",
            &self.attributes,
        )?;
        within(RANGES, "tinycrm.batch_size", self.batch_size)?;
        within(RANGES, "tinycrm.max_in_flight", self.max_in_flight)?;
        within(
            RANGES,
            "tinycrm.request_timeout_ms",
            self.request_timeout_ms,
        )?;
        let keys = ["tinycrm.rate_limit.requests", "tinycrm.rate_limit.per_ms"];
        rate_limit(RANGES, keys, self.rate_limit)?;
        let keys = [
            "tinycrm.retry.max_attempts",
            "tinycrm.retry.base_delay_ms",
            "tinycrm.retry.max_delay_ms",
        ];
        retry(RANGES, keys, self.retry)
    }

    fn secret_id(&self) -> &str {
        &self.secret_id
    }

    fn secret_id_mut(&mut self) -> &mut String {
        &mut self.secret_id
    }

    fn version_field(&self) -> &str {
        &self.version_field
    }

    fn adapter(&self, client: Client, secret: Arc<Secret>) -> AdapterSpec {
        AdapterSpec {
            adapter: Arc::new(TinyCrm::new(self, client, secret)),
            rate_limit: self.rate_limit,
            retry: self.retry,
            max_in_flight: self.max_in_flight,
            keeps_versions: !self.version_field.is_empty(),
        }
    }
}
