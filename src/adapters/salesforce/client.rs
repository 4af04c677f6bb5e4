//! Sends API requests to Salesforce: signed, and repeated once with a new token where the session
//! has ended.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};

use super::api_error::{ApiError, api_error, errors_in};
use super::auth::Token;
use super::{Salesforce, errors};
use crate::adapters::Call;
use crate::adapters::http::{HttpError, HttpResponse};
use crate::model::CallError;
use crate::model::limits::Quota;

/// Length of a body, in bytes, from which compression gains more than it costs.
const WORTH_COMPRESSING: usize = 8 * 1024;

/// An API request, without its token.
#[derive(Clone)]
pub(super) struct ApiRequest {
    pub(super) method: Method,
    /// Path below the instance's URL.
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) body: Option<Bytes>,
}

impl Salesforce {
    /// Gets a token, and opens a connection to its instance unless that granted it.
    pub(super) async fn connect(&self, call: Call<'_>) {
        if let Ok(token) = self.auth.token(&self.http, call).await
            && !token.is_granted_by_instance
        {
            self.http.connect(token.instance, call).await;
        }
    }

    /// Sends `request` and returns a 2xx.
    ///
    /// # Errors
    /// Classifies a response of any other status.
    pub(super) async fn request(
        &self,
        request: ApiRequest,
        call: Call<'_>,
    ) -> Result<HttpResponse, CallError> {
        let response = self.send(request, call).await?;
        self.accept(&response)?;
        Ok(response)
    }

    /// Accepts a 2xx.
    ///
    /// # Errors
    /// Classifies a response of any other status.
    pub(super) fn accept(&self, response: &HttpResponse) -> Result<(), CallError> {
        if is_success(response) {
            return Ok(());
        }
        Err(errors::of_response(response, &self.settings))
    }

    /// Sends `request` with the current token, and once more with a new one where the session has
    /// ended. Returns a response of any status.
    pub(super) async fn send(
        &self,
        mut request: ApiRequest,
        call: Call<'_>,
    ) -> Result<HttpResponse, CallError> {
        let mut is_compressed = false;
        if let Some(body) = request.body.take_if(|body| body.len() >= WORTH_COMPRESSING) {
            request.body = Some(compress(body));
            is_compressed = true;
        }
        let token = self.auth.token(&self.http, call).await?;
        let mut response = self
            .send_with(&token, &request, is_compressed, call)
            .await?;
        if has_ended(&response) {
            // Sessions end: only a new one that is refused too is a failure.
            let token = self.auth.renew(&token, &self.http, call).await?;
            response = self
                .send_with(&token, &request, is_compressed, call)
                .await?;
            if response.status == 401 && api_error(&response).is_some() {
                call.metrics.auth_failure();
            }
        }
        Ok(response)
    }

    /// Sends `request` once, with `token`.
    async fn send_with(
        &self,
        token: &Token,
        request: &ApiRequest,
        is_compressed: bool,
        call: Call<'_>,
    ) -> Result<HttpResponse, CallError> {
        let request = self
            .build_request(token, request, is_compressed)
            .map_err(HttpError::into_call_error)?;
        let response = self.http.send(request, call).await;
        self.auth.note_response(token, is_own_response(&response));
        let response = response.map_err(HttpError::into_call_error)?;
        if let Some(quota) = response.header("sforce-limit-info").and_then(quota) {
            call.note_quota(quota);
        }
        Ok(response)
    }

    fn build_request(
        &self,
        token: &Token,
        request: &ApiRequest,
        is_compressed: bool,
    ) -> Result<reqwest::Request, HttpError> {
        let mut url: Url = token.instance.clone();
        url.set_path(&request.path);
        url.set_query(request.query.as_deref());
        let mut builder = self.http.client().request(request.method.clone(), url);
        builder = builder.header(AUTHORIZATION, token.header.clone());
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = &request.body {
            builder = builder
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if is_compressed {
            builder = builder.header(CONTENT_ENCODING, "gzip");
        }
        builder.build().map_err(HttpError::Connection)
    }
}

/// Returns whether the status is a 2xx.
pub(super) fn is_success(response: &HttpResponse) -> bool {
    (200..300).contains(&response.status)
}

/// Returns whether the response reports an ended session. A session that the org's policies refuse
/// does not count: a new token would not help.
fn has_ended(response: &HttpResponse) -> bool {
    // Most responses are long lists without an error.
    if response.status != 401 {
        return false;
    }
    let is_barred = |error: &ApiError| error.contains("not valid for use with the REST API");
    let errors = errors_in(response);
    !errors.is_empty() && !errors.iter().any(is_barred)
}

/// Returns whether the org is at this instance: it sent a response of Salesforce's own, or was not
/// called. A host that an org has left responds with redirects, with pages, with `URL_NOT_RESET`,
/// or not at all.
fn is_own_response(response: &Result<HttpResponse, HttpError>) -> bool {
    match response {
        Ok(response) if response.status <= 300 => {
            matches!(response.body.trim_ascii_start().first(), Some(b'[' | b'{'))
        }
        Ok(response) => {
            let errors = errors_in(response);
            let has_moved = |error: &ApiError| error.code().as_str() == "URL_NOT_RESET";
            response.status >= 400 && !errors.is_empty() && !errors.iter().any(has_moved)
        }
        Err(error) => matches!(error, HttpError::NotSentInTime | HttpError::CutByDeadline),
    }
}

fn compress(body: Bytes) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(compressed) => compressed.into(),
        // Writing into memory cannot fail.
        Err(_) => body,
    }
}

/// Parses `api-usage=10018/100000`, which may have further parts and is not monotonic.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm>
fn quota(header: &str) -> Option<Quota> {
    let usage = header
        .split([';', ','])
        .find_map(|part| part.trim().strip_prefix("api-usage="))?;
    let (used, max) = usage.split_once('/')?;
    let digits = |text: &str| {
        text.trim()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .ok()
    };
    Some(Quota {
        daily_used: Some(digits(used)?),
        daily_max: Some(digits(max)?),
        ..Quota::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_parsed_in_every_form_of_the_header() {
        for (header, expected) in [
            ("api-usage=10018/100000", Some((10_018, 100_000))),
            ("api-bursts=1/750; api-usage=5/10", Some((5, 10))),
            (
                "api-usage=18/5000; per-app-api-usage=17/250(appName=x)",
                Some((18, 5000)),
            ),
            ("api-usage=18/5000(x)", Some((18, 5000))),
            ("api-usage=many", None),
            ("", None),
        ] {
            let found = quota(header).and_then(|quota| quota.daily_used.zip(quota.daily_max));
            assert_eq!(found, expected, "{header}");
        }
    }
}
