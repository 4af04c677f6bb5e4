//! Writes of leads: the content of requests, and the number of calls.

use contact_sync::adapters::Adapter;
use contact_sync::model::{Attribute, ContactType, Field, Operation, Outcome, Text};
use serde_json::json;
use testkit::mock_salesforce::Endpoint;
use testkit::org::{Org, words};
use testkit::words::{newcomer, payload_of};

#[tokio::test]
async fn a_lead_is_written_as_the_contract_specifies() {
    let org = Org::with(
        |_| {},
        |settings| drop(settings.attributes.insert("plan".into(), "Plan__c".into())),
    )
    .await;
    let mut change = newcomer(1, ContactType::Prospect);
    change.contact.attributes.values = [("plan".into(), Attribute::Text("team".into()))].into();
    assert_eq!(
        words(&org.upsert(&[org.payload(&change)]).await),
        ["delivered"]
    );
    let lead = org.mock.lead("c-1").expect("it is there");
    let expected = json!({
        "Source_Id__c": "C-1", "LastName": "Person 1", "FirstName": "Ada", "Company": "Engines",
        "Title": "Engineer", "Email": "p1@example.com", "Plan__c": "team",
    });
    assert_eq!(serde_json::Value::Object(lead), expected);
    org.assert_polite();
}

#[tokio::test]
async fn every_request_carries_its_headers() {
    for (auto_assign, allow_duplicates) in [(false, true), (true, false)] {
        let edit = |settings: &mut contact_sync::adapters::salesforce::Settings| {
            (settings.auto_assign, settings.allow_duplicates) = (auto_assign, allow_duplicates);
        };
        let org = Org::with(|_| {}, edit).await;
        org.upsert(&org.leads([1])).await.expect("written");
        org.delete(&[testkit::org::deletion("C-1")])
            .await
            .expect("deleted");
        let calls: Vec<_> = org
            .mock
            .seen()
            .into_iter()
            .filter(|seen| seen.endpoint != Endpoint::Token)
            .collect();
        assert_eq!(calls.len(), 3);
        for call in calls {
            assert_eq!(
                call.header("sforce-auto-assign"),
                Some(if auto_assign { "TRUE" } else { "FALSE" })
            );
            let duplicates = if allow_duplicates {
                "allowSave=true"
            } else {
                "allowSave=false"
            };
            assert_eq!(
                call.header("sforce-duplicate-rule-header"),
                Some(duplicates)
            );
            assert_eq!(
                call.header("sforce-call-options"),
                Some("client=contact-sync")
            );
            assert!(
                call.header("user-agent")
                    .is_some_and(|agent| agent.starts_with("contact-sync/"))
            );
        }
    }
}

