//! Normalised phone numbers, countries and states.

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch};
use testkit::stream::{failures, invoke};

use super::{PLACES, Place};

/// Settings with every normaliser, and the fields with codes of an org with picklists.
const CODES: &str = "[salesforce.fields]\n\"address.country\" = \"CountryCode\"\n\
    \"address.state\" = \"StateCode\"\n\
    [salesforce.normalise]\ncountry = \"iso-2\"\nstate = \"code\"\nphone = \"e164\"\n\
    phone_region = \"US\"\n\
    [hubspot.normalise]\ncountry = \"name\"\nstate = \"name\"\nphone = \"e164\"\n\
    phone_region = \"DE\"\n";

async fn org() -> Mocks {
    let fields = ["CountryCode", "StateCode", "Baseline__c"].map(str::to_owned);
    Mocks::start_with(|behavior| behavior.custom_fields.extend(fields), |_| {}).await
}

async fn deliver(mocks: &Mocks, document: &str, changes: &[Value]) {
    let handler = mocks.handler(Preset::Test, document);
    assert!(failures(&invoke(&handler, &batch(changes), "r").await).is_empty());
    assert_eq!(mocks.violations(), [""; 0]);
}

fn at(place: Place, id: &str, country: &Value, state: &Value, phone: &str) -> Value {
    let fields = json!({"address": {"country": country, "state": state}, "phone": phone});
    place.change("update", id, &fields)
}

/// Returns the country, the state and the phone number of a record.
fn held(place: Place, mocks: &Mocks, id: &str) -> [String; 3] {
    let record = place.record(mocks, id).expect("a record");
    let fields = match place {
        Place::Salesforce => ["CountryCode", "StateCode", "Phone"],
        Place::HubSpot => ["country", "state", "phone"],
    };
    fields.map(|name| record.get(name).cloned().unwrap_or_default())
}

#[tokio::test]
async fn an_org_with_picklists_gets_codes_and_a_portal_gets_names() {
    let mocks = org().await;
    let logs = Logs::listen();
    let lead = at(
        Place::Salesforce,
        "c-1",
        &json!("U.S.A."),
        &json!("california"),
        "(650) 253-0000",
    );
    let customer = at(
        Place::HubSpot,
        "c-2",
        &json!("deutschland"),
        &json!("BY"),
        "089 123456",
    );
    deliver(&mocks, CODES, &[lead, customer]).await;
    assert_eq!(
        held(Place::Salesforce, &mocks, "c-1"),
        ["US", "CA", "+16502530000"]
    );
    assert_eq!(
        held(Place::HubSpot, &mocks, "c-2"),
        ["Germany", "Bavaria", "+4989123456"]
    );
    assert_eq!(logs.fates(), ["delivered"; 2]);
    for name in ["salesforce", "hubspot"] {
        let metrics = logs.metrics(name);
        assert_eq!(metrics[0].get("ValuesUnrecognised"), None, "{name}");
    }
}

#[tokio::test]
async fn a_picklist_refuses_the_texts_of_a_change_that_is_sent_as_it_is() {
    let mocks = org().await;
    let logs = Logs::listen();
    let document = CODES.replace("country = \"iso-2\"", "country = \"as-is\"");
    let lead = at(Place::Salesforce, "c-1", &json!("USA!"), &json!("CA"), "1");
    deliver(&mocks, &document, &[lead]).await;
    assert_eq!(logs.fates(), ["rejected FIELD_INTEGRITY_EXCEPTION"]);
}

#[tokio::test]
async fn a_value_that_is_not_recognised_is_sent_as_it_is_and_counted() {
    for place in PLACES {
        let mocks = Mocks::start().await;
        let logs = Logs::listen();
        let document = "[salesforce.normalise]\ncountry = \"name\"\nstate = \"code\"\n\
            phone = \"e164\"\n[hubspot.normalise]\ncountry = \"name\"\nstate = \"code\"\n\
            phone = \"e164\"";
        let changes = [
            at(place, "c-1", &json!("Narnia"), &json!("North"), "ext 5"),
            at(
                place,
                "c-2",
                &json!("UK"),
                &json!("Kent"),
                "+44 20 7946 0958",
            ),
        ];
        deliver(&mocks, document, &changes).await;
        let record = place.record(&mocks, "c-1").expect("a record");
        let values: Vec<&String> = record.values().collect();
        for value in ["Narnia", "North", "ext 5"] {
            assert!(values.iter().any(|held| *held == value), "{values:?}");
        }
        assert_eq!(logs.fates(), ["delivered"; 2]);
        let name = format!("{place:?}").to_lowercase();
        assert_eq!(logs.metrics(&name)[0]["ValuesUnrecognised"], 3, "{name}");
    }
}

