//! A strict Salesforce on loopback: tokens, leads by an external id, collection upsert and delete,
//! the two queries that we send, as its documentation and captures of the real one have them,
//! oddities included. What it refuses, the real one refuses.

mod describe;
mod gate;
mod query;
mod records;
mod tokens;
mod upsert;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use self::records::Store;
pub use self::tokens::Signer;
use super::controls::Controls;
use super::server::{Answer, Server};

/// The credentials that are accepted until others are.
pub const CLIENT_ID: &str = "3MVG9mock";
pub const CLIENT_SECRET: &str = "mock-secret-1";

/// The endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    Token,
    Upsert,
    Query,
    Delete,
    Describe,
}

/// A call that came as far as an endpoint.
#[derive(Clone, Debug)]
pub struct Seen {
    pub endpoint: Endpoint,
    /// Records or ids.
    pub size: usize,
    pub uri_length: usize,
    pub headers: HeaderMap,
    pub at: Instant,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// How the mock behaves beyond what is asked of it call by call.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one oddity, switched on its own"
)]
pub struct Habits {
    pub external_id_field: String,
    /// Fields that exist besides the standard ones.
    pub custom_fields: Vec<String>,
    /// The external id field is a key.
    pub external_id_is_unique: bool,
    /// Fields that field-level security hides from the run-as user.
    pub hidden_fields: Vec<String>,
    /// Fields that field-level security lets the run-as user see and not edit.
    pub read_only_fields: Vec<String>,
    /// Fields that are a checkbox: a text in one refuses the whole request.
    pub checkboxes: Vec<String>,
    /// The values of the restricted picklist Status, where it is one.
    pub statuses: Option<Vec<String>>,
    /// The run-as user may create and edit records, if not locked away one by one.
    pub may_write: bool,
    /// The user may delete records.
    pub may_delete: bool,
    /// Failed rows say `created: true`, as in captures.
    pub created_on_failures: bool,
    /// Records in one call.
    pub most_records: usize,
    /// Records in one page of a query.
    pub page: usize,
    /// The longest path with its query that is answered otherwise than with this answer.
    pub longest_uri: Option<(usize, Answer)>,
    /// The header that tells the org's usage.
    pub limit_info: Option<String>,
    /// Where the answer of the token endpoint sends the calls; the mock itself where nothing is
    /// said.
    pub instance_url: Option<String>,
    /// Answers are compressed where the client takes that; the real one gives no guarantee.
    pub compresses: bool,
    /// Each answer takes so long.
    pub latency: Duration,
    /// Besides, for each record of a call.
    pub latency_per_record: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            external_id_field: "Source_Id__c".to_owned(),
            custom_fields: ["Plan__c", "Seats__c", "Newsletter__c", "Version__c"]
                .map(str::to_owned)
                .into(),
            external_id_is_unique: true,
            hidden_fields: Vec::new(),
            read_only_fields: Vec::new(),
            checkboxes: Vec::new(),
            statuses: None,
            may_write: true,
            may_delete: true,
            created_on_failures: true,
            most_records: 200,
            page: 2000,
            longest_uri: None,
            limit_info: Some(
                "api-usage=18/100000; per-app-api-usage=17/250(appName=contact-sync)".to_owned(),
            ),
            instance_url: None,
            compresses: true,
            latency: Duration::ZERO,
            latency_per_record: Duration::ZERO,
        }
    }
}

/// The mock.
#[derive(Debug)]
pub struct MockSalesforce {
    controls: Arc<Controls<Endpoint>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    controls: Arc<Controls<Endpoint>>,
    habits: Habits,
    url: String,
    client_secret: String,
    signer: Option<Signer>,
    tokens: BTreeSet<String>,
    granted: u32,
    store: Store,
    seen: Vec<Seen>,
    /// Contacts that are locked, and for how many calls.
    locked: HashMap<String, u32>,
    takes_any_token: bool,
    locks_every: Option<u64>,
    upserted_rows: u64,
    /// What is left of each query, and how much it found in all.
    queries: Vec<(usize, Vec<Value>)>,
}

impl Deref for MockSalesforce {
    type Target = Controls<Endpoint>;

