//! Strict mock of HubSpot on loopback: contacts by a unique property, with batch upsert, read and
//! archive. It follows the documentation and captures of real responses. HubSpot rejects every
//! request that the mock rejects.

mod batch;
mod gate;
mod properties;
mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

pub use self::properties::missing_scope;
use self::store::Store;
use super::controls::Controls;
use super::server::{Answer, Server};

/// Token that is accepted until it is rotated.
pub const TOKEN: &str = "pat-mock-1";

/// Endpoint of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    Upsert,
    /// Never creates a contact.
    Update,
    Read,
    Archive,
    Properties,
}

/// Call that reached an endpoint, with the status of its response.
#[derive(Clone, Debug)]
pub struct Seen {
    pub endpoint: Endpoint,
    pub path: String,
    /// Ids of the inputs.
    pub ids: Vec<String>,
    /// `None` for a scripted reply or a broken connection.
    pub status: Option<u16>,
    pub at: Instant,
}

/// Behavior of the mock for all calls.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each field is an independent switch"
)]
pub struct Behavior {
    /// Property that identifies contacts.
    pub id_property: String,
    /// Whether its values are unique; otherwise no contact can be upserted by it.
    pub is_unique: bool,
    /// Whether results echo `objectWriteTraceId`, as in the schema but not in the captures.
    pub echo_trace_ids: bool,
    /// Whether results have no properties.
    pub hide_properties: bool,
    /// Converts the key of an input to the key of its result.
    pub shown_key: fn(&str) -> String,
    /// Whether one invalid input fails the whole call, even with trace ids.
    pub judges_as_one: bool,
    /// Maximum number of inputs of a call.
    pub most_inputs: usize,
    /// Whether a new contact needs an email, a first or a last name.
    pub require_a_name: bool,
    /// Whether the credential has the scope to write.
    pub may_write: bool,
    /// Whether responses have the headers of the quota.
    pub quota_headers: bool,
    /// Latency of each response.
    pub latency: Duration,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            id_property: "source_id".to_owned(),
            is_unique: true,
            echo_trace_ids: false,
            hide_properties: false,
            shown_key: str::to_owned,
            judges_as_one: false,
            most_inputs: 100,
            require_a_name: true,
            may_write: true,
            quota_headers: true,
            latency: Duration::ZERO,
        }
    }
}

/// Mock of HubSpot.
#[derive(Debug)]
pub struct MockHubSpot {
    controls: Arc<Controls<Endpoint>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    controls: Arc<Controls<Endpoint>>,
    behavior: Behavior,
    tokens: BTreeSet<String>,
    store: Store,
    seen: Vec<Seen>,
    unnamed_errors: HashMap<String, Value>,
    /// Edits of other clients that follow the next read: id, property and value.
    edits_after_read: Vec<[String; 3]>,
    /// Contacts that other clients create (`true`) or archive after the next read.
    changes_after_read: Vec<(String, bool)>,
    limit: Option<Window>,
}

/// Rolling window of calls.
#[derive(Debug)]
struct Window {
    requests: usize,
    length: Duration,
    taken: VecDeque<Instant>,
}

impl Deref for MockHubSpot {
    type Target = Controls<Endpoint>;

    fn deref(&self) -> &Self::Target {
        &self.controls
    }
}

impl MockHubSpot {
    /// Starts a mock and its server.
    pub async fn start() -> (Arc<Self>, Server) {
        Self::start_with(|_| {}).await
    }

    /// Starts a mock with a modified behavior, and its server.
    pub async fn start_with(edit: impl FnOnce(&mut Behavior)) -> (Arc<Self>, Server) {
        let mut state = State {
            tokens: [TOKEN.to_owned()].into(),
            ..State::default()
        };
        state
            .store
            .custom_properties
            .extend(["plan", "seats", "newsletter", "baseline"].map(str::to_owned));
        edit(&mut state.behavior);
        let mock = Arc::new(Self {
            controls: Arc::clone(&state.controls),
            state: Mutex::new(state),
        });
        let server = Server::start(Arc::clone(&mock)).await;
        (mock, server)
    }

    /// Replaces the accepted tokens by this one.
    pub fn rotate_token(&self, token: &str) {
        self.state().tokens = [token.to_owned()].into();
    }

    /// Fails each upsert of the contact `id` with this error, which does not identify its input.
    pub fn fail_unnamed(&self, id: &str, error: Value) {
        self.state().unnamed_errors.insert(id.to_lowercase(), error);
    }

    /// Throttles calls above `requests` in a rolling window.
    pub fn limit(&self, requests: usize, length: Duration) {
        self.state().limit = Some(Window {
            requests,
            length,
            taken: VecDeque::new(),
        });
    }

    /// Archives the contact after the next read, as another client does that is faster than the
    /// write.
    pub fn archive_after_read(&self, id: &str) {
        self.state().changes_after_read.push((id.to_owned(), false));
    }

    /// Creates a contact after the next read, as another client does that is faster than the write.
    pub fn put_after_read(&self, id: &str) {
        self.state().changes_after_read.push((id.to_owned(), true));
    }

    /// Refuses every value that begins with `prefix`, as a validation rule of its property does.
    pub fn refuse_texts(&self, prefix: &str) {
        self.state().store.refused_texts = Some(prefix.to_owned());
    }

    /// Creates a custom property.
    pub fn create_property(&self, name: &str) {
        self.state().store.custom_properties.insert(name.to_owned());
    }

    /// Removes a property, which may be one of HubSpot's own.
    pub fn remove_property(&self, name: &str) {
        self.state()
            .store
            .removed_properties
            .insert(name.to_owned());
    }

    /// Creates a contact, as another client does. Returns HubSpot's id. Without an `id` the
    /// contact has no key.
    pub fn put(&self, id: Option<&str>, properties: &[(&str, &str)]) -> String {
        let mut state = self.state();
        let id_property = state.behavior.id_property.clone();
        let mut properties: BTreeMap<_, _> = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        properties.extend(id.map(|id| (id_property, id.to_owned())));
        state.store.insert(id, properties)
    }

    /// Edits a property of the contact, as another client does.
    pub fn edit(&self, id: &str, property: &str, value: &str) {
        self.state().store.edit(id, property, value);
    }

    /// Edits a property of the contact after the next read, as another client does that is faster
    /// than the write.
    pub fn edit_after_read(&self, id: &str, property: &str, value: &str) {
        let edit = [id, property, value].map(str::to_owned);
        self.state().edits_after_read.push(edit);
    }

    /// Deletes the contact, as another client does.
    pub fn delete(&self, id: &str) {
        self.state().store.delete(id);
    }

    /// Returns the properties of the contact with this key, without cleared ones.
    pub fn contact(&self, id: &str) -> Option<BTreeMap<String, String>> {
        self.state()
            .store
            .find(id)
            .map(|record| record.properties.clone())
    }

    /// Returns all contacts that have a key, by key in lower case.
    pub fn contacts(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.state().store.keyed()
    }

    /// Returns the calls that reached an endpoint, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Counts the calls that reached the endpoint.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.state()
            .seen
            .iter()
            .filter(|seen| seen.endpoint == endpoint)
            .count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds a 429, which has an `errorType` and no `category`.
pub fn limited(policy: &str, name: &str) -> Answer {
    let message = format!("You have reached your {name} limit.");
    let body = json!({
        "status": "error",
        "message": message,
        "errorType": "RATE_LIMIT",
        "correlationId": "c2",
        "policyName": policy,
        "requestId": "r2",
    });
    Answer::json(429, &body)
}
