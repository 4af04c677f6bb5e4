//! Strict mock of Salesforce on loopback: tokens, leads by an external id, collection upsert and
//! delete, the queries of the adapter, and several of these in one call. It follows the
//! documentation and captures of real responses. Salesforce rejects every request that the mock
//! rejects.

mod composite;
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

pub use self::composite::Subfault;
use self::records::Store;
pub use self::tokens::Signer;
use super::controls::Controls;
use super::server::{Answer, Server};

/// Credentials that are accepted until they are rotated.
pub const CLIENT_ID: &str = "3MVG9mock";
pub const CLIENT_SECRET: &str = "mock-secret-1";

/// Endpoint of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    Token,
    Upsert,
    /// Collection update by Id.
    Update,
    Query,
    Delete,
    Describe,
    /// Several requests in one call.
    Composite,
}

/// Call that reached an endpoint.
#[derive(Clone, Debug)]
pub struct Seen {
    pub endpoint: Endpoint,
    /// Number of records or ids.
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

/// Behavior of the mock for all calls.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each field is an independent switch"
)]
pub struct Behavior {
    /// The object.
    pub sobject: String,
    pub external_id_field: String,
    /// Fields besides the standard ones.
    pub custom_fields: Vec<String>,
    /// Whether the external id field is unique.
    pub external_id_is_unique: bool,
    /// Fields that field-level security hides from the run-as user.
    pub hidden_fields: Vec<String>,
    /// Fields that the run-as user can read and not edit, by field-level security.
    pub read_only_fields: Vec<String>,
    /// Checkbox fields: a text in one of them fails the whole request.
    pub checkboxes: Vec<String>,
    /// Values of Status, if it is a restricted picklist.
    pub statuses: Option<Vec<String>>,
    /// Whether the run-as user may create and edit records.
    pub may_write: bool,
    /// Whether the user may delete records.
    pub may_delete: bool,
    /// Whether failed rows have `created: true`, as in captures.
    pub created_on_failures: bool,
    /// Maximum number of records of a call.
    pub most_records: usize,
    /// Maximum number of records of a page of a query.
    pub page: usize,
    /// Maximum length of a path with its query, and the response to longer ones.
    pub longest_uri: Option<(usize, Answer)>,
    /// Header with the usage of the org.
    pub limit_info: Option<String>,
    /// URL in the response of the token endpoint; by default that of the mock.
    pub instance_url: Option<String>,
    /// Whether responses are compressed if the client accepts that. Salesforce does not guarantee
    /// it.
    pub compresses: bool,
    /// Latency of each response.
    pub latency: Duration,
    /// Additional latency for each record of a call.
    pub latency_per_record: Duration,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            sobject: "Lead".to_owned(),
            external_id_field: "Source_Id__c".to_owned(),
            custom_fields: [
                "Plan__c",
                "Seats__c",
                "Newsletter__c",
                "Version__c",
                "Baseline__c",
            ]
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

/// Mock of Salesforce.
#[derive(Debug)]
pub struct MockSalesforce {
    controls: Arc<Controls<Endpoint>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    controls: Arc<Controls<Endpoint>>,
    behavior: Behavior,
    url: String,
    client_secret: String,
    signer: Option<Signer>,
    tokens: BTreeSet<String>,
    granted: u32,
    store: Store,
    seen: Vec<Seen>,
    /// Subrequests of all calls, in order.
    subrequests: Vec<Seen>,
    /// Faults of the next call of several requests, by the request's index.
    subfaults: Vec<(usize, Subfault)>,
    /// Contact whose requests fail, and their response.
    poison: Option<(String, Answer)>,
    /// Locked contacts, with the number of calls for which they are locked.
    locked: HashMap<String, u32>,
    takes_any_token: bool,
    locks_every: Option<u64>,
    upserted_rows: u64,
    /// Beginning of the texts that a validation rule refuses.
    refused_texts: Option<String>,
    /// Edits of other clients that follow the next query.
    edits_after_query: Vec<(String, Value)>,
    /// Contacts whose leads other clients create (`true`) or delete after the next query.
    changes_after_query: Vec<(String, bool)>,
    /// Total number of records of each query, and those that were not returned yet.
    queries: Vec<(usize, Vec<Value>)>,
}

impl Deref for MockSalesforce {
    type Target = Controls<Endpoint>;

    fn deref(&self) -> &Self::Target {
        &self.controls
    }
}

impl MockSalesforce {
    /// Starts a mock and its server.
    pub async fn start() -> (Arc<Self>, Server) {
        Self::start_with(|_| {}).await
    }

    /// Starts a mock with a modified behavior, and its server.
    pub async fn start_with(edit: impl FnOnce(&mut Behavior)) -> (Arc<Self>, Server) {
        let mut state = State {
            client_secret: CLIENT_SECRET.to_owned(),
            ..State::default()
        };
        edit(&mut state.behavior);
        let mock = Arc::new(Self {
            controls: Arc::clone(&state.controls),
            state: Mutex::new(state),
        });
        let server = Server::start(Arc::clone(&mock)).await;
        mock.state().url = server.url();
        (mock, server)
    }

    /// Returns the secret with which the adapter uses the mock.
    pub fn secret(&self) -> Value {
        let state = self.state();
        json!({
            "login_url": state.url,
            "client_id": CLIENT_ID,
            "client_secret": state.client_secret,
        })
    }

