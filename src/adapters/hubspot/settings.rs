//! The section `[hubspot]` and its checks. `defaults.toml` documents each key.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};

use super::HubSpot;
use super::mapping_check::check_mapping;
use super::model::own_properties;
use crate::adapters::folding::Policies;
use crate::adapters::http::check_url;
use crate::adapters::section_checks::{fields, hosts, name, rate_limit, retry, secret_id};
use crate::adapters::{AdapterSpec, Constant, Normalise, SystemSettings};
use crate::checks::{CheckResult, InvalidValue, Ranges, ensure, within};
use crate::model::limits::{RateLimit, Retry};
use crate::model::{FieldPolicy, MatchPolicy};
use crate::secrets::Secret;

/// The range of each number. The first delay has a second limit, the longest delay.
pub(super) const RANGES: &Ranges = &[
    ("hubspot.batch_size", 1..=Settings::LARGEST_BATCH as u64),
    ("hubspot.max_in_flight", 1..=100),
    ("hubspot.request_timeout_ms", 1..=600_000),
    ("hubspot.rate_limit.requests", 1..=1_000_000),
    ("hubspot.rate_limit.per_ms", 1..=86_400_000),
    ("hubspot.retry.max_attempts", 1..=20),
    ("hubspot.retry.base_delay_ms", 1..=900_000),
    ("hubspot.retry.max_delay_ms", 1..=900_000),
];

/// The section `[hubspot]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "`defaults.toml` documents every key")]
pub struct Settings {
    pub secret_id: String,
    pub base_url: String,
    pub allowed_hosts: Vec<String>,
    pub version_property: String,
    pub api_version: String,
    pub id_property: String,
    pub type_property: String,
    pub batch_size: usize,
    pub max_in_flight: usize,
    pub request_timeout_ms: u64,
    pub lifecycle_stage: LifecycleStage,
    pub r#match: MatchPolicy,
    pub baseline_property: String,
    pub salvage: Vec<String>,
    pub attributes: BTreeMap<String, String>,
    pub fields: BTreeMap<String, String>,
    pub normalise: Normalise,
    pub constants: BTreeMap<String, Constant>,
    pub policy: BTreeMap<String, FieldPolicy>,
    pub rate_limit: RateLimit,
    pub retry: Retry,
}

impl Settings {
    /// Most inputs in one batch request; 101 are refused.
    /// <https://developers.hubspot.com/docs/api-reference/latest/crm/using-object-apis>
    pub const LARGEST_BATCH: usize = 100;

    /// Returns the policies of the properties.
    pub(super) fn policies(&self) -> Policies<'_> {
        Policies {
            matching: self.r#match,
            fields: &self.policy,
            baseline_field: &self.baseline_property,
        }
    }

    /// Returns whether a contact may be written without the property.
    pub(super) fn may_leave_out(&self, property: &str) -> bool {
        self.salvage.iter().any(|listed| listed == property)
    }

    /// Returns the beginning of every URL: scheme, host and port of `base_url`, in the form in
    /// which the settings check validates them.
    pub(super) fn base(&self) -> String {
        match Url::parse(&self.base_url) {
            Ok(url) if url.has_host() => url.origin().ascii_serialization(),
            _ => self.base_url.clone(),
        }
    }

    fn check_base_url(&self) -> CheckResult {
        let invalid = |message| InvalidValue::new("hubspot.base_url", message);
        let url = Url::parse(&self.base_url).map_err(|error| {
            invalid(format!(
                "is not a URL: {error}; allowed: scheme, host and port"
            ))
        })?;
        check_url(&url, &self.allowed_hosts).map_err(|reason| {
            invalid(format!("is refused: {reason}")).with_other("hubspot.allowed_hosts")
        })?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let bare = bare && url.username().is_empty() && url.password().is_none();
        ensure("hubspot.base_url", bare, || {
            "has a path, query or user; allowed: scheme, host and port".to_owned()
        })
    }

    fn check_version(&self) -> CheckResult {
        let dated = match self.api_version.split_once('-') {
            Some((year, month)) => {
                has_digits(year, 4) && has_digits(month, 2) && ("01"..="12").contains(&month)
            }
            None => false,
        };
        let known = dated || self.api_version == "v3";
        ensure("hubspot.api_version", known, || {
            format!("is `{}`; allowed: YYYY-MM or v3", self.api_version)
        })
    }

    fn check_properties(&self) -> CheckResult {
        let special = [
            ("hubspot.id_property", &*self.id_property),
            ("hubspot.type_property", &*self.type_property),
            ("hubspot.version_property", &*self.version_property),
            ("hubspot.baseline_property", &*self.baseline_property),
        ];
        name(special[0].0, special[0].1)?;
        check_mapping(self)?;
        fields(
            &own_properties(self),
            &special,
            "hubspot.attributes",
            &self.attributes,
        )
    }

    fn check_limits(&self) -> CheckResult {
        rate_limit(
            RANGES,
            ["hubspot.rate_limit.requests", "hubspot.rate_limit.per_ms"],
            self.rate_limit,
        )?;
        retry(
            RANGES,
            [
                "hubspot.retry.max_attempts",
                "hubspot.retry.base_delay_ms",
                "hubspot.retry.max_delay_ms",
            ],
            self.retry,
        )
    }
}

impl SystemSettings for Settings {
    fn check(&self, files_allowed: bool) -> CheckResult {
        secret_id("hubspot.secret_id", &self.secret_id, files_allowed)?;
        hosts("hubspot.allowed_hosts", &self.allowed_hosts)?;
        self.check_base_url()?;
        self.check_version()?;
        self.check_properties()?;
        self.normalise.check("hubspot.normalise.phone_region")?;
        within(RANGES, "hubspot.batch_size", self.batch_size)?;
        within(RANGES, "hubspot.max_in_flight", self.max_in_flight)?;
        within(
            RANGES,
            "hubspot.request_timeout_ms",
            self.request_timeout_ms,
        )?;
        self.check_limits()
    }

    fn secret_id(&self) -> &str {
        &self.secret_id
    }

    fn secret_id_mut(&mut self) -> &mut String {
        &mut self.secret_id
    }

    fn version_field(&self) -> &str {
        &self.version_property
    }

    fn adapter(&self, client: Client, secret: Arc<Secret>) -> AdapterSpec {
        AdapterSpec {
            adapter: Arc::new(HubSpot::new(self, client, secret)),
            rate_limit: self.rate_limit,
            retry: self.retry,
            max_in_flight: self.max_in_flight,
            keeps_versions: !self.version_property.is_empty(),
        }
    }
}

/// Returns whether `text` has `length` digits and nothing else.
fn has_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_digit())
}

/// The lifecycle stage of each type, by the stage's internal name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LifecycleStage {
    /// For contacts of the type `customer`.
    pub customer: String,
    /// For contacts of the type `vendor`.
    pub vendor: String,
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_base_url_is_used_in_the_form_in_which_it_is_checked() {
        let mut settings = crate::adapters::hubspot::model::tests::settings();
        for (base_url, expected) in [
            ("https://api.hubapi.com", "https://api.hubapi.com"),
            ("https://api.hubapi.com/", "https://api.hubapi.com"),
            ("HTTPS://API.hubapi.com:443/.", "https://api.hubapi.com"),
            ("https:\\\\api.hubapi.com\\", "https://api.hubapi.com"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("nowhere", "nowhere"),
        ] {
            base_url.clone_into(&mut settings.base_url);
            assert_eq!(settings.base(), expected, "{base_url}");
        }
    }
}
