//! The number of calls that policies cost, and the writes that change nothing.

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch};
use testkit::stream::{failures, invoke};

use super::{PLACES, Place};

fn titled(place: Place, count: usize, title: &str) -> Vec<Value> {
    let change = |number| {
        let fields = json!({"job_title": title, "last_name": format!("Nr {number}")});
        place.change("update", &format!("c-{number}"), &fields)
    };
    (0..count).map(change).collect()
}

async fn deliver(mocks: &Mocks, document: &str, changes: &[Value]) {
    let handler = mocks.handler(Preset::Test, document);
    assert!(failures(&invoke(&handler, &batch(changes), "r").await).is_empty());
}

#[tokio::test]
async fn a_look_up_is_made_once_for_each_batch_that_needs_one() {
    for place in PLACES {
        for (policy, is_looked_up) in [
            ("always", false),
            ("never", false),
            ("create", true),
            ("empty", true),
            ("unedited", true),
        ] {
            for count in [1, 100, 101, 200, 201, 450] {
                let mocks = Mocks::start().await;
                let document = place.settings(&[("job_title", policy)]);
                deliver(&mocks, &document, &titled(place, count, "Engineer")).await;
                let batches = match place {
                    Place::Salesforce => count.div_ceil(200),
                    Place::HubSpot => count.div_ceil(100),
                };
                let lookups = if is_looked_up { batches } else { 0 };
                assert_eq!(
                    place.calls(&mocks),
                    [lookups, batches],
                    "{place:?} {policy} {count}"
                );
                assert_eq!(mocks.violations(), [""; 0]);
            }
        }
    }
}

#[tokio::test]
async fn a_batch_without_a_field_that_needs_one_has_no_look_up() {
    for place in PLACES {
        let mocks = Mocks::start().await;
        let document = place.settings(&[("phone", "empty"), ("website", "unedited")]);
        deliver(&mocks, &document, &titled(place, 50, "Engineer")).await;
        assert_eq!(place.calls(&mocks), [0, 1], "{place:?}");
    }
}

#[tokio::test]
async fn a_record_that_would_not_change_is_not_written() {
    for place in PLACES {
        let mocks = Mocks::start().await;
        let logs = Logs::listen();
        let document = place.settings(&[("job_title", "unedited")]);
        deliver(&mocks, &document, &titled(place, 10, "Engineer")).await;
        assert_eq!(place.calls(&mocks), [1, 1]);
        deliver(&mocks, &document, &titled(place, 10, "Engineer")).await;
        assert_eq!(place.calls(&mocks), [2, 1], "{place:?}");
        assert_eq!(logs.fates()[10..], ["delivered NO_CHANGE"; 10]);
        let name = format!("{place:?}").to_lowercase();
        let metrics = logs.metrics(&name);
        assert_eq!(metrics.last().expect("a line")["RecordsUnchanged"], 10);
        assert_eq!(metrics[0].get("RecordsUnchanged"), None);
        // One changed record is written, and it alone.
        let mut changes = titled(place, 10, "Engineer");
        changes[3]["contact"]["company"] = "Engines".into();
        deliver(&mocks, &document, &changes).await;
        let written = logs.fates()[20..]
            .iter()
            .filter(|fate| *fate == "delivered")
            .count();
        assert_eq!((place.calls(&mocks), written), ([3, 2], 1), "{place:?}");
    }
}

#[tokio::test]
async fn one_look_up_serves_the_guard_the_defaults_and_the_policies() {
    let mocks = Mocks::start().await;
    let document = "[salesforce]\nversion_field = \"Version__c\"\n\
         baseline_field = \"Baseline__c\"\n[salesforce.status]\n\
         lead = \"New\"\n[salesforce.policy]\nTitle = \"unedited\"\n\
         Phone = \"empty\"\nStatus = \"create\"\n[hubspot]\n\
         version_property = \"version\"\n[guard]\nmode = \"always\"";
    let fields = json!({"job_title": "Engineer", "phone": "1"});
    let changes = [
        Place::Salesforce.change("create", "c-1", &fields),
        Place::Salesforce.change("update", "c-2", &fields),
    ];
    deliver(&mocks, document, &changes).await;
    assert_eq!(Place::Salesforce.calls(&mocks), [1, 1]);
    let leads = mocks.salesforce.leads();
    assert_eq!(
        (leads["c-1"]["Status"].as_str(), leads["c-2"].get("Status")),
        ("New", None)
    );
    deliver(&mocks, document, &changes).await;
    assert_eq!(
        Place::Salesforce.calls(&mocks),
        [2, 1],
        "of one version, and unchanged"
    );
}

#[tokio::test]
async fn a_hidden_field_fails_only_the_records_that_carry_it() {
    let hide = |behavior: &mut testkit::mock_salesforce::Behavior| {
        behavior.hidden_fields = vec!["Title".to_owned()];
    };
    let mocks = Mocks::start_with(hide, |_| {}).await;
    let logs = Logs::listen();
    let place = Place::Salesforce;
    let changes = [
        place.change(
            "update",
            "c-1",
            &json!({"job_title": "Engineer", "phone": "1"}),
        ),
        place.change("update", "c-2", &json!({"phone": "2"})),
        place.change("update", "c-3", &json!({})),
    ];
    let handler = mocks.handler(Preset::Test, &place.settings(&[("phone", "empty")]));
    let answer = invoke(&handler, &batch(&changes), "r").await;
    assert_eq!(failures(&answer).len(), 1);
    assert_eq!(
        logs.fates(),
        ["failed INVALID_FIELD", "delivered", "delivered"]
    );
    assert_eq!(place.calls(&mocks), [2, 1]);
    assert_eq!(place.held(&mocks, "c-2", "phone"), "2");
    assert_eq!(mocks.violations(), [""; 0]);
}
