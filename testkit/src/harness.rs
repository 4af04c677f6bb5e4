//! The function as the factory builds it, with both mocks behind it. Only addresses differ from the
//! real thing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use contact_sync::adapters::http;
use contact_sync::factory::{self, DESTINATIONS};
use contact_sync::handler::Handler;
use contact_sync::services::Unavailable;
use contact_sync::settings::{Layer, Preset, Settings, load};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::generator::Generated;
use super::listener::{Form, Listener};
use super::mock_hubspot::{self, MockHubSpot};
use super::mock_salesforce::{self, MockSalesforce};
use super::server::Server;
use super::source::Source;
use super::stream;

/// Both mocks, and where their secrets are.
pub struct Mocks {
    pub salesforce: Arc<MockSalesforce>,
    pub hubspot: Arc<MockHubSpot>,
    pub salesforce_server: Server,
    pub hubspot_server: Server,
    pub salesforce_secret: NamedTempFile,
    pub hubspot_secret: NamedTempFile,
}

impl Mocks {
    pub async fn start() -> Self {
        Self::start_with(|_| {}, |_| {}).await
    }

    pub async fn start_with(
        salesforce: impl FnOnce(&mut mock_salesforce::Habits),
        hubspot: impl FnOnce(&mut mock_hubspot::Habits),
    ) -> Self {
        let (salesforce, salesforce_server) = MockSalesforce::start_with(salesforce).await;
        let (hubspot, hubspot_server) = MockHubSpot::start_with(hubspot).await;
        let salesforce_secret = file(&salesforce.secret());
        let hubspot_secret = file(&json!({"access_token": mock_hubspot::TOKEN}));
        Self {
            salesforce,
            hubspot,
            salesforce_server,
            hubspot_server,
            salesforce_secret,
            hubspot_secret,
        }
    }

    /// The variables that lead the function to the mocks.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variable = |key: &str, value: String| (format!("CONTACT_SYNC__{key}"), value);
        vec![
            variable(
                "SALESFORCE__SECRET_ID",
                format!("file:{}", self.salesforce_secret.path().display()),
            ),
            variable(
                "HUBSPOT__SECRET_ID",
                format!("file:{}", self.hubspot_secret.path().display()),
            ),
            variable("HUBSPOT__BASE_URL", self.hubspot_server.url()),
        ]
    }

    /// The settings that lead to the mocks, with `document` over them.
    pub fn settings(&self, preset: Preset, document: &str) -> Settings {
        let mut layers = vec![Layer::from_toml("the test's document", document).expect("TOML")];
        let variables = self.variables();
        layers.extend(
            variables
                .iter()
                .map(|(name, value)| Layer::from_variable(name, value).expect("a variable")),
        );
        load(preset, &layers, &DESTINATIONS).expect("good settings")
    }

    /// The handler, with `document` over the settings.
    pub fn handler(&self, preset: Preset, document: &str) -> Handler {
        factory::build(preset, &self.settings(preset, document), &Unavailable).expect("a handler")
    }

    /// What differs between the systems and what they should hold.
    pub fn differences(&self, source: &Source) -> Vec<String> {
        source.differences(&self.salesforce.leads(), &self.hubspot_contacts())
    }

    /// Which promises are broken, once these records have all been brought here and these letters
    /// written.
    pub fn broken_promises(&self, records: &[Generated], letters: &[Value]) -> Vec<String> {
        let mut source = Source::default();
        records
            .iter()
            .filter_map(|record| record.change.as_ref())
            .for_each(|change| source.apply(change, None));
        let mut broken = self.differences(&source);
        broken.extend(self.mistakes());
        let bad = records.iter().filter(|record| record.change.is_none());
        let mut bad: Vec<String> = bad
            .map(|record| base64_simd::STANDARD.encode_to_string(&record.data))
            .collect();
        // Where a record came again, its letter may be there twice.
        let text = |letter: &Value, name: &str| {
            letter["record"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let told = letters
            .iter()
            .map(|letter| (text(letter, "sequence_number"), text(letter, "data")));
        let mut told: Vec<String> = told.collect::<BTreeMap<_, _>>().into_values().collect();
        bad.sort_unstable();
        told.sort_unstable();
        if told != bad {
            broken.push(format!(
                "dead letters of {} records; {} are bad",
                told.len(),
                bad.len()
            ));
        }
        broken
    }

    /// What no client should do, and ours did.
    pub fn mistakes(&self) -> Vec<String> {
        [self.salesforce.mistakes(), self.hubspot.mistakes()].concat()
    }

    /// Without the key itself, which is how the contacts are told apart.
    fn hubspot_contacts(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut contacts = self.hubspot.contacts();
        contacts
            .values_mut()
            .for_each(|properties| drop(properties.remove("source_id")));
        contacts
    }
}

/// One client for thousands of handlers, which never use it: each would read the root certificates.
pub static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| http::client().expect("a client"));

