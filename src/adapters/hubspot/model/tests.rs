use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::adapters::hubspot::LifecycleStage;
use crate::adapters::{CountryForm, Normalise, PhoneForm, StateForm};
use crate::model::limits::{RateLimit, Retry};
use crate::model::{Attributes, ContactId, MatchPolicy, Number, Operation, VersionSource};

pub(in crate::adapters::hubspot) fn settings() -> Settings {
    Settings {
        secret_id: String::new(),
        base_url: "https://api.hubapi.com".to_owned(),
        allowed_hosts: Vec::new(),
        version_property: String::new(),
        api_version: "2026-09".to_owned(),
        id_property: "source_id".to_owned(),
        type_property: String::new(),
        batch_size: 100,
        max_in_flight: 4,
        request_timeout_ms: 1000,
        lifecycle_stage: LifecycleStage {
            customer: "customer".to_owned(),
            vendor: "other".to_owned(),
        },
        r#match: MatchPolicy::Upsert,
        baseline_property: String::new(),
        salvage: Vec::new(),
        fields: BTreeMap::new(),
        normalise: Normalise::default(),
        constants: BTreeMap::new(),
        policy: BTreeMap::new(),
        attributes: BTreeMap::from([("plan".to_owned(), "plan_name".to_owned())]),
        rate_limit: RateLimit {
            requests: 100,
            per_ms: 10_000,
        },
        retry: Retry {
            max_attempts: 4,
            base_delay_ms: 200,
            max_delay_ms: 10_000,
        },
    }
}

fn change(kind: ContactType, edit: impl FnOnce(&mut Contact)) -> ContactChange {
    let mut contact = Contact::bare(ContactId::new("C-1").expect("valid"), Some(kind));
    edit(&mut contact);
    ContactChange {
        event_id: "e".into(),
        operation: Operation::Update,
        occurred_at: OffsetDateTime::UNIX_EPOCH,
        version: Some(7),
        version_source: VersionSource::Version,
        is_load: false,
        replay: false,
        previous_type: None,
        whole: None,
        contact,
    }
}

fn value(text: &str) -> Text {
    Field::Value(text.into())
}

fn body(transformed: &Transformed) -> Value {
    let body = transformed.body.as_ref().expect("a body");
    serde_json::from_str(body.get()).expect("JSON")
}

fn body_of(changes: &[&ContactChange]) -> Value {
    body(&transform(changes, &[], &settings()))
}

#[test]
fn every_field_has_its_property() {
    let change = change(ContactType::Customer, |contact| {
        contact.email = value("a@example.com");
        contact.first_name = value("first");
        contact.last_name = value("last");
        contact.company = value("company");
        contact.job_title = value("title");
        contact.website = value("site");
        contact.phone = value("1");
        contact.mobile_phone = value("2");
        contact.street = value("street");
        contact.city = value("city");
        contact.state = value("state");
        contact.postal_code = value("code");
        contact.country = value("country");
    });
    let expected = json!({
        "source_id": "C-1", "email": "a@example.com", "firstname": "first", "lastname": "last",
        "company": "company", "jobtitle": "title", "website": "site", "phone": "1",
        "mobilephone": "2",
        "address": "street", "city": "city", "state": "state", "zip": "code", "country": "country",
        "lifecyclestage": "customer",
    });
    assert_eq!(body_of(&[&change]), expected);
}

#[test]
fn a_cleared_field_is_empty_and_an_absent_one_is_not_sent() {
    let change = change(ContactType::Vendor, |contact| contact.phone = Field::Null);
    assert_eq!(
        body_of(&[&change]),
        json!({"source_id": "C-1", "phone": "", "lifecyclestage": "other"})
    );
}

#[test]
fn later_changes_replace_the_values_of_earlier_ones() {
    let first = change(ContactType::Customer, |contact| {
        contact.city = value("old");
        contact.phone = value("1");
    });
    let second = change(ContactType::Customer, |contact| contact.city = value("new"));
    let third = change(ContactType::Customer, |contact| contact.phone = Field::Null);
    let body = body_of(&[&first, &second, &third]);
    assert_eq!((&body["city"], &body["phone"]), (&json!("new"), &json!("")));
}

