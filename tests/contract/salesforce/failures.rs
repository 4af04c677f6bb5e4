//! Calls that fail as a whole.

use std::io::Write as _;

use serde_json::json;
use testkit::mock_salesforce::{Endpoint, refusal};
use testkit::org::{Org, deletion, words};
use testkit::server::{Answer, Reply};

#[tokio::test]
async fn whole_responses_stop_or_retry_and_reject_no_record() {
    let page = "<html><body>Down for maintenance</body></html>";
    let limit = |message: &str| refusal(403, "REQUEST_LIMIT_EXCEEDED", message);
    let bare = json!({"errorCode": "SERVER_UNAVAILABLE", "message": "Server Unavailable"});
    for (answer, expected) in [
        (
            limit("TotalRequests Limit exceeded."),
            "stop quota REQUEST_LIMIT_EXCEEDED",
        ),
        (
            limit("ConcurrentPerOrgLongTxn Limit exceeded."),
            "throttled REQUEST_LIMIT_EXCEEDED after 3s",
        ),
        (
            limit("ConcurrentRequests (Concurrent API Requests) Limit exceeded.")
                .with_header("retry-after", 9),
            "throttled REQUEST_LIMIT_EXCEEDED after 9s",
        ),
        (
            refusal(403, "API_DISABLED_FOR_ORG", "API is not enabled"),
            "stop configuration API_DISABLED_FOR_ORG",
        ),
        (
            refusal(403, "INSUFFICIENT_ACCESS", "no"),
            "stop configuration INSUFFICIENT_ACCESS",
        ),
        (
            refusal(400, "API_CURRENTLY_DISABLED", "down"),
            "retry API_CURRENTLY_DISABLED",
        ),
        (
            refusal(503, "SERVER_UNAVAILABLE", "Server Unavailable"),
            "retry SERVER_UNAVAILABLE",
        ),
        (Answer::json(503, &bare), "retry SERVER_UNAVAILABLE"),
        (
            refusal(
                500,
                "REQUEST_RUNNING_TOO_LONG",
                "Your request was running too long",
            ),
            "retry REQUEST_RUNNING_TOO_LONG",
        ),
        (
            refusal(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred"),
            "retry UNKNOWN_EXCEPTION",
        ),
        (Answer::html(403, page), "retry HTTP_403"),
        (Answer::html(400, page), "retry HTTP_400"),
        (Answer::html(420, page), "retry HTTP_420"),
        (
            Answer::empty(429).with_header("retry-after", 2),
            "throttled HTTP_429 after 2s",
        ),
        (Answer::html(500, page), "retry HTTP_500"),
        (Answer::html(502, page), "retry HTTP_502"),
        (Answer::html(503, page), "retry HTTP_503"),
        (Answer::empty(504), "retry HTTP_504"),
        (Answer::html(200, page), "retry UNREADABLE_ANSWER"),
        (Answer::empty(204), "retry UNREADABLE_ANSWER"),
        (
            Answer::empty(302).with_header("location", "/"),
            "stop configuration HTTP_302",
        ),
    ] {
        let org = Org::new().await;
        org.upsert(&org.leads([0])).await.expect("a token");
        org.mock.next(answer.clone());
        assert_eq!(
            words(&org.upsert(&org.leads([1, 2])).await),
            [expected],
            "{answer:?}"
        );
        org.mock.next(answer.clone());
        assert_eq!(
            words(&org.delete(&[deletion("C-1")]).await),
            [expected],
            "{answer:?}"
        );
        assert_eq!(
            words(&org.upsert(&org.leads([1, 2])).await),
            ["delivered"; 2]
        );
    }
}

#[tokio::test]
async fn a_batch_refused_as_a_whole_is_bisected() {
    let org = Org::new().await;
    org.mock.fail_batches_with("C-2");
    assert_eq!(
        words(&org.upsert(&org.leads([1, 2, 3])).await),
        ["refused JSON_PARSER_ERROR []"]
    );
    assert_eq!(
        words(&org.upsert(&org.leads([1, 3])).await),
        ["delivered"; 2]
    );
    for (answer, expected) in [
        (Answer::empty(413), "retry HTTP_413"),
        (Answer::html(414, "URI too long"), "retry HTTP_414"),
        (Answer::empty(431), "retry HTTP_431"),
        (
            refusal(413, "REQUEST_TOO_LARGE", ""),
            "refused REQUEST_TOO_LARGE []",
        ),
        (
            refusal(400, "EXCEEDED_ID_LIMIT", "record limit reached"),
            "refused EXCEEDED_ID_LIMIT []",
        ),
        (
            refusal(400, "A_CODE_OF_TOMORROW", ""),
            "retry A_CODE_OF_TOMORROW",
        ),
    ] {
        org.mock.next(answer.clone());
        assert_eq!(
            words(&org.upsert(&org.leads([1, 3])).await),
            [expected],
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_pause_is_obeyed_in_every_form() {
    let org = Org::new().await;
    org.upsert(&org.leads([0])).await.expect("a token");
    let now = "Sun, 29 Nov 2026 23:01:55 GMT";
    for until in [
        "7",
        "Sun, 29 Nov 2026 23:02:02 GMT",
        "Sunday, 29-Nov-26 23:02:02 GMT",
        "Sun Nov 29 23:02:02 2026",
    ] {
        for (status, expected) in [
            (503, "retry HTTP_503 after 7s"),
            (500, "retry HTTP_500 after 7s"),
            (429, "throttled HTTP_429 after 7s"),
        ] {
            org.mock.next(
                Answer::empty(status)
                    .with_header("date", now)
                    .with_header("retry-after", until),
            );
            assert_eq!(
                words(&org.upsert(&org.leads([1, 2])).await),
                [expected],
                "{until}"
            );
        }
    }
}

#[tokio::test]
async fn a_broken_connection_is_reported_and_writes_nothing_twice() {
    let org = Org::new().await;
    org.upsert(&org.leads([0])).await.expect("a token");
    let payloads = org.leads([1, 2]);
    org.mock.lose_answers(1);
    assert_eq!(
        words(&org.upsert(&payloads).await),
        ["retry CONNECTION_FAILED"]
    );
    assert_eq!(org.mock.leads().len(), 3, "it was carried out");
    let answer = Answer::json(200, &json!([{"success": true}, {"success": true}]));
    for reply in [Reply::Reset, Reply::Cut(answer)] {
        org.mock.next(reply);
        assert_eq!(
            words(&org.upsert(&payloads).await),
            ["retry CONNECTION_FAILED"]
        );
    }
    assert_eq!(words(&org.upsert(&payloads).await), ["delivered"; 2]);
    assert_eq!(org.mock.leads().len(), 3);
}

#[tokio::test]
async fn a_late_response_is_given_up() {
    let answer = Answer::json(200, &json!([{"success": true}]));
    for endpoint in [Endpoint::Token, Endpoint::Upsert] {
        for reply in [Reply::Hang, Reply::Trickle(answer.clone())] {
            let org = Org::with(|_| {}, |settings| settings.request_timeout_ms = 300).await;
            org.mock.next_of(endpoint, reply);
            assert_eq!(
                words(&org.upsert(&org.leads([1])).await),
                ["retry TIMEOUT"],
                "{endpoint:?}"
            );
            org.assert_polite();
        }
    }
}

#[tokio::test]
async fn an_endless_response_is_given_up() {
    let org = Org::new().await;
    org.upsert(&org.leads([0])).await.expect("a token");
    let endless = vec![b' '; 9 * 1024 * 1024];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&endless).expect("written to memory");
    let packed = encoder.finish().expect("written to memory");
    assert!(
        packed.len() < 100_000,
        "a small body that expands to a large one"
    );
    let packed = Answer {
        status: 200,
        body: packed,
        ..Answer::default()
    }
    .with_header("content-encoding", "gzip");
    for answer in [
        Answer {
            status: 200,
            body: endless,
            ..Answer::default()
        },
        packed,
    ] {
        org.mock.next(answer);
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            ["retry ANSWER_TOO_LONG"]
        );
    }
}
