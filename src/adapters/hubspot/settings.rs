//! The section `[hubspot]`. What each key means is written once, in `src/settings/defaults.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dispatch::settings::{RateLimit, Retry};

/// The section `[hubspot]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "`src/settings/defaults.toml` documents every key")]
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
    pub attributes: BTreeMap<String, String>,
    pub rate_limit: RateLimit,
    pub retry: Retry,
}

impl Settings {
    /// Inputs in one batch request; 101 are refused.
    /// <https://developers.hubspot.com/docs/api-reference/latest/crm/using-object-apis>
    pub const LARGEST_BATCH: usize = 100;
}

/// The lifecycle stage of each type, by the stage's internal name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LifecycleStage {
    /// For contacts of the type `customer`.
    pub customer: String,
    /// For contacts of the type `vendor`.
    pub vendor: String,
}
