//! Validates the mapping in the section `[hubspot]`. Pure.

use super::{Settings, model};
use crate::adapters::mapping_check::Mapping;
use crate::checks::CheckResult;

/// Validates the mapping. Fails with the first invalid value.
pub(super) fn check_mapping(settings: &Settings) -> CheckResult {
    let attributes = settings.attributes.values().map(String::as_str);
    let kind = Some(settings.type_property.as_str()).filter(|name| !name.is_empty());
    let mapping = Mapping {
        section: "hubspot",
        baseline_key: "baseline_property",
        policies: settings.policies(),
        contact_fields: model::TEXTS.iter().map(|mapped| mapped.name).collect(),
        fields: &settings.fields,
        constants: &settings.constants,
        own: model::properties(settings),
        others: attributes.chain(kind).collect(),
        required: Vec::new(),
        chosen: settings
            .constants
            .keys()
            .chain([
                &settings.id_property,
                &settings.version_property,
                &settings.baseline_property,
                &settings.type_property,
            ])
            .map(String::as_str)
            .chain([model::STAGE])
            .collect(),
        also_required: &[],
        salvage: &settings.salvage,
    };
    mapping.check()
}
