//! The section `[salesforce]` and its checks. `defaults.toml` documents each key.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Client;
use serde::{Deserialize, Serialize};

use super::Salesforce;
use super::mapping::{self, LONGEST_STATUS};
use super::mapping_check::check_mapping;
use super::model::own_fields;
use crate::adapters::folding::Policies;
use crate::adapters::section_checks::{fields, hosts, name, rate_limit, retry, secret_id};
use crate::adapters::{AdapterSpec, Constant, Normalise, SystemSettings};
use crate::checks::{CheckResult, Ranges, ensure, within};
use crate::model::limits::{RateLimit, Retry};
use crate::model::{FieldPolicy, MatchPolicy};
use crate::secrets::Secret;

/// The range of each number. The first delay has a second limit, the longest delay.
pub(super) const RANGES: &Ranges = &[
    ("salesforce.batch_size", 1..=Settings::LARGEST_BATCH as u64),
    (
        "salesforce.collections_per_call",
        1..=Settings::MOST_COLLECTIONS as u64,
    ),
    ("salesforce.max_in_flight", 1..=100),
    ("salesforce.request_timeout_ms", 1..=600_000),
    ("salesforce.rate_limit.requests", 1..=1_000_000),
    ("salesforce.rate_limit.per_ms", 1..=86_400_000),
    ("salesforce.retry.max_attempts", 1..=20),
    ("salesforce.retry.base_delay_ms", 1..=900_000),
    ("salesforce.retry.max_delay_ms", 1..=900_000),
];

/// The oldest version of the API that obeys `allow_duplicates`.
const OLDEST_VERSION: u32 = 52;

/// The section `[salesforce]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "`defaults.toml` documents every key")]
pub struct Settings {
    pub secret_id: String,
    pub allowed_hosts: Vec<String>,
    pub version_field: String,
    pub api_version: String,
    pub sobject: String,
    pub external_id_field: String,
    pub batch_size: usize,
    pub collections_per_call: usize,
    pub max_in_flight: usize,
    pub request_timeout_ms: u64,
    pub auto_assign: bool,
    pub allow_duplicates: bool,
    pub converted_leads: ConvertedLeads,
    pub status: Status,
    pub required: Vec<String>,
    pub r#match: MatchPolicy,
    pub baseline_field: String,
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
    /// Most records in one request of the sObject Collections resource, written or deleted.
    /// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections.htm>
    pub const LARGEST_BATCH: usize = 200;

    /// Most collections, or queries, in one request of the Composite resource.
    pub const MOST_COLLECTIONS: usize = 5;

    /// Returns the number of records in one collection.
    pub(super) fn collection_size(&self) -> usize {
        self.batch_size.clamp(1, Self::LARGEST_BATCH)
    }

    /// Returns the number of collections, or queries, in one call.
    pub(super) fn collections(&self) -> usize {
        self.collections_per_call.clamp(1, Self::MOST_COLLECTIONS)
    }

    /// Returns the policies of the fields.
    pub(super) fn policies(&self) -> Policies<'_> {
        Policies {
            matching: self.r#match,
            fields: &self.policy,
            baseline_field: &self.baseline_field,
        }
    }

    /// Returns whether a record may be written without the field.
    pub(super) fn may_leave_out(&self, field: &str) -> bool {
        let mut salvage = self.salvage.iter();
        salvage.any(|listed| listed.eq_ignore_ascii_case(field))
            && !mapping::is_required(self, field)
    }

    fn check_version(&self) -> CheckResult {
        let version = self
            .api_version
            .strip_prefix('v')
            .and_then(|version| version.strip_suffix(".0"));
        let recent = version
            .and_then(|version| version.parse::<u32>().ok())
            .is_some_and(|version| version >= OLDEST_VERSION);
        ensure("salesforce.api_version", recent, || {
            format!("is `{}`; allowed: v52.0 or later", self.api_version)
        })
    }

    fn check_fields(&self) -> CheckResult {
        let special = [
            ("salesforce.external_id_field", &*self.external_id_field),
            ("salesforce.version_field", &*self.version_field),
            ("salesforce.baseline_field", &*self.baseline_field),
        ];
        name(special[0].0, special[0].1)?;
        check_mapping(self)?;
        fields(
            &own_fields(self),
            &special,
            "salesforce.attributes",
            &self.attributes,
        )
    }

    fn check_status(&self) -> CheckResult {
        for (key, status) in [
            ("salesforce.status.lead", &self.status.lead),
            ("salesforce.status.prospect", &self.status.prospect),
        ] {
            let fits = status.chars().count() <= LONGEST_STATUS;
            ensure(key, fits, || {
                "is too long; allowed: at most 40 characters, and empty".to_owned()
            })?;
        }
        Ok(())
    }

    fn check_limits(&self) -> CheckResult {
        rate_limit(
            RANGES,
            [
                "salesforce.rate_limit.requests",
                "salesforce.rate_limit.per_ms",
            ],
            self.rate_limit,
        )?;
        retry(
            RANGES,
            [
                "salesforce.retry.max_attempts",
                "salesforce.retry.base_delay_ms",
                "salesforce.retry.max_delay_ms",
            ],
            self.retry,
        )
    }
}

impl SystemSettings for Settings {
    fn check(&self, files_allowed: bool) -> CheckResult {
        secret_id("salesforce.secret_id", &self.secret_id, files_allowed)?;
        hosts("salesforce.allowed_hosts", &self.allowed_hosts)?;
        self.check_version()?;
        name("salesforce.sobject", &self.sobject)?;
        self.check_fields()?;
        within(RANGES, "salesforce.batch_size", self.batch_size)?;
        within(
            RANGES,
            "salesforce.collections_per_call",
            self.collections_per_call,
        )?;
        within(RANGES, "salesforce.max_in_flight", self.max_in_flight)?;
        within(
            RANGES,
            "salesforce.request_timeout_ms",
            self.request_timeout_ms,
        )?;
        self.normalise.check("salesforce.normalise.phone_region")?;
        self.check_status()?;
        self.check_limits()
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
            adapter: Arc::new(Salesforce::new(self, client, secret)),
            rate_limit: self.rate_limit,
            retry: self.retry,
            max_in_flight: self.max_in_flight,
            keeps_versions: !self.version_field.is_empty(),
        }
    }
}

/// Treatment of a change whose lead has been converted, which Salesforce does not let any user
/// edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConvertedLeads {
    /// The lead is not written, and the change counts as filtered.
    Skip,
    /// The change is rejected.
    DeadLetter,
}

/// Status of a new lead whose event has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// For contacts of the type `lead`.
    pub lead: String,
    /// For contacts of the type `prospect`.
    pub prospect: String,
}
