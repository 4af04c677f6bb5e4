//! Sends API requests to HubSpot: signed, and repeated once with a new token where the old one is
//! refused.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};

use super::api_error::ApiError;
use super::auth::Token;
use super::batch_response::BatchResponse;
use super::errors::Reach;
use super::{HubSpot, Settings, errors};
use crate::adapters::Call;
use crate::adapters::http::{HttpError, HttpResponse};
use crate::model::codes;
use crate::model::limits::Quota;
use crate::model::{CallError, Cause, FailureCause, Stop};

/// Batch calls of the contacts API.
#[derive(Clone, Copy, Debug)]
pub(super) enum Endpoint {
    Upsert,
    /// Never creates a contact.
    Update,
    Read,
    Archive,
}

/// Returns the URL of the batch calls. Date-versioned paths and those of `v3` differ in their
/// order.
/// <https://developers.hubspot.com/docs/developer-tooling/platform/versioning>
pub(super) fn batch_url(settings: &Settings) -> String {
    let base = settings.base();
    match settings.api_version.as_str() {
        "v3" => format!("{base}/crm/v3/objects/contacts/batch"),
        version => format!("{base}/crm/objects/{version}/contacts/batch"),
    }
}

/// A response, with its error.
pub(super) struct Response {
    pub(super) http: HttpResponse,
    /// Error of a response with an error's status, where its body is HubSpot's own.
    pub(super) error: Option<ApiError>,
}

impl Response {
    pub(super) fn new(http: HttpResponse) -> Self {
        let error = if http.status >= 300 {
            ApiError::of_response(http.status, &http.body)
        } else {
            None
        };
        Self { http, error }
    }

    /// Returns whether HubSpot refuses the token. A 401 of the network in front of it is no
    /// evidence about the token.
    fn refuses_token(&self) -> bool {
        self.http.status == 401 && self.error.is_some()
    }

    /// Returns the error of a 404 that is about records, and not about the path.
    pub(super) fn not_found(&self) -> Option<&ApiError> {
        match &self.error {
            Some(error) if self.http.status == 404 && error.is("OBJECT_NOT_FOUND") => Some(error),
            _ => None,
        }
    }
}

impl HubSpot {
    /// Accepts a 2xx.
    ///
    /// # Errors
    /// Classifies a response of any other status.
    pub(super) fn accept(&self, response: &Response) -> Result<(), CallError> {
        if (200..300).contains(&response.http.status) {
            return Ok(());
        }
        Err(errors::of_response(
            &response.http,
            response.error.as_ref(),
            &self.settings,
        ))
    }

    /// Parses the response to a call with `count` rows, as [`Self::read_with`] does, without the
    /// other properties of its results.
    ///
    /// # Errors
    /// As [`Self::read_with`].
    pub(super) fn read<'a>(
        &self,
        response: &'a Response,
        count: usize,
        suspects: impl Fn(&ApiError) -> Vec<usize>,
    ) -> Result<BatchResponse<'a>, CallError> {
        self.read_with(false, response, count, suspects)
    }

    /// Parses the response to a call with `count` rows. `keeps_all` keeps all properties of the
    /// results. The refusal of a call with one row is that
    /// row's error, and is classified like one of several rows.
    ///
    /// # Errors
    /// Classifies a response of any other status than 2xx. A refused batch gets the suspects that
    /// `suspects` finds in its error.
    pub(super) fn read_with<'a>(
        &self,
        keeps_all: bool,
        response: &'a Response,
        count: usize,
        suspects: impl Fn(&ApiError) -> Vec<usize>,
    ) -> Result<BatchResponse<'a>, CallError> {
        let unreadable = || CallError::failed(codes::UNREADABLE_ANSWER, FailureCause::Record);
        match (self.accept(response), &response.error) {
            (Ok(()), _) => BatchResponse::read(&response.http.body, &self.settings, keeps_all)
                .ok_or_else(unreadable),
            (Err(CallError::Refused { .. }), Some(error)) if count == 1 => {
                Ok(BatchResponse::of(error))
            }
            (Err(CallError::Refused { rejection, .. }), Some(error)) => {
                match errors::of_settings(error, &self.settings) {
                    // Each of the rows carries the property, and none alone can be the cause.
                    Some(found) if found.reach == Reach::EveryRecord => {
                        Err(CallError::Stop(found.stop))
                    }
                    _ => Err(CallError::Refused {
                        rejection,
                        suspects: suspects(error),
                    }),
                }
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Reads the token, and opens a connection beside that.
    pub(super) async fn connect(&self, call: Call<'_>) {
        let connection = async {
            if let Ok(url) = Url::parse(&self.settings.base()) {
                self.http.connect(url, call).await;
            }
        };
        let (_token, ()) = tokio::join!(self.auth.token(call), connection);
    }

    /// Sends `body` with the current token, and once more where that one is refused and the secret
    /// holds another.
    pub(super) async fn send(
        &self,
        endpoint: Endpoint,
        body: Vec<u8>,
        call: Call<'_>,
    ) -> Result<Response, CallError> {
        let body = Bytes::from(body);
        let token = self.auth.token(call).await?;
        let response = self.send_with(&token, endpoint, body.clone(), call).await?;
        if !response.refuses_token() {
            return Ok(response);
        }
        call.metrics.auth_failure();
        let Some(token) = self.auth.renew(&token, call).await? else {
            return Ok(response);
        };
        let response = self.send_with(&token, endpoint, body, call).await?;
        if response.refuses_token() {
            call.metrics.auth_failure();
        }
        Ok(response)
    }

    async fn send_with(
        &self,
        token: &Token,
        endpoint: Endpoint,
        body: Bytes,
        call: Call<'_>,
    ) -> Result<Response, CallError> {
        let call_name = match endpoint {
            Endpoint::Upsert => "upsert",
            Endpoint::Update => "update",
            Endpoint::Read => "read",
            Endpoint::Archive => "archive",
        };
        let request = self
            .http
            .client()
            .post(format!("{}/{call_name}", self.batch_url))
            .body(body);
        let request = request
            .header(AUTHORIZATION, token.header.clone())
            .header(CONTENT_TYPE, "application/json");
        let request = request.build().map_err(|_| {
            let remedy = "`hubspot.base_url` has to be a URL such as https://api.hubapi.com";
            Stop::new(Cause::Configuration, codes::BASE_URL_INVALID, remedy)
        })?;
        let response = self
            .http
            .send(request, call)
            .await
            .map_err(HttpError::into_call_error)?;
        if let Some(quota) = quota(&response) {
            call.note_quota(quota);
        }
        Ok(Response::new(response))
    }
}

/// Reads the quota from the response's headers; `None` where they report none, which is normal.
/// <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>
fn quota(response: &HttpResponse) -> Option<Quota> {
    let number = |name: &str| response.header(name)?.trim().parse::<u64>().ok();
    let small = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
    let daily_max = number("x-hubspot-ratelimit-daily");
    let daily_remaining = number("x-hubspot-ratelimit-daily-remaining");
    let interval = number("x-hubspot-ratelimit-interval-milliseconds").map(Duration::from_millis);
    let quota = Quota {
        window: small("x-hubspot-ratelimit-max").zip(interval),
        window_remaining: small("x-hubspot-ratelimit-remaining"),
        daily_used: daily_max
            .zip(daily_remaining)
            .map(|(max, remaining)| max.saturating_sub(remaining)),
        daily_max,
    };
    (quota != Quota::default()).then_some(quota)
}
