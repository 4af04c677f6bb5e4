//! Requests to HubSpot, their paths, and the values that it keeps.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::adapters::Adapter;
use contact_sync::adapters::hubspot::Settings;
use contact_sync::model::{Attribute, ContactType, Field};
use testkit::listener::listen;
use testkit::portal::{Portal, person, words};

pub async fn a_contact_is_written_by_both_families_of_paths() {
    for (api_version, path) in [
        ("2026-09", "/crm/objects/2026-09/contacts/batch/upsert"),
        ("v3", "/crm/v3/objects/contacts/batch/upsert"),
    ] {
        let portal =
            Portal::with(|_| {}, |settings| settings.api_version = api_version.into()).await;
        let reply = portal.upsert(&portal.people([1])).await;
        assert_eq!(words(&reply), ["delivered"]);
        assert_eq!(portal.mock.seen()[0].path, path);
        let contact = portal.mock.contact("c-1").expect("it is there");
        let held: Vec<_> = contact
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            held,
            [
                ("email", "p1@example.com"),
                ("firstname", "Person 1"),
                ("lifecyclestage", "customer"),
                ("source_id", "C-1"),
            ]
        );
        portal.assert_polite();
    }
}

pub async fn a_stage_that_hubspot_keeps_is_logged_and_counted_as_delivered() {
    let portal = Portal::new().await;
    portal
        .mock
        .put(Some("C-1"), &[("lifecyclestage", "evangelist")]);
    portal
        .mock
        .put(Some("C-2"), &[("lifecyclestage", "opportunity")]);
    let logs = listen();
    let reply = portal.upsert(&portal.people([1, 2, 3])).await;
    assert_eq!(
        words(&reply),
        ["delivered LIFECYCLE_STAGE_KEPT", "delivered", "delivered"]
    );
    let counted = logs
        .lines()
        .into_iter()
        .filter(|line| line.contains("stages were kept"))
        .collect::<Vec<_>>();
    assert!(
        matches!(&counted[..], [line] if line.starts_with("INFO") && line.contains("count=1")),
        "{counted:?}"
    );
    let stage = |id| {
        portal
            .mock
            .contact(id)
            .and_then(|contact| contact.get("lifecyclestage").cloned())
    };
    assert_eq!(stage("C-1").as_deref(), Some("evangelist"));
    assert_eq!(stage("C-2").as_deref(), Some("customer"));
}

pub async fn folded_stages_leave_the_stage_that_separate_writes_leave() {
    let kinds = [
        ContactType::Vendor,
        ContactType::Customer,
        ContactType::Lead,
    ];
    for first in kinds {
        for second in kinds {
            let portal = Portal::new().await;
            let mut changes = [person(1), person(1)];
            changes[0].contact.kind = Some(first);
            changes[1].contact.kind = Some(second);
            changes[1].contact.first_name = Field::Null;
            for change in &changes {
                words(&portal.upsert(&[portal.payload(change)]).await);
            }
            let one_by_one = portal.mock.contacts();
            let folded = Portal::new().await;
            let mut payload = folded.payload(&changes[0]);
            payload.body = folded.hubspot.transform(&[&changes[0], &changes[1]]).body;
            words(&folded.upsert(&[payload]).await);
            assert_eq!(folded.mock.contacts(), one_by_one, "{first:?} {second:?}");
        }
    }
}

pub async fn every_value_is_sent_as_a_string() {
    let values = [
        ("flag", Attribute::Bool(true)),
        ("seats", Attribute::Number(25.into())),
        ("gone", Attribute::Null),
    ];
    let edit = |settings: &mut Settings| {
        settings.attributes = ["flag", "seats", "gone"]
            .map(|name| (name.to_owned(), format!("{name}_of")))
            .into();
    };
    let portal = Portal::with(|_| {}, edit).await;
    for name in ["flag_of", "seats_of", "gone_of"] {
        portal.mock.create_property(name);
    }
    portal.mock.put(Some("C-1"), &[("gone_of", "still there")]);
    let mut change = person(1);
    change.contact.attributes.values = values.map(|(name, value)| (name.into(), value)).into();
    // The mock refuses values that are no strings, as HubSpot does.
    assert_eq!(
        words(&portal.upsert(&[portal.payload(&change)]).await),
        ["delivered"]
    );
    let contact = portal.mock.contact("C-1").expect("it is there");
    let held = |name: &str| contact.get(name).map(String::as_str);
    assert_eq!(
        (held("flag_of"), held("seats_of"), held("gone_of")),
        (Some("true"), Some("25"), None)
    );
}
