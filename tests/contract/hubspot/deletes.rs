//! Deletes under guard, and the number of calls for ten thousand.

use contact_sync::adapters::Adapter;
use testkit::portal::{Portal, deletion, words};

#[tokio::test]
async fn a_guarded_delete_keeps_newer_data() {
    let guard = |settings: &mut contact_sync::adapters::hubspot::Settings| {
        settings.version_property = "source_version".to_owned();
    };
    let portal = Portal::with(|_| {}, guard).await;
    portal.mock.put(Some("C-1"), &[("source_version", "11")]);
    portal.mock.put(Some("C-2"), &[("source_version", "10")]);
    portal.mock.put(Some("C-3"), &[("source_version", "11")]);
    let mut payloads = ["C-1", "C-2", "C-3"].map(deletion);
    payloads[0].guarded = true;
    payloads[1].guarded = true;
    assert_eq!(
        words(&portal.delete(&payloads).await),
        ["stale", "delivered", "delivered"]
    );
    assert_eq!(
        portal.mock.contacts().into_keys().collect::<Vec<_>>(),
        ["c-1"]
    );
}

#[tokio::test]
async fn ten_thousand_deletes_take_two_hundred_calls() {
    let portal = Portal::new().await;
    for number in 0..10_000 {
        portal.mock.put(Some(&format!("C-{number}")), &[]);
    }
    let payloads: Vec<_> = (0..10_000)
        .map(|number| deletion(&format!("C-{number}")))
        .collect();
    for batch in payloads.chunks(portal.hubspot.limits().delete) {
        assert!(
            words(&portal.delete(batch).await)
                .iter()
                .all(|word| word == "delivered")
        );
    }
    assert_eq!(
        (portal.mock.contacts().len(), portal.mock.seen().len()),
        (0, 200)
    );
    portal.assert_polite();
}
