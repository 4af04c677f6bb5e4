//! Refused credentials, limits, outages, and answers that are none.

use std::sync::Arc;

use contact_sync::adapters::http;
use contact_sync::adapters::hubspot::HubSpot;
use contact_sync::secrets::{Secret, SecretSource};
use serde_json::json;

use crate::portal::{Portal, deletion, settings, words};
use crate::support::mock_hubspot::{Endpoint, limited};
use crate::support::server::{Answer, Reply};

#[tokio::test]
async fn a_rotated_token_is_found_without_a_restart() {
    let portal = Portal::new().await;
    assert_eq!(words(&portal.upsert(&portal.people([1])).await), ["delivered"]);
    portal.mock.rotate_token("pat-mock-2");
    portal.write_secret(r#"{"access_token": " pat-mock-2\n"}"#);
    assert_eq!(words(&portal.upsert(&portal.people([2])).await), ["delivered"]);
    assert_eq!((portal.mock.refused_tokens(), portal.mock.contacts().len()), (1, 2));
    portal.assert_polite();
}

#[tokio::test]
async fn a_token_that_stays_refused_stops_the_destination_and_rejects_nobody() {
    let portal = Portal::new().await;
    portal.mock.rotate_token("pat-mock-2");
    for _ in 0..2 {
        let expected = ["stop credential INVALID_AUTHENTICATION"];
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), expected);
        assert_eq!(words(&portal.delete(&[deletion("C-1")]).await), expected);
    }
    assert_eq!(portal.mock.refused_tokens(), 4, "the same token is not tried again");
    portal.write_secret(r#"{"access_token": "pat-mock-3"}"#);
    words(&portal.upsert(&portal.people([1])).await);
    assert_eq!(portal.mock.refused_tokens(), 5, "the secret is not read again within 30 seconds");
}

#[tokio::test]
async fn a_new_token_that_is_refused_too_is_tried_once() {
    let portal = Portal::new().await;
    words(&portal.upsert(&portal.people([1])).await);
    portal.mock.rotate_token("pat-mock-3");
    portal.write_secret(r#"{"access_token": "pat-mock-2"}"#);
    let reply = portal.upsert(&portal.people([1])).await;
    assert_eq!(words(&reply), ["stop credential INVALID_AUTHENTICATION"]);
    assert_eq!(portal.mock.refused_tokens(), 2);
}

#[tokio::test]
async fn a_secret_without_a_token_stops_the_destination_until_it_is_repaired() {
    for text in ["", "pat-mock-1", "{}", r#"{"access_token": ""}"#, r#"{"access_token": "a\u0000b"}"#] {
        let portal = Portal::new().await;
        portal.write_secret(text);
        let reply = portal.upsert(&portal.people([1])).await;
        assert_eq!(words(&reply), ["stop credential SECRET_MALFORMED"], "{text}");
        assert_eq!(portal.mock.seen().len(), 0);
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_stops_the_destination() {
    let portal = Portal::new().await;
    let secret = Secret::new(SecretSource::File("/nowhere/at/all".into()));
    let client = http::client().expect("a client");
    let settings = settings(portal.server.url());
    let portal = Portal { hubspot: Arc::new(HubSpot::new(&settings, client, Arc::new(secret))), ..portal };
    let reply = portal.upsert(&portal.people([1])).await;
    assert_eq!(words(&reply), ["stop credential SECRET_UNREADABLE"]);
}

#[tokio::test]
async fn whole_answers_stop_or_wait_and_reject_nobody() {
    let scopes = json!({"status": "error", "category": "MISSING_SCOPES", "correlationId": "c",
        "errors": [{"message": "…", "context": {"requiredGranularScopes": ["crm.objects.contacts.write"]}}]});
    let page = "<html><body>Bad gateway</body></html>";
    for (answer, expected) in [
        (Answer::json(403, &scopes), "stop configuration MISSING_SCOPES"),
        (Answer::html(403, page), "stop configuration HTTP_403"),
        (Answer::empty(477).with_header("retry-after", 7200), "stop unavailable HTTP_477"),
        (limited("DAILY", "daily"), "stop quota DAILY"),
        (limited("SECONDLY", "secondly"), "throttled SECONDLY after 1s"),
        (limited("TEN_SECONDLY_ROLLING", "ten_secondly_rolling"), "throttled TEN_SECONDLY_ROLLING after 10s"),
        (
            limited("TEN_SECONDLY_ROLLING", "ten_secondly_rolling")
                .with_header("x-hubspot-ratelimit-interval-milliseconds", 3000),
            "throttled TEN_SECONDLY_ROLLING after 3s",
        ),
        (Answer::empty(423), "throttled HTTP_423 after 2s"),
        (Answer::html(502, page), "retry HTTP_502 after 3s"),
        (Answer::html(524, page), "retry HTTP_524 after 3s"),
        (Answer::html(500, page), "retry HTTP_500"),
        (Answer::html(400, page), "retry HTTP_400"),
        (Answer::html(200, page), "retry UNREADABLE_ANSWER"),
        (Answer::empty(204), "retry UNREADABLE_ANSWER"),
        (Answer::json(200, &json!([])), "retry UNREADABLE_ANSWER"),
        (Answer::empty(301).with_header("location", "http://127.0.0.1:9/"), "stop configuration HTTP_301"),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(answer.clone());
        assert_eq!(words(&portal.upsert(&portal.people([1, 2])).await), [expected], "{answer:?}");
        portal.mock.next(answer.clone());
        assert_eq!(words(&portal.delete(&[deletion("C-1")]).await), [expected], "{answer:?}");
        assert_eq!(words(&portal.upsert(&portal.people([1, 2])).await), ["delivered", "delivered"]);
    }
}

#[tokio::test]
async fn an_unknown_path_is_our_settings_fault() {
    let portal = Portal::with(|_| {}, |settings| settings.api_version = "2019-03".to_owned()).await;
    assert_eq!(words(&portal.upsert(&portal.people([1])).await), ["stop configuration HTTP_404"]);
}

#[tokio::test]
async fn broken_connections_are_tried_again_and_nothing_is_doubled() {
    let portal = Portal::new().await;
    let payloads = portal.people([1, 2]);
    portal.mock.lose_answers(1);
    assert_eq!(words(&portal.upsert(&payloads).await), ["retry CONNECTION_FAILED"]);
    assert_eq!(portal.mock.contacts().len(), 2, "it was carried out");
    let answer = Answer::json(200, &json!({"status": "COMPLETE", "results": []}));
    for reply in [Reply::Reset, Reply::Cut(answer)] {
        portal.mock.next(reply);
        assert_eq!(words(&portal.upsert(&payloads).await), ["retry CONNECTION_FAILED"]);
    }
    assert_eq!(words(&portal.upsert(&payloads).await), ["delivered", "delivered"]);
    assert_eq!(portal.mock.contacts().len(), 2);
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_given_up() {
    let portal = Portal::with(|_| {}, |settings| settings.request_timeout_ms = 50).await;
    let answer = Answer::json(200, &json!({"status": "COMPLETE", "results": []}));
    for reply in [Reply::Hang, Reply::Trickle(answer)] {
        portal.mock.next(reply);
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), ["retry TIMEOUT"]);
    }
}

#[tokio::test]
async fn a_burst_beyond_the_limit_is_told_to_wait() {
    let portal = Portal::new().await;
    portal.mock.limit(2, std::time::Duration::from_mins(10));
    for expected in ["delivered", "delivered", "throttled TEN_SECONDLY_ROLLING after 600s"] {
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), [expected]);
    }
    let portal = Portal::new().await;
    portal.mock.throttle_every(2);
    for expected in ["delivered", "throttled SECONDLY after 0ns", "delivered"] {
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), [expected]);
    }
}