    fn deref(&self) -> &Self::Target {
        &self.controls
    }
}

impl MockSalesforce {
    /// A mock, and the server in front of it.
    pub async fn start() -> (Arc<Self>, Server) {
        Self::start_with(|_| {}).await
    }

    /// The same, with other habits.
    pub async fn start_with(edit: impl FnOnce(&mut Habits)) -> (Arc<Self>, Server) {
        let mut state = State {
            client_secret: CLIENT_SECRET.to_owned(),
            ..State::default()
        };
        edit(&mut state.habits);
        let mock = Arc::new(Self {
            controls: Arc::clone(&state.controls),
            state: Mutex::new(state),
        });
        let server = Server::start(Arc::clone(&mock)).await;
        mock.state().url = server.url();
        (mock, server)
    }

    /// What the secret has to hold.
    pub fn secret(&self) -> Value {
        let state = self.state();
        json!({"login_url": state.url, "client_id": CLIENT_ID, "client_secret": state.client_secret})
    }

    /// From now on only this client secret is accepted; sessions go on.
    pub fn rotate_secret(&self, client_secret: &str) {
        client_secret.clone_into(&mut self.state().client_secret);
    }

    /// Sends the calls of the tokens granted from here on elsewhere; to the mock itself where
    /// nothing is said.
    pub fn set_instance_url(&self, url: Option<String>) {
        self.state().habits.instance_url = url;
    }

    /// Takes every token, as an instance does whose tokens another host grants.
    pub fn take_any_token(&self) {
        self.state().takes_any_token = true;
    }

    /// Ends all sessions.
    pub fn expire_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Takes assertions signed by `signer`, and no client secret.
    pub fn require_jwt(&self, signer: Signer) {
        self.state().signer = Some(signer);
    }

    /// The record of the contact `id` is locked for so many calls: all rows of a batch with it
    /// fail.
    pub fn lock(&self, id: &str, calls: u32) {
        self.state().locked.insert(id.to_lowercase(), calls);
    }

    /// Somebody converts the lead.
    pub fn convert(&self, id: &str) {
        let mut state = self.state();
        let field = state.habits.external_id_field.clone();
        state.store.convert(&field, id);
    }

    /// Somebody edits the lead.
    pub fn edit(&self, id: &str, fields: &Value) {
        let mut state = self.state();
        let field = state.habits.external_id_field.clone();
        for id in state.store.ids(&field, id) {
            let fields = fields.as_object().cloned().unwrap_or_default();
            state
                .store
                .records
                .entry(id)
                .and_modify(|record| record.fields.extend(fields));
        }
    }

    /// Every `k`-th row of all upserts meets a lock.
    pub fn lock_every(&self, k: u64) {
        self.state().locks_every = Some(k);
    }

    /// Puts a lead there, as somebody else's work would; gives its Id.
    pub fn put(&self, id: &str, fields: &Value) -> String {
        let mut state = self.state();
        let mut fields = fields.as_object().cloned().unwrap_or_default();
        let field = state.habits.external_id_field.clone();
        fields.insert(field.clone(), id.into());
        state.store.insert(&field, fields)
    }

    /// A lead's fields with a value, by our id.
    pub fn lead(&self, id: &str) -> Option<Map<String, Value>> {
        let state = self.state();
        state
            .store
            .find(&state.habits.external_id_field, id)
            .map(|record| record.fields.clone())
    }

    /// All leads that have an id of ours, by that id in lower case: their fields with a value, as
    /// text.
    pub fn leads(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let state = self.state();
        state.store.keyed(&state.habits.external_id_field)
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

    /// How many records or ids each call of an endpoint carried.
    pub fn sizes(&self, endpoint: Endpoint) -> Vec<usize> {
        self.state()
            .seen
            .iter()
            .filter(|seen| seen.endpoint == endpoint)
            .map(|seen| seen.size)
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error of a whole request.
pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!([{"message": message, "errorCode": code}]))
}

/// An error of a row.
pub fn row_error(code: &str, message: &str, fields: &[&str]) -> Value {
    json!({"statusCode": code, "message": message, "fields": fields})
}
