//! Steps before and after the work of a call: paths, versions, sessions, scripted replies, limits,
//! compression.

use std::io::{Read as _, Write as _};

use tokio::time::Instant;

use super::super::server::{Answer, Api, Reply, Request};
use super::{Endpoint, MockSalesforce, Seen, State, refusal};

/// Maximum length of a URI.
const LONGEST_URI: usize = 16_384;

impl Api for MockSalesforce {
    fn reply(&self, request: &Request) -> Reply {
        let mut state = self.state();
        state.controls.count_call();
        let reply = state.reply(request);
        let records = state.seen.last().map(|seen| seen.size).unwrap_or_default();
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let latency = state.behavior.latency + state.behavior.latency_per_record * records;
        match reply {
            Reply::Answer(answer) if !latency.is_zero() => Reply::Later(latency, answer),
            reply => reply,
        }
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> Reply {
        if request.uri_length > LONGEST_URI {
            self.controls
                .record_violation(format!("a URI of {} bytes", request.uri_length));
            return Answer::html(414, "URI too long").into();
        }
        if request.opens_connection() {
            return Answer::empty(404).into();
        }
        if let Some((longest, answer)) = &self.behavior.longest_uri
            && request.uri_length > *longest
        {
            return answer.clone().into();
        }
        if let Some(answer) = retired(request) {
            return answer.into();
        }
        let Some(endpoint) = endpoint(request) else {
            self.controls
                .record_violation(format!("unknown: {} {}", request.method, request.path));
            return refusal(404, "NOT_FOUND", "The requested resource does not exist").into();
        };
        if endpoint != Endpoint::Token
            && let Some(answer) = self.unauthorized(request)
        {
            return answer.into();
        }
        let (uri_length, headers) = (request.uri_length, request.headers.clone());
        self.seen.push(Seen {
            endpoint,
            size: 0,
            uri_length,
            headers,
            at: Instant::now(),
        });
        if let Some(reply) = self.controls.fixed_reply(|id| holds(request, id)) {
            return reply;
        }
        let is_token = endpoint == Endpoint::Token;
        if let Some(reply) = self.controls.scripted(endpoint, is_token) {
            return reply;
        }
        if !is_token && self.controls.is_throttled() {
            let message = "ConcurrentPerOrgLongTxn Limit exceeded.";
            return refusal(403, "REQUEST_LIMIT_EXCEEDED", message)
                .with_header("retry-after", 0)
                .into();
        }
        if endpoint != Endpoint::Composite
            && let Some(answer) = self.poisoned(request)
        {
            return answer.into();
        }
        let mut answer = match endpoint {
            Endpoint::Token => return self.token(request).into(),
            Endpoint::Upsert => self.upsert(request),
            Endpoint::Update => self.update(request),
            Endpoint::Query => {
                let answer = self.query(request);
                self.edit_after_query();
                answer
            }
            Endpoint::Delete => self.delete(request),
            Endpoint::Describe => self.describe(request),
            Endpoint::Composite => self.composite(request),
        };
        if self.controls.loses_response() {
            return Reply::Reset;
        }
        if let Some(info) = &self.behavior.limit_info {
            answer = answer.with_header("sforce-limit-info", info);
        }
        if let Some(mangle) = self.controls.take_mangle() {
            mangle.apply(&mut answer);
        }
        let accepts_gzip = request
            .header("accept-encoding")
            .is_some_and(|value| value.contains("gzip"));
        if self.behavior.compresses && accepts_gzip {
            compressed(answer).into()
        } else {
            answer.into()
        }
    }

    /// Records the number of records or ids of the call.
    pub(super) fn size(&mut self, size: usize) {
        if let Some(last) = self.seen.last_mut() {
            last.size = size;
        }
    }
}

/// Returns whether the request holds the contact `id`.
pub(super) fn holds(request: &Request, id: &str) -> bool {
    let quoted = format!("'{id}'");
    let mut query = request.query.iter();
    query.any(|(_, value)| value.contains(&quoted))
        || body(request).is_some_and(|body| body.contains(&format!("\"{id}\"")))
}

pub(super) fn endpoint(request: &Request) -> Option<Endpoint> {
    if request.path == "/services/oauth2/token" {
        return (request.method == "POST").then_some(Endpoint::Token);
    }
    let (version, rest) = version_and_rest(request)?;
    if version < 46 {
        return None;
    }
    let parts: Vec<&str> = rest.split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("PATCH", ["composite", "sobjects", _, _]) => Some(Endpoint::Upsert),
        ("PATCH", ["composite", "sobjects"]) => Some(Endpoint::Update),
        ("DELETE", ["composite", "sobjects"]) => Some(Endpoint::Delete),
        ("GET", ["query"] | ["query", _]) => Some(Endpoint::Query),
        ("GET", ["sobjects", _, "describe"]) => Some(Endpoint::Describe),
        ("POST", ["composite"]) => Some(Endpoint::Composite),
        _ => None,
    }
}

fn version_and_rest(request: &Request) -> Option<(u32, &str)> {
    let (version, rest) = request
        .path
        .strip_prefix("/services/data/v")?
        .split_once('/')?;
    Some((version.strip_suffix(".0")?.parse().ok()?, rest))
}

/// Returns the error of a retired version. Versions up to 30.0 were retired in 2025.
fn retired(request: &Request) -> Option<Answer> {
    let (version, _) = version_and_rest(request)?;
    (version <= 30).then(|| {
        refusal(
            410,
            "UNSUPPORTED_API_VERSION",
            "Invalid Api version specified on URL",
        )
    })
}

fn compressed(answer: Answer) -> Answer {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&answer.body).expect("written to memory");
    let body = encoder.finish().expect("written to memory");
    Answer { body, ..answer }.with_header("content-encoding", "gzip")
}

/// Returns the body, decompressed if it is compressed.
pub(super) fn body(request: &Request) -> Option<String> {
    if request.header("content-encoding") == Some("gzip") {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&request.body[..])
            .read_to_string(&mut text)
            .ok()?;
        return Some(text);
    }
    String::from_utf8(request.body.to_vec()).ok()
}
