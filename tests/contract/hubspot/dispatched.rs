//! The adapter behind the real dispatcher: the fate of each record, and the number of calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use contact_sync::adapters::hubspot::Settings;
use contact_sync::model::{Attribute, ContactChange, Field, Operation};
use serde_json::json;
use testkit::dispatching::{count, dispatcher_of, fates, fates_by, fates_of};
use testkit::listener::listen;
use testkit::mock_hubspot::Endpoint;
use testkit::portal::{Portal, person};
use testkit::server::{Answer, Reply};
use testkit::words::id;

/// Sends changes of distinct contacts until each has a fate. Returns how often each fate occurs.
async fn dispatch(portal: &Portal, changes: Vec<ContactChange>) -> BTreeMap<String, usize> {
    let adapter: Arc<dyn Adapter> = Arc::clone(&portal.hubspot) as _;
    count(&fates_of(&adapter, &portal.metrics, &changes).await)
}

fn people(count: usize) -> Vec<ContactChange> {
    (0..count).map(person).collect()
}

#[tokio::test]
async fn one_offending_input_in_a_full_batch_costs_at_most_16_more_calls() {
    for offender in [0, 1, 37, 50, 99] {
        let portal = Portal::new().await;
        portal.mock.fail_batches_with(&format!("C-{offender}"));
        let expected = fates([("delivered", 99), ("rejected VALIDATION_ERROR", 1)]);
        assert_eq!(dispatch(&portal, people(100)).await, expected, "{offender}");
        let calls = portal.mock.count(Endpoint::Upsert);
        assert!(calls <= 17, "{offender}: {calls} calls");
        portal.assert_polite();
    }
}

#[tokio::test]
async fn ten_thousand_contacts_are_written_in_a_hundred_calls_and_deleted_in_two_hundred() {
    let portal = Portal::new().await;
    assert_eq!(
        dispatch(&portal, people(10_000)).await,
        fates([("delivered", 10_000)])
    );
    assert_eq!(
        (portal.mock.seen().len(), portal.mock.contacts().len()),
        (100, 10_000)
    );
    let mut gone = people(10_000);
    for change in &mut gone {
        change.operation = Operation::Delete;
    }
    assert_eq!(
        dispatch(&portal, gone).await,
        fates([("delivered", 10_000)])
    );
    assert_eq!(
        (portal.mock.seen().len(), portal.mock.contacts().len()),
        (300, 0)
    );
    portal.assert_polite();
}

#[tokio::test]
async fn passing_failures_lose_no_record() {
    let silent = Answer::json(200, &json!({"status": "COMPLETE", "results": []}));
    let unnamed = Answer::json(
        207,
        &json!({"results": [], "errors": [{"category": "VALIDATION_ERROR"}]}),
    );
    for reply in [
        Reply::Answer(silent.clone()),
        Reply::Answer(unnamed),
        Reply::Cut(silent),
        Reply::Reset,
        Reply::Answer(Answer::html(502, "<html>")),
        Reply::Answer(Answer::empty(423)),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(reply.clone());
        assert_eq!(
            dispatch(&portal, people(250)).await,
            fates([("delivered", 250)]),
            "{reply:?}"
        );
        assert_eq!(portal.mock.contacts().len(), 250);
    }
}

#[tokio::test]
async fn a_429_without_a_body_is_no_outage() {
    let portal = Portal::new().await;
    // More failures in succession than the breaker accepts.
    for _ in 0..9 {
        portal.mock.next(Answer::empty(429));
    }
    assert_eq!(
        dispatch(&portal, people(1_000)).await,
        fates([("delivered", 1_000)])
    );
    assert_eq!(portal.mock.count(Endpoint::Upsert), 19);
}

#[tokio::test]
async fn an_error_that_names_no_row_is_bisected_to_its_row() {
    // Results without a key do not identify the missing row either: the batch is bisected until its
    // row is alone.
    let portal = Portal::with(|behavior| behavior.hide_properties = true, |_| {}).await;
    portal
        .mock
        .fail_unnamed("C-5", json!({"category": "VALIDATION_ERROR"}));
    let expected = fates([("delivered", 99), ("rejected VALIDATION_ERROR", 1)]);
    assert_eq!(dispatch(&portal, people(100)).await, expected);
    let calls = portal.mock.count(Endpoint::Upsert);
    assert!(calls <= 15, "{calls} calls");
    portal.assert_polite();
}

#[tokio::test]
async fn a_write_that_clashes_with_its_own_first_try_is_delivered() {
    let portal = Portal::new().await;
    let message = "Cannot set PropertyValueCoordinates{propertyName=source_id, value=C-1} on 11. \
        22 already has that value.";
    portal.mock.next(Reply::Reset);
    portal.mock.next(Answer::json(
        400,
        &json!({"category": "VALIDATION_ERROR", "message": message}),
    ));
    assert_eq!(
        dispatch(&portal, vec![person(1)]).await,
        fates([("delivered", 1)])
    );
    assert_eq!(portal.mock.count(Endpoint::Upsert), 3);
}

/// Relies on a second try: HubSpot validates each row against the records that exist before the
/// batch.
#[tokio::test]
async fn an_address_that_one_contact_gives_to_another_is_written_to_both() {
    let portal = Portal::new().await;
    portal
        .mock
        .put(Some("C-1"), &[("email", "shared@example.com")]);
    portal
        .mock
        .put(Some("C-2"), &[("email", "two@example.com")]);
    let mut changes = [person(1), person(2)];
    changes[0].contact.email = Field::Value("new@example.com".into());
    changes[1].contact.email = Field::Value("shared@example.com".into());
    assert_eq!(
        dispatch(&portal, changes.to_vec()).await,
        fates([("delivered", 2)])
    );
    let email = |id| {
        portal
            .mock
            .contact(id)
            .and_then(|contact| contact.get("email").cloned())
    };
    assert_eq!(email("C-1").as_deref(), Some("new@example.com"));
    assert_eq!(email("C-2").as_deref(), Some("shared@example.com"));
    assert_eq!(portal.mock.count(Endpoint::Upsert), 2);
}

