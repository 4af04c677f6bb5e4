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
    fronts: [TlsFront; 6],
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
            authority.front(address(&cloud.proxy.url)).await,
            authority.front(address(&cloud.proxy.url)).await,
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

    /// Creates the document, and the secret that leads to Salesforce. Returns the variables, which
    /// name the secrets, the queue and the table, as the template does.
    pub async fn variables(&self) -> Vec<(String, String)> {
        let urls = self.fronts.each_ref().map(|front| front.url.clone());
        let [salesforce, hubspot, parameters, secrets, queue, table] = urls;
        let moto = &self.cloud.moto;
        let document = format!(
            "[salesforce]\nallowed_hosts = [\"127.0.0.1\"]\n\
             [hubspot]\nallowed_hosts = [\"127.0.0.1\"]\nbase_url = \"{hubspot}\"\n"
        );
        moto.parameter("/contact-sync/settings", &document).await;
        let mut secret = self.mocks.salesforce.secret();
        secret["login_url"] = json!(salesforce);
        moto.change_secret("contact-sync/salesforce", &secret).await;
        let authority = self.authority.path().display().to_string();
        let mut variables = self.cloud.variables();
        variables.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
        for (_, value) in &mut variables {
            *value = value.replace(&moto.url, &queue);
        }
        for (name, value) in [
            ("AWS_ENDPOINT_URL_SSM", &*parameters),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets),
            ("AWS_ENDPOINT_URL_SQS", &queue),
            ("AWS_ENDPOINT_URL_DYNAMODB", &table),
            ("CONTACT_SYNC_CONFIG", "ssm:/contact-sync/settings"),
            (
                "CONTACT_SYNC__SALESFORCE__SECRET_ID",
                "contact-sync/salesforce",
            ),
            ("CONTACT_SYNC__HUBSPOT__SECRET_ID", "contact-sync/hubspot"),
            ("CONTACT_SYNC__TLS__EXTRA_CA_FILE", &authority),
        ] {
            variables.push((name.to_owned(), value.to_owned()));
        }
        variables
    }

    /// Returns the operations of AWS that were called.
    pub fn aws_calls(&self) -> Vec<String> {
        self.cloud.proxy.calls()
    }

    /// Returns the handshakes so far: with Salesforce, HubSpot, Parameter Store, Secrets Manager,
    /// the queue and the table.
    pub fn handshakes(&self) -> [usize; 6] {
        self.fronts.each_ref().map(TlsFront::handshakes)
    }
}
