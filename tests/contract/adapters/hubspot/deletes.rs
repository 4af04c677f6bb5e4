//! Deletes of contacts: a look-up by our key, an archive by HubSpot's.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::adapters::Adapter;
use serde_json::json;
use testkit::mock_hubspot::Endpoint;
use testkit::portal::{Portal, deletion, words};
use testkit::server::{Answer, Reply};

pub async fn a_contact_is_deleted_by_a_read_and_an_archive_and_an_unknown_one_is_a_success() {
    for api_version in ["2026-09", "v3"] {
        let portal =
            Portal::with(|_| {}, |settings| settings.api_version = api_version.into()).await;
        words(&portal.upsert(&portal.people([1, 2])).await);
        let reply = portal.delete(&[deletion("c-1"), deletion("C-9")]).await;
        assert_eq!(words(&reply), ["delivered", "delivered ALREADY_GONE"]);
        assert_eq!(
            portal.mock.contacts().into_keys().collect::<Vec<_>>(),
            ["c-2"]
        );
        assert_eq!(
            (
                portal.mock.count(Endpoint::Read),
                portal.mock.count(Endpoint::Archive)
            ),
            (1, 1)
        );
        portal.assert_polite();
    }
}

pub async fn a_delete_of_unknown_contacts_takes_one_call() {
    let portal = Portal::new().await;
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        ["delivered ALREADY_GONE"]
    );
    assert_eq!(portal.mock.count(Endpoint::Archive), 0);
}

pub async fn a_look_up_without_results_may_be_a_404() {
    let unnamed = json!({
        "status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects",
    });
    let named =
        json!({"status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": ["c-1"]}});
    for (body, expected) in [
        (
            unnamed,
            ["delivered ALREADY_GONE", "delivered ALREADY_GONE"],
        ),
        (named, ["delivered ALREADY_GONE", "isolated NO_RESULT"]),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(Answer::json(404, &body));
        assert_eq!(
            words(&portal.delete(&[deletion("C-1"), deletion("C-2")]).await),
            expected
        );
    }
}

pub async fn a_contact_that_the_look_up_leaves_out_does_not_count_as_deleted() {
    let portal = Portal::new().await;
    words(&portal.upsert(&portal.people([1, 2])).await);
    portal.mock.next(Answer::json(
        200,
        &json!({"status": "COMPLETE", "results": [
            {"id": "50001", "properties": {"source_id": "C-1"}},
            {"id": "not-a-number", "properties": {"source_id": "C-2"}},
        ]}),
    ));
    let reply = portal
        .delete(&[deletion("C-1"), deletion("C-2"), deletion("C-3")])
        .await;
    assert_eq!(
        words(&reply),
        ["delivered", "isolated NO_RESULT", "isolated NO_RESULT"]
    );
    assert_eq!(
        portal.mock.contacts().into_keys().collect::<Vec<_>>(),
        ["c-2"]
    );
}

pub async fn a_contact_that_is_found_under_another_key_is_not_archived() {
    let portal = Portal::with(|behavior| behavior.shown_key = |_| "c-9".to_owned(), |_| {}).await;
    words(&portal.upsert(&portal.people([1])).await);
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        ["isolated NO_RESULT"]
    );
    assert_eq!(
        (
            portal.mock.count(Endpoint::Archive),
            portal.mock.contacts().len()
        ),
        (0, 1)
    );
}

