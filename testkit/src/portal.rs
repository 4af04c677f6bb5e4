//! The HubSpot adapter of production, with a mock portal.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::hubspot::{HubSpot, LifecycleStage, Settings};
use contact_sync::adapters::{Adapter, Call, Normalise, Unlimited};
use contact_sync::http_client;
use contact_sync::model::limits::{RateLimit, Retry as RetrySettings};
use contact_sync::model::{
    Contact, ContactChange, ContactType, Field, MatchPolicy, Operation, Payload, Reply,
    VersionSource,
};
use contact_sync::secrets::{Secret, SecretSource};
use contact_sync::telemetry::DestinationMetrics;
use tempfile::NamedTempFile;
use tokio::time::Instant;

use super::mock_hubspot::{Behavior, MockHubSpot, TOKEN};
use super::server::Server;
pub use super::words::{deletion, words};
use super::words::{held_words, id, payload_of};

/// Time limit of a call, longer than any response on loopback takes.
const TIME_LIMIT: Duration = Duration::from_mins(1);

pub struct Portal {
    pub mock: Arc<MockHubSpot>,
    pub hubspot: Arc<HubSpot>,
    pub metrics: DestinationMetrics,
    pub secret: NamedTempFile,
    /// Server, which stops when it is dropped.
    pub server: Server,
}

impl Portal {
    pub async fn new() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    pub async fn with(
        behavior: impl FnOnce(&mut Behavior),
        edit: impl FnOnce(&mut Settings),
    ) -> Self {
        let (mock, server) = MockHubSpot::start_with(behavior).await;
        let mut settings = settings(server.url());
        edit(&mut settings);
        let secret = NamedTempFile::new().expect("a file");
        let source = SecretSource::File(secret.path().to_owned());
        let client = http_client::client().expect("a client");
        let hubspot = Arc::new(HubSpot::new(
            &settings,
            client,
            Arc::new(Secret::new(source)),
        ));
        let portal = Self {
            mock,
            hubspot,
            metrics: DestinationMetrics::default(),
            secret,
            server,
        };
        portal.write_secret(&format!(r#"{{"access_token": "{TOKEN}"}}"#));
        portal
    }

    pub fn write_secret(&self, text: &str) {
        let mut file = self.secret.reopen().expect("the file");
        file.set_len(0).expect("emptied");
        file.write_all(text.as_bytes()).expect("written");
    }

    pub fn payload(&self, change: &ContactChange) -> Payload {
        payload_of(&*self.hubspot, &[change])
    }

    /// Builds payloads of the persons with these numbers.
    pub fn people(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Payload> {
        numbers
            .into_iter()
            .map(|number| self.payload(&person(number)))
            .collect()
    }

    pub async fn upsert(&self, payloads: &[Payload]) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        self.hubspot.upsert(&batch, self.call()).await
    }

    /// Looks up the versions of these payloads. Returns them as texts.
    pub async fn held(&self, payloads: &[Payload]) -> Vec<String> {
        let batch: Vec<_> = payloads.iter().collect();
        held_words(&self.hubspot.held(&batch, &[], self.call()).await)
    }

    pub async fn delete(&self, payloads: &[Payload]) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        self.hubspot.delete(&batch, self.call()).await
    }

    fn call(&self) -> Call<'_> {
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

pub fn settings(base_url: String) -> Settings {
    Settings {
        secret_id: String::new(),
        base_url,
        allowed_hosts: vec!["127.0.0.1".to_owned()],
        version_property: String::new(),
        api_version: "2026-09".to_owned(),
        id_property: "source_id".to_owned(),
        type_property: String::new(),
        batch_size: 100,
        max_in_flight: 4,
        request_timeout_ms: 60_000,
        lifecycle_stage: LifecycleStage {
            customer: "customer".to_owned(),
            vendor: "other".to_owned(),
        },
        r#match: MatchPolicy::Upsert,
        baseline_property: String::new(),
        salvage: Vec::new(),
        normalise: Normalise::default(),
        fields: BTreeMap::new(),
        constants: BTreeMap::new(),
        policy: BTreeMap::new(),
        attributes: BTreeMap::new(),
        rate_limit: RateLimit {
            requests: 100,
            per_ms: 10_000,
        },
        retry: RetrySettings {
            max_attempts: 4,
            base_delay_ms: 200,
            max_delay_ms: 10_000,
        },
    }
}

/// Builds an update of a customer with a name and an address.
pub fn person(number: usize) -> ContactChange {
    let mut contact = Contact::bare(id(&format!("C-{number}")), Some(ContactType::Customer));
    contact.email = Field::Value(format!("p{number}@example.com").into());
    contact.first_name = Field::Value(format!("Person {number}").into());
    ContactChange {
        event_id: "event".into(),
        operation: Operation::Update,
        occurred_at: time::OffsetDateTime::UNIX_EPOCH,
        version: Some(10),
        version_source: VersionSource::Version,
        is_load: false,
        replay: false,
        previous_type: None,
        whole: None,
        contact,
    }
}
