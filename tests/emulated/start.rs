//! The start of the real binary as in a deployment, with TLS on every hop: what is ready before the
//! first invocation.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use testkit::harness::{Mocks, batch, change};
use testkit::moto::Moto;
use testkit::proxy::Proxy;
use testkit::runtime_api::{Function, InvocationOutcome};
use testkit::tls::{Authority, TlsFront};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");
const TIME: Duration = Duration::from_mins(1);

/// Both systems and AWS behind TLS.
struct Deployment {
    authority: Authority,
    mocks: Mocks,
    moto: Moto,
    /// Keeps connections open between calls, as AWS does and the emulation does not.
    _proxy: Proxy,
    fronts: [TlsFront; 3],
}

fn address(url: &str) -> SocketAddr {
    let (_, address) = url.split_once("://").expect("a URL");
    address.parse().expect("an address")
}

impl Deployment {
    async fn start() -> Self {
        let (moto, mocks) = (Moto::start().await, Mocks::start().await);
        let authority = Authority::default();
        let proxy = Proxy::start(&moto.url).await;
        let fronts = [
            authority.front(mocks.salesforce_server.address).await,
            authority.front(mocks.hubspot_server.address).await,
            authority.front(address(&proxy.url)).await,
        ];
        mocks
            .salesforce
            .set_instance_url(Some(fronts[0].url.clone()));
        Self {
            authority,
            mocks,
            moto,
            _proxy: proxy,
            fronts,
        }
    }

    /// Creates the document, the secrets, the queue and the table. Returns the variables.
    async fn variables(&self) -> Vec<(String, String)> {
        let [salesforce, hubspot, aws] = self.fronts.each_ref().map(|front| front.url.clone());
        let (_, queue) = self.moto.queue().await;
        let queue = queue.replace(&self.moto.url, &aws);
        let document = format!(
            "[dead_letter]\nqueue_url = \"{queue}\"\n[state]\ntable = \"{}\"\n\
             [salesforce]\nallowed_hosts = [\"127.0.0.1\"]\n\
             [hubspot]\nallowed_hosts = [\"127.0.0.1\"]\nbase_url = \"{hubspot}\"\n",
            self.moto.table().await
        );
        self.moto
            .parameter("/contact-sync/settings", &document)
            .await;
        self.moto.secrets(&self.mocks).await;
        let mut secret = self.mocks.salesforce.secret();
        secret["login_url"] = json!(salesforce);
        self.moto
            .change_secret("contact-sync/salesforce", &secret)
            .await;
        let authority = self.authority.path().display().to_string();
        [
            ("CONTACT_SYNC_CONFIG", "ssm:/contact-sync/settings"),
            ("CONTACT_SYNC__TLS__EXTRA_CA_FILE", &authority),
            ("AWS_ENDPOINT_URL", &aws),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn handshakes(&self) -> [usize; 3] {
        self.fronts.each_ref().map(TlsFront::handshakes)
    }
}

/// Returns an event with a change for each system, and one that is rejected.
fn event() -> String {
    let person = json!({"last_name": "Lovelace", "company": "Engines"});
    let mut rejected = change("create", "c-3", "lead", person.clone());
    rejected["contact"]["email"] = json!("no address");
    let changes = [
        change("create", "c-1", "lead", person.clone()),
        change("create", "c-2", "customer", person),
        rejected,
    ];
    json!({"Records": batch(&changes)}).to_string()
}

#[tokio::test]
async fn the_first_invocation_finds_every_connection_open() {
    let deployment = Deployment::start().await;
    let mut function = Function::start(Path::new(BINARY), &deployment.variables().await).await;
    assert!(
        function.time_to_first_poll().await.is_some(),
        "{:?}",
        function.lines()
    );
    let before = deployment.handshakes();
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    let outcome = function.invoke(event(), "first", TIME).await;
    assert_eq!(
        outcome,
        InvocationOutcome::Answer(json!({"batchItemFailures": []})),
        "{:?}",
        function.lines()
    );
    assert_eq!(
        deployment.handshakes(),
        before,
        "handshakes with Salesforce, HubSpot and AWS"
    );
    let (salesforce, hubspot) = (&deployment.mocks.salesforce, &deployment.mocks.hubspot);
    assert_eq!((salesforce.leads().len(), hubspot.contacts().len()), (1, 1));
    assert_eq!(deployment.mocks.violations(), [""; 0]);
}

#[tokio::test]
async fn a_host_that_no_authority_vouches_for_gets_no_credentials() {
    let deployment = Deployment::start().await;
    let other = Authority::default();
    let mut variables = deployment.variables().await;
    for (name, value) in &mut variables {
        if name == "CONTACT_SYNC__TLS__EXTRA_CA_FILE" {
            *value = other.path().display().to_string();
        }
    }
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    assert_eq!(
        function.time_to_first_poll().await,
        None,
        "the document is read over TLS"
    );
    let lines = function.lines().join("\n");
    assert!(
        lines.contains("settings document cannot be read"),
        "{lines}"
    );
}
