//! Tokens that end with their secret, or with the host of their org.

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use contact_sync::model::ContactType;
use serde_json::json;
use testkit::dispatching::{dispatcher_of, fates_by};
use testkit::mock_salesforce::{Endpoint, MockSalesforce, Signer, refusal};
use testkit::org::{Org, remedy, words};
use testkit::server::{Answer, Api, Reply, Request, Server};
use testkit::words::newcomer;

use super::assertions::{jwt_secret, key};

const MINUTE: Duration = Duration::from_mins(1);

async fn wait(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Starts an instance whose tokens another host grants.
async fn instance() -> (Arc<MockSalesforce>, Server) {
    let (mock, server) = MockSalesforce::start().await;
    mock.take_any_token();
    (mock, server)
}

/// Starts an org whose tokens name the instance `old`, which gets one call. Requests end after
/// `timeout`.
async fn org_at(old: &Server, timeout: Duration) -> Org {
    let millis = u64::try_from(timeout.as_millis()).expect("short");
    let url = old.url();
    let org = Org::with(
        |behavior| behavior.instance_url = Some(url),
        |settings| settings.request_timeout_ms = millis,
    )
    .await;
    assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
    org
}

#[tokio::test]
async fn a_token_ends_with_its_secret_though_it_is_still_valid() {
    for is_signed in [false, true] {
        let (before, after) = (Org::new().await, Org::new().await);
        let secret_of = |org: &Org| {
            if !is_signed {
                return org.mock.secret();
            }
            let (pem, public_key) = key();
            let (username, audience) = (
                "sync@acme.example".to_owned(),
                "https://login.salesforce.com".to_owned(),
            );
            let secret = jwt_secret(org, &pem, &username, None);
            org.mock.require_jwt(Signer {
                public_key,
                username,
                audience,
            });
            secret
        };
        before.write_secret(&secret_of(&before));
        assert_eq!(
            words(&before.upsert(&before.leads([1])).await),
            ["delivered"]
        );
        before.write_secret(&secret_of(&after));
        wait(MINUTE * 8).await;
        assert_eq!(
            words(&before.upsert(&before.leads([2])).await),
            ["delivered"]
        );
        assert_eq!(
            (before.mock.leads().len(), after.mock.leads().len()),
            (2, 0),
            "the secret was read less than ten minutes ago"
        );
        wait(MINUTE * 2).await;
        assert_eq!(
            words(&before.upsert(&before.leads([3])).await),
            ["delivered"]
        );
        assert_eq!(
            (before.mock.leads().len(), after.mock.leads().len()),
            (2, 1),
            "after ten minutes at most"
        );
        assert_eq!(
            (
                before.mock.count(Endpoint::Token),
                after.mock.count(Endpoint::Token)
            ),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn a_secret_that_is_read_again_unchanged_costs_no_token() {
    let org = Org::new().await;
    for number in 0..4 {
        assert_eq!(
            words(&org.upsert(&org.leads([number])).await),
            ["delivered"]
        );
        wait(MINUTE * 11).await;
    }
    assert_eq!(org.mock.count(Endpoint::Token), 1);
}

/// Returns every reply of an unavailable host that still answers or listens.
fn unavailable() -> Vec<Reply> {
    let page = "<html><body>Forbidden</body></html>";
    let mut replies: Vec<Reply> = [200, 400, 403, 404, 410, 421, 500, 502, 503]
        .map(|status| Answer::html(status, page).into())
        .into();
    replies.extend([301, 302, 303, 307, 308].map(|status| {
        let answer =
            Answer::empty(status).with_header("location", "https://new.my.salesforce.com/");
        Reply::Answer(answer)
    }));
    replies.extend([
        Answer::empty(200).into(),
        Answer::empty(503).into(),
        Answer {
            status: 403,
            body: b"Forbidden".into(),
            ..Answer::default()
        }
        .into(),
        Answer::json(403, &json!({"message": "Forbidden"})).into(),
        refusal(404, "URL_NOT_RESET", "Destination URL not reset").into(),
        Reply::Reset,
        Reply::Cut(Answer::json(200, &json!([{"success": true}]))),
        Reply::Hang,
        Reply::Trickle(Answer::json(200, &json!([{"success": true}]))),
    ]);
    replies
}

#[tokio::test]
async fn an_unavailable_host_ends_the_token_and_the_lead_is_written_at_the_new_one() {
    for reply in unavailable() {
        let (old, old_server) = instance().await;
        let (new, new_server) = instance().await;
        let org = org_at(&old_server, Duration::from_millis(500)).await;
        org.mock.set_instance_url(Some(new_server.url()));
        old.next(reply.clone());
        let outcome = words(&org.upsert(&org.leads([2])).await);
        assert!(
            outcome[0].starts_with("retry") || outcome[0].starts_with("stop configuration"),
            "{reply:?}: {outcome:?}"
        );
        assert_eq!(
            words(&org.upsert(&org.leads([2])).await),
            ["delivered"],
            "{reply:?}"
        );
        assert_eq!((old.leads().len(), new.leads().len()), (1, 1), "{reply:?}");
        assert_eq!(org.mock.count(Endpoint::Token), 2, "{reply:?}");
    }
}

#[tokio::test]
async fn a_host_that_refuses_connections_ends_the_token() {
    let (_old, old_server) = instance().await;
    let (new, new_server) = instance().await;
    let org = org_at(&old_server, MINUTE).await;
    org.mock.set_instance_url(Some(new_server.url()));
    drop(old_server);
    assert_eq!(
        words(&org.upsert(&org.leads([2])).await),
        ["retry CONNECTION_FAILED"]
    );
    assert_eq!(words(&org.upsert(&org.leads([2])).await), ["delivered"]);
    assert_eq!((new.leads().len(), org.mock.count(Endpoint::Token)), (1, 2));
}

#[tokio::test]
async fn refusals_of_salesforces_own_end_no_token() {
    let org = Org::new().await;
    assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
    for answer in [
        refusal(503, "SERVER_UNAVAILABLE", "Server Unavailable"),
        refusal(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred"),
        refusal(
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "TotalRequests Limit exceeded.",
        ),
        refusal(404, "NOT_FOUND", "The requested resource does not exist"),
        refusal(400, "JSON_PARSER_ERROR", "Unexpected character"),
        Answer::json(300, &json!(["/services/data/v67.0/sobjects/Lead/a"])),
    ] {
        org.mock.next(answer);
        assert_ne!(words(&org.upsert(&org.leads([2])).await), ["delivered"]);
        assert_eq!(words(&org.upsert(&org.leads([2])).await), ["delivered"]);
    }
    assert_eq!(org.mock.count(Endpoint::Token), 1);
}

#[tokio::test]
async fn an_unavailable_instance_costs_one_token_in_thirty_seconds() {
    let (old, old_server) = instance().await;
    let org = org_at(&old_server, MINUTE).await;
    for round in 0..3 {
        for _ in 0..20 {
            old.next(Answer::html(403, "<html>"));
            assert_eq!(
                words(&org.upsert(&org.leads([2])).await),
                ["retry HTTP_403"]
            );
        }
        assert_eq!(org.mock.count(Endpoint::Token), 2 + round);
        wait(Duration::from_secs(30)).await;
    }
    assert_eq!(
        words(&org.upsert(&org.leads([2])).await),
        ["delivered"],
        "the instance is available"
    );
}

#[tokio::test]
async fn a_response_of_the_instance_keeps_the_token() {
    let (old, old_server) = instance().await;
    let org = org_at(&old_server, MINUTE).await;
    for round in 0..3 {
        // The first page costs a token. The next ones follow too soon after it, and the response
        // ends their doubt.
        old.next(Answer::html(502, "<html>"));
        assert_eq!(
            words(&org.upsert(&org.leads([2])).await),
            ["retry HTTP_502"],
            "{round}"
        );
        assert_eq!(
            words(&org.upsert(&org.leads([2])).await),
            ["delivered"],
            "{round}"
        );
    }
    wait(MINUTE).await;
    assert_eq!(words(&org.upsert(&org.leads([2])).await), ["delivered"]);
    assert_eq!(org.mock.count(Endpoint::Token), 2);
}

#[tokio::test]
async fn the_breakers_next_probe_is_sent_to_the_new_host() {
    let (old, old_server) = instance().await;
    let (new, new_server) = instance().await;
    let org = org_at(&old_server, MINUTE).await;
    let adapter: Arc<dyn Adapter> = Arc::clone(&org.salesforce) as _;
    let dispatcher = dispatcher_of(&adapter);
    let lead = [newcomer(2, ContactType::Lead)];
    old.next(Answer::empty(302).with_header("location", "/"));
    assert_eq!(
        fates_by(&dispatcher, &org.metrics, &lead, MINUTE).await,
        ["failed HTTP_302"]
    );
    org.mock.set_instance_url(Some(new_server.url()));
    assert_eq!(
        fates_by(&dispatcher, &org.metrics, &lead, MINUTE).await,
        ["failed HTTP_302"],
        "the breaker is open"
    );
    wait(Duration::from_secs(5)).await;
    assert_eq!(
        fates_by(&dispatcher, &org.metrics, &lead, MINUTE).await,
        ["delivered"]
    );
    assert_eq!(
        (
            old.leads().len(),
            new.leads().len(),
            org.mock.count(Endpoint::Token)
        ),
        (1, 1, 2)
    );
}

/// A host to which no request may be sent.
struct ForbiddenHost;

impl Api for ForbiddenHost {
    fn reply(&self, request: &Request) -> Reply {
        panic!(
            "{} {} went to a host that is not allowed",
            request.method, request.path
        );
    }
}

#[tokio::test]
async fn a_token_for_a_host_that_is_not_allowed_is_not_kept_and_a_correction_is_found() {
    let server = Server::start(Arc::new(ForbiddenHost)).await;
    let forbidden = server.url().replace("127.0.0.1", "localhost");
    for in_secret in [false, true] {
        let other = Org::new().await;
        let org = Org::with(
            |behavior| behavior.instance_url = Some(forbidden.clone()),
            |_| {},
        )
        .await;
        let reply = org.upsert(&org.leads([1])).await;
        assert_eq!(words(&reply), ["stop configuration HOST_NOT_ALLOWED"]);
        for part in [
            "instance_url",
            "`localhost`",
            "Correct login_url in the secret",
            "`salesforce.allowed_hosts`",
        ] {
            assert!(remedy(&reply).contains(part), "{}", remedy(&reply));
        }
        if in_secret {
            // The secret was read when the token was refused, and is not read again within 30 s.
            org.write_secret(&other.mock.secret());
            wait(Duration::from_secs(30)).await;
        } else {
            org.mock.set_instance_url(None);
        }
        assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
        let expected = if in_secret { (0, 1) } else { (1, 0) };
        assert_eq!((org.mock.leads().len(), other.mock.leads().len()), expected);
    }
}

#[tokio::test]
async fn an_unavailable_token_endpoint_is_corrected_in_the_secret() {
    for reply in unavailable() {
        let other = Org::new().await;
        let org = Org::with(|_| {}, |settings| settings.request_timeout_ms = 500).await;
        org.mock.next_of(Endpoint::Token, reply.clone());
        assert_ne!(
            words(&org.upsert(&org.leads([1])).await),
            ["delivered"],
            "{reply:?}"
        );
        org.write_secret(&other.mock.secret());
        wait(Duration::from_secs(30)).await;
        org.mock.next_of(Endpoint::Token, reply.clone());
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            ["delivered"],
            "{reply:?}"
        );
        assert_eq!(
            (org.mock.leads().len(), other.mock.leads().len()),
            (0, 1),
            "{reply:?}"
        );
    }
}

#[tokio::test]
async fn blanks_around_the_values_of_a_secret_are_ignored() {
    let org = Org::new().await;
    let mut secret = org.mock.secret();
    for name in ["login_url", "client_id", "client_secret"] {
        secret[name] = format!(" {}\r\n", secret[name].as_str().expect("a text")).into();
    }
    org.write_secret(&secret);
    assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
}
