//! HubSpot's limits: those that its headers report, and the responses that stop or delay calls.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use contact_sync::model::CallError;
use serde_json::json;
use testkit::dispatching::{dispatcher_of, fates_by};
use testkit::mock_hubspot::limited;
use testkit::portal::{Portal, deletion, person, words};
use testkit::server::Answer;

pub async fn the_window_is_read_from_headers_where_they_exist() {
    let portal = Portal::new().await;
    portal.mock.limit(190, Duration::from_secs(10));
    words(&portal.upsert(&portal.people([1])).await);
    let quota = portal.metrics.quota();
    assert_eq!(quota.window, Some((190, Duration::from_secs(10))));
    assert_eq!(
        (quota.window_remaining, quota.daily_used, quota.daily_max),
        (Some(189), Some(1), Some(1_000_000))
    );
    let silent = json!({"status": "COMPLETE", "results": []});
    portal.mock.next(Answer::json(200, &silent));
    words(&portal.upsert(&portal.people([1])).await);
    assert_eq!(portal.metrics.quota(), quota);
}

pub async fn the_window_of_the_headers_limits_calls_that_settings_allow() {
    let portal = Portal::new().await;
    portal.mock.limit(2, Duration::from_mins(1));
    let adapter: Arc<dyn Adapter> = Arc::clone(&portal.hubspot) as _;
    let dispatcher = dispatcher_of(&adapter);
    for expected in ["delivered", "delivered", "failed NO_PERMIT_IN_TIME"] {
        let time = Duration::from_secs(30);
        assert_eq!(
            fates_by(&dispatcher, &portal.metrics, &[person(1)], time).await,
            [expected]
        );
    }
    let statuses: Vec<_> = portal.mock.seen().iter().map(|seen| seen.status).collect();
    assert_eq!(
        statuses,
        [Some(200); 2],
        "the third call would be refused, and is not sent"
    );
}

/// Sends a write and a delete that both get `answer`, and checks that both pass afterwards. Returns
/// their error.
async fn error_of(answer: &Answer) -> CallError {
    let portal = Portal::new().await;
    portal.mock.next(answer.clone());
    let written = portal.upsert(&portal.people([1, 2])).await;
    portal.mock.next(answer.clone());
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        words(&written),
        "{answer:?}"
    );
    assert_eq!(
        words(&portal.upsert(&portal.people([1, 2])).await),
        ["delivered", "delivered"]
    );
    written.expect_err("no outcomes")
}

pub async fn a_lasting_failure_stops_the_destination() {
    let context = json!({"requiredGranularScopes": ["crm.objects.contacts.write"]});
    let scopes = json!({"status": "error", "category": "MISSING_SCOPES", "correlationId": "c",
        "errors": [{"message": "…", "context": context}]});
    let (two_hours, an_hour) = (Duration::from_hours(2), Duration::from_hours(1));
    for (answer, expected, after) in [
        (
            Answer::json(403, &scopes),
            "stop configuration MISSING_SCOPES",
            None,
        ),
        (
            Answer::json(410, &json!({"status": "error"})),
            "stop configuration HTTP_410",
            None,
        ),
        (
            Answer::empty(477).with_header("retry-after", 7200),
            "stop unavailable HTTP_477",
            Some(two_hours),
        ),
        (Answer::empty(477), "stop unavailable HTTP_477", None),
        (limited("DAILY", "daily"), "stop quota DAILY", None),
        (
            limited("DAILY", "daily").with_header("retry-after", 3600),
            "stop quota DAILY",
            Some(an_hour),
        ),
        (
            Answer::empty(301).with_header("location", "http://127.0.0.1:9/"),
            "stop configuration HTTP_301",
            None,
        ),
    ] {
        let error = error_of(&answer).await;
        assert_eq!(words(&Err(error.clone())), [expected]);
        let CallError::Stop(stop) = error else {
            panic!("{error:?}")
        };
        assert_eq!(stop.after, after, "{answer:?}");
    }
}

pub async fn a_passing_failure_is_retried_after_its_pause() {
    let rolling = || limited("TEN_SECONDLY_ROLLING", "ten_secondly_rolling");
    let page = "<html><body>Bad gateway</body></html>";
    for (answer, expected) in [
        (Answer::empty(423), "throttled HTTP_423 after 2s"),
        (
            Answer::empty(423).with_header("retry-after", 1),
            "throttled HTTP_423 after 2s",
        ),
        (
            Answer::empty(423).with_header("retry-after", 9),
            "throttled HTTP_423 after 9s",
        ),
        (
            Answer::empty(423)
                .with_header("date", "Sun, 29 Nov 2026 23:01:55 GMT")
                .with_header("retry-after", "Sun, 29 Nov 2026 23:02:04 GMT"),
            "throttled HTTP_423 after 9s",
        ),
        (
            limited("SECONDLY", "secondly"),
            "throttled SECONDLY after 1s",
        ),
        (rolling(), "throttled TEN_SECONDLY_ROLLING after 10s"),
        (
            rolling().with_header("x-hubspot-ratelimit-interval-milliseconds", 3000),
            "throttled TEN_SECONDLY_ROLLING after 3s",
        ),
        (Answer::html(500, page), "retry HTTP_500"),
        (Answer::html(502, page), "retry HTTP_502 after 3s"),
        (Answer::html(503, page), "retry HTTP_503 after 3s"),
        (Answer::html(504, page), "retry HTTP_504 after 3s"),
        (Answer::html(521, page), "retry HTTP_521 after 3s"),
        (Answer::html(524, page), "retry HTTP_524 after 3s"),
        (Answer::html(400, page), "retry HTTP_400"),
        (Answer::html(401, page), "retry HTTP_401"),
        (Answer::html(403, page), "retry HTTP_403"),
        (Answer::empty(403), "retry HTTP_403"),
        (
            Answer::json(403, &json!({"message": "Forbidden"})),
            "retry HTTP_403",
        ),
        (Answer::html(404, page), "retry HTTP_404"),
        (Answer::html(405, page), "retry HTTP_405"),
        (Answer::html(407, page), "retry HTTP_407"),
        (Answer::html(409, page), "retry HTTP_409"),
        (Answer::html(410, page), "retry HTTP_410"),
        (Answer::html(413, page), "retry HTTP_413"),
        (Answer::empty(414), "retry HTTP_414"),
        (Answer::empty(431), "retry HTTP_431"),
        (Answer::empty(302), "retry HTTP_302"),
        (Answer::html(200, page), "retry UNREADABLE_ANSWER"),
        (Answer::empty(204), "retry UNREADABLE_ANSWER"),
        (Answer::json(200, &json!([])), "retry UNREADABLE_ANSWER"),
    ] {
        assert_eq!(
            words(&Err(error_of(&answer).await)),
            [expected],
            "{answer:?}"
        );
    }
}

pub async fn a_burst_beyond_the_limit_is_throttled() {
    let portal = Portal::new().await;
    portal.mock.limit(2, Duration::from_mins(10));
    for expected in [
        "delivered",
        "delivered",
        "throttled TEN_SECONDLY_ROLLING after 600s",
    ] {
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), [expected]);
    }
    let portal = Portal::new().await;
    portal.mock.throttle_every(2);
    for expected in ["delivered", "throttled SECONDLY after 0ns", "delivered"] {
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), [expected]);
    }
}
