//! The access token: read again when it is rotated, and a stop where it stays refused.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::hubspot::HubSpot;
use contact_sync::http_client;
use contact_sync::secrets::{Secret, SecretSource};
use serde_json::json;
use testkit::portal::{Portal, deletion, settings, words};
use testkit::server::Answer;
use tokio::time::{advance, pause, resume};

pub async fn a_rotated_token_is_found_without_a_restart() {
    let portal = Portal::new().await;
    assert_eq!(
        words(&portal.upsert(&portal.people([1])).await),
        ["delivered"]
    );
    portal.mock.rotate_token("pat-mock-2");
    portal.write_secret(r#"{"access_token": " pat-mock-2\n"}"#);
    assert_eq!(
        words(&portal.upsert(&portal.people([2])).await),
        ["delivered"]
    );
    assert_eq!(
        (portal.mock.refused_tokens(), portal.mock.contacts().len()),
        (1, 2)
    );
    portal.assert_polite();
}

pub async fn a_token_ends_with_its_secret_though_it_is_still_valid() {
    let portal = Portal::new().await;
    assert_eq!(
        words(&portal.upsert(&portal.people([1])).await),
        ["delivered"]
    );
    portal.write_secret(r#"{"access_token": "pat-mock-2"}"#);
    pause();
    advance(Duration::from_mins(10)).await;
    resume();
    portal.mock.rotate_token("pat-mock-2");
    assert_eq!(
        words(&portal.upsert(&portal.people([2])).await),
        ["delivered"]
    );
    assert_eq!(
        portal.mock.refused_tokens(),
        0,
        "the new one was sent, ten minutes after the secret was read"
    );
}

pub async fn a_token_that_stays_refused_stops_the_destination_and_rejects_no_record() {
    let portal = Portal::new().await;
    portal.mock.rotate_token("pat-mock-2");
    for _ in 0..2 {
        let expected = ["stop credential INVALID_AUTHENTICATION"];
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), expected);
        assert_eq!(words(&portal.delete(&[deletion("C-1")]).await), expected);
    }
    assert_eq!(
        portal.mock.refused_tokens(),
        4,
        "the same token is not tried again"
    );
    portal.write_secret(r#"{"access_token": "pat-mock-3"}"#);
    words(&portal.upsert(&portal.people([1])).await);
    assert_eq!(
        portal.mock.refused_tokens(),
        5,
        "the secret is not read again within 30 seconds"
    );
}

pub async fn a_401_of_the_network_is_no_evidence_about_the_token() {
    for answer in [
        Answer::html(401, "<html>"),
        Answer::empty(401),
        Answer::json(401, &json!({"message": "no"})),
    ] {
        let portal = Portal::new().await;
        portal.write_secret(r#"{"access_token": "pat-mock-1"}"#);
        portal.mock.next(answer);
        assert_eq!(
            words(&portal.upsert(&portal.people([1])).await),
            ["retry HTTP_401"]
        );
        assert_eq!(
            portal.mock.seen().len(),
            1,
            "it is not sent again with the same token"
        );
        assert_eq!(
            words(&portal.upsert(&portal.people([1])).await),
            ["delivered"]
        );
    }
}

pub async fn a_new_token_that_is_refused_too_is_tried_once() {
    let portal = Portal::new().await;
    words(&portal.upsert(&portal.people([1])).await);
    portal.mock.rotate_token("pat-mock-3");
    portal.write_secret(r#"{"access_token": "pat-mock-2"}"#);
    let reply = portal.upsert(&portal.people([1])).await;
    assert_eq!(words(&reply), ["stop credential INVALID_AUTHENTICATION"]);
    assert_eq!(portal.mock.refused_tokens(), 2);
}

pub async fn a_secret_without_a_token_stops_the_destination_until_it_is_repaired() {
    for text in [
        "",
        "pat-mock-1",
        "{}",
        r#"{"access_token": ""}"#,
        r#"{"access_token": "a\u0000b"}"#,
    ] {
        let portal = Portal::new().await;
        portal.write_secret(text);
        let reply = portal.upsert(&portal.people([1])).await;
        assert_eq!(
            words(&reply),
            ["stop credential SECRET_MALFORMED"],
            "{text}"
        );
        assert_eq!(portal.mock.seen().len(), 0);
    }
}

pub async fn a_secret_that_cannot_be_read_stops_the_destination() {
    let portal = Portal::new().await;
    let secret = Secret::new(SecretSource::File("/nowhere/at/all".into()));
    let client = http_client::client().expect("a client");
    let settings = settings(portal.server.url());
    let portal = Portal {
        hubspot: Arc::new(HubSpot::new(&settings, client, Arc::new(secret))),
        ..portal
    };
    let reply = portal.upsert(&portal.people([1])).await;
    assert_eq!(words(&reply), ["stop credential SECRET_UNREADABLE"]);
}
