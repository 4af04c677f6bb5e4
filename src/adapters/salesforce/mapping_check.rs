//! Validates the mapping in the section `[salesforce]`. Pure.

use super::{Settings, mapping};
use crate::adapters::mapping_check::Mapping;
use crate::checks::{CheckResult, ensure};

/// Validates the mapping. Fails with the first invalid value.
pub(super) fn check_mapping(settings: &Settings) -> CheckResult {
    let has_fields = mapping::is_known(settings) || !settings.fields.is_empty();
    ensure("salesforce.sobject", has_fields, || {
        format!(
            "is `{}`, whose fields are not known; allowed: Lead, Contact, and any other object \
             with `salesforce.fields`",
            settings.sobject
        )
    })?;
    let attributes = settings.attributes.values().map(String::as_str);
    let mapping = Mapping {
        section: "salesforce",
        baseline_key: "baseline_field",
        policies: settings.policies(),
        contact_fields: mapping::names().collect(),
        fields: &settings.fields,
        constants: &settings.constants,
        own: mapping::fields(settings),
        others: attributes.collect(),
        required: mapping::required(settings).collect(),
        chosen: settings
            .constants
            .keys()
            .chain([
                &settings.external_id_field,
                &settings.version_field,
                &settings.baseline_field,
            ])
            .map(String::as_str)
            .collect(),
        also_required: &settings.required,
        salvage: &settings.salvage,
    };
    mapping.check()
}