#[tokio::test]
async fn an_address_that_is_none_stops_the_destination() {
    for base_url in ["", "api.hubapi.com", "https://["] {
        let portal = Portal::with(|_| {}, |settings| settings.base_url = base_url.to_owned()).await;
        let reply = portal.upsert(&portal.people([1])).await;
        assert_eq!(words(&reply), ["stop configuration BASE_URL_INVALID"], "{base_url}");
    }
}

#[tokio::test]
async fn no_token_goes_to_a_host_that_is_not_allowed() {
    let portal = Portal::with(|_| {}, |settings| settings.allowed_hosts = vec!["api.hubapi.com".to_owned()]).await;
    assert_eq!(words(&portal.upsert(&portal.people([1])).await), ["stop configuration HOST_NOT_ALLOWED"]);
    assert_eq!(portal.mock.seen().len(), 0);
}

#[tokio::test]
async fn no_answer_loses_a_row_or_shows_a_contact() {
    let person = "p1@example.com";
    let odd = [
        json!(null),
        json!("p1@example.com"),
        json!([[]]),
        json!({"results": {}, "errors": 7}),
        json!({"results": [null, [], {"objectWriteTraceId": {}}], "errors": [null, [], 3, {"context": []}]}),
        json!({"results": [{"id": {}, "properties": []}], "errors": [{"context": {"ids": {"a": 1}}}]}),
        json!({"errors": [{"category": person, "message": person, "context": {"propertyName": [person]}}]}),
        json!({"errors": [{"category": "CONFLICT", "context": {"existingId": [person], "objectWriteTraceId": ["0"]}}]}),
        json!({"errors": [{"message": "Property values were not valid: [{[[[", "context": {"ids": ["c-1"]}}]}),
        json!({"message": person, "category": person, "policyName": person, "correlationId": person}),
        json!({"status": "error", "message": "x already has that value", "errors": [{"in": person}]}),
    ];
    let portal = Portal::new().await;
    let payloads = portal.people([1, 2, 3]);
    for status in [200, 201, 202, 207, 400, 401, 403, 404, 409, 413, 418, 423, 429, 477, 500, 503] {
        for body in &odd {
            for endpoint in [Endpoint::Upsert, Endpoint::Read, Endpoint::Archive] {
                portal.mock.next_of(endpoint, Answer::json(status, body));
                let reply = if endpoint == Endpoint::Upsert {
                    portal.upsert(&payloads).await
                } else {
                    portal.mock.put(Some("C-1"), &[]);
                    portal.delete(&[deletion("C-1")]).await
                };
                let count = if endpoint == Endpoint::Upsert { payloads.len() } else { 1 };
                assert!(reply.as_ref().map_or(true, |outcomes| outcomes.len() == count), "{status} {body}");
                let shown = format!("{reply:?} {:?}", words(&reply));
                assert!(!shown.contains("example.com"), "{status} {body}: {shown}");
            }
        }
    }
}
