//! The section `[salesforce]`. `src/settings/defaults.toml` documents each key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::adapters::Constant;
use crate::adapters::folding::Policies;
use crate::model::limits::{RateLimit, Retry};
use crate::model::{FieldPolicy, MatchPolicy};

/// The section `[salesforce]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
pub struct Settings {
    pub secret_id: String,
    pub allowed_hosts: Vec<String>,
    pub version_field: String,
    pub api_version: String,
    pub sobject: String,
    pub external_id_field: String,
    pub batch_size: usize,
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
    pub constants: BTreeMap<String, Constant>,
    pub policy: BTreeMap<String, FieldPolicy>,
    pub rate_limit: RateLimit,
    pub retry: Retry,
}

impl Settings {
    /// Most records in one request of the sObject Collections resource, written or deleted.
    /// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections.htm>
    pub const LARGEST_BATCH: usize = 200;

    /// Returns the policies of the fields.
    pub(super) fn policies(&self) -> Policies<'_> {
        Policies {
            matching: self.r#match,
            fields: &self.policy,
            baseline_field: &self.baseline_field,
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
