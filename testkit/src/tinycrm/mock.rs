//! Mock of the third system on loopback: contacts by id, with batch upsert, read and delete.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::controls::Controls;
use super::super::server::{Answer, Api, Reply, Request, Server};
use super::model::{LONGEST_TEXT, own_fields};
use super::settings::Settings;

/// Token that is accepted until it is rotated.
pub const TOKEN: &str = "tiny-1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Upsert,
    Read,
    Delete,
    Fields,
}

/// Mock of the third system.
#[derive(Debug)]
pub struct MockTinyCrm {
    controls: Arc<Controls<Endpoint>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    controls: Arc<Controls<Endpoint>>,
    token: String,
    /// Fields of each contact, by id in lower case.
    contacts: BTreeMap<String, BTreeMap<String, String>>,
    /// Numbers of records without an id, by their email address.
    others: BTreeMap<String, String>,
    /// Fields that the account has besides its own.
    custom: BTreeSet<String>,
    seen: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    fields: Map<String, Value>,
}

impl Deref for MockTinyCrm {
    type Target = Controls<Endpoint>;

    fn deref(&self) -> &Self::Target {
        &self.controls
    }
}

impl MockTinyCrm {
    /// Starts a mock and its server.
    pub async fn start() -> (Arc<Self>, Server) {
        let state = State {
            token: TOKEN.to_owned(),
            custom: ["plan", "version"].map(str::to_owned).into(),
            ..State::default()
        };
        let mock = Arc::new(Self {
            controls: Arc::clone(&state.controls),
            state: Mutex::new(state),
        });
        let server = Server::start(Arc::clone(&mock)).await;
        (mock, server)
    }

    /// Replaces the accepted token.
    pub fn rotate_token(&self, token: &str) {
        token.clone_into(&mut self.state().token);
    }

    /// Creates a record without an id that has this address. Returns its number.
    pub fn put(&self, email: &str) -> String {
        let mut state = self.state();
        let number = format!("{}", 7000 + state.others.len());
        state.others.insert(email.to_owned(), number.clone());
        number
    }

    /// Returns the fields of all contacts, by id in lower case.
    pub fn contacts(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.state().contacts.clone()
    }

