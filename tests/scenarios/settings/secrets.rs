//! Tests of the function's secrets: when and how often they are read, and that no log has them.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::secrets::Secrets;
use contact_sync::settings::Environment;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::aws::no_aws;
use testkit::harness::{Logs, Mocks, batch, change};
use testkit::mock_hubspot;
use testkit::server::Server;
use testkit::stream::{failures, invoke, sequence_number};
use tokio::time::{Instant, advance, pause, resume};

use super::aws::{self, Aws, State};

/// Starts the function between the mocks, with its secrets in Secrets Manager. `prepare` changes
/// the state of Secrets Manager before.
async fn function(
    mocks: &Mocks,
    document: &str,
    prepare: impl FnOnce(&mut State),
) -> (Arc<Aws>, Server, Handler) {
    let (aws, server) = Aws::start().await;
    for (id, text) in [
        ("contact-sync/salesforce", mocks.salesforce.secret()),
        (
            "contact-sync/hubspot",
            json!({"access_token": mock_hubspot::TOKEN}),
        ),
    ] {
        aws.state()
            .secrets
            .insert(id.to_owned(), Ok(text.to_string()));
    }
    prepare(&mut aws.state());
    let handler = start(mocks, document, aws::config(&server)).await;
    (aws, server, handler)
}

/// Starts the function with `document` over the preset.
async fn start(mocks: &Mocks, document: &str, aws: SdkConfig) -> Handler {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), document).expect("written");
    let (config, base_url) = (
        format!("file:{}", file.path().display()),
        mocks.hubspot_server.url(),
    );
    let variables = [
        ("CONTACT_SYNC_PRESET", "test"),
        ("CONTACT_SYNC_CONFIG", &*config),
        ("CONTACT_SYNC__REFRESH_SECS", "3600"),
        ("CONTACT_SYNC__HUBSPOT__BASE_URL", &*base_url),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_variables(variables).expect("good variables");
    App::default()
        .start(&environment, Arc::new(aws))
        .await
        .expect("a handler")
}

fn both() -> Vec<Value> {
    let fields = || json!({"last_name": "Lovelace", "company": "Acme"});
    batch(&[
        change("create", "c-1", "lead", fields()),
        change("create", "c-2", "customer", fields()),
    ])
}

#[tokio::test]
async fn both_secrets_are_read_in_one_call_at_the_start() {
    let mocks = Mocks::start().await;
    let (aws, _server, handler) = function(&mocks, "", |_| {}).await;
    aws.until_called("BatchGetSecretValue", 1).await;
    for _ in 0..3 {
        assert!(failures(&invoke(&handler, &both(), "r").await).is_empty());
    }
    assert_eq!(aws.state().calls, ["BatchGetSecretValue"]);
}

#[tokio::test]
async fn the_secret_of_a_system_without_a_route_is_not_read() {
    let mocks = Mocks::start().await;
    let remove = |state: &mut State| drop(state.secrets.remove("contact-sync/hubspot"));
    let document = "[filter]\ntypes = [\"lead\", \"prospect\"]";
    let (aws, _server, handler) = function(&mocks, document, remove).await;
    let mut delete = change("delete", "c-1", "lead", json!({}));
    delete["contact"]
        .as_object_mut()
        .expect("an object")
        .remove("type");
    let lead = change(
        "create",
        "c-2",
        "lead",
        json!({"last_name": "Lovelace", "company": "Acme"}),
    );
    assert!(failures(&invoke(&handler, &batch(&[delete, lead]), "r").await).is_empty());
    assert_eq!(aws.state().calls, ["GetSecretValue"]);
}

#[tokio::test]
async fn the_first_invocations_find_the_secrets_read() {
    let mocks = Mocks::start().await;
    let (aws, _server, handler) = function(&mocks, "", |_| {}).await;
    assert_eq!(aws.state().calls, ["BatchGetSecretValue"]);
    let (both_of, first, second) = (both(), "r-1", "r-2");
    let (first, second) = tokio::join!(
        invoke(&handler, &both_of, first),
        invoke(&handler, &both_of, second)
    );
    assert!(failures(&first).is_empty() && failures(&second).is_empty());
    assert_eq!(aws.state().calls, ["BatchGetSecretValue"]);
}

#[tokio::test]
async fn a_call_of_the_start_without_a_response_is_repeated_for_the_first_secret() {
    let mocks = Mocks::start().await;
    let (aws, _server, handler) =
        function(&mocks, "", |state| state.hangs.push("BatchGetSecretValue")).await;
    aws.state().hangs.clear();
    let before = aws.calls("BatchGetSecretValue");
    assert!(failures(&invoke(&handler, &both(), "r").await).is_empty());
    assert_eq!(aws.calls("BatchGetSecretValue"), before + 1);
    assert_eq!(aws.calls("GetSecretValue"), 0);
}

