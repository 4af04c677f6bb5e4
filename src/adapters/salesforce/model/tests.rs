use std::collections::BTreeMap;

use serde_json::json;
use time::OffsetDateTime;

use super::*;
use crate::adapters::salesforce::{ConvertedLeads, Status};
use crate::adapters::{CountryForm, Normalise, PhoneForm, StateForm};
use crate::model::limits::{RateLimit, Retry};
use crate::model::{ContactId, MatchPolicy, Text, VersionSource};

pub(in crate::adapters::salesforce) fn settings() -> Settings {
    Settings {
        secret_id: "secret".into(),
        allowed_hosts: vec!["127.0.0.1".into()],
        version_field: String::new(),
        api_version: "v67.0".into(),
        sobject: "Lead".into(),
        external_id_field: "Source_Id__c".into(),
        batch_size: 200,
        collections_per_call: 1,
        max_in_flight: 4,
        request_timeout_ms: 1000,
        auto_assign: false,
        allow_duplicates: true,
        converted_leads: ConvertedLeads::Skip,
        status: Status {
            lead: "Open - Not Contacted".into(),
            prospect: "Working - Contacted".into(),
        },
        required: Vec::new(),
        r#match: MatchPolicy::Upsert,
        baseline_field: String::new(),
        salvage: Vec::new(),
        fields: BTreeMap::new(),
        normalise: Normalise::default(),
        constants: BTreeMap::new(),
        policy: BTreeMap::new(),
        attributes: [("plan".to_owned(), "Plan__c".to_owned())].into(),
        rate_limit: RateLimit {
            requests: 1,
            per_ms: 1,
        },
        retry: Retry {
            max_attempts: 1,
            base_delay_ms: 1,
            max_delay_ms: 1,
        },
    }
}