#[test]
fn the_folded_stage_is_the_one_that_separate_writes_leave() {
    let customer = change(ContactType::Customer, |_| {});
    let vendor = change(ContactType::Vendor, |_| {});
    let lead = change(ContactType::Lead, |_| {});
    assert_eq!(body_of(&[&customer, &vendor])[STAGE], "other");
    assert_eq!(body_of(&[&vendor, &customer])[STAGE], "other");
    assert_eq!(body_of(&[&customer, &lead])[STAGE], "customer");
    assert_eq!(body_of(&[&lead])[STAGE], Value::Null);
    let mut own_stages = settings();
    own_stages.lifecycle_stage.vendor = "9471".to_owned();
    assert_eq!(
        body(&transform(&[&vendor, &customer], &[], &own_stages))[STAGE],
        "customer"
    );
}

#[test]
fn type_and_version_are_sent_where_they_have_a_property() {
    let mut settings = settings();
    settings.type_property = "contact_type".to_owned();
    settings.version_property = "source_version".to_owned();
    let change = change(ContactType::Prospect, |_| {});
    let expected = json!({"source_id": "C-1", "contact_type": "prospect", "source_version": "7"});
    assert_eq!(body(&transform(&[&change], &[], &settings)), expected);
}

#[test]
fn attributes_are_sent_as_text_where_settings_name_a_property() {
    let number = |text: &str| Attribute::Number(Number::new(text).expect("a number"));
    for (attribute, expected) in [
        (Attribute::Null, ""),
        (Attribute::Bool(true), "true"),
        (Attribute::Bool(false), "false"),
        (number("25"), "25"),
        (number("-0.5"), "-0.5"),
        (number("1e21"), "1000000000000000000000"),
        (number("18446744073709551616"), "18446744073709551616"),
        (number("1.10"), "1.10"),
        (number("-0"), "-0"),
        (Attribute::Text("team".into()), "team"),
    ] {
        let change = change(ContactType::Lead, |contact| {
            contact.attributes.values = [
                ("plan".into(), attribute),
                ("seats".into(), Attribute::Null),
            ]
            .into();
        });
        assert_eq!(
            body_of(&[&change]),
            json!({"source_id": "C-1", "plan_name": expected})
        );
    }
    let cleared = change(ContactType::Lead, |contact| {
        contact.attributes = Attributes {
            cleared: true,
            values: BTreeMap::new(),
        };
    });
    assert_eq!(body_of(&[&cleared])["plan_name"], "");
}

#[test]
fn a_number_that_is_endless_without_its_exponent_is_rejected() {
    let number = Number::new("1e-70000").expect("a number");
    let change = change(ContactType::Lead, |contact| {
        contact.attributes.values = [("plan".into(), Attribute::Number(number))].into();
    });
    let transformed = transform(&[&change], &[], &settings());
    let [(0, rejection)] = transformed.rejected.as_slice() else {
        panic!("{:?}", transformed.rejected)
    };
    assert_eq!(rejection.code.as_str(), "TOO_LONG");
}

#[test]
fn an_attribute_cannot_replace_the_key() {
    let mut settings = settings();
    settings.attributes = BTreeMap::from([("plan".to_owned(), "source_id".to_owned())]);
    let change = change(ContactType::Lead, |contact| {
        contact.attributes.values = [("plan".into(), Attribute::Text("x".into()))].into();
    });
    assert_eq!(
        body(&transform(&[&change], &[], &settings)),
        json!({"source_id": "C-1"})
    );
}

