//! Recognizes refusals of the settings, of the fixed mapping, and of the account's rights. No
//! record is rejected for one.

use super::super::Settings;
use super::super::api_error::ApiError;
use super::super::model::{self, STAGE};
use super::codes::{RowClass, row_class};
use super::remedies;
use crate::model::codes;
use crate::model::{Cause, Code, Stop};

/// Codes of a value that is not of its property's type.
const WRONG_TYPE: [&str; 4] = [
    "INVALID_INTEGER",
    "INVALID_LONG",
    "INVALID_DATE",
    "INVALID_OPTION",
];

/// Refusal of a property that settings or the mapping name, of a value that settings chose, or of a
/// right.
pub(in super::super) struct Misconfiguration {
    /// Property, where the refusal names one of ours.
    pub(in super::super) property: Option<String>,
    /// Records that meet it.
    pub(in super::super) reach: Reach,
    /// It refuses a value, and not the property.
    pub(in super::super) is_about_value: bool,
    /// Code and remedy.
    pub(in super::super) stop: Stop,
}

/// Records that meet a misconfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Reach {
    /// Every call with any content: the response is about the account.
    Account,
    /// Every record that is written.
    EveryRecord,
    /// The records that carry the property, or its value.
    SomeRecords,
}

/// The setting that names a property.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Id,
    Version,
    Type,
    Stage,
    Attribute,
    Constant,
    Baseline,
    Mapping,
}

/// Returns the misconfiguration that `error` reports, if any.
pub(in super::super) fn of_settings(
    error: &ApiError,
    settings: &Settings,
) -> Option<Misconfiguration> {
    if error.starts_with("Unable to perform") && error.contains("by non-unique") {
        let remedy = remedies::not_unique(&settings.id_property);
        return Some(misconfiguration(
            error,
            Some(&settings.id_property),
            Reach::Account,
            remedy,
        ));
    }
    if ["MISSING_SCOPES", "USER_DOES_NOT_HAVE_PERMISSIONS"]
        .iter()
        .any(|code| error.is(code))
    {
        return Some(misconfiguration(
            error,
            None,
            Reach::SomeRecords,
            remedies::forbidden(error),
        ));
    }
    let named = error
        .properties
        .iter()
        .find_map(|name| Some((name.as_str(), source(name, settings)?)));
    if ["PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE"]
        .iter()
        .any(|code| error.is(code))
    {
        let is_everywhere =
            |(_, source)| matches!(source, Source::Id | Source::Version | Source::Type);
        let reach = if named.is_some_and(is_everywhere) {
            Reach::EveryRecord
        } else {
            Reach::SomeRecords
        };
        let remedy = remedies::property(named, error.is("READ_ONLY_VALUE"));
        return Some(misconfiguration(
            error,
            named.map(|(name, _)| name),
            reach,
            remedy,
        ));
    }
    let (name, source) = named.filter(|_| is_refusal(error))?;
    let reach = reach_of_value(name, source, error, settings)?;
    let refused = misconfiguration(error, Some(name), reach, remedies::value(name, source));
    Some(Misconfiguration {
        is_about_value: true,
        ..refused
    })
}

fn misconfiguration(
    error: &ApiError,
    property: Option<&str>,
    reach: Reach,
    remedy: String,
) -> Misconfiguration {
    let code = error
        .code()
        .cloned()
        .unwrap_or(Code::new(codes::CONFIGURATION_REFUSED));
    Misconfiguration {
        property: property.map(str::to_owned),
        reach,
        is_about_value: false,
        stop: Stop::new(Cause::Configuration, code, remedy),
    }
}

/// Returns whether the row is refused for a value that HubSpot does not accept, and not for one
/// that another record has.
fn is_refusal(error: &ApiError) -> bool {
    let is_final = matches!(row_class(error), Some(RowClass::Reject) | None);
    is_final && error.code().is_some() && error.clash.is_none()
}

/// Returns the records that meet the refusal of a value that settings chose; `None` where the event
/// chose the value.
///
/// A version is digits in every record, so that its refusal means a property of a wrong type. A
/// stage and a type depend on the record, and an attribute may be mapped to either of their
/// properties.
fn reach_of_value(
    name: &str,
    source: Source,
    error: &ApiError,
    settings: &Settings,
) -> Option<Reach> {
    match source {
        Source::Version => Some(Reach::EveryRecord),
        Source::Constant | Source::Baseline => Some(Reach::SomeRecords),
        Source::Type | Source::Stage => {
            let is_chosen = !settings.attributes.values().any(|other| other == name);
            is_chosen.then_some(Reach::SomeRecords)
        }
        Source::Id => WRONG_TYPE
            .iter()
            .any(|code| error.is(code))
            .then_some(Reach::SomeRecords),
        Source::Attribute | Source::Mapping => None,
    }
}

/// Returns the setting that names the property, or the mapping; `None` for a property that is never
/// sent.
fn source(name: &str, settings: &Settings) -> Option<Source> {
    let Settings {
        id_property,
        version_property,
        type_property,
        attributes,
        ..
    } = settings;
    match name {
        _ if name == id_property => Some(Source::Id),
        _ if name == version_property => Some(Source::Version),
        _ if name == type_property => Some(Source::Type),
        STAGE => Some(Source::Stage),
        _ if attributes.values().any(|other| other == name) => Some(Source::Attribute),
        _ if settings.constants.contains_key(name) => Some(Source::Constant),
        _ if name == settings.baseline_property => Some(Source::Baseline),
        _ => model::properties(settings)
            .contains(&name)
            .then_some(Source::Mapping),
    }
}
