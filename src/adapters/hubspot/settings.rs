//! The section `[hubspot]`. `src/settings/defaults.toml` documents each key.

use std::collections::BTreeMap;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::adapters::Constant;
use crate::adapters::folding::Policies;
use crate::model::limits::{RateLimit, Retry};
use crate::model::{FieldPolicy, MatchPolicy};

/// The section `[hubspot]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
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

    /// Returns the beginning of every URL: scheme, host and port of `base_url`, in the form in
    /// which the settings check validates them.
    pub(super) fn base(&self) -> String {
        match Url::parse(&self.base_url) {
            Ok(url) if url.has_host() => url.origin().ascii_serialization(),
            _ => self.base_url.clone(),
        }
    }
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
