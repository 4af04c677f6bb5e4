//! The HTTP conversation with Salesforce: signed, repeated once with a new token where the old one has
//! ended.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};

use super::api_error::{ApiError, api_error, problems};
use super::auth::Token;
use super::{Salesforce, errors};
use crate::adapters::http::{HttpError, HttpResponse};
use crate::adapters::{Call, CallError};
use crate::telemetry::Quota;

/// Shorter bodies gain less from compression than it costs.
const WORTH_COMPRESSING: usize = 8 * 1024;

/// What is asked, apart from the token.
#[derive(Clone)]
pub(super) struct ApiRequest {
    pub(super) method: Method,
    /// Below the instance's URL.
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) body: Option<Bytes>,
}

impl Salesforce {
    /// Sends `ask` and takes a 2xx; anything else is an error.
    pub(super) async fn ask(
        &self,
        ask: ApiRequest,
        call: Call<'_>,
    ) -> Result<HttpResponse, CallError> {
        let answer = self.answer(ask, call).await?;
        if is_success(&answer) {
            Ok(answer)
        } else {
            Err(errors::of_answer(&answer, &self.settings))
        }
    }

    /// Sends `ask` and returns the answer, whatever its status.
    pub(super) async fn answer(
        &self,
        mut ask: ApiRequest,
        call: Call<'_>,
    ) -> Result<HttpResponse, CallError> {
        let is_compressed = ask
            .body
            .as_ref()
            .is_some_and(|body| body.len() >= WORTH_COMPRESSING);
        if is_compressed {
            ask.body = ask.body.map(compress);
        }
        let token = self.auth.token(&self.http, call).await?;
        let mut answer = self.send(&token, &ask, is_compressed, call).await?;
        if has_ended(&answer) {
            // Sessions end: only a new one that is refused too is a failure.
            let token = self.auth.renew(&token, &self.http, call).await?;
            answer = self.send(&token, &ask, is_compressed, call).await?;
            if answer.status == 401 && api_error(&answer).is_some() {
                call.meter.auth_failure();
            }
        }
        Ok(answer)
    }

    async fn send(
        &self,
        token: &Token,
        ask: &ApiRequest,
        is_compressed: bool,
        call: Call<'_>,
    ) -> Result<HttpResponse, CallError> {
        let request = self
            .request(token, ask, is_compressed)
            .map_err(HttpError::into_call_error)?;
        let answer = self.http.send(request, call).await;
        self.auth.note(token, is_answer(&answer));
        let answer = answer.map_err(HttpError::into_call_error)?;
        if let Some(quota) = answer.header("sforce-limit-info").and_then(quota) {
            call.note_quota(quota);
        }
        Ok(answer)
    }

    fn request(
        &self,
        token: &Token,
        ask: &ApiRequest,
        is_compressed: bool,
    ) -> Result<reqwest::Request, HttpError> {
        let mut url: Url = token.instance.clone();
        url.set_path(&ask.path);
        url.set_query(ask.query.as_deref());
        let mut request = self.http.client().request(ask.method.clone(), url);
        request = request.header(AUTHORIZATION, token.header.clone());
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &ask.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if is_compressed {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        request.build().map_err(HttpError::Connection)
    }
}

/// Whether the status is one of success.
pub(super) fn is_success(answer: &HttpResponse) -> bool {
    (200..300).contains(&answer.status)
}

/// A session that has ended, and not one that the org's policies keep out: that one a new token
/// would not help.
fn has_ended(answer: &HttpResponse) -> bool {
    let barred = |problem: &ApiError| problem.says("not valid for use with the REST API");
    let problems = problems(answer);
    answer.status == 401 && !problems.is_empty() && !problems.iter().any(barred)
}

/// Whether the org is at this instance: it answered in Salesforce's own words, or was not asked. A
/// host that an org has left answers with redirects, with pages, with `URL_NOT_RESET`, or not at
/// all.
fn is_answer(answer: &Result<HttpResponse, HttpError>) -> bool {
    match answer {
        Ok(answer) if answer.status <= 300 => {
            matches!(answer.body.trim_ascii_start().first(), Some(b'[' | b'{'))
        }
        Ok(answer) => {
            let problems = problems(answer);
            let is_elsewhere = |problem: &ApiError| problem.code().as_str() == "URL_NOT_RESET";
            answer.status >= 400 && !problems.is_empty() && !problems.iter().any(is_elsewhere)
        }
        Err(error) => matches!(error, HttpError::NotSentInTime | HttpError::CutByDeadline),
    }
}

fn compress(body: Bytes) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing into memory cannot fail.
    let written = encoder.write_all(&body).and_then(|()| encoder.finish());
    written.map_or(body, Bytes::from)
}

/// `api-usage=10018/100000`, at times with further parts, and not monotonic.
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
    fn the_quota_is_read_from_whatever_form_the_header_has() {
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
