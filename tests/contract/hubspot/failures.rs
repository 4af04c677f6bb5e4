//! Failures that depend on the settings.

use serde_json::json;
use testkit::portal::{Portal, words};
use testkit::server::{Answer, Reply};

#[tokio::test]
async fn a_late_response_is_given_up() {
    let portal = Portal::with(|_| {}, |settings| settings.request_timeout_ms = 50).await;
    let answer = Answer::json(200, &json!({"status": "COMPLETE", "results": []}));
    for reply in [Reply::Hang, Reply::Trickle(answer)] {
        portal.mock.next(reply);
        assert_eq!(
            words(&portal.upsert(&portal.people([1])).await),
            ["retry TIMEOUT"]
        );
    }
}

#[tokio::test]
async fn an_invalid_base_url_stops_the_destination() {
    for base_url in ["", "api.hubapi.com", "https://["] {
        let portal = Portal::with(|_| {}, |settings| settings.base_url = base_url.to_owned()).await;
        let reply = portal.upsert(&portal.people([1])).await;
        assert_eq!(
            words(&reply),
            ["stop configuration BASE_URL_INVALID"],
            "{base_url}"
        );
    }
}