#[tokio::test]
async fn a_page_of_the_network_stops_no_destination() {
    let page = "<html><head><title>403 Forbidden</title></head></html>";
    for status in [400, 401, 403, 404, 405, 407, 409, 410, 422, 451, 520, 530] {
        for answer in [
            Answer::html(status, page),
            Answer::empty(status),
            Answer::json(status, &json!({"message": "No"})),
        ] {
            let portal = Portal::new().await;
            let logs = listen();
            portal.mock.next(answer);
            assert_eq!(
                dispatch(&portal, people(5)).await,
                fates([("delivered", 5)]),
                "{status}"
            );
            assert_eq!(
                (
                    portal.mock.count(Endpoint::Upsert),
                    portal.metrics.config_errors()
                ),
                (2, 0),
                "{status}"
            );
            assert_eq!(logs.at("ERROR"), Vec::<String>::new(), "{status}");
        }
    }
}

#[tokio::test]
async fn a_key_in_another_form_costs_at_most_one_more_call() {
    for (shown_key, calls) in [
        (
            (|key| key.replace("e\u{308}", "\u{eb}")) as fn(&str) -> String,
            1,
        ),
        (|key| key.replace("Zo", "So"), 2),
    ] {
        let portal = Portal::with(|behavior| behavior.shown_key = shown_key, |_| {}).await;
        let mut changes = people(100);
        changes[50].contact.id = id("Zoe\u{308}-1");
        assert_eq!(
            dispatch(&portal, changes).await,
            fates([("delivered", 100)])
        );
        assert_eq!(
            (
                portal.mock.count(Endpoint::Upsert),
                portal.mock.contacts().len()
            ),
            (calls, 100)
        );
    }
}

#[tokio::test]
async fn a_missing_property_of_the_mapping_fails_no_other_call() {
    let portal = Portal::new().await;
    portal.mock.remove_property("mobilephone");
    let adapter: Arc<dyn Adapter> = Arc::clone(&portal.hubspot) as _;
    let dispatcher = dispatcher_of(&adapter);
    let mut bad = person(1);
    bad.contact.mobile_phone = Field::Value("+44 20 7946 0001".into());
    for (change, expected) in [
        (bad.clone(), "failed PROPERTY_DOESNT_EXIST"),
        (person(2), "delivered"),
        (bad, "failed PROPERTY_DOESNT_EXIST"),
    ] {
        let time = Duration::from_secs(30);
        assert_eq!(
            fates_by(&dispatcher, &portal.metrics, &[change], time).await,
            [expected]
        );
    }
    assert_eq!(
        (
            portal.mock.count(Endpoint::Upsert),
            portal.metrics.config_errors()
        ),
        (3, 2)
    );
}

#[tokio::test]
async fn contacts_deleted_before_their_archive_count_as_gone() {
    let portal = Portal::new().await;
    let mut gone = people(5);
    assert_eq!(
        dispatch(&portal, gone.clone()).await,
        fates([("delivered", 5)])
    );
    for change in &mut gone {
        change.operation = Operation::Delete;
    }
    let body = json!({"status": "error", "category": "OBJECT_NOT_FOUND"});
    portal
        .mock
        .next_of(Endpoint::Archive, Answer::json(404, &body));
    assert_eq!(dispatch(&portal, gone).await, fates([("delivered", 5)]));
    assert_eq!(portal.mock.contacts().len(), 0);
    portal.assert_polite();
}

#[tokio::test]
async fn a_refused_token_or_scope_rejects_no_record() {
    let portal = Portal::new().await;
    portal.mock.rotate_token("pat-mock-2");
    let expected = fates([("failed INVALID_AUTHENTICATION", 250)]);
    assert_eq!(dispatch(&portal, people(250)).await, expected);
    assert!(
        portal.mock.refused_tokens() <= 4,
        "only calls that were in flight"
    );

    let portal = Portal::new().await;
    portal
        .mock
        .next(Answer::json(403, &json!({"category": "MISSING_SCOPES"})));
    assert_eq!(
        dispatch(&portal, people(50)).await,
        fates([("failed MISSING_SCOPES", 50)])
    );
}

/// Checks batches that HubSpot refuses as a whole too, in spite of the trace ids: the records
/// without the property are sent again in two halves.
#[tokio::test]
async fn a_missing_property_of_some_contacts_fails_only_them_and_costs_at_most_two_more_calls() {
    let plan = |settings: &mut Settings| {
        drop(
            settings
                .attributes
                .insert("plan".to_owned(), "plan_name".to_owned()),
        );
    };
    for (refuses_as_one, calls) in [(false, 1), (true, 3)] {
        let portal = Portal::with(|behavior| behavior.judges_as_one = refuses_as_one, plan).await;
        let mut changes = people(100);
        for number in [0, 1, 49, 98] {
            changes[number].contact.attributes.values =
                [("plan".into(), Attribute::Text("team".into()))].into();
        }
        let expected = fates([("delivered", 96), ("failed PROPERTY_DOESNT_EXIST", 4)]);
        assert_eq!(
            dispatch(&portal, changes).await,
            expected,
            "{refuses_as_one}"
        );
        assert_eq!(
            (
                portal.mock.count(Endpoint::Upsert),
                portal.metrics.config_errors()
            ),
            (calls, 1)
        );
        portal.assert_polite();
    }
}