fn file(content: &Value) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(content.to_string().as_bytes())
        .expect("written");
    file
}

/// Runs `work` in a runtime whose clock advances as soon as every task waits.
pub fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// A change of a contact, as an event's JSON.
pub fn change(operation: &str, id: &str, kind: &str, fields: Value) -> Value {
    let mut contact = fields;
    contact["id"] = id.into();
    contact["type"] = kind.into();
    json!({
        "event_id": format!("e-{id}-{operation}"), "operation": operation, "occurred_at": "2026-11-20T10:15:00.123Z",
        "contact": contact,
    })
}

/// New contacts `c-0` to `c-{count - 1}`: leads, and customers at odd numbers.
pub fn people(count: usize) -> Vec<Value> {
    let kind = |at| if at % 2 == 0 { "lead" } else { "customer" };
    let fields = |at| json!({"last_name": format!("Nr {at}"), "company": "Acme", "email": format!("p{at}@example.com")});
    (0..count)
        .map(|at| change("create", &format!("c-{at}"), kind(at), fields(at)))
        .collect()
}

/// Changes as the records of a batch.
pub fn batch(changes: &[Value]) -> Vec<Value> {
    let record =
        |(at, change): (usize, &Value)| stream::record(0, at, "key", change.to_string().as_bytes());
    changes.iter().enumerate().map(record).collect()
}

/// Every line that the function writes on this thread, from here to the end of the test.
pub struct Logs {
    listener: Listener,
    /// The lines that were read so far.
    read: RefCell<Vec<Value>>,
}

impl Logs {
    /// Listens, to the finest level.
    pub fn listen() -> Self {
        Self {
            listener: Listener::new(Form::Json),
            read: RefCell::default(),
        }
    }

    pub fn lines(&self) -> Vec<Value> {
        let mut read = self.read.borrow_mut();
        for line in self.listener.lines_after(read.len()) {
            read.push(serde_json::from_str(&line).expect("a JSON line"));
        }
        read.clone()
    }

    /// The audit trail: fate and code by sequence number and destination.
    pub fn audit(&self) -> Vec<Value> {
        self.lines()
            .into_iter()
            .filter(|line| line["audit"] == true)
            .collect()
    }

    /// `fate` or `fate CODE` of the records in the order of their lines.
    pub fn fates(&self) -> Vec<String> {
        let word = |line: &Value| {
            let fate = line["fate"].as_str().expect("a fate");
            line["code"]
                .as_str()
                .map_or_else(|| fate.to_owned(), |code| format!("{fate} {code}"))
        };
        self.audit().iter().map(word).collect()
    }

    /// The metrics of a destination, or of the invocations ("").
    pub fn metrics(&self, destination: &str) -> Vec<Value> {
        let is_it = |line: &Value| {
            line["_aws"].is_object()
                && line["Destination"].as_str().unwrap_or_default() == destination
        };
        self.lines().into_iter().filter(is_it).collect()
    }
}
