//! Writes under guard, and what ten thousand cost.

use contact_sync::adapters::{Adapter, Outcome};
use serde_json::json;

use crate::portal::{Portal, words};
use crate::support::mock_hubspot::Endpoint;
use crate::support::server::Answer;

#[tokio::test]
async fn a_guarded_change_does_not_overwrite_newer_data() {
    let guard = |settings: &mut contact_sync::adapters::hubspot::Settings| {
        settings.version_property = "source_version".to_owned();
    };
    let portal = Portal::with(|_| {}, guard).await;
    portal.mock.create_property("source_version");
    for (id, version) in [("C-1", "11"), ("C-2", "10"), ("C-3", "9.0"), ("C-4", "soon")] {
        portal.mock.put(Some(id), &[("source_version", version)]);
    }
    portal.mock.put(Some("C-6"), &[("source_version", "11")]);
    let mut payloads = portal.people(1..=6);
    payloads.iter_mut().take(5).for_each(|payload| payload.guarded = true);
    let reply = portal.upsert(&payloads).await;
    assert_eq!(words(&reply), ["stale", "delivered", "delivered", "delivered", "delivered", "delivered"]);
    assert_eq!((portal.mock.count(Endpoint::Read), portal.mock.count(Endpoint::Upsert)), (1, 1));
    let version = |id| portal.mock.contact(id).and_then(|contact| contact.get("source_version").cloned());
    assert_eq!((version("C-1").as_deref(), version("C-6").as_deref()), (Some("11"), Some("10")));

    let stale = &payloads[..1];
    assert_eq!(words(&portal.upsert(stale).await), ["stale"]);
    assert_eq!(portal.mock.count(Endpoint::Upsert), 1, "nothing is left to write");
    portal.assert_polite();
}

#[tokio::test]
async fn a_guard_that_gets_no_answer_writes_nothing() {
    let guard = |settings: &mut contact_sync::adapters::hubspot::Settings| {
        settings.version_property = "source_version".to_owned();
    };
    let portal = Portal::with(|_| {}, guard).await;
    portal.mock.create_property("source_version");
    let mut payloads = portal.people([1, 2, 3]);
    payloads[1].guarded = true;
    payloads[2].guarded = true;
    portal.mock.next(Answer::json(200, &json!({"status": "COMPLETE", "results": []})));
    let reply = portal.upsert(&payloads).await;
    assert_eq!(words(&reply), ["delivered", "isolated UNACCOUNTED", "isolated UNACCOUNTED"]);
    assert_eq!(portal.mock.contacts().len(), 1);

    let body = json!({"category": "VALIDATION_ERROR", "context": {"ids": ["c-3"]}});
    portal.mock.next(Answer::json(400, &body));
    assert_eq!(words(&portal.upsert(&payloads).await), ["refused VALIDATION_ERROR [2]"]);
}

#[tokio::test]
async fn ten_thousand_contacts_take_a_hundred_calls() {
    let portal = Portal::new().await;
    let payloads = portal.people(0..10_000);
    for batch in payloads.chunks(portal.hubspot.limits().upsert) {
        let reply = portal.upsert(batch).await.expect("outcomes");
        assert!(reply.iter().all(|outcome| matches!(outcome, Outcome::Delivered(None))));
    }
    assert_eq!((portal.mock.count(Endpoint::Upsert), portal.mock.seen().len()), (100, 100));
    assert_eq!((portal.mock.contacts().len(), portal.meter.api_calls()), (10_000, 100));
    portal.assert_polite();
}
