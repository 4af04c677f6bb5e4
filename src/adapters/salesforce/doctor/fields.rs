//! Compares the mapping with the object's fields: existence, access, type, length, restricted
//! picklist values, uniqueness, and the fields that the object requires. Pure.

use super::{Described, Field, find};
use crate::adapters::Constant;
use crate::adapters::doctor::Check;
use crate::adapters::salesforce::{Settings, mapping};
use crate::model::{FieldPolicy, MatchPolicy};
use crate::policy::{NOT_PROVIDED, longest_baseline};

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

/// The records in which a field is written, by its policy and by `match`.
#[derive(Clone, Copy)]
struct Written {
    in_new: bool,
    in_existing: bool,
}

impl Written {
    fn of(settings: &Settings, name: &str) -> Self {
        let policy = settings.policies().of(name);
        Self {
            in_new: creates(settings) && policy != FieldPolicy::Never,
            in_existing: settings.r#match != MatchPolicy::CreateOnly
                && !matches!(policy, FieldPolicy::Create | FieldPolicy::Never),
        }
    }

    fn is_anywhere(self) -> bool {
        self.in_new || self.in_existing
    }
}

/// Returns whether settings let a record be created.
fn creates(settings: &Settings) -> bool {
    settings.r#match != MatchPolicy::UpdateOnly
}

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
        .filter(|name| Written::of(settings, name).is_anywhere())
        .collect();
    let mut wrong: Vec<String> = sent
        .iter()
        .filter_map(|name| closed(described, name, Written::of(settings, name)))
        .collect();
    if creates(settings) {
        wrong.extend(closed_defaults(described, settings, &sent));
    }
    if !wrong.is_empty() {
        wrong.push(
            "give the permission set edit access to these fields (field-level security)".to_owned(),
        );
    }
    wrong.extend(unfit_values(described, settings));
    wrong.extend(needed_by_the_object(described, settings));
    Check::of(
        "salesforce fields",
        format!("all {} may be written", sent.len()),
        &wrong,
    )
}

/// Returns the remedies of the values that their fields do not take.
fn unfit_values(described: &Described, settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    for (mapped, name) in mapping::texts(settings) {
        if Written::of(settings, name).is_anywhere() {
            let unset = unnormalised(described, name, settings.normalise.unset(mapped.name));
            let longest = settings.normalise.longest(mapped.name);
            let longest = longest.unwrap_or(mapped.longest);
            wrong.extend(unset.or_else(|| unfit(described, name, longest)));
        }
    }
    let status = mapping::status(settings);
    if Written::of(settings, status).is_anywhere() {
        wrong.extend(unfit(described, status, mapping::LONGEST_STATUS));
    }
    if Written::of(settings, status).in_new {
        let configured = [&settings.status.lead, &settings.status.prospect];
        for value in configured.into_iter().filter(|value| !value.is_empty()) {
            wrong.extend(unknown_value(described, status, value));
        }
    }
    for (name, constant) in &settings.constants {
        if Written::of(settings, name).is_anywhere() {
            wrong.extend(unfit_constant(described, name, constant));
        }
    }
    if creates(settings) {
        for name in mapping::required(settings) {
            wrong.extend(unfit_default(described, settings, name));
        }
    }
    wrong
}

/// Returns the remedies of the required fields that are missing or closed, and are no part of
/// `sent`.
fn closed_defaults(described: &Described, settings: &Settings, sent: &[&str]) -> Vec<String> {
    let is_new = |name: &&str| !sent.iter().any(|other| other.eq_ignore_ascii_case(name));
    let written = Written {
        in_new: true,
        in_existing: false,
    };
    mapping::required(settings)
        .filter(is_new)
        .filter_map(|name| closed(described, name, written))
        .collect()
}

/// Returns the remedy of a field that is missing, or closed where it is written.
fn closed(described: &Described, name: &str, written: Written) -> Option<String> {
    let Some(field) = find(described, name) else {
        return Some(format!("{name} is missing, or hidden from the run-as user"));
    };
    let is_open =
        (field.createable || !written.in_new) && (field.updateable || !written.in_existing);
    (!is_open).then(|| format!("{name} may not be edited"))
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

/// Returns the remedy of a restricted picklist without this value. A multi-select picklist takes
/// several values, separated by semicolons.
fn unknown_value(described: &Described, name: &str, value: &str) -> Option<String> {
    let field = find(described, name)?;
    if !field.restricted_picklist {
        return None;
    }
    let is_known = |value: &&str| {
        let mut choices = field.picklist_values.iter();
        choices.any(|choice| choice.active && choice.value == *value)
    };
    let values = if field.r#type == "multipicklist" {
        value.split(';').map(str::trim).collect()
    } else {
        vec![value]
    };
    let missing: Vec<&str> = values
        .into_iter()
        .filter(|value| !is_known(value))
        .collect();
    (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        format!("{name} does not offer {missing}: add it to the picklist")
    })
}

/// Returns the remedy of a required field that does not take the default of a new record. A
/// constant replaces the default.
fn unfit_default(described: &Described, settings: &Settings, name: &str) -> Option<String> {
    let is_constant = |field: &String| field.eq_ignore_ascii_case(name);
    if settings.constants.keys().any(is_constant) {
        return None;
    }
    let field = find(described, name)?;
    let is_text = TEXT_TYPES.contains(&field.r#type.as_str());
    let fits = is_text && !field.unique && field.length >= NOT_PROVIDED.len();
    if fits && unknown_value(described, name, NOT_PROVIDED).is_none() {
        return None;
    }
    Some(format!(
        "{name} does not take the default {NOT_PROVIDED} of a new record: use a constant with the \
         policy create instead of `salesforce.required`"
    ))
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
        // A text is also the form of ids, of dates, and of numbers with a fraction.
        Constant::Text(_) => match field.r#type.as_str() {
            "boolean" => false,
            "int" | "double" | "currency" | "percent" | "long" => constant.is_number(),
            "date" | "datetime" => constant.is_date(),
            _ => true,
        },
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

/// Returns the remedies of the fields that the object requires and that settings leave out: from
/// each new record, or by `salvage`.
fn needed_by_the_object(described: &Described, settings: &Settings) -> Vec<String> {
    let is_required = |name: &String| {
        let field = find(described, name);
        field.is_some_and(Field::is_required)
    };
    let mut wrong = Vec::new();
    for name in settings.salvage.iter().filter(|name| is_required(name)) {
        let sobject = &settings.sobject;
        wrong.push(format!(
            "{sobject} requires {name}: remove it from `salesforce.salvage`"
        ));
    }
    if creates(settings) {
        wrong.extend(unwritten(described, settings));
    }
    wrong
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
    let required = described.fields.iter().filter(|field| field.is_required());
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
