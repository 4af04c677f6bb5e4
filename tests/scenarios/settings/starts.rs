//! Tests of starts with an unreadable document: they end with one line that names the reason.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::REGISTRY;
use contact_sync::app::App;
use contact_sync::http_client::ExtraRoots;
use contact_sync::services::Services;
use contact_sync::settings::Environment;
use testkit::runtime_api::Function;
use testkit::server::{Api, Reply, Request, Server};
use tokio::time::{Instant, advance, pause, resume};

use super::aws::{self, Aws, PARAMETER};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");

/// Returns the only line of the binary where its document is at `source` and AWS at `endpoint`.
async fn line_of(source: &str, endpoint: &str) -> String {
    let variables = [
        ("CONTACT_SYNC_PRESET", "test"),
        ("CONTACT_SYNC_CONFIG", source),
        ("AWS_ENDPOINT_URL", endpoint),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    assert!(function.time_to_first_poll().await.is_none(), "{source}");
    assert!(!function.exit().await.success(), "{source}");
    let lines = function.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[tokio::test]
async fn an_unreadable_document_ends_the_start_with_one_line() {
    let (aws, server) = Aws::start().await;
    let url = server.url();
    let parameter = format!("ssm:{PARAMETER}");
    aws.state().document = "[hubspot]\nbatch_size = 101".to_owned();
    for (source, endpoint, parts) in [
        (
            "file:/nowhere/at-all",
            &*url,
            ["/nowhere/at-all", "No such file"],
        ),
        (
            &*parameter,
            "http://127.0.0.1:9",
            [PARAMETER, "Connection refused"],
        ),
        (
            &*parameter,
            &*url,
            ["line 2: `hubspot.batch_size` is 101", "1 to 100"],
        ),
    ] {
        let line = line_of(source, endpoint).await;
        assert!(
            parts.iter().all(|part| line.contains(part)),
            "{source}: {line}"
        );
    }
    aws.state().refuses.push("GetParameter");
    let line = line_of(&parameter, &url).await;
    assert!(
        line.contains(PARAMETER) && line.contains("AccessDeniedException: refused on purpose"),
        "{line}"
    );
}

#[tokio::test]
async fn the_parameter_store_has_no_value_only_where_the_parameter_does_not_exist() {
    let (aws, server) = Aws::start().await;
    let store = aws::config(&server).parameters();
    aws.state().document = "a = 1".to_owned();
    let value = store.get(PARAMETER).await.expect("a value");
    assert_eq!(value.as_deref(), Some("a = 1"));
    assert_eq!(store.get("/other").await.expect("an answer"), None);
    aws.state().refuses.push("GetParameter");
    let error = store.get("/other").await.expect_err("refused").to_string();
    assert!(error.starts_with("AccessDeniedException"), "{error}");
}

#[tokio::test]
async fn a_fifo_queue_ends_the_start_with_its_key() {
    let fifo = "https://sqs.eu-west-1.amazonaws.com/123456789012/letters.fifo";
    let variables = [
        ("CONTACT_SYNC_PRESET", "production"),
        ("CONTACT_SYNC__DEAD_LETTER__QUEUE_URL", fifo),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    assert!(function.time_to_first_poll().await.is_none());
    assert!(!function.exit().await.success());
    let lines = function.lines();
    let expected = "the variable CONTACT_SYNC__DEAD_LETTER__QUEUE_URL: \
                    `dead_letter.queue_url` is a FIFO queue";
    assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
}

#[tokio::test]
async fn a_hanging_parameter_store_ends_the_start_before_lambda_does() {
    let (aws, server) = Aws::start().await;
    aws.state().hangs.push("GetParameter");
    let source = format!("ssm:{PARAMETER}");
    let variables = [
        ("CONTACT_SYNC_PRESET", "test"),
        ("CONTACT_SYNC_CONFIG", &*source),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_variables(variables).expect("good variables");
    let config = aws::config(&server);
    let start =
        tokio::spawn(async move { App::default().start(&environment, &config).await.map(drop) });
    aws.until_called("GetParameter", 1).await;
    pause();
    advance(Duration::from_secs(6)).await;
    resume();
    let error = start.await.expect("no panic").expect_err("no document");
    let error: &dyn std::error::Error = &error;
    let cause = error
        .source()
        .and_then(std::error::Error::source)
        .expect("a cause")
        .to_string();
    assert_eq!(cause, "no response in time");
}

/// Host that takes every request and never responds.
struct Silent;

impl Api for Silent {
    fn reply(&self, _: &Request) -> Reply {
        Reply::Hang
    }
}

#[tokio::test]
async fn a_start_with_every_host_silent_ends_long_before_lambda_ends_it() {
    let server = Server::start(Arc::new(Silent)).await;
    let url = server.url();
    let mut secret = tempfile::NamedTempFile::new().expect("a file");
    write!(
        secret,
        r#"{{"login_url": "{url}", "client_id": "a", "client_secret": "b"}}"#
    )
    .expect("written");
    let variables = [
        ("CONTACT_SYNC_PRESET", "test"),
        (
            "CONTACT_SYNC__SALESFORCE__SECRET_ID",
            &format!("file:{}", secret.path().display()),
        ),
        ("CONTACT_SYNC__HUBSPOT__BASE_URL", &url),
        (
            "CONTACT_SYNC__DEAD_LETTER__QUEUE_URL",
            &format!("{url}/1/letters"),
        ),
        ("CONTACT_SYNC__STATE__TABLE", "state"),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_variables(variables).expect("good variables");
    let config = aws::config(&server);
    pause();
    let start = Instant::now();
    let started = App::default().start(&environment, &config).await;
    assert!(started.is_ok(), "a host that is silent fails no start");
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}, of the 10 s that Lambda allows",
        start.elapsed()
    );
}

#[test]
fn a_file_of_extra_roots_is_judged_at_the_start() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(file, "no certificate").expect("written");
    let error = |path: &Path| {
        let error = ExtraRoots::read(path).expect_err("refused");
        error.to_string()
    };
    assert!(error(file.path()).contains("no valid certificates"));
    write!(
        file,
        "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n"
    )
    .expect("written");
    assert!(error(file.path()).contains("no valid certificates"));
    assert!(error(Path::new("/nowhere/roots.pem")).contains("cannot read `/nowhere/roots.pem`"));
    assert!(ExtraRoots::read(Path::new("")).is_ok(), "none is named");
}

#[tokio::test]
async fn the_document_may_not_name_extra_roots() {
    let variables = [
        ("CONTACT_SYNC_PRESET", "test"),
        ("CONTACT_SYNC_CONFIG", "ssm:/settings"),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_variables(variables).expect("good variables");
    let error = environment
        .layers(&REGISTRY, "[tls]\nextra_ca_file = \"/opt/roots.pem\"")
        .expect_err("refused")
        .to_string();
    assert_eq!(
        error,
        "the parameter /settings, line 2: `tls.extra_ca_file` is read before the document: set the \
         variable CONTACT_SYNC__TLS__EXTRA_CA_FILE"
    );
}
