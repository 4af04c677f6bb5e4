//! Token grants by client credentials: one token for all calls, and the refusals of the token
//! endpoint.

use contact_sync::model::{CallError, FailureCause};
use futures_util::future::join_all;
use serde_json::json;
use testkit::mock_salesforce::{Endpoint, refusal};
use testkit::org::{Org, remedy, words};
use testkit::server::{Answer, Reply};

fn oauth(error: &str, description: &str) -> Answer {
    Answer::json(
        400,
        &json!({"error": error, "error_description": description}),
    )
}

#[tokio::test]
async fn one_token_serves_all_calls() {
    let org = Org::new().await;
    for number in 1..4 {
        assert_eq!(
            words(&org.upsert(&org.leads([number])).await),
            ["delivered"]
        );
    }
    assert_eq!(
        (
            org.mock.count(Endpoint::Token),
            org.mock.count(Endpoint::Upsert)
        ),
        (1, 3)
    );
    org.assert_polite();
}

#[tokio::test]
async fn calls_are_sent_to_the_instance_of_the_token() {
    let elsewhere = Org::new().await;
    let instance_url = elsewhere.server.url();
    let org = Org::with(
        |behavior| behavior.instance_url = Some(instance_url),
        |_| {},
    )
    .await;
    let reply = org.upsert(&org.leads([1])).await;
    assert_eq!(
        words(&reply),
        ["stop credential INVALID_SESSION_ID"],
        "the other org has no such session"
    );
    assert_eq!(
        (org.mock.count(Endpoint::Token), org.mock.refused_tokens()),
        (2, 0)
    );
    assert_eq!(
        (
            elsewhere.mock.count(Endpoint::Token),
            elsewhere.mock.refused_tokens()
        ),
        (0, 2)
    );
}

#[tokio::test]
async fn no_token_is_sent_to_an_instance_that_is_not_allowed() {
    for instance in [
        "http://localhost:9/",
        "https://my.salesforce.com.example/",
        "ftp://127.0.0.1/",
    ] {
        let org = Org::with(
            |behavior| behavior.instance_url = Some(instance.to_owned()),
            |_| {},
        )
        .await;
        let reply = org.upsert(&org.leads([1])).await;
        assert_eq!(
            words(&reply),
            ["stop configuration HOST_NOT_ALLOWED"],
            "{instance}"
        );
        assert_eq!(org.mock.count(Endpoint::Token), 1);
    }
    let org = Org::with(
        |_| {},
        |settings| settings.allowed_hosts = vec!["my.salesforce.com".to_owned()],
    )
    .await;
    assert_eq!(
        words(&org.upsert(&org.leads([1])).await),
        ["stop configuration HOST_NOT_ALLOWED"]
    );
    assert_eq!(
        org.mock.count(Endpoint::Token),
        0,
        "the secret is not sent either"
    );
}

#[tokio::test]
async fn an_ended_session_is_renewed_once_and_the_call_repeated_once() {
    let org = Org::new().await;
    org.upsert(&org.leads([1])).await.expect("written");
    org.mock.expire_tokens();
    assert_eq!(words(&org.upsert(&org.leads([2])).await), ["delivered"]);
    assert_eq!(
        (org.mock.count(Endpoint::Token), org.mock.refused_tokens()),
        (2, 1)
    );
    org.mock.expire_tokens();
    org.mock.next_of(
        Endpoint::Token,
        Answer::json(
            200,
            &json!({"access_token": "00Dstale", "instance_url": org.server.url()}),
        ),
    );
    let reply = org.upsert(&org.leads([3])).await;
    assert_eq!(
        words(&reply),
        ["stop credential INVALID_SESSION_ID"],
        "no second token is requested"
    );
    assert_eq!(
        (org.mock.count(Endpoint::Token), org.mock.refused_tokens()),
        (3, 3)
    );
    assert_eq!(words(&org.upsert(&org.leads([3])).await), ["delivered"]);
}

#[tokio::test]
async fn many_waiting_calls_request_one_token() {
    let org = Org::new().await;
    for round in 1..3 {
        let batches: Vec<_> = (0..12).map(|number| org.leads([number])).collect();
        for reply in join_all(batches.iter().map(|batch| org.upsert(batch))).await {
            assert_eq!(words(&reply), ["delivered"]);
        }
        assert_eq!(org.mock.count(Endpoint::Token), round);
        org.mock.expire_tokens();
    }
}

#[tokio::test]
async fn calls_that_wait_together_share_one_refusal() {
    let org = Org::new().await;
    org.mock
        .next_of(Endpoint::Token, Reply::Answer(Answer::empty(503)));
    let batches: Vec<_> = (0..12).map(|number| org.leads([number])).collect();
    for reply in join_all(batches.iter().map(|batch| org.upsert(batch))).await {
        assert_eq!(words(&reply), ["retry HTTP_503"]);
    }
    assert_eq!(org.mock.count(Endpoint::Token), 1);
    assert_eq!(
        words(&org.upsert(&batches[0]).await),
        ["delivered"],
        "a later call requests a token again"
    );
}

