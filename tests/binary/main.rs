//! Tests of the real binary with a Runtime API: it behaves as the handler of the other tests.

mod logs;
#[cfg(target_os = "linux")]
mod memory;
mod samples;
#[cfg(feature = "otel")]
mod traces;

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use testkit::harness::{Mocks, batch, change};
use testkit::mock_salesforce::row_error;
use testkit::runtime_api::{Function, InvocationOutcome};
use testkit::stream::sequence_number;

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");
const TIME: Duration = Duration::from_secs(30);

fn variables(mocks: &Mocks) -> Vec<(String, String)> {
    let mut variables = mocks.variables();
    variables.push(("CONTACT_SYNC_PRESET".to_owned(), "test".to_owned()));
    variables
}

/// Builds an event with a lead and a contact.
fn event() -> String {
    let fields = || json!({"last_name": "Lovelace", "company": "Acme", "email": "ada@example.com"});
    let changes = [
        change("create", "c-1", "lead", fields()),
        change("create", "c-2", "vendor", fields()),
    ];
    json!({"Records": batch(&changes)}).to_string()
}

#[tokio::test]
async fn the_binary_responds_to_a_batch_as_the_handler() {
    let mocks = Mocks::start().await;
    let mut function = Function::start(Path::new(BINARY), &variables(&mocks)).await;
    let ended = function.invoke(event(), "r-1", TIME).await;
    assert_eq!(ended.failures(), [""; 0]);
    assert!(mocks.salesforce.lead("c-1").is_some() && mocks.hubspot.contact("c-2").is_some());
    mocks.hubspot_server.stop();
    let ended = function.invoke(event(), "r-2", TIME).await;
    assert_eq!(ended.failures(), [sequence_number(0, 1)]);
}

#[tokio::test]
async fn an_unsupported_event_is_an_error_and_the_process_continues() {
    let mocks = Mocks::start().await;
    let mut function = Function::start(Path::new(BINARY), &variables(&mocks)).await;
    let of_a_queue = r#"{"Records":[{"messageId":"m-1","receiptHandle":"r",
        "body":"{\"event_id\":\"e-1\"}","eventSource":"aws:sqs",
        "eventSourceARN":"arn:aws:sqs:eu-west-1:123456789012:queue"}]}"#;
    let other = r#"{"detail-type":"something else"}"#;
    let events = [of_a_queue, other, "null", "{", "", r#"{"Records":[]}}"#].map(str::as_bytes);
    for (at, event) in events
        .into_iter()
        .chain([&b"{\"Records\":[],\"\xff\":1}"[..]])
        .enumerate()
    {
        let ended = function.invoke(event, &format!("r-{at}"), TIME).await;
        let shown = String::from_utf8_lossy(event);
        let InvocationOutcome::Error(error) = ended else {
            panic!("{shown}: {ended:?}")
        };
        assert_eq!(error["errorType"], "UnsupportedEvent", "{shown}");
        let request_id = format!("\"request_id\":\"r-{at}\"");
        let is_logged = |line: &String| {
            line.contains("invocation failed")
                && line.contains("find out which mapping")
                && line.contains(&request_id)
        };
        assert!(function.lines().iter().any(is_logged), "{shown}");
    }
    let ended = function.invoke(r#"{"Records":[]}"#, "r-good", TIME).await;
    assert_eq!(ended.failures(), [""; 0]);
}

#[tokio::test]
async fn each_concurrent_invocation_returns_its_own_failures() {
    let mocks = Mocks::start_with(
        |behavior| behavior.latency = Duration::from_millis(50),
        |_| {},
    )
    .await;
    let mut variables = variables(&mocks);
    variables.push(("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), "2".to_owned()));
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    let fields = json!({"last_name": "Lovelace", "company": "Acme", "email": "ada@example.com"});
    let ids = ["c-0", "c-1", "c-2", "c-3"];
    let changes = ids.map(|id| change("create", id, "lead", fields.clone()));
    let locked = row_error("UNABLE_TO_LOCK_ROW", "locked", &[]);
    for id in ids {
        mocks.salesforce.fail_row(id, locked.clone(), 99);
    }
    let events = batch(&changes)
        .into_iter()
        .map(|record| json!({"Records": [record]}).to_string().into());
    let failures: Vec<_> = function
        .invoke_at_once(events, TIME)
        .await
        .iter()
        .map(InvocationOutcome::failures)
        .collect();
    assert_eq!(failures, [0, 1, 2, 3].map(|at| [sequence_number(0, at)]));
}

#[tokio::test]
async fn an_invalid_setting_ends_the_start_with_one_line_that_names_the_setting() {
    let mocks = Mocks::start().await;
    let mut variables = variables(&mocks);
    variables.push((
        "CONTACT_SYNC__HUBSPOT__BATCH_SIZE".to_owned(),
        "101".to_owned(),
    ));
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    assert!(function.time_to_first_poll().await.is_none());
    assert!(!function.exit().await.success());
    let mut lines = function.lines();
    lines.retain(|line| !line.contains("contact-sync starts"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(
            "CONTACT_SYNC__HUBSPOT__BATCH_SIZE: `hubspot.batch_size` is 101; allowed: 1 to 100"
        ),
        "{lines:?}"
    );
}

#[tokio::test]
async fn the_start_logs_the_version_and_the_preset() {
    let mocks = Mocks::start().await;
    let mut function = Function::start(Path::new(BINARY), &variables(&mocks)).await;
    function.time_to_first_poll().await.expect("it starts");
    let lines = function.lines();
    let started = lines.iter().filter(|line| {
        let is_start = line.contains("\"message\":\"contact-sync starts\"");
        let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
        is_start && line.contains(&version) && line.contains("\"preset\":\"test\"")
    });
    assert_eq!(started.count(), 1, "{lines:?}");
}

#[tokio::test]
async fn outside_of_lambda_the_start_names_the_missing_variable() {
    let mocks = Mocks::start().await;
    let output = tokio::process::Command::new(BINARY)
        .env_clear()
        .envs(variables(&mocks))
        .output()
        .await
        .expect("it runs");
    assert!(!output.status.success());
    let lines = String::from_utf8_lossy(&output.stdout);
    let last = lines.lines().last().unwrap_or_default();
    assert!(
        last.contains("contact-sync cannot start") && last.contains("AWS_LAMBDA_FUNCTION_NAME"),
        "{lines}"
    );
}