#[tokio::test]
async fn a_value_read_at_the_start_expires_like_any_other() {
    let (aws, server) = Aws::start().await;
    for id in ["one", "two"] {
        aws.state()
            .secrets
            .insert(id.to_owned(), Ok("old".to_owned()));
    }
    let secrets = Secrets::new(
        Arc::new(aws_sdk_secretsmanager::Client::new(&aws::config(&server))),
        false,
    );
    let (one, two) = (secrets.get("one"), secrets.get("two"));
    secrets.prefetch().await;
    aws.until_called("BatchGetSecretValue", 1).await;
    assert_eq!(one.get().await.expect("readable").expose_secret(), "old");
    aws.state()
        .secrets
        .insert("two".to_owned(), Ok("new".to_owned()));
    let wait = async |seconds| {
        pause();
        advance(Duration::from_secs(seconds)).await;
        resume();
    };
    wait(500).await;
    assert_eq!(
        two.get().await.expect("readable").expose_secret(),
        "old",
        "read by the first call"
    );
    wait(101).await;
    assert_eq!(
        two.get().await.expect("readable").expose_secret(),
        "new",
        "ten minutes after that call"
    );
    assert_eq!(aws.state().calls, ["BatchGetSecretValue", "GetSecretValue"]);
}

#[tokio::test]
async fn an_unreachable_secrets_manager_is_logged_with_the_reason_and_the_remedy() {
    let mocks = Mocks::start().await;
    let handler = start(&mocks, "", no_aws()).await;
    let logs = Logs::listen();
    assert_eq!(
        failures(&invoke(&handler, &both(), "r").await).len(),
        2,
        "the records fail, and are not rejected"
    );
    let lines = logs.lines();
    let remedies: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["remedy"].as_str())
        .collect();
    assert_eq!(remedies.len(), 2, "one for each destination");
    for remedy in remedies {
        assert!(
            remedy.contains("Connection refused") && remedy.contains("a NAT gateway"),
            "{remedy}"
        );
        assert!(
            !remedy.contains("GetSecretValue"),
            "no permission is the cause: {remedy}"
        );
    }
}

#[tokio::test]
async fn without_the_permission_for_the_batch_call_secrets_are_read_one_by_one() {
    let mocks = Mocks::start().await;
    let (aws, _server, handler) = function(&mocks, "", |state| {
        state.refuses.push("BatchGetSecretValue");
    })
    .await;
    for _ in 0..3 {
        assert!(failures(&invoke(&handler, &both(), "r").await).is_empty());
    }
    assert_eq!(
        aws.state().calls,
        ["BatchGetSecretValue", "GetSecretValue", "GetSecretValue"]
    );
}

#[tokio::test]
async fn a_secret_refused_within_a_batch_response_stops_only_its_own_destination() {
    let mocks = Mocks::start().await;
    let refuse = |state: &mut State| {
        state.secrets.insert(
            "contact-sync/hubspot".to_owned(),
            Err("AccessDeniedException"),
        );
    };
    let (aws, _server, handler) = function(&mocks, "", refuse).await;
    let logs = Logs::listen();
    let answer = invoke(&handler, &both(), "r").await;
    assert_eq!(
        failures(&answer),
        [sequence_number(0, 1)],
        "the record fails, and is not rejected"
    );
    assert_eq!(mocks.salesforce.leads().len(), 1);
    assert_eq!(
        aws.state().calls,
        ["BatchGetSecretValue", "GetSecretValue"],
        "the one that was refused is read again"
    );
    let lines = logs.lines();
    let error = lines
        .iter()
        .find(|line| line["level"] == "ERROR")
        .expect("an error line");
    let remedy = error["remedy"].as_str().expect("a remedy");
    assert!(
        remedy.contains("contact-sync/hubspot") && remedy.contains("AccessDeniedException"),
        "{remedy}"
    );
    assert!(remedy.contains("secretsmanager:GetSecretValue"), "{remedy}");
}

#[tokio::test]
async fn a_value_stays_in_use_while_secrets_manager_is_unavailable_and_is_read_rarely() {
    let (aws, server) = Aws::start().await;
    aws.state()
        .secrets
        .insert("one".to_owned(), Ok("old".to_owned()));
    let secret = Secrets::new(
        Arc::new(aws_sdk_secretsmanager::Client::new(&aws::config(&server))),
        false,
    )
    .get("one");
    assert_eq!(secret.get().await.expect("readable").expose_secret(), "old");
    aws.state().hangs.push("GetSecretValue");
    pause();
    advance(Duration::from_mins(11)).await;
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(secret.get().await.expect("cached").expose_secret(), "old");
    }
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert!(
        aws.calls("GetSecretValue") <= 2,
        "one repeat, and no other within 30 seconds"
    );
    aws.state().hangs.clear();
    aws.state()
        .secrets
        .insert("one".to_owned(), Ok("new".to_owned()));
    advance(Duration::from_secs(31)).await;
    resume();
    assert_eq!(secret.get().await.expect("readable").expose_secret(), "new");
}

#[tokio::test]
async fn no_log_line_holds_a_secret_or_a_token() {
    let mocks = Mocks::start().await;
    let (_aws, _server, handler) = function(&mocks, "", |_| {}).await;
    let logs = Logs::listen();
    invoke(&handler, &both(), "r").await;
    mocks.hubspot.rotate_token("pat-other");
    mocks.salesforce.expire_tokens();
    invoke(&handler, &both(), "r").await;
    let content = mocks.salesforce.secret();
    let all = logs
        .lines()
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(all.contains("INFO"));
    for secret in [
        content["client_secret"].as_str().expect("a text"),
        mock_hubspot::TOKEN,
        "Bearer",
    ] {
        assert!(!all.contains(secret), "{secret} is in\n{all}");
    }
}
