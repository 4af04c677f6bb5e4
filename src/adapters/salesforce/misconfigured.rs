//! Recognizes refusals of names and values that settings chose: no record is rejected for one.
//! Pure.
//!
//! Settings put into a record: the external id field and the version field (names, in every
//! record), the fields of attributes (names; the values are the events'), the constants and the
//! baseline (names and values), and the status of a new lead whose event has none (a value). The
//! mapping names the other fields.

use super::api_error::ApiError;
use super::errors::{RowClass, full};
use super::{Settings, mapping, remedies, sent};
use crate::model::{Body, Cause, Stop};

/// Longest text of a field that holds an identity, in characters.
const LONGEST_ID: usize = 255;

/// Refusal of a name or value that settings or the fixed mapping put into a record.
#[derive(Clone, Debug)]
pub(super) struct Misconfiguration {
    /// Field, where the response names one of ours.
    pub(super) field: Option<String>,
    /// Every record that is written has it.
    pub(super) is_everywhere: bool,
    /// Code and remedy.
    pub(super) stop: Stop,
}

/// Returns the misconfiguration that `error`, of the class `class`, reports, if any. `body` is the
/// record that was sent.
pub(super) fn of_settings(
    error: &ApiError,
    class: RowClass,
    body: Option<&Body>,
    settings: &Settings,
) -> Option<Misconfiguration> {
    let (field, is_everywhere) = match class {
        RowClass::Full => {
            return Some(Misconfiguration {
                field: None,
                is_everywhere: true,
                stop: full(error),
            });
        }
        RowClass::Schema | RowClass::Barred => (None, true),
        RowClass::Field => (named(error, settings), is_about_keys(error, settings)),
        RowClass::Reject | RowClass::Unknown => {
            let field = chosen(error, body?, settings)?;
            let is_everywhere = keys(settings).any(|key| key == field);
            (Some(field), is_everywhere)
        }
        _ => return None,
    };
    let remedy = match &field {
        Some(field) => remedies::of_field(field, body, settings),
        None => remedies::of_error(error, settings),
    };
    Some(Misconfiguration {
        field,
        is_everywhere,
        stop: Stop::new(Cause::Configuration, error.code(), remedy),
    })
}

/// Returns the fields that every record has.
fn keys(settings: &Settings) -> impl Iterator<Item = &str> {
    [settings.external_id_field.as_str(), &settings.version_field]
        .into_iter()
        .filter(|name| !name.is_empty())
}

/// Returns the field of ours that the error names.
fn named(error: &ApiError, settings: &Settings) -> Option<String> {
    let attributes = settings.attributes.values().map(String::as_str);
    let baseline = Some(settings.baseline_field.as_str()).filter(|name| !name.is_empty());
    let ours = keys(settings).chain(attributes).chain(baseline);
    ours.chain(mapping::fields(settings))
        .find(|name| error.names_field(name))
        .map(str::to_owned)
}

/// Returns whether the fields that the error names, if any, are in every record.
fn is_about_keys(error: &ApiError, settings: &Settings) -> bool {
    let is_key = |field: &str| keys(settings).any(|key| key.eq_ignore_ascii_case(field));
    let mut ours = settings
        .attributes
        .values()
        .map(String::as_str)
        .chain(mapping::fields(settings));
    error.fields.iter().all(|field| is_key(field)) && !ours.any(|field| error.names_field(field))
}

