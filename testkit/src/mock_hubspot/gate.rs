//! Steps before and after the work of a call: paths, tokens, scripted replies, limits, headers.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::server::{Answer, Api, Reply, Request};
use super::properties::missing_scope;
use super::{Endpoint, MockHubSpot, Seen, State, limited};

impl Api for MockHubSpot {
    fn reply(&self, request: &Request) -> Reply {
        let mut state = self.state();
        state.controls.count_call();
        let reply = state.reply(request);
        match reply {
            Reply::Answer(answer) if !state.behavior.latency.is_zero() => {
                Reply::Later(state.behavior.latency, answer)
            }
            reply => reply,
        }
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> Reply {
        let endpoint = match self.admit(request) {
            Ok(endpoint) => endpoint,
            Err(answer) => return answer.into(),
        };
        let ids = ids_in(&request.body);
        let path = request.path.clone();
        self.seen.push(Seen {
            endpoint,
            path,
            ids,
            status: None,
            at: Instant::now(),
        });
        let holds =
            |id: &str| String::from_utf8_lossy(&request.body).contains(&format!("\"{id}\""));
        if let Some(reply) = self.controls.fixed_reply(holds) {
            return reply;
        }
        if let Some(reply) = self.controls.scripted(endpoint, false) {
            return reply;
        }
        let answer = match self.over_limit() {
            Some(answer) => answer,
            None => self.batch(endpoint, &request.body),
        };
        if self.controls.loses_response() {
            return Reply::Reset;
        }
        if let Some(seen) = self.seen.last_mut() {
            seen.status = Some(answer.status);
        }
        let mut answer = self.with_quota(answer);
        if let Some(mangle) = self.controls.take_mangle() {
            mangle.apply(&mut answer);
        }
        answer.into()
    }

    /// Checks path, method, token and content type.
    fn admit(&mut self, request: &Request) -> Result<Endpoint, Answer> {
        if request.opens_connection() {
            return Err(Answer::empty(404));
        }
        let endpoint = endpoint(&request.path).ok_or_else(|| {
            if !has_unknown_version(&request.path) {
                self.controls
                    .record_violation(format!("unknown path {}", request.path));
            }
            Answer::json(
                404,
                &json!({"status": "error", "message": "resource not found", "correlationId": "c0"}),
            )
        })?;
        let is_read = endpoint == Endpoint::Properties;
        if request.method != if is_read { "GET" } else { "POST" } {
            self.controls
                .record_violation(format!("{} on {}", request.method, request.path));
            return Err(Answer::empty(405));
        }
        let token = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.tokens.contains(token)) {
            self.controls.count_refused_token();
            let message = "Authentication credentials not found. \
                           This API supports OAuth 2.0 authentication \
                           and you can find more details at \
                           https://developers.hubspot.com/docs/methods/auth/oauth-overview";
            let body = json!({"status": "error", "message": message, "correlationId": "c1",
                "category": "INVALID_AUTHENTICATION"});
            return Err(
                Answer::json(401, &body).with_header("x-hubspot-auth-failure", "401 Unauthorized")
            );
        }
        if !is_read
            && !request
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("application/json"))
        {
            self.controls
                .record_violation("a body whose content type is not JSON");
            return Err(Answer::empty(415));
        }
        Ok(endpoint)
    }

    fn over_limit(&mut self) -> Option<Answer> {
        if self.controls.is_throttled() {
            return Some(limited("SECONDLY", "secondly").with_header("retry-after", 0));
        }
        let window = self.limit.as_mut()?;
        let now = Instant::now();
        while window
            .taken
            .front()
            .is_some_and(|taken| now.duration_since(*taken) >= window.length)
        {
            window.taken.pop_front();
        }
        if window.taken.len() >= window.requests {
            return Some(limited("TEN_SECONDLY_ROLLING", "ten_secondly_rolling"));
        }
        window.taken.push_back(now);
        None
    }

    fn batch(&mut self, endpoint: Endpoint, body: &[u8]) -> Answer {
        let writes = matches!(
            endpoint,
            Endpoint::Upsert | Endpoint::Update | Endpoint::Archive
        );
        if writes && !self.behavior.may_write {
            return missing_scope("crm.objects.contacts.write");
        }
        let answer = match endpoint {
            Endpoint::Upsert => self.upsert(body, true),
            Endpoint::Update => self.upsert(body, false),
            Endpoint::Read => {
                let answer = self.read(body);
                for [id, property, value] in std::mem::take(&mut self.edits_after_read) {
                    self.store.edit(&id, &property, &value);
                }
                self.change_after_read();
                answer
            }
            Endpoint::Archive => self.archive(body),
            Endpoint::Properties => Ok(self.properties()),
        };
        answer.unwrap_or_else(|error| error)
    }

    /// Creates and archives the contacts that follow a read.
    fn change_after_read(&mut self) {
        for (id, is_new) in std::mem::take(&mut self.changes_after_read) {
            if is_new {
                let properties = [(self.behavior.id_property.clone(), id.clone())];
                self.store.insert(Some(&id), properties.into());
            } else {
                self.store.delete(&id);
            }
        }
    }

    fn with_quota(&self, answer: Answer) -> Answer {
        if !self.behavior.quota_headers {
            return answer;
        }
        let answer = match &self.limit {
            Some(window) => answer
                .with_header("x-hubspot-ratelimit-max", window.requests)
                .with_header(
                    "x-hubspot-ratelimit-remaining",
                    window.requests.saturating_sub(window.taken.len()),
                )
                .with_header(
                    "x-hubspot-ratelimit-interval-milliseconds",
                    window.length.as_millis(),
                ),
            None => answer,
        };
        answer
            .with_header("x-hubspot-ratelimit-daily", 1_000_000)
            .with_header(
                "x-hubspot-ratelimit-daily-remaining",
                1_000_000_u64.saturating_sub(self.controls.calls()),
            )
    }
}

fn is_supported(version: &str) -> bool {
    ["2025-09", "2026-03", "2026-09"].contains(&version)
}

/// Returns whether the path has an unknown version. The version is a setting: an unknown one is no
/// protocol violation of the client.
fn has_unknown_version(path: &str) -> bool {
    let versioned = path
        .strip_prefix("/crm/objects/")
        .and_then(|rest| rest.split_once('/'));
    versioned.is_some_and(|(version, rest)| {
        rest.starts_with("contacts/batch/") && !is_supported(version)
    })
}

/// Parses a path of either family.
fn endpoint(path: &str) -> Option<Endpoint> {
    let versioned = path
        .strip_prefix("/crm/properties/")
        .and_then(|rest| rest.strip_suffix("/contacts"));
    if path == "/crm/v3/properties/contacts" || versioned.is_some_and(is_supported) {
        return Some(Endpoint::Properties);
    }
    let rest = path
        .strip_prefix("/crm/v3/objects/contacts/batch/")
        .or_else(|| {
            let (version, rest) = path.strip_prefix("/crm/objects/")?.split_once('/')?;
            rest.strip_prefix("contacts/batch/")
                .filter(|_| is_supported(version))
        })?;
    match rest {
        "upsert" => Some(Endpoint::Upsert),
        "update" => Some(Endpoint::Update),
        "read" => Some(Endpoint::Read),
        "archive" => Some(Endpoint::Archive),
        _ => None,
    }
}

fn ids_in(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let inputs = body["inputs"].as_array().cloned().unwrap_or_default();
    inputs
        .iter()
        .filter_map(|input| input["id"].as_str().map(str::to_owned))
        .collect()
}
