//! Everything that the function needs of AWS, emulated: secrets, a queue for dead letters, the
//! state table; and a proxy before it that counts.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use serde_json::Value;

use super::aws;
use super::harness::Mocks;
use super::moto::Moto;
use super::proxy::Proxy;

pub struct Cloud {
    pub proxy: Proxy,
    queue_url: String,
    table: String,
    sqs: aws_sdk_sqs::Client,
    moto: Moto,
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

    /// An SDK configuration that leads here through the proxy.
    pub fn config(&self) -> SdkConfig {
        aws::at(&self.proxy.url)
    }

    /// The settings' part of it.
    pub fn document(&self) -> String {
        format!(
            "[dead_letter]\nqueue_url = \"{}\"\n[state]\ntable = \"{}\"\n",
            self.queue_url, self.table
        )
    }

    /// The variables that lead a process here.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", &*self.proxy.url),
            ("CONTACT_SYNC__DEAD_LETTER__QUEUE_URL", &*self.queue_url),
            ("CONTACT_SYNC__STATE__TABLE", &*self.table),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// All dead letters, taken from the queue.
    pub async fn dead_letters(&self) -> Vec<Value> {
        self.moto.messages(&self.sqs, &self.queue_url).await
    }

    /// How many calls the settled set made of each operation of DynamoDB's; leases of rate limits
    /// are updates.
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