/// Returns the field of `body` for which the record is refused, where settings chose its value, or
/// where its type has to match the settings.
fn chosen(error: &ApiError, body: &Body, settings: &Settings) -> Option<String> {
    let Settings {
        external_id_field,
        version_field,
        ..
    } = settings;
    if !version_field.is_empty() && is_only_about(error, version_field) {
        return Some(version_field.clone());
    }
    if is_only_about(error, external_id_field) && is_of_another_type(error, body, external_id_field)
    {
        return Some(external_id_field.clone());
    }
    let mut chosen = settings.constants.keys().chain([&settings.baseline_field]);
    if let Some(field) = chosen.find(|field| !field.is_empty() && is_only_about(error, field)) {
        return Some(field.clone());
    }
    let field = mapping::status(settings);
    let status = sent::value(body, field)?;
    let status = status
        .as_str()
        .filter(|status| remedies::key_of_status(status, settings).is_some())?;
    let quotes_the_value = error.fields.is_empty()
        && error.is("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
        && error
            .message
            .as_ref()
            .is_some_and(|message| message.trim_end().ends_with(status));
    (is_only_about(error, field) || quotes_the_value).then(|| field.to_owned())
}

/// Returns whether the error is about this field and no other. A message may contain the field's
/// name as a mere word, so that only its beginning counts.
fn is_only_about(error: &ApiError, name: &str) -> bool {
    if error.fields.is_empty() {
        return error.starts_with(&format!("{name}:"));
    }
    error
        .fields
        .iter()
        .all(|field| field.eq_ignore_ascii_case(name))
}

/// Returns whether the field is not the text of 255 characters that identities need. The refusal of
/// a longer id is no evidence of it.
fn is_of_another_type(error: &ApiError, body: &Body, field: &str) -> bool {
    if error.is("STRING_TOO_LONG") {
        let value = sent::value(body, field);
        let id = value
            .as_ref()
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        return id.encode_utf16().count() <= LONGEST_ID;
    }
    error.is("INVALID_TYPE_ON_FIELD_IN_RECORD") || error.is("JSON_PARSER_ERROR")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::salesforce::errors::RowError;
    use crate::adapters::salesforce::model::tests::settings;

    /// Returns the misconfiguration of a record with these fields: the field, whether every record
    /// has it, the remedy.
    fn refused(
        record: &str,
        code: &str,
        message: &str,
        fields: &[&str],
    ) -> Option<(Option<String>, bool, String)> {
        let settings = Settings {
            version_field: "Version__c".to_owned(),
            ..settings()
        };
        let body = Body::of(serde_json::from_str(record).expect("an object"));
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        let error = ApiError {
            code: Some(code.to_owned()),
            message: Some(message.to_owned()),
            fields,
        };
        let misconfigured = RowError::new(error, Some(&body), &settings).misconfigured?;
        Some((
            misconfigured.field,
            misconfigured.is_everywhere,
            misconfigured.stop.remedy,
        ))
    }

    /// Codes with which a value may be refused.
    const REFUSALS: [&str; 7] = [
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "STRING_TOO_LONG",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "FIELD_INTEGRITY_EXCEPTION",
        "NUMBER_OUTSIDE_VALID_RANGE",
        "A_CODE_OF_TOMORROW",
    ];

    #[test]
    fn a_value_that_settings_chose_is_a_misconfiguration_with_every_code() {
        let record = |status: &str| {
            format!(r#"{{"Source_Id__c":"c-1","Version__c":7,"Status":"{status}"}}"#)
        };
        for code in REFUSALS {
            for (status, key) in [
                ("Open - Not Contacted", "salesforce.status.lead"),
                ("Working - Contacted", "salesforce.status.prospect"),
            ] {
                let misconfigured = refused(&record(status), code, "", &["Status"]);
                let (field, is_everywhere, remedy) = misconfigured.expect("settings chose it");
                assert!(remedy.contains(key), "{remedy}");
                assert_eq!(
                    (field.as_deref(), is_everywhere),
                    (Some("Status"), false),
                    "{code}: updates have none"
                );
            }
            assert!(
                refused(&record("Of the event"), code, "", &["Status"]).is_none(),
                "{code}"
            );
            assert!(
                refused(r#"{"Source_Id__c":"c-1"}"#, code, "", &["Status"]).is_none(),
                "{code}"
            );
            let (field, is_everywhere, remedy) =
                refused(&record("x"), code, "", &["version__c"]).expect("a key");
            assert!(remedy.contains("salesforce.version_field"), "{remedy}");
            assert_eq!(
                (field.as_deref(), is_everywhere),
                (Some("Version__c"), true),
                "{code}"
            );
            assert!(
                refused(&record("Open - Not Contacted"), code, "", &["Email"]).is_none(),
                "{code}"
            );
            assert!(
                refused(
                    &record("Open - Not Contacted"),
                    code,
                    "",
                    &["Email", "Status"]
                )
                .is_none(),
                "{code}"
            );
        }
    }

    #[test]
    fn a_field_is_recognized_at_the_beginning_of_a_message_only() {
        let record = r#"{"Source_Id__c":"c-1","Status":"Open - Not Contacted"}"#;
        let picklist = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST";
        for (code, message, expected) in [
            (
                picklist,
                "Status: bad value for restricted picklist field: Open - Not Contacted",
                true,
            ),
            (picklist, "Ein schlechter Wert: Open - Not Contacted", true),
            (
                picklist,
                "LeadSource: bad value for restricted picklist field: Web",
                false,
            ),
            (
                "FIELD_CUSTOM_VALIDATION_EXCEPTION",
                "An open status needs an e-mail address",
                false,
            ),
            (
                "STRING_TOO_LONG",
                "Status: data value too large: x (max length=10)",
                true,
            ),
        ] {
            assert_eq!(
                refused(record, code, message, &[]).is_some(),
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn a_refused_id_is_a_misconfiguration_where_its_field_has_the_wrong_type() {
        let record = |id: &str| format!(r#"{{"Source_Id__c":"{id}"}}"#);
        let fields = &["Source_Id__c"];
        for (id, code, expected) in [
            ("c-1".to_owned(), "STRING_TOO_LONG", true),
            ("é".repeat(255), "STRING_TOO_LONG", true),
            ("🚀".repeat(255), "STRING_TOO_LONG", false),
            ("c-1".to_owned(), "INVALID_TYPE_ON_FIELD_IN_RECORD", true),
            (
                "c-1".to_owned(),
                "TEXT_DATA_OUTSIDE_SUPPORTED_CHARSET",
                false,
            ),
            ("c-1".to_owned(), "FIELD_CUSTOM_VALIDATION_EXCEPTION", false),
        ] {
            let misconfigured = refused(&record(&id), code, "", fields);
            assert_eq!(
                misconfigured.map(|(_, is_everywhere, _)| is_everywhere),
                expected.then_some(true),
                "{code} {id}"
            );
        }
    }

    #[test]
    fn a_missing_or_closed_field_is_a_misconfiguration() {
        for (message, fields, field, is_everywhere, part) in [
            (
                "Unable to create/update fields: MobilePhone.",
                &["MobilePhone"][..],
                Some("MobilePhone"),
                false,
                "MobilePhone",
            ),
            (
                "No such column 'City' on sobject of type Lead",
                &[],
                Some("City"),
                false,
                "field City of Lead",
            ),
            (
                "No such column 'Plan__c' on sobject of type Lead",
                &[],
                Some("Plan__c"),
                false,
                "`salesforce.attributes` sends plan",
            ),
            (
                "No such column 'Version__c' on sobject of type Lead",
                &[],
                Some("Version__c"),
                true,
                "`salesforce.version_field`",
            ),
            (
                "No such column 'source_id__c'",
                &[],
                Some("Source_Id__c"),
                true,
                "`salesforce.external_id_field`",
            ),
            ("", &["Of_The_Org__c"], None, false, "create the fields"),
            ("", &[], None, true, "create the fields"),
        ] {
            let code = "INVALID_FIELD_FOR_INSERT_UPDATE";
            let (found, everywhere, remedy) =
                refused(r#"{"LastName":"x"}"#, code, message, fields).expect("misconfigured");
            assert_eq!(
                (found.as_deref(), everywhere),
                (field, is_everywhere),
                "{message}"
            );
            assert!(remedy.contains(part), "{remedy}");
        }
        let (_, is_everywhere, _) = refused(
            "{}",
            "INVALID_TYPE",
            "sObject type 'Lead' is not supported",
            &[],
        )
        .expect("misconfigured");
        assert!(is_everywhere, "the object is every record's");
    }
}
