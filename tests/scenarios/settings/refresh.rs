//! Tests of a document that changes while the function runs.

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::AdapterSpec;
use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::model::limits::{RateLimit, Retry};
use contact_sync::settings::Environment;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::aws::no_aws;
use testkit::harness::{Logs, Mocks, batch, change};
use testkit::memory::{Faults, Memory, NAME};
use testkit::server::Server;
use testkit::stream::{failures, invoke};
use tokio::time::{Instant, advance, pause, resume};

use super::aws::{self, Aws, PARAMETER};

/// Returns the environment of these variables, with the preset `test`.
pub(super) fn environment(variables: &[(&str, &str)]) -> Environment {
    let preset = [("CONTACT_SYNC_PRESET", "test")];
    let all = preset.iter().chain(variables);
    Environment::from_variables(all.map(|(name, value)| ((*name).into(), (*value).into())))
        .expect("good variables")
}

/// Stores the secrets that a start reads ahead.
fn store_secrets(aws: &Aws) {
    for name in ["contact-sync/salesforce", "contact-sync/hubspot"] {
        let secret = Ok("{}".to_owned());
        aws.state().secrets.insert(name.to_owned(), secret);
    }
}

/// Starts a function whose document is a parameter, and that filters every record.
async fn watching(server: &Server, refresh_secs: &str) -> Handler {
    let environment = environment(&[
        ("CONTACT_SYNC_CONFIG", &format!("ssm:{PARAMETER}")),
        ("CONTACT_SYNC__REFRESH_SECS", refresh_secs),
        ("CONTACT_SYNC__FILTER__OPERATIONS", r#"["delete"]"#),
        ("CONTACT_SYNC__PIPELINE__DRY_RUN", "true"),
        ("CONTACT_SYNC__HUBSPOT__BASE_URL", "http://127.0.0.1:9"),
    ]);
    App::default()
        .start(&environment, Arc::new(aws::config(server)))
        .await
        .expect("a handler")
}

/// Returns records of leads.
pub(super) fn leads(count: usize) -> Vec<Value> {
    let fields = || json!({"last_name": "Lovelace", "company": "Acme"});
    batch(
        &(0..count)
            .map(|at| change("create", &format!("c-{at}"), "lead", fields()))
            .collect::<Vec<_>>(),
    )
}

#[tokio::test]
async fn a_refresh_makes_no_call_before_its_interval_is_over() {
    let (aws, server) = Aws::start().await;
    store_secrets(&aws);
    let handler = watching(&server, "60").await;
    for _ in 0..5 {
        invoke(&handler, &leads(2), "r").await;
    }
    assert_eq!(aws.calls("GetParameter"), 1, "the call of the start");
    pause();
    advance(Duration::from_secs(61)).await;
    resume();
    for _ in 0..5 {
        invoke(&handler, &leads(2), "r").await;
    }
    aws.until_called("GetParameter", 2).await;
    invoke(&handler, &leads(2), "r").await;
    assert_eq!(
        aws.calls("GetParameter"),
        2,
        "one for each minute, with any number of invocations"
    );
}

#[tokio::test]
async fn a_hanging_parameter_store_delays_no_invocation_and_is_logged() {
    let (aws, server) = Aws::start().await;
    store_secrets(&aws);
    let handler = watching(&server, "0").await;
    aws.state().hangs.push("GetParameter");
    let logs = Logs::listen();
    let errors = || {
        logs.lines()
            .iter()
            .filter(|line| line["level"] == "ERROR")
            .count()
    };
    pause();
    let start = Instant::now();
    for _ in 0..3 {
        assert!(failures(&invoke(&handler, &leads(2), "r").await).is_empty());
    }
    assert_eq!(
        start.elapsed(),
        Duration::ZERO,
        "in virtual time, a wait of any length would show"
    );
    resume();
    aws.until_called("GetParameter", 2).await;
    // A read that outlived its invocation is repeated once before an error is logged.
    for expected in [0, 1] {
        let calls = aws.calls("GetParameter");
        pause();
        advance(Duration::from_secs(3)).await;
        resume();
        while aws.calls("GetParameter") == calls {
            invoke(&handler, &leads(2), "r").await;
            tokio::task::yield_now().await;
        }
        assert_eq!(errors(), expected);
    }
    let config_errors: u64 = logs
        .metrics("")
        .iter()
        .filter_map(|line| line["ConfigErrors"].as_u64())
        .sum();
    assert_eq!(config_errors, 1);
}

#[tokio::test]
async fn a_parameter_that_does_not_exist_means_the_preset_alone() {
    let (aws, server) = Aws::start().await;
    store_secrets(&aws);
    aws.state().is_missing = true;
    let logs = Logs::listen();
    let handler = watching(&server, "0").await;
    while aws.calls("GetParameter") < 4 {
        assert!(failures(&invoke(&handler, &leads(2), "r").await).is_empty());
        tokio::task::yield_now().await;
    }
    let mut lines = logs.lines();
    lines.retain(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("settings document")
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (&lines[0]["level"], &lines[0]["source"]),
        (&json!("INFO"), &json!(format!("the parameter {PARAMETER}")))
    );

    aws.state().document = "[filter]\ntypes = [\"customer\"]".to_owned();
    aws.state().is_missing = false;
    let message = "settings changed: in force from the next invocation on";
    while !logs.lines().iter().any(|line| line["message"] == message) {
        invoke(&handler, &leads(2), "r").await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_parameter_that_is_deleted_while_running_keeps_its_settings_in_force_with_a_warning() {
    let (aws, server) = Aws::start().await;
    store_secrets(&aws);
    aws.state().document = "[filter]\ntypes = [\"customer\"]".to_owned();
    let handler = watching(&server, "0").await;
    aws.state().is_missing = true;
    let logs = Logs::listen();
    let message = "settings document gone: the last good settings stay until a new start";
    let warnings = || {
        logs.lines()
            .iter()
            .filter(|line| line["level"] == "WARN" && line["message"] == message)
            .count()
    };
    let deleted = batch(&[change("delete", "c-1", "lead", json!({}))]);
    while warnings() < 2 {
        assert!(failures(&invoke(&handler, &deleted, "r").await).is_empty());
        tokio::task::yield_now().await;
    }
    invoke(&handler, &deleted, "r").await;
    for line in logs.audit() {
        assert_eq!(line["code"], "FILTERED_TYPE");
    }
    let config_errors: u64 = logs
        .metrics("")
        .iter()
        .filter_map(|line| line["ConfigErrors"].as_u64())
        .sum();
    assert!(config_errors >= 2, "an alarm reports it");
}

/// Adds a third system to the factory.
fn with_memory(memory: &Arc<Memory>) -> App {
    let memory = Arc::clone(memory);
    App::default().with(
        NAME,
        AdapterSpec {
            adapter: Arc::clone(&memory) as _,
            rate_limit: RateLimit {
                requests: 1000,
                per_ms: 1000,
            },
            retry: Retry {
                max_attempts: 1,
                base_delay_ms: 1,
                max_delay_ms: 1,
            },
            max_in_flight: 1,
            keeps_versions: false,
        },
    )
}

/// Starts a function whose document routes leads to `memory`. Returns the document besides.
async fn documented(memory: &Arc<Memory>) -> (NamedTempFile, Handler) {
    let file = NamedTempFile::new().expect("a file");
    write(&file, "");
    let environment = environment(&[(
        "CONTACT_SYNC_CONFIG",
        &format!("file:{}", file.path().display()),
    )]);
    let handler = with_memory(memory)
        .start(&environment, Arc::new(no_aws()))
        .await
        .expect("a handler");
    (file, handler)
}

/// Writes the document with `text` in it.
fn write(file: &NamedTempFile, text: &str) {
    std::fs::write(
        file.path(),
        format!("[routes]\nlead = [\"{NAME}\"]\n{text}"),
    )
    .expect("written");
}

#[tokio::test]
async fn an_open_breaker_stays_open_after_an_unrelated_change() {
    let memory = Memory::new(
        1,
        Faults {
            stopped: 100,
            ..Faults::default()
        },
    );
    let (file, handler) = documented(&memory).await;
    assert_eq!(failures(&invoke(&handler, &leads(2), "r").await).len(), 2);
    let calls = memory.calls();
    assert!(calls > 0);
    write(&file, "[filter]\noperations = [\"create\"]");
    for _ in 0..3 {
        assert_eq!(failures(&invoke(&handler, &leads(2), "r").await).len(), 2);
    }
    assert_eq!(memory.calls(), calls, "no call while the breaker is open");
}

#[tokio::test]
async fn a_changed_rate_limit_applies_from_the_next_invocation_on() {
    let mocks = Mocks::start().await;
    let file = NamedTempFile::new().expect("a file");
    let write = |budget: &str| {
        let document = format!("[salesforce]\nbatch_size = 1\nrate_limit = {budget}");
        std::fs::write(file.path(), document).expect("written");
    };
    write("{ requests = 1000, per_ms = 1000 }");
    let mut variables: Vec<(String, String)> = mocks.variables();
    variables.push((
        "CONTACT_SYNC_CONFIG".to_owned(),
        format!("file:{}", file.path().display()),
    ));
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let handler = App::default()
        .start(&environment(&variables), Arc::new(no_aws()))
        .await
        .expect("a handler");

    write("{ requests = 1, per_ms = 86_400_000 }");
    assert!(
        failures(&invoke(&handler, &leads(3), "r").await).is_empty(),
        "three calls, within the first rate limit"
    );
    assert_eq!(
        failures(&invoke(&handler, &leads(3), "r").await).len(),
        3,
        "the day's call was made"
    );
}

#[tokio::test]
async fn a_changed_base_url_applies_without_a_restart() {
    let (mocks, other) = (Mocks::start().await, Mocks::start().await);
    let file = NamedTempFile::new().expect("a file");
    let write = |url: &str| {
        std::fs::write(file.path(), format!("[hubspot]\nbase_url = \"{url}\"")).expect("written");
    };
    write(&mocks.hubspot_server.url());
    let mut variables: Vec<(String, String)> = mocks.variables();
    variables.retain(|(name, _)| !name.ends_with("HUBSPOT__BASE_URL"));
    variables.push((
        "CONTACT_SYNC_CONFIG".to_owned(),
        format!("file:{}", file.path().display()),
    ));
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let handler = App::default()
        .start(&environment(&variables), Arc::new(no_aws()))
        .await
        .expect("a handler");

    let customer = batch(&[change(
        "create",
        "c-1",
        "customer",
        json!({"last_name": "Lovelace"}),
    )]);
    write(&other.hubspot_server.url());
    for expected in [(1, 0), (1, 1)] {
        assert!(failures(&invoke(&handler, &customer, "r").await).is_empty());
        assert_eq!(
            (
                mocks.hubspot.contacts().len(),
                other.hubspot.contacts().len()
            ),
            expected
        );
    }
}

#[tokio::test]
async fn changes_of_fixed_keys_are_refused_with_a_warning_and_the_others_apply() {
    let mocks = Mocks::start().await;
    let file = NamedTempFile::new().expect("a file");
    let mut variables: Vec<(String, String)> = mocks.variables();
    let secret = variables
        .iter()
        .position(|(name, _)| name.ends_with("HUBSPOT__SECRET_ID"))
        .expect("set");
    let (_, secret) = variables.remove(secret);
    let write = |secret: &str, rest: &str| {
        std::fs::write(
            file.path(),
            format!("{rest}\n[hubspot]\nsecret_id = \"{secret}\""),
        )
        .expect("written");
    };
    write(&secret, "");
    variables.push((
        "CONTACT_SYNC_CONFIG".to_owned(),
        format!("file:{}", file.path().display()),
    ));
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let handler = App::default()
        .start(&environment(&variables), Arc::new(no_aws()))
        .await
        .expect("a handler");

    let logs = Logs::listen();
    write(
        "file:/nowhere/at-all",
        "[filter]\ntypes = [\"customer\"]\n[state]\ntable = \"other\"",
    );
    let fields = || json!({"last_name": "Lovelace", "company": "Acme"});
    let both = |lead, customer| {
        batch(&[
            change("create", lead, "lead", fields()),
            change("create", customer, "customer", fields()),
        ])
    };
    assert!(failures(&invoke(&handler, &both("c-1", "c-2"), "r").await).is_empty());
    let held = || {
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len(),
        )
    };
    assert_eq!(
        held(),
        (1, 1),
        "the invocation that reads the document keeps the settings of its start"
    );
    assert!(failures(&invoke(&handler, &both("c-3", "c-4"), "r").await).is_empty());
    assert_eq!(held(), (1, 2), "the next invocation has the new settings");
    let lines = logs.lines();
    let refused: Vec<&Value> = lines
        .iter()
        .filter(|line| line["level"] == "WARN")
        .map(|line| &line["key"])
        .collect();
    assert_eq!(refused, ["hubspot.secret_id", "state.table"]);
}

#[tokio::test]
async fn an_invalid_document_changes_no_setting_and_is_logged_with_its_line() {
    let memory = Memory::new(1, Faults::default());
    let (file, handler) = documented(&memory).await;
    let logs = Logs::listen();
    // Half of it is valid: no part of it may apply.
    write(
        &file,
        "[filter]\noperations = [\"delete\"]\n[hubspot]\nbatch_size = 101",
    );
    for _ in 0..2 {
        assert!(failures(&invoke(&handler, &leads(2), "r").await).is_empty());
    }
    assert_eq!(memory.written().len(), 4);
    let lines = logs.lines();
    let errors: Vec<&Value> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .map(|line| &line["error"])
        .collect();
    let expected = format!(
        "the file {}, line 6: `hubspot.batch_size` is 101; allowed: 1 to 100",
        file.path().display()
    );
    assert_eq!(
        errors,
        [&expected, &expected],
        "at every read, as long as the document is invalid"
    );
}