#[test]
fn a_body_is_recognized_by_the_stage_at_its_beginning() {
    let change = change(ContactType::Customer, |contact| {
        contact.city = value("London");
    });
    let body = transform(&[&change], &[], &settings())
        .body
        .expect("a body");
    for (stage, expected) in [
        (r#""customer""#, true),
        (r#""custom""#, false),
        (r#""customers""#, false),
        (r#""other""#, false),
        (r#""customer\",\"source_id""#, false),
        ("7", false),
        ("null", false),
    ] {
        let stage: &RawValue = serde_json::from_str(stage).expect("JSON");
        assert_eq!(begins_with_stage(&body, stage), expected, "{stage}");
    }
    let other =
        serde_json::from_str(r#"{"city":"x","lifecyclestage":"customer"}"#).expect("an object");
    assert!(!begins_with_stage(
        &Body::of(other),
        serde_json::from_str(r#""customer""#).expect("JSON")
    ));
}

#[test]
fn long_texts_are_cut_between_characters_and_counted() {
    let long = change(ContactType::Lead, |contact| {
        contact.first_name = value(&"é".repeat(LONGEST_TEXT));
        contact.last_name = value(&"é".repeat(LONGEST_TEXT + 1));
        contact.company = value(&format!("x{}", "🦀".repeat(LONGEST_TEXT)));
    });
    let transformed = transform(&[&long], &[], &settings());
    assert_eq!(transformed.counts.cut, 2);
    let body = body(&transformed);
    let units = |name: &str| body[name].as_str().map(|text| text.encode_utf16().count());
    assert_eq!(units("firstname"), Some(LONGEST_TEXT));
    assert_eq!(units("lastname"), Some(LONGEST_TEXT));
    assert_eq!(units("company"), Some(LONGEST_TEXT - 1));
}

#[test]
fn values_are_normalised_where_a_form_is_set() {
    let lead = change(ContactType::Lead, |contact| {
        contact.country = value("u.s.a.");
        contact.state = value("ca");
        contact.phone = value("(650) 253-0000");
        contact.mobile_phone = Field::Null;
        contact.city = value("usa");
    });
    let names = ["country", "state", "phone", "mobilephone", "city"];
    let mut settings = settings();
    let off = transform(&[&lead], &[], &settings);
    assert_eq!(off.counts, ValueCounts::default());
    let body_off = body(&off);
    assert_eq!(
        names.map(|name| &body_off[name]),
        ["u.s.a.", "ca", "(650) 253-0000", "", "usa"]
    );
    settings.normalise = Normalise {
        country: CountryForm::Name,
        state: StateForm::Name,
        phone: PhoneForm::E164,
        phone_region: String::new(),
    };
    let on = transform(&[&lead], &[], &settings);
    assert_eq!(on.counts.unrecognised, 1, "a number without a country code");
    let body_on = body(&on);
    assert_eq!(
        names.map(|name| &body_on[name]),
        ["United States", "California", "(650) 253-0000", "", "usa"]
    );
}

#[test]
fn a_change_that_can_never_be_written_is_left_out_and_rejected() {
    let long = "1".repeat(LONGEST_TEXT + 1);
    let good = change(ContactType::Customer, |contact| {
        contact.city = value("kept");
    });
    for (bad, field) in [
        (
            change(ContactType::Customer, |contact| {
                contact.email = value(&long);
            }),
            "email",
        ),
        (
            change(ContactType::Customer, |contact| {
                contact.phone = value(&long);
            }),
            "phone",
        ),
        (
            change(ContactType::Customer, |contact| {
                contact.city = value("lost");
                contact.attributes.values =
                    [("plan".into(), Attribute::Text(long.as_str().into()))].into();
            }),
            "plan_name",
        ),
    ] {
        let transformed = transform(&[&good, &bad], &[], &settings());
        assert_eq!(body(&transformed)["city"], "kept");
        let [(1, rejection)] = &transformed.rejected[..] else {
            panic!("{:?}", transformed.rejected)
        };
        assert_eq!(
            (rejection.code.as_str(), &rejection.fields[..]),
            ("TOO_LONG", &[field.to_owned()][..])
        );
        assert!(transform(&[&bad], &[], &settings()).body.is_none());
    }
}
