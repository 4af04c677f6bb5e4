//! Sends several requests in one call of the Composite resource, which counts as one API request.
//!
//! A call carries at most 25 subrequests, and at most 5 of them may be collections or queries.
//! Salesforce works on them one after the other and answers each by itself: with
//! `allOrNone: false`, a subrequest that fails does not affect the others. `defaults.toml` names
//! Salesforce's page.

use std::borrow::Cow;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Salesforce;
use super::client::{ApiRequest, is_success};
use super::lookup::unreadable;
use crate::adapters::Call;
use crate::adapters::http::HttpResponse;
use crate::json::{Object, push_text};
use crate::model::codes;
use crate::model::{CallError, FailureCause};

/// Beginning of the body. Without collation, the subrequests run in their order.
const HEAD: &str = r#"{"allOrNone":false,"collateSubrequests":false,"compositeRequest":["#;

/// End of the body.
const TAIL: &str = "]}";

/// Upper bound of a subrequest's length in the body, without its URL and its own body.
const FRAME_LENGTH: usize = 256;

/// Headers that a subrequest has to repeat. It inherits none but those of the content and the
/// credential, which it must not repeat.
const OWN_HEADERS: [&str; 2] = ["sforce-auto-assign", "sforce-duplicate-rule-header"];

/// Beginning of an expression that Salesforce replaces by a part of an earlier response, also
/// inside of a record's text.
const EXPRESSION: &str = "@{";

/// The same beginning in an encoded query.
const ENCODED_EXPRESSION: &str = "%40%7B";

/// Responses to the requests of one call, in their order.
pub(super) type Responses = Vec<Result<HttpResponse, CallError>>;

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(rename = "compositeResponse", borrow)]
    results: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct SubResult<'a> {
    #[serde(rename = "referenceId", borrow, default)]
    reference: Option<Cow<'a, str>>,
    #[serde(rename = "httpStatusCode")]
    status: u16,
    #[serde(rename = "httpHeaders", default)]
    headers: Value,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

/// Returns whether a subrequest would change this text of a record.
pub(super) fn has_expression(json: &str) -> bool {
    json.contains(EXPRESSION)
}

/// Returns whether a subrequest might change this encoded query.
pub(super) fn has_encoded_expression(query: &str) -> bool {
    query.contains(ENCODED_EXPRESSION)
}

impl Salesforce {
    /// Sends the requests: a single one by itself, several in one call. Returns the response to
    /// each, of any status, or an error where Salesforce's answer does not account for the request.
    ///
    /// # Errors
    /// Classifies the failure of the call as a whole, of which no request has a response.
    pub(super) async fn send_together(
        &self,
        mut requests: Vec<ApiRequest>,
        call: Call<'_>,
    ) -> Result<Responses, CallError> {
        let count = requests.len();
        if count == 1
            && let Some(request) = requests.pop()
        {
            return Ok(vec![Ok(self.send(request, call).await?)]);
        }
        let request = ApiRequest {
            method: Method::POST,
            path: format!("/services/data/{}/composite", self.settings.api_version),
            query: None,
            body: Some(self.composite(&requests).into()),
        };
        drop(requests);
        let response = self.send(request, call).await?;
        if !is_success(&response) {
            return Err(self.refusal(&response));
        }
        self.responses(&response, count)
    }

    /// Builds the body of a call from the bodies of its requests.
    fn composite(&self, requests: &[ApiRequest]) -> String {
        let mut length = HEAD.len() + TAIL.len();
        for request in requests {
            let query = request.query.as_ref().map_or(0, String::len);
            let body = request.body.as_ref().map_or(0, Bytes::len);
            length += FRAME_LENGTH + request.path.len() + query + body;
        }
        let mut json = String::with_capacity(length);
        json.push_str(HEAD);
        for (at, request) in requests.iter().enumerate() {
            json.push_str(if at == 0 { "" } else { "," });
            self.push_subrequest(&mut json, &reference(at), request);
        }
        json.push_str(TAIL);
        json
    }

    fn push_subrequest(&self, json: &mut String, reference: &str, request: &ApiRequest) {
        let url = match &request.query {
            Some(query) => Cow::Owned(format!("{}?{query}", request.path)),
            None => Cow::Borrowed(request.path.as_str()),
        };
        json.push_str(r#"{"referenceId":"#);
        push_text(json, reference);
        json.push_str(r#","method":"#);
        push_text(json, request.method.as_str());
        json.push_str(r#","url":"#);
        push_text(json, &url);
        if let Some(body) = &request.body {
            json.push_str(r#","httpHeaders":{"#);
            let own = |(name, _): &&(&str, &str)| OWN_HEADERS.contains(name);
            for (at, (name, value)) in self.headers.iter().filter(own).enumerate() {
                json.push_str(if at == 0 { "" } else { "," });
                push_text(json, name);
                json.push(':');
                push_text(json, value);
            }
            json.push_str(r#"},"body":"#);
            json.push_str(&String::from_utf8_lossy(body));
        }
        json.push('}');
    }

    /// Returns the responses that a response holds.
    ///
    /// # Errors
    /// Returns the refusal of the whole call, which comes as a result without a reference, and the
    /// error of a response that belongs to another call.
    fn responses(&self, response: &HttpResponse, count: usize) -> Result<Responses, CallError> {
        let Object(results) = serde_json::from_slice::<Object<Results<'_>>>(&response.body)
            .map_err(|_| unreadable())?;
        let mut responses: Vec<Option<HttpResponse>> = (0..count).map(|_| None).collect();
        let mut refusal = None;
        for result in results.results {
            // The request whose result cannot be read counts as one without a result.
            let Ok(Object(result)) = serde_json::from_str::<Object<SubResult<'_>>>(result.get())
            else {
                continue;
            };
            let own = own_response(&result, &response.body);
            let Some(reference) = &result.reference else {
                refusal = Some(own);
                continue;
            };
            let slot = index(reference).and_then(|at| responses.get_mut(at));
            let slot = slot.ok_or_else(unreadable)?;
            if slot.replace(own).is_some() {
                return Err(unreadable());
            }
        }
        if responses.iter().all(Option::is_none) {
            return Err(match refusal {
                Some(refusal) if !is_success(&refusal) => self.refusal(&refusal),
                _ => unreadable(),
            });
        }
        let missing = || CallError::failed(codes::NO_RESULT, FailureCause::Record);
        let responses = responses.into_iter();
        Ok(responses
            .map(|response| response.ok_or_else(missing))
            .collect())
    }
}

/// Returns the reference of the request at this index.
fn reference(at: usize) -> String {
    format!("part_{at}")
}

/// Returns the index of the request with this reference.
fn index(reference: &str) -> Option<usize> {
    reference.strip_prefix("part_")?.parse().ok()
}

/// Returns the response to a subrequest. Its body shares the memory of the call's.
fn own_response(result: &SubResult<'_>, call: &Bytes) -> HttpResponse {
    let mut headers = HeaderMap::new();
    for (name, value) in result.headers.as_object().into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = value.as_str().map(HeaderValue::from_str);
        if let (Ok(name), Some(Ok(value))) = (name, value) {
            headers.insert(name, value);
        }
    }
    HttpResponse {
        status: result.status,
        headers,
        body: match result.body {
            Some(body) => call.slice_ref(body.get().as_bytes()),
            None => Bytes::new(),
        },
    }
}
