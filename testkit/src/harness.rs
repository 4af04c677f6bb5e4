//! The function as the app builds it, with both mocks. Only addresses differ from production.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use contact_sync::adapters::DESTINATIONS;
use contact_sync::app::App;
use contact_sync::http_client;
use contact_sync::lambda::Handler;
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

/// Both mocks, with the files of their secrets.
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
        salesforce: impl FnOnce(&mut mock_salesforce::Behavior),
        hubspot: impl FnOnce(&mut mock_hubspot::Behavior),
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

    /// Returns the variables with which the function uses the mocks.
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

    /// Loads the settings with which the function uses the mocks, overridden by `document`.
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

    /// Builds the handler, with `document` over the settings.
    pub fn handler(&self, preset: Preset, document: &str) -> Handler {
        App::default()
            .build(preset, &self.settings(preset, document), &Unavailable)
            .expect("a handler")
    }

    /// Compares the destinations with the source. Returns each difference.
    pub fn differences(&self, source: &Source) -> Vec<String> {
        source.differences(&self.salesforce.leads(), &self.hubspot_contacts())
    }

    /// Returns each broken promise after these records were delivered and these dead letters were
    /// written.
    pub fn broken_promises(&self, records: &[Generated], dead_letters: &[Value]) -> Vec<String> {
        let mut source = Source::default();
        for change in records.iter().filter_map(|record| record.change.as_ref()) {
            source.apply(change, None);
        }
        let mut broken = self.differences(&source);
        broken.extend(self.violations());
        let bad = records.iter().filter(|record| record.change.is_none());
        let mut bad: Vec<String> = bad
            .map(|record| base64_simd::STANDARD.encode_to_string(&record.data))
            .collect();
        // A record that is delivered again can have two dead letters.
        let mut rejected = BTreeMap::new();
        for dead_letter in dead_letters {
            let record = &dead_letter["record"];
            let [number, data] = ["sequence_number", "data"]
                .map(|name| record[name].as_str().unwrap_or_default().to_owned());
            // A sub-sequence of Kinesis, or a partition and an offset of Kafka.
            let place =
                ["sub_sequence", "partition", "offset"].map(|name| record[name].to_string());
            rejected.insert((number, place), data);
        }
        let mut rejected: Vec<String> = rejected.into_values().collect();
        bad.sort_unstable();
        rejected.sort_unstable();
        if rejected != bad {
            broken.push(format!(
                "dead letters of {} records; {} are bad",
                rejected.len(),
                bad.len()
            ));
        }
        broken
    }

    /// Returns the protocol violations of the adapters.
    pub fn violations(&self) -> Vec<String> {
        [self.salesforce.violations(), self.hubspot.violations()].concat()
    }

    /// Returns HubSpot's contacts without the key property: the key is the key of the map.
    fn hubspot_contacts(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut contacts = self.hubspot.contacts();
        for properties in contacts.values_mut() {
            properties.remove("source_id");
        }
        contacts
    }
}

/// Client shared by thousands of handlers that never use it: creating one reads the root
/// certificates.
pub static CLIENT: LazyLock<reqwest::Client> =
    LazyLock::new(|| http_client::client().expect("a client"));

fn file(content: &Value) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(content.to_string().as_bytes())
        .expect("written");
    file
}

/// Runs `work` in a runtime with a paused clock, which advances as soon as every task waits.
pub fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// Builds a change of a contact as JSON.
pub fn change(operation: &str, id: &str, kind: &str, fields: Value) -> Value {
    let mut contact = fields;
    contact["id"] = id.into();
    contact["type"] = kind.into();
    json!({
        "event_id": format!("e-{id}-{operation}"),
        "operation": operation,
        "occurred_at": "2026-11-20T10:15:00.123Z",
        "contact": contact,
    })
}

/// Builds creates of the contacts `c-0` to `c-{count - 1}`: leads, and customers at odd numbers.
pub fn people(count: usize) -> Vec<Value> {
    let kind = |at| if at % 2 == 0 { "lead" } else { "customer" };
    let fields = |at| {
        let (name, email) = (format!("Nr {at}"), format!("p{at}@example.com"));
        json!({"last_name": name, "company": "Acme", "email": email})
    };
    (0..count)
        .map(|at| change("create", &format!("c-{at}"), kind(at), fields(at)))
        .collect()
}

/// Builds the records of a batch from changes.
pub fn batch(changes: &[Value]) -> Vec<Value> {
    let record =
        |(at, change): (usize, &Value)| stream::record(0, at, "key", change.to_string().as_bytes());
    changes.iter().enumerate().map(record).collect()
}

/// Lines that the function logs on this thread, from the creation to the end of the test.
pub struct Logs {
    listener: Listener,
    /// Lines that were read so far.
    read: RefCell<Vec<Value>>,
}

impl Logs {
    /// Starts to collect lines of every level.
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

    /// Returns the lines of the audit trail: fate and code by sequence number and destination.
    pub fn audit(&self) -> Vec<Value> {
        self.lines()
            .into_iter()
            .filter(|line| line["audit"] == true)
            .collect()
    }

    /// Returns `fate` or `fate CODE` of each record, in the order of the lines.
    pub fn fates(&self) -> Vec<String> {
        let mut fates = Vec::new();
        for line in self.audit() {
            let fate = line["fate"].as_str().expect("a fate");
            fates.push(match line["code"].as_str() {
                Some(code) => format!("{fate} {code}"),
                None => fate.to_owned(),
            });
        }
        fates
    }

    /// Returns the metrics of a destination, or of the invocations ("").
    pub fn metrics(&self, destination: &str) -> Vec<Value> {
        let is_it = |line: &Value| {
            line["_aws"].is_object()
                && line["Destination"].as_str().unwrap_or_default() == destination
        };
        self.lines().into_iter().filter(is_it).collect()
    }
}
