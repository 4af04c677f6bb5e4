//! A deployment as on AWS, on loopback: both systems and the AWS services behind TLS.

use std::net::SocketAddr;

use serde_json::json;

use super::cloud::Cloud;
use super::harness::Mocks;
use super::tls::{Authority, TlsFront};

/// Both systems and AWS behind TLS.
pub struct Deployment {
    authority: Authority,
    pub mocks: Mocks,
    /// Its proxy keeps connections open between calls, as AWS does and the emulation does not.
    cloud: Cloud,
    fronts: [TlsFront; 3],
}

fn address(url: &str) -> SocketAddr {
    let (_, address) = url.split_once("://").expect("a URL");
    address.parse().expect("an address")
}

impl Deployment {
    pub async fn start() -> Self {
        let mocks = Mocks::start().await;
        let cloud = Cloud::start(&mocks).await;
        let authority = Authority::default();
        let fronts = [
            authority.front(mocks.salesforce_server.address).await,
            authority.front(mocks.hubspot_server.address).await,
            authority.front(address(&cloud.proxy.url)).await,
        ];
        mocks
            .salesforce
            .set_instance_url(Some(fronts[0].url.clone()));
        Self {
            authority,
            mocks,
            cloud,
            fronts,
        }
    }

    /// Creates the document, and the secret that leads to Salesforce. Returns the variables.
    pub async fn variables(&self) -> Vec<(String, String)> {
        let [salesforce, hubspot, aws] = self.fronts.each_ref().map(|front| front.url.clone());
        let moto = &self.cloud.moto;
        let document = format!(
            "{}[salesforce]\nallowed_hosts = [\"127.0.0.1\"]\n\
             [hubspot]\nallowed_hosts = [\"127.0.0.1\"]\nbase_url = \"{hubspot}\"\n",
            self.cloud.document().replace(&moto.url, &aws)
        );
        moto.parameter("/contact-sync/settings", &document).await;
        let mut secret = self.mocks.salesforce.secret();
        secret["login_url"] = json!(salesforce);
        moto.change_secret("contact-sync/salesforce", &secret).await;
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
