//! Secrets as the function reads them: when, how often, and never into a log.

use std::sync::Arc;
use std::time::Duration;

use contact_sync::factory::{self, DESTINATIONS};
use contact_sync::handler::Handler;
use contact_sync::secrets::Secrets;
use contact_sync::settings::{Layer, Preset, load};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::{Instant, advance, pause, resume};

use super::aws::{self, Aws};
use crate::support::harness::{Logs, Mocks, batch, change};
use crate::support::mock_hubspot;
use crate::support::server::Server;
use crate::support::stream::{failures, invoke, sequence_number};

/// The function between the mocks, with its secrets in Secrets Manager.
async fn function(mocks: &Mocks) -> (Arc<Aws>, Server, Handler) {
    let (aws, server) = Aws::start().await;
    for (id, text) in [
        ("contact-sync/salesforce", mocks.salesforce.secret()),
        ("contact-sync/hubspot", json!({"access_token": mock_hubspot::TOKEN})),
    ] {
        aws.state().secrets.insert(id.to_owned(), Ok(text.to_string()));
    }
    let base_url = Layer::from_variable("CONTACT_SYNC__HUBSPOT__BASE_URL", &mocks.hubspot_server.url());
    let settings = load(Preset::Test, &[base_url.expect("a variable")], &DESTINATIONS).expect("good settings");
    let handler = factory::build(Preset::Test, &settings, &aws::config(&server)).expect("a handler");
    (aws, server, handler)
}

fn both() -> Vec<Value> {
    let fields = || json!({"last_name": "Lovelace", "company": "Acme"});
    batch(&[change("create", "c-1", "lead", fields()), change("create", "c-2", "customer", fields())])
}

#[tokio::test]
async fn both_secrets_come_in_one_call_and_not_before_they_are_needed() {
    let mocks = Mocks::start().await;
    let (aws, _server, handler) = function(&mocks).await;
    invoke(&handler, &[], "r").await;
    assert_eq!(aws.state().calls, [""; 0]);
    for _ in 0..3 {
        assert!(failures(&invoke(&handler, &both(), "r").await).is_empty());
    }
    assert_eq!(aws.state().calls, ["BatchGetSecretValue"]);
}

#[tokio::test]
async fn without_the_permission_for_one_call_they_are_read_one_by_one() {
    let mocks = Mocks::start().await;
    let (aws, _server, handler) = function(&mocks).await;
    aws.state().refuses.push("BatchGetSecretValue");
    for _ in 0..3 {
        assert!(failures(&invoke(&handler, &both(), "r").await).is_empty());
    }
    assert_eq!(aws.state().calls, ["BatchGetSecretValue", "GetSecretValue", "GetSecretValue"]);
}

#[tokio::test]
async fn a_secret_that_is_refused_within_the_answer_stops_its_own_destination_only() {
    let mocks = Mocks::start().await;
    let (aws, _server, handler) = function(&mocks).await;
    aws.state().secrets.insert("contact-sync/hubspot".to_owned(), Err("AccessDeniedException"));
    let logs = Logs::listen();
    let answer = invoke(&handler, &both(), "r").await;
    assert_eq!(failures(&answer), [sequence_number(0, 1)], "it fails, and is not rejected");
    assert_eq!(mocks.salesforce.leads().len(), 1);
    assert_eq!(aws.state().calls, ["BatchGetSecretValue"]);
    let lines = logs.lines();
    let told = lines.iter().find(|line| line["level"] == "ERROR").expect("an error line");
    let remedy = told["remedy"].as_str().expect("what to do");
    assert!(remedy.contains("contact-sync/hubspot") && remedy.contains("AccessDeniedException"), "{remedy}");
}

#[tokio::test]
async fn a_value_stays_while_secrets_manager_does_not_answer_and_is_asked_for_rarely() {
    let (aws, server) = Aws::start().await;
    aws.state().secrets.insert("one".to_owned(), Ok("old".to_owned()));
    let secret = Secrets::new(aws_sdk_secretsmanager::Client::new(&aws::config(&server)), false).get("one");
    assert_eq!(secret.get().await.expect("readable").expose_secret(), "old");
    aws.state().hangs.push("GetSecretValue");
    pause();
    advance(Duration::from_mins(11)).await;
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(secret.get().await.expect("at hand").expose_secret(), "old");
    }
    assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(aws.calls("GetSecretValue") <= 2, "once more, and not again within 30 seconds");
    aws.state().hangs.clear();
    aws.state().secrets.insert("one".to_owned(), Ok("new".to_owned()));
    advance(Duration::from_secs(31)).await;
    resume();
    assert_eq!(secret.get().await.expect("readable").expose_secret(), "new");
}

#[tokio::test]
async fn no_line_of_any_level_holds_a_secret_or_a_token() {
    let mocks = Mocks::start().await;
    let (_aws, _server, handler) = function(&mocks).await;
    let logs = Logs::listen();
    invoke(&handler, &both(), "r").await;
    mocks.hubspot.rotate_token("pat-other");
    mocks.salesforce.expire_tokens();
    invoke(&handler, &both(), "r").await;
    let content = mocks.salesforce.secret();
    let all = logs.lines().iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    assert!(all.contains("INFO"));
    for secret in [content["client_secret"].as_str().expect("a text"), mock_hubspot::TOKEN, "Bearer"] {
        assert!(!all.contains(secret), "{secret} is in\n{all}");
    }
}
