//! The adapter behind the real dispatcher: what becomes of each record in the end, and what it costs in calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use contact_sync::adapters::Adapter;
use contact_sync::adapters::hubspot::Settings;
use contact_sync::contact::{Attribute, ContactChange, Operation};
use serde_json::json;

use crate::portal::{Portal, person};
use crate::support::dispatching::{count, fates, fates_of};
use crate::support::mock_hubspot::Endpoint;
use crate::support::server::{Answer, Reply};

/// Sends changes of distinct contacts to their end; gives how often each fate occurs.
async fn dispatch(portal: &Portal, changes: Vec<ContactChange>) -> BTreeMap<String, usize> {
    let adapter: Arc<dyn Adapter> = Arc::clone(&portal.hubspot) as _;
    count(&fates_of(&adapter, &portal.meter, &changes).await)
}

fn people(count: usize) -> Vec<ContactChange> {
    (0..count).map(person).collect()
}

#[tokio::test]
async fn one_poison_input_in_a_full_batch_costs_one_input_and_at_most_16_calls_more() {
    for culprit in [0, 1, 37, 50, 99] {
        let portal = Portal::new().await;
        portal.mock.poison(&format!("C-{culprit}"));
        let expected = fates([("delivered", 99), ("rejected CONFLICT", 1)]);
        assert_eq!(dispatch(&portal, people(100)).await, expected, "{culprit}");
        let calls = portal.mock.count(Endpoint::Upsert);
        assert!(calls <= 17, "{culprit}: {calls} calls");
        portal.assert_polite();
    }
}

#[tokio::test]
async fn ten_thousand_contacts_come_and_go_in_a_hundred_and_two_hundred_calls() {
    let portal = Portal::new().await;
    assert_eq!(dispatch(&portal, people(10_000)).await, fates([("delivered", 10_000)]));
    assert_eq!((portal.mock.seen().len(), portal.mock.contacts().len()), (100, 10_000));
    let mut gone = people(10_000);
    gone.iter_mut().for_each(|change| change.operation = Operation::Delete);
    assert_eq!(dispatch(&portal, gone).await, fates([("delivered", 10_000)]));
    assert_eq!((portal.mock.seen().len(), portal.mock.contacts().len()), (300, 0));
    portal.assert_polite();
}

#[tokio::test]
async fn passing_trouble_delays_and_loses_nothing() {
    let silent = Answer::json(200, &json!({"status": "COMPLETE", "results": []}));
    let unnamed = Answer::json(207, &json!({"results": [], "errors": [{"category": "VALIDATION_ERROR"}]}));
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
        assert_eq!(dispatch(&portal, people(250)).await, fates([("delivered", 250)]), "{reply:?}");
        assert_eq!(portal.mock.contacts().len(), 250);
    }
}

#[tokio::test]
async fn a_429_without_a_word_is_no_outage() {
    let portal = Portal::new().await;
    // More than the breaker takes for an outage, one after the other.
    (0..9).for_each(|_| portal.mock.next(Answer::empty(429)));
    assert_eq!(dispatch(&portal, people(1_000)).await, fates([("delivered", 1_000)]));
    assert_eq!(portal.mock.count(Endpoint::Upsert), 19);
}

#[tokio::test]
async fn an_error_that_names_nobody_finds_its_row_in_the_end() {
    // Results without a key do not tell either who is missing: the batch is halved until its row is alone.
    let portal = Portal::with(|habits| habits.hide_properties = true, |_| {}).await;
    portal.mock.fail_unnamed("C-5", json!({"category": "VALIDATION_ERROR"}));
    let expected = fates([("delivered", 99), ("rejected VALIDATION_ERROR", 1)]);
    assert_eq!(dispatch(&portal, people(100)).await, expected);
    let calls = portal.mock.count(Endpoint::Upsert);
    assert!(calls <= 15, "{calls} calls");
    portal.assert_polite();
}

#[tokio::test]
async fn a_write_whose_own_first_try_is_in_its_way_is_delivered() {
    let portal = Portal::new().await;
    let message = "Cannot set PropertyValueCoordinates{propertyName=source_id, value=C-1} on 11. 22 already has that \
        value.";
    portal.mock.next(Reply::Reset);
    portal.mock.next(Answer::json(400, &json!({"category": "VALIDATION_ERROR", "message": message})));
    assert_eq!(dispatch(&portal, vec![person(1)]).await, fates([("delivered", 1)]));
    assert_eq!(portal.mock.count(Endpoint::Upsert), 3);
}

#[tokio::test]
async fn contacts_that_vanish_before_their_archive_are_gone() {
    let portal = Portal::new().await;
    let mut gone = people(5);
    assert_eq!(dispatch(&portal, gone.clone()).await, fates([("delivered", 5)]));
    gone.iter_mut().for_each(|change| change.operation = Operation::Delete);
    let body = json!({"status": "error", "category": "OBJECT_NOT_FOUND"});
    portal.mock.next_of(Endpoint::Archive, Answer::json(404, &body));
    assert_eq!(dispatch(&portal, gone).await, fates([("delivered", 5)]));
    assert_eq!(portal.mock.contacts().len(), 0);
    portal.assert_polite();
}

#[tokio::test]
async fn a_refused_token_or_scope_rejects_nobody() {
    let portal = Portal::new().await;
    portal.mock.rotate_token("pat-mock-2");
    let expected = fates([("failed INVALID_AUTHENTICATION", 250)]);
    assert_eq!(dispatch(&portal, people(250)).await, expected);
    assert!(portal.mock.refused_tokens() <= 4, "only what was under way already");

    let portal = Portal::new().await;
    portal.mock.next(Answer::json(403, &json!({"category": "MISSING_SCOPES"})));
    assert_eq!(dispatch(&portal, people(50)).await, fates([("failed MISSING_SCOPES", 50)]));
}

/// Where HubSpot judges the batch as one, in spite of the trace ids, those without the property go again in two halves.
#[tokio::test]
async fn a_property_that_some_contacts_have_fails_them_alone_and_costs_two_calls_at_most() {
    let plan = |settings: &mut Settings| drop(settings.attributes.insert("plan".to_owned(), "plan_name".to_owned()));
    for (judges_as_one, calls) in [(false, 1), (true, 3)] {
        let portal = Portal::with(|habits| habits.judges_as_one = judges_as_one, plan).await;
        let mut changes = people(100);
        for number in [0, 1, 49, 98] {
            changes[number].contact.attributes.values = [("plan".into(), Attribute::Text("team".into()))].into();
        }
        let expected = fates([("delivered", 96), ("failed PROPERTY_DOESNT_EXIST", 4)]);
        assert_eq!(dispatch(&portal, changes).await, expected, "{judges_as_one}");
        assert_eq!((portal.mock.count(Endpoint::Upsert), portal.meter.config_errors()), (calls, 1));
        portal.assert_polite();
    }
}
