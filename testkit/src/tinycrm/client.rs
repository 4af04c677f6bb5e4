//! Sends requests: signed, and repeated once with a new token where the old one is refused.

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Call;
use contact_sync::adapters::http::{HttpError, HttpResponse, bearer};
use contact_sync::model::limits::Quota;
use contact_sync::model::{CallError, Cause, Code, FailureCause, Payload, Rejection, Stop};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout_at;

use super::TinyCrm;

/// The result of one row.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub(super) ok: Option<bool>,
    pub(super) found: Option<bool>,
    pub(super) version: Option<u64>,
    pub(super) error: Option<RowError>,
}

/// The error of a row or of a call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RowError {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) field: Option<String>,
}

#[derive(Deserialize)]
struct Secret {
    token: SecretString,
}

impl TinyCrm {
    /// Sends the ids of `payloads`, to be deleted or looked up. Returns the row of each.
    pub(super) async fn send_ids(
        &self,
        action: &str,
        payloads: &[&Payload],
        call: Call<'_>,
    ) -> Result<Vec<Row>, CallError> {
        let ids: Value = payloads
            .iter()
            .map(|payload| json!({"id": payload.id.as_str()}))
            .collect();
        self.send_rows(action, ids.to_string(), payloads.len(), call)
            .await
    }

    /// Sends `count` rows. Returns the row of each.
    pub(super) async fn send_rows(
        &self,
        action: &str,
        body: String,
        count: usize,
        call: Call<'_>,
    ) -> Result<Vec<Row>, CallError> {
        let path = format!("contacts/{action}");
        let response = self.send(Method::POST, &path, body, call).await?;
        match serde_json::from_slice::<Vec<Row>>(&response.body) {
            Ok(rows) if rows.len() == count => Ok(rows),
            _ => Err(failed("UNREADABLE", FailureCause::Record)),
        }
    }

    /// Sends a request with the current token, and once more where that one is refused and the
    /// secret holds another.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
        call: Call<'_>,
    ) -> Result<HttpResponse, CallError> {
        let secret = in_time(self.secret.get(), call).await?;
        let response = self
            .send_with(&secret, method.clone(), path, body.clone(), call)
            .await?;
        if response.status != 401 {
            return accept(response);
        }
        call.metrics.auth_failure();
        match in_time(self.secret.renew(&secret), call).await? {
            Some(secret) => accept(self.send_with(&secret, method, path, body, call).await?),
            None => accept(response),
        }
    }

    async fn send_with(
        &self,
        secret: &Arc<SecretString>,
        method: Method,
        path: &str,
        body: String,
        call: Call<'_>,
    ) -> Result<HttpResponse, CallError> {
        let token = serde_json::from_str::<Secret>(secret.expose_secret()).ok();
        let header = token.and_then(|secret| bearer(secret.token.expose_secret()));
        let header = header.ok_or_else(|| {
            stop(
                Cause::Credential,
                "BAD_SECRET",
                "put {\"token\": \"…\"} into the secret",
            )
        })?;
        let url = format!(
            "{}/{}/{path}",
            self.settings.base_url, self.settings.api_version
        );
        let request = self.http.client().request(method, url).body(body);
        let request = request
            .header(AUTHORIZATION, header)
            .header(CONTENT_TYPE, "application/json")
            .build()
            .map_err(|_| stop(Cause::Configuration, "BAD_URL", "correct tinycrm.base_url"))?;
        let response = self.http.send(request, call).await;
        let response = response.map_err(HttpError::into_call_error)?;
        if let Some(quota) = quota(&response) {
            call.metrics.note_quota(quota);
            call.permits.learn(quota);
        }
        Ok(response)
    }
}

/// Accepts a 200, and classifies every other status.
fn accept(response: HttpResponse) -> Result<HttpResponse, CallError> {
    #[derive(Deserialize)]
    struct Refusal {
        error: RowError,
    }
    let error = serde_json::from_slice::<Refusal>(&response.body).ok();
    let code = error
        .as_ref()
        .map_or("", |refusal| refusal.error.code.as_str());
    let after = response.retry_after();
    Err(match (response.status, error.as_ref()) {
        (200, _) => return Ok(response),
        (301..=399, _) => stop(Cause::Configuration, "MOVED", "correct tinycrm.base_url"),
        (401, _) => stop(Cause::Credential, "BAD_TOKEN", "renew the token"),
        (403, _) if code == "QUOTA_USED" => stop(Cause::Quota, "QUOTA_USED", "wait, or buy calls"),
        (403, _) => stop(
            Cause::Configuration,
            "FORBIDDEN",
            "allow the token to write",
        ),
        (404, _) => stop(
            Cause::Configuration,
            "NO_VERSION",
            "correct tinycrm.api_version",
        ),
        (429, _) => CallError::Throttled {
            code: Code::new("BUSY"),
            after: after.or(Some(Duration::from_secs(1))),
        },
        (400, Some(refusal)) => CallError::Refused {
            rejection: rejection(&refusal.error),
            suspects: Vec::new(),
        },
        (500.., _) => CallError::Retry {
            code: Code::new("UNAVAILABLE"),
            after,
            pressure: true,
            cause: FailureCause::Record,
        },
        _ => failed("UNREADABLE", FailureCause::Record),
    })
}

/// Returns the rejection that an error gives as the reason. A field that is not one of ours is left
/// out: it may be contact data.
pub(super) fn rejection(error: &RowError) -> Rejection {
    let rejection = Rejection::new(Code::from_system(&error.code), error.message.clone());
    match &error.field {
        Some(field) if super::model::own_fields().contains(&&**field) => rejection.of_field(field),
        _ => rejection,
    }
}

fn quota(response: &HttpResponse) -> Option<Quota> {
    let number = |name: &str| response.header(name)?.parse().ok();
    Some(Quota {
        daily_used: Some(number("x-quota-used")?),
        daily_max: Some(number("x-quota-max")?),
        ..Quota::default()
    })
}

async fn in_time<T>(
    reading: impl Future<Output = Result<T, contact_sync::secrets::SecretError>>,
    call: Call<'_>,
) -> Result<T, CallError> {
    match timeout_at(call.give_up_at, reading).await {
        Ok(read) => read.map_err(|error| stop(Cause::Credential, "NO_SECRET", error.remedy())),
        Err(_) => Err(failed("SECRET_TIMEOUT", FailureCause::Destination)),
    }
}

pub(super) fn stop(cause: Cause, code: &'static str, remedy: &str) -> CallError {
    CallError::Stop(Stop {
        cause,
        code: Code::new(code),
        remedy: remedy.to_owned(),
        after: None,
    })
}

fn failed(code: &'static str, cause: FailureCause) -> CallError {
    CallError::Retry {
        code: Code::new(code),
        after: None,
        pressure: false,
        cause,
    }
}
