//! Attribution of responses of any order, shape and status to the rows.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::model::{Body, Field, Outcome};
use serde_json::json;
use testkit::listener::listen;
use testkit::mock_hubspot::{Behavior, Endpoint};
use testkit::portal::{Portal, deletion, person, words};
use testkit::server::{Answer, Mangle};
use testkit::words::id;

pub async fn errors_are_read_with_every_2xx() {
    for status in [200, 201, 202, 207] {
        let portal = Portal::new().await;
        portal
            .mock
            .mangle(Mangle::new(move |answer| answer.status = status));
        let mut bad = person(2);
        bad.contact.email = Field::Value("ada@example.con".into());
        let mut payloads = portal.people([1, 2, 3]);
        payloads[1] = portal.payload(&bad);
        let reply = portal.upsert(&payloads).await;
        assert_eq!(
            words(&reply),
            ["delivered", "rejected INVALID_EMAIL", "delivered"],
            "{status}"
        );
        let outcomes = reply.expect("outcomes");
        let Outcome::Rejected(rejection) = &outcomes[1] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(rejection.fields, ["email"]);
        assert!(!rejection.message.contains("ada"), "{}", rejection.message);
        assert_eq!(portal.mock.contacts().len(), 2);
        portal.assert_polite();
    }
}

pub async fn results_in_any_order_are_attributed_by_trace_id_by_key_or_by_number() {
    for (echo_trace_ids, hide_properties) in
        [(false, false), (true, false), (true, true), (false, true)]
    {
        let behavior = |behavior: &mut Behavior| {
            behavior.echo_trace_ids = echo_trace_ids;
            behavior.hide_properties = hide_properties;
        };
        let portal = Portal::with(behavior, |_| {}).await;
        portal
            .mock
            .fail_row("C-2", json!({"category": "VALIDATION_ERROR"}), 1);
        let reply = portal.upsert(&portal.people([1, 2, 3])).await;
        assert_eq!(
            words(&reply),
            ["delivered", "rejected VALIDATION_ERROR", "delivered"]
        );
    }
}

pub async fn results_and_errors_have_to_account_for_every_input() {
    let keyed = |id: &str| json!({"id": "1", "properties": {"source_id": id, "email": null}});
    for (answer, expected) in [
        (
            json!({"status": "COMPLETE", "results": []}),
            ["isolated NO_RESULT", "isolated NO_RESULT"],
        ),
        (
            json!({"status": "COMPLETE"}),
            ["isolated NO_RESULT", "isolated NO_RESULT"],
        ),
        (
            json!({"status": "PENDING", "results": null, "errors": null}),
            ["isolated NO_RESULT", "isolated NO_RESULT"],
        ),
        (
            json!({"results": [keyed("c-2")]}),
            ["isolated NO_RESULT", "delivered"],
        ),
        (
            json!({"results": [keyed("C-9"), keyed("C-8")]}),
            ["halved NO_RESULT", "halved NO_RESULT"],
        ),
        (
            json!({"results": [keyed("C-9"), keyed("c-1")]}),
            ["delivered", "halved NO_RESULT"],
        ),
        (
            json!({"results": [], "errors": [{"category": "VALIDATION_ERROR"}]}),
            ["halved NO_RESULT", "halved NO_RESULT"],
        ),
        (
            json!({"results": [keyed("C-1")], "errors": [{"category": "VALIDATION_ERROR"}]}),
            ["delivered", "rejected VALIDATION_ERROR"],
        ),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(Answer::json(200, &answer));
        let reply = portal.upsert(&portal.people([1, 2])).await;
        assert_eq!(words(&reply), expected, "{answer}");
    }
}

/// Converts a key to another form.
type Form = fn(&str) -> String;

/// Forms of keys in which a portal may return them.
const FORMS: [(&str, Form); 4] = [
    ("composed", |key| key.replace("e\u{308}", "\u{eb}")),
    ("wide", |key| key.replace('1', "\u{ff11}")),
    ("in the other letter case", str::to_uppercase),
    ("with blanks", |key| format!(" {key}\t")),
];

pub async fn a_key_in_another_form_is_attributed_to_its_row() {
    for (form, shown_key) in FORMS {
        let portal = Portal::with(|behavior| behavior.shown_key = shown_key, |_| {}).await;
        let mut payloads = portal.people([1, 2, 3]);
        payloads[1].id = id("Zoe\u{308}-1");
        payloads[1].body = json!({"source_id": "Zoe\u{308}-1", "email": "z@example.com"})
            .as_object()
            .cloned()
            .map(Body::of);
        for batch in [&payloads[..], &payloads[1..2]] {
            assert_eq!(
                words(&portal.upsert(batch).await),
                vec!["delivered"; batch.len()],
                "{form}"
            );
        }
        assert_eq!(portal.mock.count(Endpoint::Upsert), 2, "{form}");
        let gone: Vec<_> = payloads
            .iter()
            .map(|payload| deletion(payload.id.as_str()))
            .collect();
        assert_eq!(
            words(&portal.delete(&gone).await),
            ["delivered"; 3],
            "{form}"
        );
        assert_eq!(portal.mock.contacts().len(), 0, "{form}");
    }
}