fn change(operation: Operation, fill: impl FnOnce(&mut Contact)) -> ContactChange {
    let mut contact = Contact::bare(
        ContactId::new("c-1").expect("valid"),
        Some(ContactType::Lead),
    );
    fill(&mut contact);
    ContactChange {
        event_id: "e".into(),
        operation,
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

fn record(changes: &[&ContactChange]) -> serde_json::Value {
    let transformed = transform(changes, &[], &settings());
    assert!(
        transformed.rejected.is_empty(),
        "{:?}",
        transformed.rejected
    );
    serde_json::from_str(transformed.body.expect("a body").get()).expect("JSON")
}

fn text(value: &str) -> Text {
    Field::Value(value.into())
}

#[test]
fn every_field_is_mapped() {
    let all = change(Operation::Create, |contact| {
        for (index, field) in [
            &mut contact.email,
            &mut contact.first_name,
            &mut contact.last_name,
            &mut contact.company,
            &mut contact.job_title,
            &mut contact.phone,
            &mut contact.mobile_phone,
            &mut contact.website,
            &mut contact.street,
            &mut contact.city,
            &mut contact.state,
            &mut contact.postal_code,
            &mut contact.country,
            &mut contact.lead_source,
            &mut contact.status,
        ]
        .into_iter()
        .enumerate()
        {
            *field = text(&format!("value {index}"));
        }
        contact
            .attributes
            .values
            .insert("plan".into(), Attribute::Bool(true));
        contact
            .attributes
            .values
            .insert("unmapped".into(), Attribute::Bool(true));
    });
    insta::assert_json_snapshot!("lead", record(&[&all]));
}

/// Returns the fields that a record gets where it does not exist yet.
fn if_new(changes: &[&ContactChange], settings: &Settings) -> serde_json::Value {
    let defaults = transform(changes, &[], settings).if_new;
    defaults.map_or(json!(null), |body| {
        serde_json::from_str(body.get()).expect("JSON")
    })
}

#[test]
fn defaults_are_separate_from_the_values_of_a_change() {
    let new = change(Operation::Create, |_| {});
    assert_eq!(
        record(&[&new]),
        json!({"attributes": {"type": "Lead"}, "Source_Id__c": "c-1"})
    );
    let missing = json!({
        "Status": "Open - Not Contacted", "LastName": "[not provided]", "Company": "[not provided]",
    });
    assert_eq!(if_new(&[&new], &settings()), missing);
    let prospect = change(Operation::Create, |contact| {
        contact.kind = Some(ContactType::Prospect);
        contact.company = text("Acme");
        contact.last_name = Field::Null;
    });
    assert_eq!(
        if_new(&[&prospect], &settings()),
        json!({"Status": "Working - Contacted"}),
        "each field once"
    );
}

#[test]
fn a_record_has_a_default_status_where_one_is_configured_for_its_first_change() {
    let (create, update) = (
        change(Operation::Create, |_| {}),
        change(Operation::Update, |_| {}),
    );
    let prospect = change(Operation::Create, |contact| {
        contact.kind = Some(ContactType::Prospect);
    });
    let with_status = change(Operation::Create, |contact| {
        contact.status = text("Nurturing");
    });
    let cleared = change(Operation::Create, |contact| contact.status = Field::Null);
    let refused = change(Operation::Update, |contact| {
        contact.phone = text(&"1".repeat(41));
    });
    let leads_only = Status {
        lead: "New".into(),
        prospect: String::new(),
    };
    let settings = Settings {
        status: leads_only,
        ..settings()
    };
    for (changes, status) in [
        (vec![&create], json!("New")),
        (vec![&cleared], json!("New")),
        (vec![&create, &update], json!("New")),
        (vec![&create, &prospect], json!("New")),
        (vec![&refused, &create], json!("New")),
        (vec![&prospect], json!(null)),
        (vec![&with_status], json!(null)),
        (vec![&create, &with_status], json!(null)),
        (vec![&update], json!(null)),
        // Written one by one, the update creates the record, and the create finds it.
        (vec![&update, &create], json!(null)),
    ] {
        assert_eq!(if_new(&changes, &settings)["Status"], status, "{changes:?}");
    }
}

#[test]
fn an_update_contains_only_the_fields_that_it_mentions() {
    let update = record(&[&change(Operation::Update, |contact| {
        contact.first_name = Field::Null;
        contact.company = Field::Null;
        contact.status = Field::Null;
        contact.attributes.cleared = true;
    })]);
    let expected = json!({
        "attributes": {"type": "Lead"}, "Source_Id__c": "c-1", "FirstName": null,
        "Company": "[not provided]", "Plan__c": null,
    });
    assert_eq!(update, expected);
}

#[test]
fn later_changes_replace_the_values_of_earlier_ones() {
    let first = change(Operation::Create, |contact| {
        contact.first_name = text("Ada");
        contact.city = text("London");
    });
    let second = change(Operation::Update, |contact| {
        contact.first_name = Field::Null;
    });
    let folded = record(&[&first, &second]);
    assert_eq!(
        (&folded["FirstName"], &folded["City"]),
        (&json!(null), &json!("London"))
    );
}

#[test]
fn a_text_that_is_too_long_is_cut_between_characters_or_rejected() {
    let cut = change(Operation::Update, |contact| {
        contact.first_name = text(&"🚀".repeat(30));
    });
    let transformed = transform(&[&cut], &[], &settings());
    assert_eq!(transformed.counts.cut, 1);
    let body: serde_json::Value =
        serde_json::from_str(transformed.body.expect("a body").get()).expect("JSON");
    assert_eq!(body["FirstName"], "🚀".repeat(20));
    let email = format!("{}@example.com", "x".repeat(70));
    let refused = change(Operation::Update, |contact| contact.email = text(&email));
    let transformed = transform(&[&cut, &refused], &[], &settings());
    let [(1, rejection)] = transformed.rejected.as_slice() else {
        panic!("{:?}", transformed.rejected)
    };
    assert_eq!(
        (rejection.code.as_str(), rejection.fields.as_slice()),
        ("TOO_LONG", ["Email".to_owned()].as_slice())
    );
    assert!(transformed.body.is_some(), "the other change is written");
    assert!(transform(&[&refused], &[], &settings()).body.is_none());
}

#[test]
fn a_number_keeps_its_digits_where_defaults_are_added() {
    for number in [
        "18446744073709551616",
        "0.1000000000000000055511151231257827",
        "1.50",
        "1e21",
        "-0",
        "-0.0E+5",
    ] {
        let change = change(Operation::Update, |contact| {
            let number = Number::new(number).expect("a number");
            contact
                .attributes
                .values
                .insert("plan".into(), Attribute::Number(number));
        });
        let body = transform(&[&change], &[], &settings())
            .body
            .expect("a body");
        let expected = format!(r#""Plan__c":{number},"#);
        assert!(body.get().contains(&expected), "{}", body.get());
        let whole = with_defaults(&body, &settings()).expect("the name is missing");
        assert!(whole.get().contains(&expected), "{}", whole.get());
    }
}

#[test]
fn defaults_are_added_where_the_record_lacks_a_field() {
    let body = Body::of(serde_json::from_str(r#"{"Company":"Acme"}"#).expect("an object"));
    let whole = with_defaults(&body, &settings()).expect("LastName is missing");
    assert_eq!(
        whole.get(),
        r#"{"Company":"Acme","LastName":"[not provided]"}"#
    );
    assert!(with_defaults(&whole, &settings()).is_none());
}

#[test]
fn the_version_is_mapped_where_settings_name_a_field() {
    let settings = Settings {
        version_field: "Version__c".into(),
        ..settings()
    };
    let body = transform(&[&change(Operation::Update, |_| {})], &[], &settings)
        .body
        .expect("a body");
    assert!(body.get().contains(r#""Version__c":7"#), "{}", body.get());
}

#[test]
fn values_are_normalised_before_they_are_fitted() {
    let mut settings = settings();
    settings
        .fields
        .insert("address.country".into(), "CountryCode".into());
    let spaced = format!("+49 30 {}123456", " ".repeat(40));
    let long = change(Operation::Update, |contact| {
        contact.country = text("u.s.a.");
        contact.state = text("California");
        contact.phone = text(&spaced);
        contact.mobile_phone = text("extension 5");
    });
    // Off: the texts as they are, and the number does not fit.
    let off = transform(&[&long], &[], &settings);
    assert_eq!(off.rejected.len(), 1);
    settings.normalise = Normalise {
        country: CountryForm::Iso2,
        state: StateForm::Code,
        phone: PhoneForm::E164,
        phone_region: String::new(),
    };
    let on = transform(&[&long], &[], &settings);
    assert!(on.rejected.is_empty(), "{:?}", on.rejected);
    let counts = ValueCounts {
        cut: 0,
        unrecognised: 1,
    };
    assert_eq!(on.counts, counts);
    let body: serde_json::Value =
        serde_json::from_str(on.body.expect("a body").get()).expect("JSON");
    let values = ["CountryCode", "State", "Phone", "MobilePhone"].map(|name| &body[name]);
    assert_eq!(values, ["US", "CA", "+4930123456", "extension 5"]);
}
