//! Tests of the proxy variables with the real binary: it uses them for https, and never for plain
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

/// A proxy that records its requests and refuses them.
#[derive(Default)]
struct RefusingProxy(Mutex<Vec<String>>);

impl Api for RefusingProxy {
    fn reply(&self, request: &Request) -> Reply {
        let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let request = format!(
            "{} {} {}{}",
            request.method,
            header("host"),
            header("proxy-authorization"),
            header("authorization")
        );
        self.0
            .lock()
            .expect("sound")
            .push(request.trim_end().to_owned());
        Answer::empty(502).into()
    }
}

impl RefusingProxy {
    async fn start() -> (Arc<Self>, Server) {
        let proxy = Arc::<Self>::default();
        let server = Server::start(Arc::clone(&proxy)).await;
        (proxy, server)
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
async fn plain_http_to_loopback_ignores_the_proxy_variables() {
    let (requests, proxy) = RefusingProxy::start().await;
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
        assert_eq!(requests.seen(), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn https_uses_the_proxy_of_its_variables() {
    // Port 9 of loopback: no process listens there, and no call of this test leaves the machine.
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
        let (requests, proxy) = RefusingProxy::start().await;
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
            "plain http uses no proxy: {name}"
        );
        let seen = requests.seen();
        assert_eq!(seen.first().map(String::as_str), expected, "{name}");
        assert!(
            seen.iter().all(|request| request.starts_with("CONNECT")),
            "{name}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn aws_over_https_uses_the_proxy_of_its_variables() {
    for (no_proxy, expected) in [("", true), ("localhost", false)] {
        let (requests, proxy) = RefusingProxy::start().await;
        let variables = owned(&[
            ("CONTACT_SYNC_PRESET", "test"),
            ("CONTACT_SYNC_CONFIG", &format!("ssm:{PARAMETER}")),
            ("AWS_ENDPOINT_URL", "https://localhost:9"),
            ("HTTPS_PROXY", &proxy.url()),
            ("NO_PROXY", no_proxy),
        ]);
        let mut function = Function::start(Path::new(BINARY), &variables).await;
        assert!(function.time_to_first_poll().await.is_some());
        assert_eq!(
            requests.seen().contains(&"CONNECT localhost:9".to_owned()),
            expected,
            "{:?}",
            requests.seen()
        );
    }
}