pub async fn a_single_result_is_attributed_to_a_single_row_whatever_its_key() {
    let portal = Portal::with(
        |behavior| behavior.shown_key = |_| "another".to_owned(),
        |_| {},
    )
    .await;
    let payloads = portal.people([1, 2]);
    assert_eq!(
        words(&portal.upsert(&payloads).await),
        ["halved NO_RESULT"; 2],
        "the result may be of either row"
    );
    for payload in &payloads {
        assert_eq!(
            words(&portal.upsert(std::slice::from_ref(payload)).await),
            ["delivered"]
        );
    }
}

pub async fn no_response_loses_a_row_or_exposes_a_contact() {
    let person = "p1@example.com";
    let odd = [
        json!(null),
        json!("p1@example.com"),
        json!([[]]),
        json!({"results": {}, "errors": 7}),
        json!({
            "results": [null, [], {"objectWriteTraceId": {}}],
            "errors": [null, [], 3, {"context": []}],
        }),
        json!({
            "results": [{"id": {}, "properties": []}],
            "errors": [{"context": {"ids": {"a": 1}}}],
        }),
        json!({"errors": [{
            "category": person, "message": person, "context": {"propertyName": [person]},
        }]}),
        json!({"errors": [{
            "category": "CONFLICT",
            "context": {"existingId": [person], "objectWriteTraceId": ["0"]},
        }]}),
        json!({"errors": [{
            "message": "Property values were not valid: [{[[[", "context": {"ids": ["c-1"]},
        }]}),
        json!({
            "message": person, "category": person, "policyName": person, "correlationId": person,
        }),
        json!({
            "status": "error", "message": "x already has that value", "errors": [{"in": person}],
        }),
    ];
    let logs = listen();
    let portal = Portal::new().await;
    let payloads = portal.people([1, 2, 3]);
    for status in [
        200, 201, 202, 207, 400, 401, 403, 404, 409, 413, 418, 423, 429, 477, 500, 503,
    ] {
        for body in &odd {
            for endpoint in [Endpoint::Upsert, Endpoint::Read, Endpoint::Archive] {
                portal.mock.next_of(endpoint, Answer::json(status, body));
                let reply = if endpoint == Endpoint::Upsert {
                    portal.upsert(&payloads).await
                } else {
                    portal.mock.put(Some("C-1"), &[]);
                    portal.delete(&[deletion("C-1")]).await
                };
                let count = if endpoint == Endpoint::Upsert {
                    payloads.len()
                } else {
                    1
                };
                assert!(
                    reply
                        .as_ref()
                        .map_or(true, |outcomes| outcomes.len() == count),
                    "{status} {body}"
                );
                let shown = format!("{reply:?} {:?}", words(&reply));
                assert!(!shown.contains("example.com"), "{status} {body}: {shown}");
            }
        }
    }
    let logged = logs.lines().join("\n");
    assert!(
        !logged.contains("example.com") && !logged.contains("Person"),
        "{logged}"
    );
}

pub async fn nulls_in_a_response_are_ignored() {
    let nothing =
        json!({"id": null, "properties": null, "objectWriteTraceId": null, "archived": null});
    let properties = json!({"source_id": "c-1", "email": null, "lifecyclestage": null});
    let keyed = json!({
        "id": null, "new": null, "properties": properties, "createdAt": null,
        "objectWriteTraceId": null,
    });
    let refused = json!({
        "status": null, "message": null, "category": null, "subCategory": null, "errors": [null],
        "context": {"objectWriteTraceId": ["1"], "ids": null}, "links": null,
    });
    for (results, errors, expected) in [
        (
            json!([keyed, null, nothing]),
            json!([refused]),
            ["delivered", "isolated NO_CODE"],
        ),
        (
            json!([keyed]),
            json!([null]),
            ["delivered", "halved NO_RESULT"],
        ),
        (
            json!([keyed, nothing]),
            json!(null),
            ["delivered", "isolated NO_RESULT"],
        ),
        (
            json!(null),
            json!(null),
            ["isolated NO_RESULT", "isolated NO_RESULT"],
        ),
    ] {
        let portal = Portal::new().await;
        let body = json!({
            "status": null, "results": results, "errors": errors, "numErrors": null,
            "startedAt": null,
        });
        portal.mock.next(Answer::json(207, &body));
        assert_eq!(
            words(&portal.upsert(&portal.people([1, 2])).await),
            expected,
            "{body}"
        );
    }
}
