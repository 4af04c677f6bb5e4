//! Several requests in one call. Each is carried out and answered by itself, in order.
//!
//! The pages of the Composite resource, of its request body and of its response body document this.
//! They do not document the status of a call that is refused as a whole: it is assumed here.

use std::collections::BTreeSet;

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::server::{Answer, Mangle, Request};
use super::gate::{body, endpoint, holds};
use super::{Endpoint, Seen, State, refusal};

/// Maximum number of collections and queries in a call, which may have 25 requests.
const MOST_COLLECTIONS: usize = 5;

/// Maximum length of a request's URL.
const LONGEST_URI: usize = 16_384;

/// Headers that a subrequest inherits from the call, and must not have.
const INHERITED: [&str; 3] = ["accept", "authorization", "content-type"];

/// Fault of one request of a call.
#[derive(Clone, Debug)]
pub enum Subfault {
    /// The request is not carried out, and gets this response.
    Answer(Answer),
    /// The request is carried out, and has no result.
    Lost,
    /// The request is not carried out, and has no result.
    Omitted,
    /// The request is carried out, and its response is modified.
    Mangled(Mangle),
    /// The request is carried out, and this stands in place of its result.
    Entry(Value),
}

impl State {
    pub(super) fn composite(&mut self, request: &Request) -> Answer {
        let text = body(request).unwrap_or_default();
        let Ok(call) = serde_json::from_str::<Value>(&text) else {
            return refusal(400, "JSON_PARSER_ERROR", "Unexpected character");
        };
        let requests = call["compositeRequest"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if let Some(violation) = violation(&call, &requests) {
            self.controls.record_violation(violation);
            // As in captures of calls with too many requests.
            let error = json!([{"errorCode": "LIMIT_EXCEEDED", "message": "not allowed"}]);
            return Answer::json(
                400,
                &json!({"compositeResponse": [result(400, &error, None)]}),
            );
        }
        let faults = std::mem::take(&mut self.subfaults);
        let mut results = Vec::new();
        let mut size = 0;
        for (at, subrequest) in requests.iter().enumerate() {
            let inner = inner_request(request, subrequest);
            let fault = faults.iter().find(|(index, _)| *index == at);
            let fault = fault.map(|(_, fault)| fault);
            let answer = match fault {
                Some(Subfault::Answer(answer)) => Some(answer.clone()),
                Some(Subfault::Omitted) => None,
                _ => {
                    let (answer, records) = self.carry_out(&inner);
                    size += records;
                    Some(answer)
                }
            };
            let reference = &subrequest["referenceId"];
            match (fault, answer) {
                (Some(Subfault::Lost), _) | (_, None) => {}
                (Some(Subfault::Entry(entry)), _) => results.push(entry.clone()),
                (fault, Some(mut answer)) => {
                    if let Some(Subfault::Mangled(mangle)) = fault {
                        mangle.apply(&mut answer);
                    }
                    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                    let mut result = result(answer.status, &body, Some(reference));
                    for (name, value) in &answer.headers {
                        if name != "content-type" {
                            result["httpHeaders"][name] = value.as_str().into();
                        }
                    }
                    results.push(result);
                }
            }
        }
        self.size(size);
        Answer::json(200, &json!({"compositeResponse": results}))
    }

    /// Carries out a request of a call. Returns its response and the number of its records.
    fn carry_out(&mut self, request: &Request) -> (Answer, usize) {
        let unknown = || refusal(404, "NOT_FOUND", "The requested resource does not exist");
        let Some(endpoint) = endpoint(request) else {
            return (unknown(), 0);
        };
        // Each step records its size in the last call.
        self.size(0);
        let answer = match (self.poisoned(request), endpoint) {
            (Some(answer), _) => answer,
            (None, _) if refers(request) => refusal(
                400,
                "PROCESSING_HALTED",
                "Invalid reference specified. No value for an expression found",
            ),
            (None, Endpoint::Upsert) => self.upsert(request),
            (None, Endpoint::Update) => self.update(request),
            (None, Endpoint::Query) => {
                let answer = self.query(request);
                self.edit_after_query();
                answer
            }
            (None, Endpoint::Delete) => self.delete(request),
            (None, Endpoint::Token | Endpoint::Describe | Endpoint::Composite) => unknown(),
        };
        let size = self.seen.last().map_or(0, |seen| seen.size);
        self.subrequests.push(Seen {
            endpoint,
            size,
            uri_length: request.uri_length,
            headers: request.headers.clone(),
            at: Instant::now(),
        });
        (answer, size)
    }

    /// Returns the response to a request with the contact that spoils its requests.
    pub(super) fn poisoned(&self, request: &Request) -> Option<Answer> {
        let (id, answer) = self.poison.as_ref()?;
        holds(request, id).then(|| answer.clone())
    }
}

/// Returns the rule that a call breaks.
fn violation(call: &Value, requests: &[Value]) -> Option<String> {
    if call["allOrNone"] != false || call["collateSubrequests"] != false {
        return Some("a call that rolls back or reorders its requests".to_owned());
    }
    // Each request of the adapter is a collection or a query.
    if requests.is_empty() || requests.len() > MOST_COLLECTIONS {
        return Some(format!(
            "a call of {} collections or queries",
            requests.len()
        ));
    }
    let mut references = BTreeSet::new();
    for request in requests {
        let reference = request["referenceId"].as_str().unwrap_or_default();
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if reference.is_empty() || !reference.chars().all(is_valid) {
            return Some(format!("the reference `{reference}`"));
        }
        if !references.insert(reference) {
            return Some(format!("the reference `{reference}` twice"));
        }
        let headers = request["httpHeaders"].as_object();
        for (name, _) in headers.into_iter().flatten() {
            if INHERITED.contains(&name.to_lowercase().as_str()) {
                return Some(format!("the header {name} in a request of a call"));
            }
        }
        if url(request).len() > LONGEST_URI {
            return Some(format!("a URL of {} bytes", url(request).len()));
        }
    }
    None
}

fn url(request: &Value) -> &str {
    request["url"].as_str().unwrap_or_default()
}

/// Builds a request of a call as if it had come by itself. It inherits no header of Salesforce's.
fn inner_request(call: &Request, request: &Value) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        if INHERITED.contains(&name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in request["httpHeaders"].as_object().into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        let value = HeaderValue::from_str(value.as_str().unwrap_or_default());
        headers.insert(name, value.expect("a header's value"));
    }
    let (path, query) = url(request).split_once('?').unwrap_or((url(request), ""));
    let body = match &request["body"] {
        Value::Null => Bytes::new(),
        body => Bytes::from(body.to_string()),
    };
    Request {
        method: request["method"].as_str().unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        uri_length: url(request).len(),
        headers,
        body,
    }
}

/// Returns whether the request has an expression that refers to an earlier response. The adapter
/// needs none, so that its text can only come from a record.
fn refers(request: &Request) -> bool {
    let mut query = request.query.iter();
    query.any(|(_, value)| value.contains("@{"))
        || body(request).is_some_and(|body| body.contains("@{"))
}

fn result(status: u16, body: &Value, reference: Option<&Value>) -> Value {
    json!({
        "body": body,
        "httpHeaders": {},
        "httpStatusCode": status,
        "referenceId": reference,
    })
}
