//! Writes under guard, and the number of calls for ten thousand.

use contact_sync::adapters::Adapter;
use contact_sync::model::Outcome;
use serde_json::json;
use testkit::mock_hubspot::Endpoint;
use testkit::portal::Portal;
use testkit::server::Answer;

#[tokio::test]
async fn stored_versions_are_read_in_every_form() {
    let portal = guarded().await;
    let held = [
        "11",
        "10",
        "9.0",
        "soon",
        "4.1E1",
        "1.763633702123E12",
        "9007199254740991",
    ];
    for (at, version) in held.iter().enumerate() {
        portal
            .mock
            .put(Some(&format!("C-{at}")), &[("source_version", version)]);
    }
    portal.mock.put(Some("C-7"), &[("firstname", "Ada")]);
    let found = portal.held(&portal.people(0..=8)).await;
    let [first, second, third] = ["version 11", "version 10", "version 9"];
    let long = "version 1763633702123";
    let last = "version 9007199254740991";
    assert_eq!(
        found,
        [
            first,
            second,
            third,
            "no version",
            "version 41",
            long,
            last,
            "no version",
            "nowhere"
        ]
    );
    assert_eq!(
        (
            portal.mock.count(Endpoint::Read),
            portal.mock.count(Endpoint::Upsert)
        ),
        (1, 0)
    );
    portal.assert_polite();
}

#[tokio::test]
async fn a_guard_without_a_response_knows_no_version() {
    let portal = guarded().await;
    let payloads = portal.people([1, 2, 3]);
    portal.mock.next(Answer::json(
        200,
        &json!({"status": "COMPLETE", "results": []}),
    ));
    assert_eq!(portal.held(&payloads).await, ["isolated NO_RESULT"; 3]);
    let body = json!({"category": "VALIDATION_ERROR", "context": {"ids": ["c-3"]}});
    portal.mock.next(Answer::json(400, &body));
    assert_eq!(
        portal.held(&payloads).await,
        ["refused VALIDATION_ERROR [2]"]
    );
    assert_eq!(portal.mock.contacts().len(), 0);
}

async fn guarded() -> Portal {
    let guard = |settings: &mut contact_sync::adapters::hubspot::Settings| {
        "source_version".clone_into(&mut settings.version_property);
    };
    let portal = Portal::with(|_| {}, guard).await;
    portal.mock.create_property("source_version");
    portal
}

#[tokio::test]
async fn ten_thousand_contacts_take_a_hundred_calls() {
    let portal = Portal::new().await;
    let payloads = portal.people(0..10_000);
    for batch in payloads.chunks(portal.hubspot.limits().upsert) {
        let reply = portal.upsert(batch).await.expect("outcomes");
        assert!(
            reply
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Delivered(None)))
        );
    }
    assert_eq!(
        (
            portal.mock.count(Endpoint::Upsert),
            portal.mock.seen().len()
        ),
        (100, 100)
    );
    assert_eq!(
        (portal.mock.contacts().len(), portal.metrics.api_calls()),
        (10_000, 100)
    );
    portal.assert_polite();
}