pub async fn an_archive_has_the_outcomes_that_its_response_reports() {
    let not_found = |ids: &[&str]| json!({"category": "OBJECT_NOT_FOUND", "context": {"ids": ids}});
    let locked = |ids: &[&str]| json!({"category": "VALIDATION_ERROR", "context": {"ids": ids}});
    for (answer, expected) in [
        (
            Answer::json(200, &json!({"status": "COMPLETE"})),
            vec!["delivered", "delivered"],
        ),
        (
            Answer::json(
                207,
                &json!({"status": "COMPLETE", "errors": [not_found(&["50001"])]}),
            ),
            vec!["delivered ALREADY_GONE", "delivered"],
        ),
        (
            Answer::json(
                207,
                &json!({"status": "COMPLETE", "errors": [locked(&["50002"])]}),
            ),
            vec!["delivered", "rejected VALIDATION_ERROR"],
        ),
        (
            Answer::json(207, &json!({"status": "COMPLETE", "errors": [locked(&[])]})),
            vec!["halved NO_RESULT", "halved NO_RESULT"],
        ),
        (
            Answer::json(207, &json!({"status": "COMPLETE", "errors": [null]})),
            vec!["halved NO_RESULT", "halved NO_RESULT"],
        ),
        (
            Answer::json(404, &not_found(&["50001"])),
            vec!["delivered ALREADY_GONE", "isolated NO_RESULT"],
        ),
        (
            Answer::json(404, &not_found(&["50001", "50002"])),
            vec!["delivered ALREADY_GONE"; 2],
        ),
        (
            Answer::json(404, &not_found(&[])),
            vec!["halved NO_RESULT", "halved NO_RESULT"],
        ),
        (
            Answer::json(
                404,
                &json!({"status": "error", "message": "resource not found"}),
            ),
            vec!["stop configuration HTTP_404"],
        ),
        (Answer::html(404, "<html>"), vec!["retry HTTP_404"]),
        (Answer::empty(404), vec!["retry HTTP_404"]),
        (
            Answer::json(200, &json!({"status": "PENDING"})),
            vec!["isolated NO_RESULT", "isolated NO_RESULT"],
        ),
        (Answer::html(200, "<html>"), vec!["retry UNREADABLE_ANSWER"]),
        (Answer::empty(202), vec!["retry UNREADABLE_ANSWER"]),
        (
            Answer::json(400, &locked(&["50002"])),
            vec!["refused VALIDATION_ERROR [1]"],
        ),
        (Answer::empty(503), vec!["retry HTTP_503 after 3s"]),
    ] {
        let portal = Portal::new().await;
        words(&portal.upsert(&portal.people([2, 1])).await);
        portal.mock.next_of(Endpoint::Archive, answer.clone());
        let reply = portal.delete(&[deletion("C-2"), deletion("C-1")]).await;
        assert_eq!(words(&reply), expected, "{answer:?}");
    }
}

pub async fn a_contact_deleted_before_its_archive_counts_as_gone() {
    let portal = Portal::new().await;
    words(&portal.upsert(&portal.people([1])).await);
    let body = json!({
        "status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not find some objects",
    });
    portal
        .mock
        .next_of(Endpoint::Archive, Answer::json(404, &body));
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        ["delivered ALREADY_GONE"]
    );
}

pub async fn a_delete_without_a_response_succeeds_when_repeated() {
    let portal = Portal::new().await;
    words(&portal.upsert(&portal.people([1])).await);
    portal.mock.next_of(Endpoint::Archive, Reply::Reset);
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        ["retry CONNECTION_FAILED"]
    );
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        ["delivered"]
    );
    portal.mock.lose_answers(1);
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        ["retry CONNECTION_FAILED"]
    );
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        ["delivered ALREADY_GONE"]
    );
}

pub async fn a_hundred_deletes_take_two_calls_and_no_call_carries_more() {
    for batch_size in [100, 5_000] {
        let portal = Portal::with(|_| {}, |settings| settings.batch_size = batch_size).await;
        let most = portal.hubspot.limits().delete;
        let ids: Vec<_> = (0..most).map(|number| format!("C-{number}")).collect();
        for id in &ids {
            drop(portal.mock.put(Some(id), &[]));
        }
        let payloads: Vec<_> = ids.iter().map(|id| deletion(id)).collect();
        assert_eq!(words(&portal.delete(&payloads).await), ["delivered"; 100]);
        let calls: Vec<_> = portal
            .mock
            .seen()
            .iter()
            .map(|seen| (seen.endpoint, seen.ids.len()))
            .collect();
        assert_eq!(calls, [(Endpoint::Read, 100), (Endpoint::Archive, 100)]);
        portal.assert_polite();
    }
}
