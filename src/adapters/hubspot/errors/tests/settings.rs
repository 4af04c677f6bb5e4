use serde_json::json;

use super::super::{Reach, of_settings};
use super::{about, parse};
use crate::adapters::hubspot::Settings;
use crate::adapters::hubspot::model::tests::settings;
use crate::model::Cause;

/// Returns settings that name a property of each kind.
fn all_named() -> Settings {
    let mut settings = settings();
    settings.version_property = "source_version".to_owned();
    settings.type_property = "contact_type".to_owned();
    settings
        .attributes
        .insert("segment".to_owned(), "segment_name".to_owned());
    settings
}

#[test]
fn a_missing_property_is_a_misconfiguration_and_the_remedy_names_it() {
    for code in ["PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE"] {
        for (property, reach, setting) in [
            ("source_id", Reach::EveryRecord, Some("hubspot.id_property")),
            (
                "source_version",
                Reach::EveryRecord,
                Some("hubspot.version_property"),
            ),
            (
                "contact_type",
                Reach::EveryRecord,
                Some("hubspot.type_property"),
            ),
            (
                "segment_name",
                Reach::SomeRecords,
                Some("hubspot.attributes"),
            ),
            ("lifecyclestage", Reach::SomeRecords, None),
            ("email", Reach::SomeRecords, None),
            ("firstname", Reach::SomeRecords, None),
            ("mobilephone", Reach::SomeRecords, None),
        ] {
            let found = of_settings(&parse(&about(code, property)), &all_named())
                .expect("a misconfiguration");
            assert_eq!(
                (found.reach, found.property.as_deref()),
                (reach, Some(property)),
                "{code} {property}"
            );
            let remedy = &found.stop.remedy;
            assert!(remedy.contains(&format!("`{property}`")), "{remedy}");
            assert!(
                setting.is_none_or(|setting| remedy.contains(setting)),
                "{remedy}"
            );
            assert_eq!(
                (found.stop.cause, found.stop.code.as_str()),
                (Cause::Configuration, code)
            );
        }
        for error in [
            json!({"category": code}),
            about(code, "property_of_another"),
        ] {
            let found = of_settings(&parse(&error), &all_named()).expect("a misconfiguration");
            assert_eq!(
                (found.reach, found.property),
                (Reach::SomeRecords, None),
                "{error}"
            );
        }
    }
}

#[test]
fn a_refused_value_is_a_misconfiguration_where_settings_chose_it() {
    use Reach::{EveryRecord, SomeRecords};
    for (error, expected) in [
        (
            about("INVALID_INTEGER", "source_version"),
            Some((EveryRecord, "hubspot.version_property")),
        ),
        (
            about("INVALID_LONG", "source_version"),
            Some((EveryRecord, "hubspot.version_property")),
        ),
        (
            about("INVALID_DATE", "source_version"),
            Some((EveryRecord, "hubspot.version_property")),
        ),
        (
            about("INVALID_OPTION", "source_version"),
            Some((EveryRecord, "hubspot.version_property")),
        ),
        (
            about("A_RULE_OF_THE_ADMIN", "source_version"),
            Some((EveryRecord, "hubspot.version_property")),
        ),
        (
            about("INVALID_OPTION", "contact_type"),
            Some((SomeRecords, "hubspot.type_property")),
        ),
        (
            about("INVALID_INTEGER", "contact_type"),
            Some((SomeRecords, "hubspot.type_property")),
        ),
        (
            about("INVALID_OPTION", "lifecyclestage"),
            Some((SomeRecords, "hubspot.lifecycle_stage")),
        ),
        (
            about("INVALID_LONG", "lifecyclestage"),
            Some((SomeRecords, "hubspot.lifecycle_stage")),
        ),
        (
            about("INVALID_INTEGER", "source_id"),
            Some((SomeRecords, "hubspot.id_property")),
        ),
        (about("A_RULE_OF_THE_ADMIN", "source_id"), None),
        (about("INVALID_OPTION", "segment_name"), None),
        (about("INVALID_INTEGER", "segment_name"), None),
        (about("INVALID_EMAIL", "email"), None),
        (about("INVALID_OPTION", "country"), None),
        (
            json!({
                "category": "VALIDATION_ERROR",
                "message": "the value by non-unique & Sons is invalid",
            }),
            None,
        ),
        (
            json!({"category": "RATE_LIMITS", "context": {"propertyName": ["source_version"]}}),
            None,
        ),
        (
            json!({"category": "CONFLICT", "context": {"propertyName": ["source_version"]}}),
            None,
        ),
        (
            json!({"message": "no", "context": {"propertyName": ["source_version"]}}),
            None,
        ),
    ] {
        let found = of_settings(&parse(&error), &all_named());
        assert_eq!(
            found.as_ref().map(|found| found.reach),
            expected.map(|(reach, _)| reach),
            "{error}"
        );
        if let (Some(found), Some((_, setting))) = (found, expected) {
            assert!(
                found.is_about_value && found.stop.remedy.contains(setting),
                "{error}: {}",
                found.stop.remedy
            );
        }
    }
}

#[test]
fn the_first_of_several_refused_properties_decides() {
    let both = |properties: [&str; 2]| {
        json!({"category": "VALIDATION_ERROR",
            "errors": [{"code": "INVALID_OPTION", "context": {"propertyName": properties}}]})
    };
    let found = |properties| {
        of_settings(&parse(&both(properties)), &all_named()).and_then(|found| found.property)
    };
    assert_eq!(found(["segment_name", "lifecyclestage"]), None);
    assert_eq!(
        found(["lifecyclestage", "segment_name"]).as_deref(),
        Some("lifecyclestage")
    );
    assert_eq!(
        found(["property_of_another", "lifecyclestage"]).as_deref(),
        Some("lifecyclestage")
    );
}

#[test]
fn a_key_without_unique_values_is_of_the_account_and_a_missing_right_of_some_records() {
    for message in [
        "Unable to perform update/upsert by non-unique 0-1 property source_id",
        "Unable to perform update/upsert by non-unique 0-1 property source_id in portal ID 1",
    ] {
        let found = of_settings(&parse(&json!({"message": message})), &all_named())
            .expect("a misconfiguration");
        assert_eq!(
            (found.reach, found.stop.code.as_str()),
            (Reach::Account, "CONFIGURATION_REFUSED")
        );
        assert!(
            found.stop.remedy.contains("hubspot.id_property"),
            "{}",
            found.stop.remedy
        );
    }
    for code in ["MISSING_SCOPES", "USER_DOES_NOT_HAVE_PERMISSIONS"] {
        let found = of_settings(&parse(&json!({"category": code})), &all_named())
            .expect("a misconfiguration");
        assert_eq!(
            (found.reach, found.property),
            (Reach::SomeRecords, None),
            "{code}"
        );
    }
}

#[test]
fn a_value_that_an_attribute_may_have_chosen_is_no_misconfiguration() {
    let mut settings = settings();
    settings.type_property = "contact_type".to_owned();
    for property in ["contact_type", "lifecyclestage"] {
        let error = about("INVALID_OPTION", property);
        settings.attributes.clear();
        assert!(
            of_settings(&parse(&error), &settings).is_some(),
            "{property}: settings chose the value"
        );
        settings
            .attributes
            .insert("kind".to_owned(), property.to_owned());
        assert!(
            of_settings(&parse(&error), &settings).is_none(),
            "{property}: an attribute may have"
        );
    }
}