    /// Replaces the accepted client secret. Sessions stay valid.
    pub fn rotate_secret(&self, client_secret: &str) {
        client_secret.clone_into(&mut self.state().client_secret);
    }

    /// Sets the URL in further responses of the token endpoint; `None` for that of the mock.
    pub fn set_instance_url(&self, url: Option<String>) {
        self.state().behavior.instance_url = url;
    }

    /// Accepts every token, as an instance whose tokens another host grants.
    pub fn take_any_token(&self) {
        self.state().takes_any_token = true;
    }

    /// Ends all sessions.
    pub fn expire_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Accepts assertions signed by `signer`, and no client secret.
    pub fn require_jwt(&self, signer: Signer) {
        self.state().signer = Some(signer);
    }

    /// Locks the record of the contact `id` for this number of calls: all rows of a batch with it
    /// fail.
    pub fn lock(&self, id: &str, calls: u32) {
        self.state().locked.insert(id.to_lowercase(), calls);
    }

    /// Converts the lead, as another client does.
    pub fn convert(&self, id: &str) {
        let mut state = self.state();
        let field = state.behavior.external_id_field.clone();
        state.store.convert(&field, id);
    }

    /// Edits the lead, as another client does.
    pub fn edit(&self, id: &str, fields: &Value) {
        self.state().edit(id, fields);
    }

    /// Edits the lead after the next query, as another client does that is faster than the write.
    pub fn edit_after_query(&self, id: &str, fields: &Value) {
        let edit = (id.to_owned(), fields.clone());
        self.state().edits_after_query.push(edit);
    }

    /// Deletes the lead, as another client does.
    pub fn delete(&self, id: &str) {
        let mut state = self.state();
        let field = state.behavior.external_id_field.clone();
        state.store.delete(&field, id);
    }

    /// Deletes the lead after the next query, as another client does that is faster than the write.
    pub fn delete_after_query(&self, id: &str) {
        self.state()
            .changes_after_query
            .push((id.to_owned(), false));
    }

    /// Creates a lead after the next query, as another client does that is faster than the write.
    pub fn put_after_query(&self, id: &str) {
        self.state().changes_after_query.push((id.to_owned(), true));
    }

    /// Refuses every text that begins with `prefix`, as a validation rule of its field does.
    pub fn refuse_texts(&self, prefix: &str) {
        self.state().refused_texts = Some(prefix.to_owned());
    }

    /// Fails every `k`-th row of all upserts with a lock.
    pub fn lock_every(&self, k: u64) {
        self.state().locks_every = Some(k);
    }

    /// Creates a lead, as another client does. Returns its Id.
    pub fn put(&self, id: &str, fields: &Value) -> String {
        let mut state = self.state();
        let mut fields = fields.as_object().cloned().unwrap_or_default();
        let field = state.behavior.external_id_field.clone();
        fields.insert(field.clone(), id.into());
        state.store.insert(&field, fields)
    }

    /// Returns the fields with a value of the lead with this external id.
    pub fn lead(&self, id: &str) -> Option<Map<String, Value>> {
        let state = self.state();
        state
            .store
            .find(&state.behavior.external_id_field, id)
            .map(|record| record.fields.clone())
    }

    /// Returns all leads with an external id, by that id in lower case: their fields with a value,
    /// as texts.
    pub fn leads(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let state = self.state();
        state.store.keyed(&state.behavior.external_id_field)
    }

    /// Returns the calls that reached an endpoint, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Returns the subrequests of all calls, in order. They are no calls of their own.
    pub fn subrequests(&self) -> Vec<Seen> {
        self.state().subrequests.clone()
    }

    /// Injects a fault into the subrequest at this index of the next call of several requests.
    pub fn fail_subrequest(&self, at: usize, fault: Subfault) {
        self.state().subfaults.push((at, fault));
    }

    /// Responds with `answer` to each subrequest, or request of its own, with the contact `id`.
    pub fn fail_requests_with(&self, id: &str, answer: Answer) {
        self.state().poison = Some((id.to_owned(), answer));
    }

    /// Counts the calls that reached the endpoint.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.state()
            .seen
            .iter()
            .filter(|seen| seen.endpoint == endpoint)
            .count()
    }

    /// Returns the number of records or ids of each call of an endpoint.
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

impl State {
    fn edit(&mut self, id: &str, fields: &Value) {
        let field = self.behavior.external_id_field.clone();
        for id in self.store.ids(&field, id) {
            let fields = fields.as_object().cloned().unwrap_or_default();
            if let Some(record) = self.store.records.get_mut(&id) {
                record.fields.extend(fields);
                record.fields.retain(|_, value| !value.is_null());
            }
        }
    }

    /// Makes the edits and deletes that follow a query.
    fn edit_after_query(&mut self) {
        for (id, fields) in std::mem::take(&mut self.edits_after_query) {
            self.edit(&id, &fields);
        }
        let field = self.behavior.external_id_field.clone();
        for (id, is_new) in std::mem::take(&mut self.changes_after_query) {
            if is_new {
                let fields = Map::from_iter([(field.clone(), id.as_str().into())]);
                self.store.insert(&field, fields);
            } else {
                self.store.delete(&field, &id);
            }
        }
    }
}

/// Builds the error of a whole request.
pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!([{"message": message, "errorCode": code}]))
}

/// Builds the error of a row.
pub fn row_error(code: &str, message: &str, fields: &[&str]) -> Value {
    json!({"statusCode": code, "message": message, "fields": fields})
}
