//! The Salesforce adapter of production, with a mock org.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::salesforce::{ConvertedLeads, Salesforce, Settings, Status};
use contact_sync::adapters::{Adapter, Call, Normalise, Unlimited};
use contact_sync::http_client;
use contact_sync::model::limits::{RateLimit, Retry};
use contact_sync::model::{ContactChange, ContactType, MatchPolicy, Payload, Reply};
use contact_sync::secrets::{Secret, SecretSource};
use contact_sync::telemetry::DestinationMetrics;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::time::Instant;

use super::mock_salesforce::{Behavior, MockSalesforce};
use super::server::Server;
pub use super::words::{deletion, remedy, words};
use super::words::{held_words, newcomer, payload_of};

/// Time limit of a call, longer than any response on loopback takes.
const TIME_LIMIT: Duration = Duration::from_mins(1);

pub struct Org {
    pub mock: Arc<MockSalesforce>,
    pub salesforce: Arc<Salesforce>,
    pub metrics: DestinationMetrics,
    pub secret: NamedTempFile,
    pub settings: Settings,
    /// Server, which stops when it is dropped.
    pub server: Server,
}

impl Org {
    pub async fn new() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    pub async fn with(
        behavior: impl FnOnce(&mut Behavior),
        edit: impl FnOnce(&mut Settings),
    ) -> Self {
        let (mock, server) = MockSalesforce::start_with(behavior).await;
        let mut settings = settings();
        edit(&mut settings);
        let secret = NamedTempFile::new().expect("a file");
        let source = SecretSource::File(secret.path().to_owned());
        let client = http_client::client().expect("a client");
        let salesforce = Arc::new(Salesforce::new(
            &settings,
            client,
            Arc::new(Secret::new(source)),
        ));
        let org = Self {
            mock,
            salesforce,
            metrics: DestinationMetrics::default(),
            secret,
            settings,
            server,
        };
        org.write_secret(&org.mock.secret());
        org
    }

    pub fn write_secret(&self, secret: &Value) {
        let mut file = self.secret.reopen().expect("the file");
        file.set_len(0).expect("emptied");
        file.write_all(secret.to_string().as_bytes())
            .expect("written");
    }

    pub fn payload(&self, change: &ContactChange) -> Payload {
        payload_of(&*self.salesforce, &[change])
    }

    /// Starts an org whose adapter sends up to five collections of two records in a call.
    pub async fn with_collections() -> Self {
        Self::with(
            |_| {},
            |settings| {
                settings.batch_size = 2;
                settings.collections_per_call = 5;
            },
        )
        .await
    }

    /// Builds payloads of new leads with these numbers.
    pub fn leads(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Payload> {
        numbers
            .into_iter()
            .map(|number| self.payload(&newcomer(number, ContactType::Lead)))
            .collect()
    }

    pub async fn upsert(&self, payloads: &[Payload]) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        self.salesforce.upsert(&batch, self.call()).await
    }

    /// Looks up the versions of these payloads. Returns them as texts.
    pub async fn held(&self, payloads: &[Payload]) -> Vec<String> {
        let batch: Vec<_> = payloads.iter().collect();
        held_words(&self.salesforce.held(&batch, &[], self.call()).await)
    }

    pub async fn delete(&self, payloads: &[Payload]) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        self.salesforce.delete(&batch, self.call()).await
    }

    pub fn call(&self) -> Call<'_> {
        Call {
            give_up_at: Instant::now() + TIME_LIMIT,
            metrics: &self.metrics,
            permits: &Unlimited,
            dry_run: false,
        }
    }

    /// Asserts that the adapter violated no rule of the API.
    pub fn assert_polite(&self) {
        assert_eq!(self.mock.violations(), Vec::<String>::new());
    }
}

pub fn settings() -> Settings {
    Settings {
        secret_id: String::new(),
        allowed_hosts: vec!["127.0.0.1".to_owned()],
        version_field: String::new(),
        api_version: "v67.0".to_owned(),
        sobject: "Lead".to_owned(),
        external_id_field: "Source_Id__c".to_owned(),
        batch_size: 200,
        collections_per_call: 1,
        max_in_flight: 4,
        request_timeout_ms: 60_000,
        auto_assign: false,
        allow_duplicates: true,
        converted_leads: ConvertedLeads::Skip,
        status: Status {
            lead: String::new(),
            prospect: String::new(),
        },
        required: Vec::new(),
        r#match: MatchPolicy::Upsert,
        baseline_field: String::new(),
        salvage: Vec::new(),
        normalise: Normalise::default(),
        fields: BTreeMap::new(),
        constants: BTreeMap::new(),
        policy: BTreeMap::new(),
        attributes: BTreeMap::new(),
        rate_limit: RateLimit {
            requests: 25,
            per_ms: 1_000,
        },
        retry: Retry {
            max_attempts: 4,
            base_delay_ms: 200,
            max_delay_ms: 10_000,
        },
    }
}