    /// Returns the calls that reached an endpoint, in order.
    pub fn seen(&self) -> Vec<Endpoint> {
        self.state().seen.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Api for MockTinyCrm {
    fn reply(&self, request: &Request) -> Reply {
        self.state().reply(request)
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> Reply {
        self.controls.count_call();
        let endpoint = match self.admit(request) {
            Ok(endpoint) => endpoint,
            Err(answer) => return answer.into(),
        };
        self.seen.push(endpoint);
        if let Some(reply) = self.controls.scripted(endpoint, false) {
            return reply;
        }
        let mut answer = self.answer(endpoint, &request.body);
        if self.controls.loses_response() {
            return Reply::Reset;
        }
        answer = answer
            .with_header("x-quota-used", self.controls.calls())
            .with_header("x-quota-max", 100_000);
        if let Some(mangle) = self.controls.take_mangle() {
            mangle.apply(&mut answer);
        }
        answer.into()
    }

    /// Checks version, path and token.
    fn admit(&mut self, request: &Request) -> Result<Endpoint, Answer> {
        let path = request.path.trim_start_matches('/');
        let (version, path) = path.split_once('/').unwrap_or_default();
        if !["v1", "v2"].contains(&version) {
            return Err(refusal(404, "UNKNOWN_VERSION"));
        }
        let endpoint = match path {
            "contacts/upsert" => Endpoint::Upsert,
            "contacts/read" => Endpoint::Read,
            "contacts/delete" => Endpoint::Delete,
            "fields" => Endpoint::Fields,
            _ => {
                self.controls
                    .record_violation(format!("unknown path {path}"));
                return Err(refusal(404, "UNKNOWN_PATH"));
            }
        };
        let token = request.header("authorization").unwrap_or_default();
        if token.strip_prefix("Bearer ") != Some(&self.token) {
            self.controls.count_refused_token();
            return Err(refusal(401, "BAD_TOKEN"));
        }
        Ok(endpoint)
    }

    fn answer(&mut self, endpoint: Endpoint, body: &[u8]) -> Answer {
        if endpoint == Endpoint::Fields {
            let fields: Vec<&str> = own_fields();
            return Answer::json(200, &json!(fields));
        }
        let Ok(rows) = serde_json::from_slice::<Vec<Row>>(body) else {
            return refusal(400, "INVALID_JSON");
        };
        let ids: BTreeSet<String> = rows.iter().map(|row| row.id.to_lowercase()).collect();
        if ids.len() < rows.len() || rows.len() > Settings::LARGEST_BATCH {
            self.controls
                .record_violation("an id twice, or too many rows");
            return refusal(400, "BAD_BATCH");
        }
        if rows.iter().any(|row| self.controls.fails_batches(&row.id)) {
            return refusal(400, "BAD_BATCH");
        }
        let results: Vec<Value> = rows.iter().map(|row| self.result(endpoint, row)).collect();
        Answer::json(200, &results.into())
    }

    fn result(&mut self, endpoint: Endpoint, row: &Row) -> Value {
        let id = row.id.to_lowercase();
        if let Some(error) = self.controls.row_error(&id) {
            return json!({"error": error});
        }
        match endpoint {
            Endpoint::Upsert => match self.validate(&id, &row.fields) {
                Some(error) => json!({"error": error}),
                None => self.write(id, &row.fields),
            },
            Endpoint::Delete => {
                let is_found = self.contacts.remove(&id).is_some();
                json!({"ok": true, "id": row.id, "found": is_found})
            }
            Endpoint::Read | Endpoint::Fields => {
                let held = self.contacts.get(&id);
                let version = held.and_then(|held| held.get("version")?.parse::<u64>().ok());
                json!({"ok": true, "id": row.id, "found": held.is_some(), "version": version})
            }
        }
    }

    fn write(&mut self, id: String, fields: &Map<String, Value>) -> Value {
        let result = json!({"ok": true, "id": id});
        let held = self.contacts.entry(id).or_default();
        for (name, value) in fields {
            match value {
                Value::Null => drop(held.remove(name)),
                Value::String(text) => drop(held.insert(name.clone(), text.clone())),
                other => drop(held.insert(name.clone(), other.to_string())),
            }
        }
        result
    }

    /// Validates a row. Returns its error.
    fn validate(&self, id: &str, fields: &Map<String, Value>) -> Option<Value> {
        for (name, value) in fields {
            if !own_fields().contains(&&**name) && !self.custom.contains(name) {
                return Some(row_error("UNKNOWN_FIELD", name, "there is no such field"));
            }
            let text = value.as_str().unwrap_or_default();
            if text.chars().count() > LONGEST_TEXT {
                return Some(row_error("TOO_LONG", name, "the text is too long"));
            }
            if name == "email" && value.is_string() {
                if !text.contains('@') {
                    return Some(row_error("INVALID_EMAIL", name, "it is no address"));
                }
                if let Some(owner) = self.owner(id, text) {
                    let message = format!("record {owner} has this address");
                    return Some(row_error("DUPLICATE_EMAIL", name, &message));
                }
            }
        }
        None
    }

    /// Returns the record besides that of `id` that has the address.
    fn owner(&self, id: &str, email: &str) -> Option<&str> {
        let has_it = |fields: &BTreeMap<String, String>| {
            fields.get("email").is_some_and(|held| held == email)
        };
        let mut others = self.contacts.iter();
        let keyed = others.find(|(other, fields)| *other != id && has_it(fields));
        keyed
            .map(|(other, _)| other)
            .or_else(|| self.others.get(email))
            .map(String::as_str)
    }
}

fn row_error(code: &str, field: &str, message: &str) -> Value {
    json!({"code": code, "field": field, "message": message})
}

/// Builds a response that refuses the call.
pub(super) fn refusal(status: u16, code: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"code": code, "message": "the call is refused"}}),
    )
}
