//! A strict HubSpot on loopback: contacts by a unique property, batch upsert, read and archive, as
//! its documentation and captures of the real one have them, oddities included. What it refuses,
//! the real one refuses.

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

/// The token that is accepted until another one is.
pub const TOKEN: &str = "pat-mock-1";

/// The endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    Upsert,
    Read,
    Archive,
    Properties,
}

/// A call that came as far as an endpoint, and how it was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    pub endpoint: Endpoint,
    pub path: String,
    /// The ids of the inputs.
    pub ids: Vec<String>,
    /// `None` where the reply was scripted or the connection was broken.
    pub status: Option<u16>,
    pub at: Instant,
}

/// How the mock behaves beyond what is asked of it call by call.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one oddity, switched on its own"
)]
pub struct Habits {
    /// The property with unique values.
    pub id_property: String,
    /// Its values are unique; otherwise nothing can be upserted by it.
    pub is_unique: bool,
    /// Results echo `objectWriteTraceId`, as the schema says and the captures do not.
    pub echo_trace_ids: bool,
    /// Results have no property at all.
    pub hide_properties: bool,
    /// The form in which a result shows the key that was sent.
    pub shown_key: fn(&str) -> String,
    /// One bad input refuses all of its call, in spite of the trace ids.
    pub judges_as_one: bool,
    /// Inputs in one call.
    pub most_inputs: usize,
    /// A new contact needs an email, a first or a last name.
    pub require_a_name: bool,
    /// The credential has the scope to write.
    pub may_write: bool,
    /// Answers carry the headers of the quota.
    pub quota_headers: bool,
    /// Each answer takes so long.
    pub latency: Duration,
}

impl Default for Habits {
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

/// The mock.
#[derive(Debug)]
pub struct MockHubSpot {
    controls: Arc<Controls<Endpoint>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    controls: Arc<Controls<Endpoint>>,
    habits: Habits,
    tokens: BTreeSet<String>,
    store: Store,
    seen: Vec<Seen>,
    unnamed_errors: HashMap<String, Value>,
    limit: Option<Window>,
}

/// A rolling window of calls.
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
    /// A mock, and the server in front of it.
    pub async fn start() -> (Arc<Self>, Server) {
        Self::start_with(|_| {}).await
    }

    /// The same, with other habits.
    pub async fn start_with(edit: impl FnOnce(&mut Habits)) -> (Arc<Self>, Server) {
        let mut state = State {
            tokens: [TOKEN.to_owned()].into(),
            ..State::default()
        };
        state
            .store
            .custom_properties
            .extend(["plan", "seats", "newsletter"].map(str::to_owned));
        edit(&mut state.habits);
        let mock = Arc::new(Self {
            controls: Arc::clone(&state.controls),
            state: Mutex::new(state),
        });
        let server = Server::start(Arc::clone(&mock)).await;
        (mock, server)
    }

    /// From now on only this token is accepted.
    pub fn rotate_token(&self, token: &str) {
        self.state().tokens = [token.to_owned()].into();
    }

    /// Upserts of the contact `id` always end with this error, which does not say whose it is.
    pub fn fail_unnamed(&self, id: &str, error: Value) {
        self.state().unnamed_errors.insert(id.to_lowercase(), error);
    }

    /// Refuses what exceeds `requests` in a rolling window.
    pub fn limit(&self, requests: usize, length: Duration) {
        self.state().limit = Some(Window {
            requests,
            length,
            taken: VecDeque::new(),
        });
    }

    /// Makes a custom property.
    pub fn create_property(&self, name: &str) {
        self.state().store.custom_properties.insert(name.to_owned());
    }

    /// Takes a property away, one of HubSpot's own too.
    pub fn remove_property(&self, name: &str) {
        self.state()
            .store
            .removed_properties
            .insert(name.to_owned());
    }

    /// Puts a contact there, as somebody else's work would; gives HubSpot's id of it. Without an id
    /// of ours it is a contact that we do not know.
    pub fn put(&self, id: Option<&str>, properties: &[(&str, &str)]) -> String {
        let mut state = self.state();
        let id_property = state.habits.id_property.clone();
        let mut properties: BTreeMap<_, _> = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        properties.extend(id.map(|id| (id_property, id.to_owned())));
        state.store.insert(id, properties)
    }

    /// Somebody edits a property of the contact by hand.
    pub fn edit(&self, id: &str, property: &str, value: &str) {
        self.state().store.edit(id, property, value);
    }

    /// The properties of a contact, by our id. Cleared ones are not there.
    pub fn contact(&self, id: &str) -> Option<BTreeMap<String, String>> {
        self.state()
            .store
            .find(id)
            .map(|record| record.properties.clone())
    }

    /// All contacts that have an id of ours, by that id in lower case.
    pub fn contacts(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.state().store.keyed()
    }

    /// The calls that reached an endpoint, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How many calls reached an endpoint.
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

/// A 429 in its own shape: `errorType`, and no `category`.
pub fn limited(policy: &str, words: &str) -> Answer {
    let message = format!("You have reached your {words} limit.");
    let body = json!({"status": "error", "message": message, "errorType": "RATE_LIMIT", "correlationId": "c2",
        "policyName": policy, "requestId": "r2"});
    Answer::json(429, &body)
}
