//! Compares the mapping with the object's fields: existence, access, type, length, restricted
//! picklist values, uniqueness, and the fields that the object requires. Pure.

use super::{Described, Field, find};
use crate::adapters::Constant;
use crate::adapters::doctor::Check;
use crate::adapters::salesforce::{Settings, mapping};
use crate::model::FieldPolicy;
use crate::policy::longest_baseline;

/// Types of fields that take a text.
/// <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/field_types.htm>
const TEXT_TYPES: [&str; 9] = [
    "string",
    "textarea",
    "picklist",
    "multipicklist",
    "combobox",
    "email",
    "phone",
    "url",
    "encryptedstring",
];

/// Checks every field that is sent. A missing key, version or baseline has a check of its own.
pub(super) fn check(described: &Described, settings: &Settings) -> Check {
    let special = [
        settings.external_id_field.as_str(),
        settings.version_field.as_str(),
        settings.baseline_field.as_str(),
    ];
    let special = special
        .into_iter()
        .filter(|name| find(described, name).is_some());
    let attributes = settings.attributes.values().map(String::as_str);
    let sent: Vec<&str> = mapping::fields(settings)
        .into_iter()
        .chain(attributes)
        .chain(special)
        .collect();
    let mut wrong: Vec<String> = sent
        .iter()
        .filter_map(|name| closed(described, name))
        .collect();
    if !wrong.is_empty() {
        wrong.push(
            "give the permission set edit access to these fields (field-level security)".to_owned(),
        );
    }
    for (mapped, name) in mapping::texts(settings) {
        let unset = unnormalised(described, name, settings.normalise.unset(mapped.name));
        let longest = settings.normalise.longest(mapped.name);
        let longest = longest.unwrap_or(mapped.longest);
        wrong.extend(unset.or_else(|| unfit(described, name, longest)));
    }
    let status = mapping::status(settings);
    if !status.is_empty() {
        wrong.extend(unfit(described, status, mapping::LONGEST_STATUS));
    }
    let configured = [&settings.status.lead, &settings.status.prospect];
    for value in configured.into_iter().filter(|value| !value.is_empty()) {
        wrong.extend(unknown_value(described, status, value));
    }
    for (name, constant) in &settings.constants {
        wrong.extend(unfit_constant(described, name, constant));
    }
    wrong.extend(unwritten(described, settings));
    Check::of(
        "salesforce fields",
        format!("all {} may be written", sent.len()),
        &wrong,
    )
}

/// Returns the remedy of a field that is missing or closed.
fn closed(described: &Described, name: &str) -> Option<String> {
    match find(described, name) {
        None => Some(format!("{name} is missing, or hidden from the run-as user")),
        Some(field) if !field.createable || !field.updateable => {
            Some(format!("{name} may not be edited"))
        }
        Some(_) => None,
    }
}

/// Returns the remedy of a field that does not take a text of `longest` characters.
fn unfit(described: &Described, name: &str, longest: usize) -> Option<String> {
    let field = find(described, name)?;
    if !TEXT_TYPES.contains(&field.r#type.as_str()) {
        return Some(format!(
            "{name} is of the type {}: map the text to another field",
            field.r#type
        ));
    }
    (field.length < longest).then(|| {
        format!(
            "{name} takes {} characters, and up to {longest} are sent: make it longer",
            field.length
        )
    })
}

/// Returns the remedy of a restricted picklist that gets texts as they are. `key` is that of their
/// form.
fn unnormalised(described: &Described, name: &str, key: Option<&str>) -> Option<String> {
    let key = key?;
    let field = find(described, name)?;
    field.restricted_picklist.then(|| {
        let key = format!("salesforce.normalise.{key}");
        format!("{name} is a restricted picklist: set `{key}` to the form of its values")
    })
}

/// Returns the remedy of a restricted picklist without this value.
fn unknown_value(described: &Described, name: &str, value: &str) -> Option<String> {
    let field = find(described, name)?;
    let is_known = |choice: &super::PicklistValue| choice.active && choice.value == value;
    let is_missing = field.restricted_picklist && !field.picklist_values.iter().any(is_known);
    is_missing.then(|| format!("{name} does not offer {value}: add it to the picklist"))
}

/// Returns the remedy of a field that does not take a constant.
fn unfit_constant(described: &Described, name: &str, constant: &Constant) -> Option<String> {
    let field = find(described, name)?;
    if field.unique {
        return Some(format!(
            "{name} is unique, and a second record with the constant is refused: use another field"
        ));
    }
    let takes = match constant {
        Constant::Bool(_) => field.r#type == "boolean",
        Constant::Integer(_) => {
            ["int", "double", "currency", "percent", "long"].contains(&field.r#type.as_str())
        }
        // A text is also the form of dates and ids.
        Constant::Text(_) => field.r#type != "boolean",
    };
    if !takes {
        return Some(format!(
            "{name} is of the type {}, which does not take the constant",
            field.r#type
        ));
    }
    let text = constant.text();
    let is_text = TEXT_TYPES.contains(&field.r#type.as_str());
    if is_text && text.encode_utf16().count() > field.length {
        return Some(format!("{name} is too short for the constant"));
    }
    unknown_value(described, name, &text)
}

/// Returns the remedy where the object requires fields that a new record would not have.
fn unwritten(described: &Described, settings: &Settings) -> Option<String> {
    let is_written = |name: &str| {
        let constants = settings.constants.keys().map(String::as_str);
        let mut written = mapping::required(settings)
            .chain(constants)
            .chain([settings.external_id_field.as_str()]);
        written.any(|other| other.eq_ignore_ascii_case(name))
    };
    let is_required =
        |field: &&Field| field.createable && !field.nillable && !field.defaulted_on_create;
    let required = described.fields.iter().filter(is_required);
    let missing: Vec<&str> = required
        .map(|field| field.name.as_str())
        .filter(|name| !is_written(name))
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "{} requires {}: add them to `salesforce.required` or to the constants",
            settings.sobject,
            missing.join(", ")
        )
    })
}

/// Checks the field of the baseline.
pub(super) fn baseline(described: &Described, settings: &Settings) -> Check {
    let (name, baseline) = ("salesforce baseline field", &settings.baseline_field);
    let Some(field) = find(described, baseline) else {
        let remedy = format!(
            "{baseline} is missing or hidden: create it, a Long Text Area, and give the run-as \
             user edit access"
        );
        return Check::fail(name, remedy);
    };
    let tracked = settings
        .policy
        .iter()
        .filter(|(_, policy)| **policy == FieldPolicy::Unedited);
    let longest = longest_baseline(tracked.map(|(field, _)| field.as_str()));
    let is_text = ["textarea", "string"].contains(&field.r#type.as_str());
    let wrong = format!(
        "{baseline} is a {} of {} characters: make it a Long Text Area of at least {longest}",
        field.r#type, field.length
    );
    let fits = is_text && !field.unique && field.length >= longest;
    let wrong = if fits { vec![] } else { vec![wrong] };
    Check::of(name, format!("{baseline} takes the hashes"), &wrong)
}
