//! Tests of starts. One with an invalid document ends with a line that names the reason; one whose
//! parameter cannot be read goes on.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::REGISTRY;
use contact_sync::app::App;
use contact_sync::http_client::ExtraRoots;
use contact_sync::services::Services;
use contact_sync::settings::Environment;
use futures_util::future::join_all;
use serde_json::json;
use testkit::harness::{Mocks, batch, change};
use testkit::mock_hubspot;
use testkit::runtime_api::Function;
use testkit::server::{Answer, Api, Reply, Request, Server};
use testkit::stream::{failures, invoke};
use tokio::time::{Instant, pause, resume};

use super::aws::{self, Aws, PARAMETER};
use super::refresh::{environment, leads};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");

/// Lambda's timeout of an invocation.
const TIME: Duration = Duration::from_secs(20);

/// Returns the lines of a start without the first one, which names the version.
fn lines_of_errors(function: &Function) -> Vec<String> {
    let mut lines = function.lines();
    lines.retain(|line| !line.contains("contact-sync starts"));
    lines
}

/// Returns the only line of an error where the binary's document is at `source` and AWS at
/// `endpoint`.
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
    let lines = lines_of_errors(&function);
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
}

#[tokio::test]
async fn every_record_fails_until_the_parameter_can_be_read() {
    let (aws, server) = Aws::start().await;
    aws.state().document = "[filter]\noperations = [\"delete\"]".to_owned();
    let (parameter, url) = (format!("ssm:{PARAMETER}"), server.url());
    for (fault, cause) in [
        ("refuses", "AccessDeniedException: refused on purpose"),
        ("hangs", "no response in time"),
    ] {
        match fault {
            "refuses" => aws.state().refuses.push("GetParameter"),
            _ => aws.state().hangs.push("GetParameter"),
        }
        let variables = [
            ("CONTACT_SYNC_PRESET", "test"),
            ("CONTACT_SYNC_CONFIG", &*parameter),
            ("CONTACT_SYNC__HUBSPOT__BASE_URL", "http://127.0.0.1:9"),
            ("AWS_ENDPOINT_URL", &*url),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut function = Function::start(Path::new(BINARY), &variables).await;
        let polled = function.time_to_first_poll().await;
        assert!(polled.is_some(), "{fault}: {:?}", function.lines());
        let event = json!({"Records": leads(3)}).to_string();
        let outcome = function.invoke(event.clone(), "r-1", TIME).await;
        assert_eq!(outcome.failures().len(), 3, "{fault}");
        aws.state().refuses.clear();
        aws.state().hangs.clear();
        let outcome = function.invoke(event, "r-2", TIME).await;
        assert_eq!(
            outcome.failures(),
            [""; 0],
            "{fault}: {:?}",
            function.lines()
        );
        function.kill().await;
        function.exit().await;
        let lines = function.lines().join("\n");
        for part in [
            "no settings yet",
            cause,
            r#""ConfigErrors":1"#,
            r#""RecordsFailed":3"#,
        ] {
            assert!(lines.contains(part), "{fault}: no {part} in {lines}");
        }
    }
}

#[tokio::test]
async fn invocations_that_run_at_once_share_one_reading() {
    let (aws, server) = Aws::start().await;
    aws.state().hangs.push("GetParameter");
    let environment = environment(&[
        ("CONTACT_SYNC_CONFIG", &format!("ssm:{PARAMETER}")),
        ("CONTACT_SYNC__FILTER__OPERATIONS", r#"["delete"]"#),
    ]);
    let config = Arc::new(aws::config(&server));
    pause();
    let handler = App::default().start(&environment, config).await;
    let handler = handler.expect("a handler");
    let records = leads(2);
    let at_once = || join_all(["one", "two", "three"].map(|id| invoke(&handler, &records, id)));
    let start = Instant::now();
    for answer in at_once().await {
        assert_eq!(failures(&answer).len(), 2);
    }
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "not one after the other"
    );
    resume();
    assert_eq!(
        aws.calls("GetParameter"),
        2,
        "the start's call, and one more"
    );
    aws.state().hangs.clear();
    for answer in at_once().await {
        assert_eq!(failures(&answer), [""; 0]);
    }
    assert_eq!(aws.calls("GetParameter"), 3);
}

#[tokio::test]
async fn secrets_that_variables_name_are_read_beside_the_document() {
    let mocks = Mocks::start().await;
    let salesforce = mocks.salesforce.secret().to_string();
    let hubspot = json!({"access_token": mock_hubspot::TOKEN}).to_string();
    let base_url = mocks.hubspot_server.url();
    let refused = Err("AccessDeniedException");
    for (destinations, hubspot, expected) in [
        (
            r#"["salesforce"]"#,
            Ok(hubspot.clone()),
            &["GetSecretValue"][..],
        ),
        ("[]", Ok(hubspot), &["BatchGetSecretValue"]),
        // The refused one is read again for its record.
        (
            r#"["salesforce", "hubspot"]"#,
            refused,
            &["BatchGetSecretValue", "GetSecretValue"],
        ),
    ] {
        let (aws, server) = Aws::start().await;
        aws.state().hangs.push("GetParameter");
        for (id, secret) in [("one", Ok(salesforce.clone())), ("two", hubspot)] {
            aws.state().secrets.insert(id.to_owned(), secret);
        }
        let environment = environment(&[
            ("CONTACT_SYNC_CONFIG", &format!("ssm:{PARAMETER}")),
            ("CONTACT_SYNC__PIPELINE__DESTINATIONS", destinations),
            ("CONTACT_SYNC__HUBSPOT__BASE_URL", &base_url),
            ("CONTACT_SYNC__SALESFORCE__SECRET_ID", "one"),
            ("CONTACT_SYNC__HUBSPOT__SECRET_ID", "two"),
        ]);
        let config = Arc::new(aws::config(&server));
        let start = App::default().start(&environment, config.clone());
        tokio::select! {
            () = aws.until_called(expected[0], 1) => {}
            _ = start => panic!("a start without the document"),
        }
        assert_eq!(aws.calls("GetParameter"), 1, "no response so far");
        aws.state().hangs.clear();
        aws.state().calls.clear();
        let started = App::default().start(&environment, config).await;
        let fields = json!({"last_name": "Lovelace", "company": "Acme"});
        let both = batch(&[
            change("create", "c-1", "lead", fields.clone()),
            change("create", "c-2", "customer", fields),
        ]);
        invoke(&started.expect("a handler"), &both, "r").await;
        let mut calls = aws.state().calls.clone();
        calls.retain(|call| call != "GetParameter");
        assert_eq!(calls, expected, "{destinations}");
    }
    assert_eq!(mocks.salesforce.leads().len(), 1);
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
    let lines = lines_of_errors(&function);
    let expected = "the variable CONTACT_SYNC__DEAD_LETTER__QUEUE_URL: \
                    `dead_letter.queue_url` is a FIFO queue";
    assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
}

/// Name of a parameter that is returned just in time.
const LATE: &str = "/late";

/// Host that takes every request and responds to none but that for [`LATE`].
struct Silent;

impl Api for Silent {
    fn reply(&self, request: &Request) -> Reply {
        if !String::from_utf8_lossy(&request.body).contains(LATE) {
            return Reply::Hang;
        }
        let parameter = json!({"Name": LATE, "Type": "String", "Value": "", "Version": 1});
        let answer = Answer::json(200, &json!({"Parameter": parameter}));
        Reply::Later(Duration::from_millis(4900), answer)
    }
}

/// Returns the time of a start with `more` variables, while every host is silent.
async fn silent_start(url: &str, server: &Server, more: &[(&str, &str)]) -> Duration {
    let queue = format!("{url}/1/letters");
    let mut variables = vec![
        ("CONTACT_SYNC__HUBSPOT__BASE_URL", url),
        ("CONTACT_SYNC__DEAD_LETTER__QUEUE_URL", &queue),
        ("CONTACT_SYNC__STATE__TABLE", "state"),
    ];
    variables.extend(more);
    let environment = environment(&variables);
    let config = Arc::new(aws::config(server));
    pause();
    let start = Instant::now();
    let started = App::default().start(&environment, config).await;
    let time = start.elapsed();
    resume();
    assert!(started.is_ok(), "a host that is silent fails no start");
    time
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
    let file = format!("file:{}", secret.path().display());
    for (more, most) in [
        // The systems, the table and the queue.
        (&[("CONTACT_SYNC__SALESFORCE__SECRET_ID", &*file)][..], 4),
        // Secrets Manager too, by the ids of the preset and by those of variables.
        (&[], 4),
        (
            &[
                ("CONTACT_SYNC__SALESFORCE__SECRET_ID", "one"),
                ("CONTACT_SYNC__HUBSPOT__SECRET_ID", "two"),
            ],
            4,
        ),
        // Parameter Store too.
        (
            &[
                ("CONTACT_SYNC__SALESFORCE__SECRET_ID", "one"),
                ("CONTACT_SYNC_CONFIG", "ssm:/settings"),
            ],
            9,
        ),
        (&[("CONTACT_SYNC_CONFIG", &format!("ssm:{LATE}"))], 9),
    ] {
        let time = silent_start(&url, &server, more).await;
        assert!(
            time < Duration::from_secs(most),
            "{more:?}: {time:?}, of the 10 s that Lambda allows"
        );
    }
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