#[tokio::test]
async fn an_absent_value_stays_and_a_cleared_one_is_cleared() {
    for place in PLACES {
        let mocks = org().await;
        let whole = at(
            place,
            "c-1",
            &json!("USA"),
            &json!("Texas"),
            "+1 650 253 0000",
        );
        deliver(&mocks, CODES, &[whole]).await;
        let before = held(place, &mocks, "c-1");
        let silent = place.change("update", "c-1", &json!({"job_title": "Engineer"}));
        deliver(&mocks, CODES, &[silent]).await;
        assert_eq!(held(place, &mocks, "c-1"), before, "{place:?}");
        let moved = place.change("update", "c-1", &json!({"address": {"state": "Ohio"}}));
        deliver(&mocks, CODES, &[moved]).await;
        let state = match place {
            Place::Salesforce => "OH",
            Place::HubSpot => "Ohio",
        };
        assert_eq!(held(place, &mocks, "c-1")[1], state);
        let cleared = at(place, "c-1", &Value::Null, &Value::Null, "");
        deliver(&mocks, CODES, &[cleared]).await;
        assert_eq!(held(place, &mocks, "c-1"), [""; 3], "{place:?}");
    }
}

#[tokio::test]
async fn the_normalised_value_is_the_one_that_policies_compare() {
    for place in PLACES {
        let mocks = org().await;
        let country = match place {
            Place::Salesforce => "CountryCode",
            Place::HubSpot => "country",
        };
        let (section, key, baseline) = match place {
            Place::Salesforce => ("salesforce", "baseline_field", "Baseline__c"),
            Place::HubSpot => ("hubspot", "baseline_property", "baseline"),
        };
        let document = format!(
            "[{section}]\n{key} = \"{baseline}\"\n{CODES}[{section}.policy]\n\
             {country} = \"unedited\"\n"
        );
        let logs = Logs::listen();
        for (text, fate) in [
            ("Germany", "delivered"),
            ("DEU", "delivered NO_CHANGE"),
            ("Deutschland", "delivered NO_CHANGE"),
            ("France", "delivered"),
        ] {
            let change = at(place, "c-1", &json!(text), &Value::Null, "+49 30 123456");
            deliver(&mocks, &document, &[change]).await;
            assert_eq!(
                logs.fates().last().map(String::as_str),
                Some(fate),
                "{text}"
            );
        }
        // A person's edit stays.
        let edited = match place {
            Place::Salesforce => "CH",
            Place::HubSpot => "Switzerland",
        };
        match place {
            Place::Salesforce => mocks.salesforce.edit("c-1", &json!({country: edited})),
            Place::HubSpot => mocks.hubspot.edit("c-1", country, edited),
        }
        let change = at(place, "c-1", &json!("Spain"), &Value::Null, "+49 30 123456");
        deliver(&mocks, &document, &[change]).await;
        assert_eq!(held(place, &mocks, "c-1")[0], edited, "{place:?}");
    }
}

#[tokio::test]
async fn folded_changes_have_the_result_of_the_changes_one_by_one() {
    for place in PLACES {
        let changes = [
            at(
                place,
                "c-1",
                &json!("UK"),
                &json!("Kent"),
                "+44 20 7946 0958",
            ),
            place.change("update", "c-1", &json!({"address": {"country": "Brasil"}})),
            place.change("update", "c-1", &json!({"address": {"state": "São Paulo"}})),
        ];
        let mut results = Vec::new();
        for size in [1, changes.len()] {
            let mocks = org().await;
            for part in changes.chunks(size) {
                deliver(&mocks, CODES, part).await;
            }
            results.push(held(place, &mocks, "c-1"));
        }
        assert_eq!(results[0], results[1], "{place:?}");
    }
}
