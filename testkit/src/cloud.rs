//! Emulation of the AWS services that the function needs (secrets, a dead-letter queue, the state
//! table), behind a proxy that counts calls.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use serde_json::Value;

use super::aws;
use super::harness::Mocks;
use super::moto::Moto;
use super::proxy::Proxy;

/// Emulated AWS services and their proxy.
pub struct Cloud {
    pub proxy: Proxy,
    queue_url: String,
    table: String,
    sqs: aws_sdk_sqs::Client,
    pub moto: Moto,
}

impl Cloud {
    pub async fn start(mocks: &Mocks) -> Self {
        let moto = Moto::start().await;
        moto.secrets(mocks).await;
        let (sqs, queue_url) = moto.queue().await;
        let (table, proxy) = (moto.table().await, Proxy::start(&moto.url).await);
        Self {
            proxy,
            queue_url,
            table,
            sqs,
            moto,
        }
    }

    /// Builds an SDK configuration whose endpoint is the proxy.
    pub fn config(&self) -> SdkConfig {
        aws::at(&self.proxy.url)
    }

    /// Returns the settings of the queue and the table.
    pub fn document(&self) -> String {
        format!(
            "[dead_letter]\nqueue_url = \"{}\"\n[state]\ntable = \"{}\"\n",
            self.queue_url, self.table
        )
    }

    /// Returns the variables with which a process uses the proxy, the queue and the table.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", &*self.proxy.url),
            ("CONTACT_SYNC__DEAD_LETTER__QUEUE_URL", &*self.queue_url),
            ("CONTACT_SYNC__STATE__TABLE", &*self.table),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Receives all dead letters of the queue.
    pub async fn dead_letters(&self) -> Vec<Value> {
        self.moto.messages(&self.sqs, &self.queue_url).await
    }

    /// Counts the calls of the settled set by DynamoDB operation. Updates are not counted: they are
    /// leases of rate limits.
    pub fn table_calls(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.proxy.calls() {
            let operation = call
                .strip_prefix("DynamoDB_20120810.")
                .filter(|operation| *operation != "UpdateItem");
            if let Some(operation) = operation {
                *counts.entry(operation.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}
