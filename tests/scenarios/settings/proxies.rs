//! The variables that name a proxy, as the real binary obeys them: for https, and never for plain
//! http.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use testkit::harness::{Mocks, batch, change};
use testkit::runtime_api::Function;
use testkit::server::{Answer, Api, Reply, Request, Server};

use super::aws::{Aws, PARAMETER};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");
const TIME: Duration = Duration::from_secs(30);

/// A proxy that notes what it is asked for, and lets nothing through.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Api for Recorder {
    fn reply(&self, request: &Request) -> Reply {
        let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let note = format!(
            "{} {} {}{}",
            request.method,
            header("host"),
            header("proxy-authorization"),
            header("authorization")
        );
        self.0
            .lock()
            .expect("sound")
            .push(note.trim_end().to_owned());
        Answer::empty(502).into()
    }
}

impl Recorder {
    async fn start() -> (Arc<Self>, Server) {
        let recorder = Arc::<Self>::default();
        let server = Server::start(Arc::clone(&recorder)).await;
        (recorder, server)
    }

    fn seen(&self) -> Vec<String> {
        self.0.lock().expect("sound").clone()
    }
}

fn event() -> String {
    let fields = || json!({"last_name": "Lovelace", "company": "Acme"});
    let changes = [
        change("create", "c-1", "lead", fields()),
        change("create", "c-2", "customer", fields()),
    ];
    json!({"Records": batch(&changes)}).to_string()
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn plain_http_goes_to_loopback_directly_whatever_the_variables_say() {
    let (recorder, proxy) = Recorder::start().await;
    let with_credentials = proxy.url().replace("http://", "http://user:pass@");
    for (name, url) in [
        ("HTTP_PROXY", proxy.url()),
        ("http_proxy", proxy.url()),
        ("ALL_PROXY", proxy.url()),
        ("all_proxy", proxy.url()),
        ("HTTP_PROXY", with_credentials),
    ] {
        let mocks = Mocks::start().await;
        let local = |server: &Server| server.url().replace("127.0.0.1", "localhost");
        mocks
            .salesforce
            .set_instance_url(Some(local(&mocks.salesforce_server)));
        let mut secret = mocks.salesforce.secret();
        secret["login_url"] = local(&mocks.salesforce_server).into();
        std::fs::write(mocks.salesforce_secret.path(), secret.to_string()).expect("written");
        let (aws, aws_server) = Aws::start().await;
        let mut variables = mocks.variables();
        variables.retain(|(name, _)| !name.ends_with("BASE_URL"));
        variables.extend(owned(&[
            ("CONTACT_SYNC_PRESET", "test"),
            ("CONTACT_SYNC_CONFIG", &format!("ssm:{PARAMETER}")),
            (
                "CONTACT_SYNC__HUBSPOT__BASE_URL",
                &local(&mocks.hubspot_server),
            ),
            ("AWS_ENDPOINT_URL", &local(&aws_server)),
            ("NO_PROXY", "127.0.0.1"),
            (name, &url),
        ]));
        let mut function = Function::start(Path::new(BINARY), &variables).await;
        assert_eq!(
            function.invoke(event(), "r-1", TIME).await.failures(),
            [""; 0],
            "{name}"
        );
        assert_eq!(
            (
                mocks.salesforce.leads().len(),
                mocks.hubspot.contacts().len()
            ),
            (1, 1),
            "{name}"
        );
        assert!(aws.calls("GetParameter") > 0, "{name}");
        assert_eq!(recorder.seen(), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn https_obeys_the_variables_for_it() {
    // Port 9 of loopback: nothing listens there, and nothing of this test leaves the machine.
    let with_credentials = |proxy: &Server| proxy.url().replace("http://", "http://user:pass@");
    for (name, no_proxy, expected) in [
        (
            "HTTPS_PROXY",
            "",
            Some("CONNECT localhost:9 Basic dXNlcjpwYXNz"),
        ),
        (
            "https_proxy",
            "",
            Some("CONNECT localhost:9 Basic dXNlcjpwYXNz"),
        ),
        (
            "ALL_PROXY",
            "",
            Some("CONNECT localhost:9 Basic dXNlcjpwYXNz"),
        ),
        ("HTTPS_PROXY", "localhost", None),
        ("HTTP_PROXY", "", None),
    ] {
        let (recorder, proxy) = Recorder::start().await;
        let mocks = Mocks::start().await;
        let mut variables = mocks.variables();
        variables.retain(|(name, _)| !name.ends_with("BASE_URL"));
        variables.extend(owned(&[
            ("CONTACT_SYNC_PRESET", "test"),
            ("CONTACT_SYNC__HUBSPOT__BASE_URL", "https://localhost:9"),
            ("NO_PROXY", no_proxy),
            (name, &with_credentials(&proxy)),
        ]));
        let mut function = Function::start(Path::new(BINARY), &variables).await;
        assert_eq!(
            function.invoke(event(), "r-1", TIME).await.failures().len(),
            1,
            "{name}"
        );
        assert_eq!(
            mocks.salesforce.leads().len(),
            1,
            "plain http has gone directly: {name}"
        );
        let seen = recorder.seen();
        assert_eq!(seen.first().map(String::as_str), expected, "{name}");
        assert!(
            seen.iter().all(|note| note.starts_with("CONNECT")),
            "{name}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn aws_over_https_obeys_the_variables_for_it() {
    for (no_proxy, expected) in [("", true), ("localhost", false)] {
        let (recorder, proxy) = Recorder::start().await;
        let variables = owned(&[
            ("CONTACT_SYNC_PRESET", "test"),
            ("CONTACT_SYNC_CONFIG", &format!("ssm:{PARAMETER}")),
            ("AWS_ENDPOINT_URL", "https://localhost:9"),
            ("HTTPS_PROXY", &proxy.url()),
            ("NO_PROXY", no_proxy),
        ]);
        let mut function = Function::start(Path::new(BINARY), &variables).await;
        assert!(function.time_to_first_poll().await.is_none());
        assert!(!function.exit().await.success());
        assert_eq!(
            recorder.seen().contains(&"CONNECT localhost:9".to_owned()),
            expected,
            "{:?}",
            recorder.seen()
        );
    }
}