#[tokio::test]
async fn bodies_are_compressed_both_ways_where_it_pays() {
    for compresses in [true, false] {
        let org = Org::with(|behavior| behavior.compresses = compresses, |_| {}).await;
        assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
        assert_eq!(
            words(&org.upsert(&org.leads(0..200)).await),
            vec!["delivered"; 200]
        );
        let calls: Vec<_> = org
            .mock
            .seen()
            .into_iter()
            .filter(|seen| seen.endpoint == Endpoint::Upsert)
            .collect();
        assert_eq!(
            (
                calls[0].header("content-encoding"),
                calls[1].header("content-encoding")
            ),
            (None, Some("gzip"))
        );
        let length = |at: usize| {
            calls[at]
                .header("content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0)
        };
        assert!(
            length(1) < 40 * length(0),
            "{} for 200, {} for one",
            length(1),
            length(0)
        );
        assert!(calls.iter().all(|call| {
            call.header("accept-encoding")
                .is_some_and(|value| value.contains("gzip"))
        }));
        org.assert_polite();
    }
}

#[tokio::test]
async fn the_usage_of_the_org_is_read_from_every_form_of_its_header() {
    for (info, expected) in [
        (Some("api-usage=10018/100000"), Some((10_018, 100_000))),
        (Some("api-bursts=1/750; api-usage=5/10"), Some((5, 10))),
        (
            Some("api-usage=18/5000; per-app-api-usage=17/250(appName=x)"),
            Some((18, 5_000)),
        ),
        (Some("api-usage=-1/none"), None),
        (Some(""), None),
        (None, None),
    ] {
        let org = Org::with(
            |behavior| behavior.limit_info = info.map(str::to_owned),
            |_| {},
        )
        .await;
        assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
        let quota = org.metrics.quota();
        assert_eq!(quota.daily_used.zip(quota.daily_max), expected, "{info:?}");
    }
}

#[tokio::test]
async fn lengths_are_those_of_the_contract() {
    type Pick = fn(&mut contact_sync::model::Contact) -> &mut Text;
    let fields: [(&str, usize, bool, Pick); 15] = [
        ("LastName", 80, true, |contact| &mut contact.last_name),
        ("FirstName", 40, true, |contact| &mut contact.first_name),
        ("Company", 255, true, |contact| &mut contact.company),
        ("Email", 80, false, |contact| &mut contact.email),
        ("Phone", 40, false, |contact| &mut contact.phone),
        ("MobilePhone", 40, false, |contact| {
            &mut contact.mobile_phone
        }),
        ("Title", 128, true, |contact| &mut contact.job_title),
        ("Website", 255, false, |contact| &mut contact.website),
        ("Street", 255, true, |contact| &mut contact.street),
        ("City", 40, true, |contact| &mut contact.city),
        ("State", 80, true, |contact| &mut contact.state),
        ("PostalCode", 20, true, |contact| &mut contact.postal_code),
        ("Country", 80, true, |contact| &mut contact.country),
        ("LeadSource", 40, false, |contact| &mut contact.lead_source),
        ("Status", 40, false, |contact| &mut contact.status),
    ];
    let org = Org::new().await;
    for (name, longest, is_cut, pick) in fields {
        let longest_text = if name == "Email" {
            "x".repeat(68) + "@example.com"
        } else {
            "é".repeat(longest)
        };
        let mut change = newcomer(1, ContactType::Lead);
        *pick(&mut change.contact) = Field::Value(longest_text.clone().into());
        assert_eq!(
            words(&org.upsert(&[org.payload(&change)]).await),
            ["delivered"],
            "{name}"
        );
        *pick(&mut change.contact) = Field::Value(format!("{longest_text}é").into());
        let transformed = org.salesforce.transform(&[&change]);
        if is_cut {
            assert_eq!(
                (transformed.counts.cut, transformed.rejected.len()),
                (1, 0),
                "{name}"
            );
            assert_eq!(
                words(&org.upsert(&[org.payload(&change)]).await),
                ["delivered"],
                "{name}"
            );
        } else {
            assert_eq!(transformed.rejected[0].1.fields, [name]);
        }
        let held = org.mock.lead("C-1").expect("it is there");
        assert_eq!(held[name], longest_text, "{name}");
    }
}

#[tokio::test]
async fn stored_versions_are_read_in_every_form() {
    let org = Org::with(
        |_| {},
        |settings| settings.version_field = "Version__c".to_owned(),
    )
    .await;
    let held = [
        "11.0",
        "10",
        "null",
        "4.1E1",
        "1.763633702123E12",
        "9.007199254740991E15",
    ];
    for (at, version) in held.iter().enumerate() {
        let version: serde_json::Value = serde_json::from_str(version).expect("JSON");
        org.mock.put(
            &format!("C-{at}"),
            &json!({"Version__c": version, "LastName": "x", "Company": "y"}),
        );
    }
    let found = org.held(&org.leads(0..=6)).await;
    let [first, second, fourth] = ["version 11", "version 10", "version 41"];
    let [long, last] = ["version 1763633702123", "version 9007199254740991"];
    assert_eq!(
        found,
        [first, second, "no version", fourth, long, last, "nowhere"]
    );
    assert_eq!(
        (
            org.mock.sizes(Endpoint::Query),
            org.mock.count(Endpoint::Upsert)
        ),
        (vec![7], 0)
    );
    org.assert_polite();
}

#[tokio::test]
async fn a_guard_without_a_response_knows_no_version() {
    let org = Org::with(
        |_| {},
        |settings| settings.version_field = "Version__c".to_owned(),
    )
    .await;
    let payloads = org.leads([1, 2]);
    for answer in [
        json!({"done": true, "totalSize": 1, "records": []}),
        json!([]),
        json!({"records": [7], "done": true, "totalSize": 1}),
    ] {
        org.mock
            .next_of(Endpoint::Query, testkit::server::Answer::json(200, &answer));
        assert_eq!(
            org.held(&payloads).await,
            ["retry UNREADABLE_ANSWER"],
            "{answer}"
        );
    }
    assert_eq!(org.mock.count(Endpoint::Upsert), 0);
}

#[tokio::test]
async fn a_status_that_a_salesperson_set_is_kept() {
    let org = Org::new().await;
    org.mock.put(
        "C-1",
        &json!({"LastName": "x", "Company": "y", "Status": "Closed - Converted"}),
    );
    let mut update = newcomer(1, ContactType::Lead);
    update.operation = Operation::Update;
    org.upsert(&[org.payload(&update)]).await.expect("written");
    let status = || {
        org.mock
            .lead("C-1")
            .and_then(|lead| lead.get("Status").cloned())
    };
    assert_eq!(status(), Some(json!("Closed - Converted")));
    update.contact.status = Field::Value("Nurturing".into());
    org.upsert(&[org.payload(&update)]).await.expect("written");
    assert_eq!(status(), Some(json!("Nurturing")));
}

#[tokio::test]
async fn ten_thousand_leads_take_fifty_calls_and_a_token() {
    let org = Org::new().await;
    let payloads: Vec<_> = (0..10_000)
        .map(|number| payload_of(&*org.salesforce, &[&newcomer(number, ContactType::Lead)]))
        .collect();
    for batch in payloads.chunks(org.salesforce.limits().upsert) {
        let outcomes = org.upsert(batch).await.expect("outcomes");
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Delivered(None)))
        );
    }
    assert_eq!(org.mock.sizes(Endpoint::Upsert), vec![200; 50]);
    assert_eq!(
        (org.mock.count(Endpoint::Token), org.mock.seen().len()),
        (1, 51)
    );
    assert_eq!(
        (org.mock.leads().len(), org.metrics.api_calls()),
        (10_000, 51)
    );
    org.assert_polite();
}
