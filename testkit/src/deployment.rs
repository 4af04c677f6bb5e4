//! A deployment as on AWS, on loopback: both systems and the AWS services behind TLS.

use std::net::SocketAddr;

use serde_json::json;

use super::harness::Mocks;
use super::moto::Moto;
use super::proxy::Proxy;
use super::tls::{Authority, TlsFront};

/// Both systems and AWS behind TLS.
pub struct Deployment {
    authority: Authority,
    pub mocks: Mocks,
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
    pub async fn start() -> Self {
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
    pub async fn variables(&self) -> Vec<(String, String)> {
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

    /// Returns the handshakes so far: with Salesforce, HubSpot and AWS.
    pub fn handshakes(&self) -> [usize; 3] {
        self.fronts.each_ref().map(TlsFront::handshakes)
    }
}