#[tokio::test]
async fn a_rotated_secret_is_found_without_a_restart() {
    let org = Org::new().await;
    org.upsert(&org.leads([1])).await.expect("written");
    org.mock.rotate_secret("mock-secret-2");
    org.mock.expire_tokens();
    org.write_secret(&org.mock.secret());
    assert_eq!(words(&org.upsert(&org.leads([2])).await), ["delivered"]);
    assert_eq!(
        org.mock.count(Endpoint::Token),
        3,
        "the old secret, refused, and the new one"
    );
}

#[tokio::test]
async fn a_corrected_login_url_is_found_without_a_restart() {
    let elsewhere = || oauth("invalid_grant", "request not supported on this domain");
    let redirect = || Answer::empty(302).with_header("location", "/");
    for (host, answer, code) in [
        (
            "127.0.0.1",
            Some(elsewhere as fn() -> Answer),
            "invalid_grant",
        ),
        ("127.0.0.1", Some(redirect), "NO_TOKEN"),
        ("localhost", None, "HOST_NOT_ALLOWED"),
    ] {
        let org = Org::new().await;
        let mut wrong = org.mock.secret();
        wrong["login_url"] =
            format!("{}/wrong", org.server.url().replace("127.0.0.1", host)).into();
        org.write_secret(&wrong);
        let refuse = || {
            if let Some(answer) = answer {
                org.mock.next_of(Endpoint::Token, answer());
            }
        };
        refuse();
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            [format!("stop configuration {code}")]
        );
        org.write_secret(&org.mock.secret());
        refuse();
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            [format!("stop configuration {code}")],
            "30 s apart"
        );
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(31)).await;
        tokio::time::resume();
        refuse();
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            ["delivered"],
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_refused_user_gets_no_second_token() {
    let org = Org::new().await;
    org.upsert(&org.leads([1])).await.expect("written");
    let barred = refusal(
        401,
        "INVALID_SESSION_ID",
        "This session is not valid for use with the REST API",
    );
    org.mock.next_of(Endpoint::Upsert, barred);
    let reply = org.upsert(&org.leads([1])).await;
    assert_eq!(words(&reply), ["stop configuration INVALID_SESSION_ID"]);
    assert!(remedy(&reply).contains("IP ranges"), "{}", remedy(&reply));
    assert_eq!(org.mock.count(Endpoint::Token), 1);
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_name_the_remedy() {
    for (answer, expected, part) in [
        (
            oauth("invalid_grant", "request not supported on this domain"),
            "stop configuration invalid_grant",
            "My Domain",
        ),
        (
            oauth("invalid_grant", "no client credentials user enabled"),
            "stop configuration invalid_grant",
            "run-as user",
        ),
        (
            oauth("invalid_grant", "user hasn't approved this consumer"),
            "stop configuration invalid_grant",
            "pre-authorize",
        ),
        (
            oauth("unsupported_grant_type", "grant type not supported"),
            "stop configuration unsupported_grant_type",
            "enable",
        ),
        (
            oauth("invalid_client", "invalid client credentials"),
            "stop credential invalid_client",
            "client_secret",
        ),
        (
            oauth("invalid_client_id", "client identifier invalid"),
            "stop credential invalid_client_id",
            "client_id",
        ),
        (
            oauth("invalid_client_id", "client identifier invalid"),
            "stop credential invalid_client_id",
            "ten minutes",
        ),
        (
            oauth(
                "invalid_app_access",
                "user is not admin approved to access this app",
            ),
            "stop configuration invalid_app_access",
            "pre-authorize the user's permission set",
        ),
        (
            oauth("OAUTH_APP_ACCESS_DENIED", "access denied"),
            "stop configuration OAUTH_APP_ACCESS_DENIED",
            "pre-authorize",
        ),
        (
            oauth("OAUTH_APP_BLOCKED", "this app is blocked by admin"),
            "stop configuration OAUTH_APP_BLOCKED",
            "unblock it",
        ),
        (
            oauth(
                "app_not_found",
                "External client app is not installed in this org",
            ),
            "stop configuration app_not_found",
            "install the app there",
        ),
        (
            oauth(
                "invalid_grant",
                "External client app is not installed in this org",
            ),
            "stop configuration invalid_grant",
            "login_url",
        ),
        (
            oauth("inactive_org", "org is locked"),
            "stop configuration inactive_org",
            "have Salesforce reactivate it",
        ),
        (
            oauth("invalid_grant", "inactive organization"),
            "stop configuration invalid_grant",
            "login_url",
        ),
        (
            oauth("invalid_grant", "inactive user"),
            "stop credential invalid_grant",
            "activate it",
        ),
        (
            oauth("inactive_user", "user is inactive"),
            "stop credential inactive_user",
            "activate it",
        ),
        (
            oauth("invalid_grant", "ip restricted"),
            "stop configuration invalid_grant",
            "Login IP Ranges",
        ),
        (
            oauth("invalid_grant", "IP restricted or invalid login hours"),
            "stop configuration invalid_grant",
            "Login Hours",
        ),
        (
            oauth("login_ip_restricted", "Restricted IP"),
            "stop configuration login_ip_restricted",
            "outgoing addresses",
        ),
        (
            oauth("rate_limit_exceeded", "number of logins"),
            "stop quota rate_limit_exceeded",
            "a user of its own",
        ),
        (
            oauth("invalid_grant", "invalid assertion"),
            "stop credential invalid_grant",
            "private_key_pem",
        ),
        (
            oauth("invalid_grant", "audience is invalid"),
            "stop credential invalid_grant",
            "test.salesforce.com",
        ),
        (
            oauth("invalid_grant", "something new"),
            "stop credential invalid_grant",
            "check the secret",
        ),
        (
            oauth("invalid_grant", "login rate exceeded"),
            "stop quota invalid_grant",
            "a user of its own",
        ),
        (
            Answer::empty(302).with_header("location", "/"),
            "stop configuration NO_TOKEN",
            "My Domain",
        ),
    ] {
        let org = Org::new().await;
        org.mock.next_of(Endpoint::Token, answer);
        let reply = org.upsert(&org.leads([1])).await;
        assert_eq!(words(&reply), [expected], "{part}");
        assert!(remedy(&reply).contains(part), "{}", remedy(&reply));
        assert!(!remedy(&reply).contains("mock-secret"));
        assert_eq!(org.mock.count(Endpoint::Upsert), 0);
    }
}

#[tokio::test]
async fn a_failing_token_endpoint_is_called_again_later() {
    let granted = json!({"access_token": "t", "instance_url": "https://acme.my.salesforce.com"});
    for (reply, expected) in [
        (
            oauth("unknown_error", "retry your request").into(),
            "retry unknown_error",
        ),
        (
            oauth("invalid_grant", "token request is already being processed").into(),
            "retry invalid_grant",
        ),
        (
            oauth("temporarily_unavailable", "later").into(),
            "retry temporarily_unavailable",
        ),
        (
            Answer::html(200, "<html>Down for maintenance</html>").into(),
            "retry UNREADABLE_TOKEN",
        ),
        (
            Answer {
                status: 403,
                body: b"Bad_OAuth_Token".into(),
                ..Answer::default()
            }
            .into(),
            "retry HTTP_403",
        ),
        (Answer::html(503, "<html>").into(), "retry HTTP_503"),
        (
            Answer::empty(429).with_header("retry-after", 7).into(),
            "throttled HTTP_429 after 7s",
        ),
        (Answer::html(403, "<html>").into(), "retry HTTP_403"),
        (Answer::empty(200).into(), "retry UNREADABLE_TOKEN"),
        (
            Answer::json(
                200,
                &json!({"access_token": "a\u{0}b", "instance_url": "https://x"}),
            )
            .into(),
            "retry UNREADABLE_TOKEN",
        ),
        (
            Answer::json(
                200,
                &json!({"access_token": "a", "instance_url": "nowhere"}),
            )
            .into(),
            "retry UNREADABLE_TOKEN",
        ),
        (
            Answer::json(
                200,
                &json!({"access_token": "a", "instance_url": "data:text/plain,x"}),
            )
            .into(),
            "retry UNREADABLE_TOKEN",
        ),
        (
            Reply::Cut(Answer::json(200, &granted)),
            "retry CONNECTION_FAILED",
        ),
        (Reply::Reset, "retry CONNECTION_FAILED"),
    ] {
        let org = Org::new().await;
        org.mock.next_of(Endpoint::Token, reply);
        let reply = org.upsert(&org.leads([1])).await;
        assert_eq!(words(&reply), [expected]);
        if let Err(CallError::Retry { cause, .. }) = &reply {
            assert_eq!(
                *cause,
                FailureCause::Destination,
                "no record was sent: {reply:?}"
            );
        }
        assert_eq!(org.mock.count(Endpoint::Upsert), 0);
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            ["delivered"],
            "requested again: {expected}"
        );
    }
}

#[tokio::test]
async fn a_malformed_secret_stops_the_destination_until_it_is_repaired() {
    for secret in [
        json!(null),
        json!({}),
        json!({"login_url": "nowhere", "client_id": "c", "client_secret": "s"}),
        json!({"login_url": "http://127.0.0.1:9", "client_id": "c"}),
        json!({
            "login_url": "http://127.0.0.1:9", "client_id": "c", "private_key_pem": "no key",
            "username": "u",
        }),
    ] {
        let org = Org::new().await;
        org.write_secret(&secret);
        let reply = org.upsert(&org.leads([1])).await;
        assert_eq!(
            words(&reply),
            ["stop credential SECRET_MALFORMED"],
            "{secret}"
        );
        assert!(remedy(&reply).contains("client_id"));
    }
}
