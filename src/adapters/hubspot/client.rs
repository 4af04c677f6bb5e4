//! The HTTP conversation with HubSpot: signed, repeated once with a new token where the old one is refused,
//! and read.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};

use super::api_error::ApiError;
use super::auth::Token;
use super::batch_answer::BatchAnswer;
use super::errors::Reach;
use super::{HubSpot, Settings, errors};
use crate::adapters::http::{HttpError, HttpResponse};
use crate::adapters::{Call, CallError, Cause, Code, FailureCause, Stop};
use crate::codes;
use crate::telemetry::Quota;

/// The batch calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Endpoint {
    Upsert,
    Read,
    Archive,
}

/// Where the batch calls are. Date-versioned paths and those of `v3` differ in their order.
/// <https://developers.hubspot.com/docs/developer-tooling/platform/versioning>
pub(super) fn batch_url(settings: &Settings) -> String {
    let base = settings.base();
    match settings.api_version.as_str() {
        "v3" => format!("{base}/crm/v3/objects/contacts/batch"),
        version => format!("{base}/crm/objects/{version}/contacts/batch"),
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) http: HttpResponse,
    /// The error that it is, where it is one and HubSpot's own.
    pub(super) problem: Option<ApiError>,
}

impl Answer {
    pub(super) fn new(http: HttpResponse) -> Self {
        let is_error = http.status >= 300;
        let problem = is_error
            .then(|| ApiError::of_answer(http.status, &http.body))
            .flatten();
        Self { http, problem }
    }

    /// Returns whether HubSpot refuses the token. A 401 of the network in front of it says nothing
    /// about the token.
    fn refuses_token(&self) -> bool {
        self.http.status == 401 && self.problem.is_some()
    }

    /// The 404 that speaks of records, and not of the path.
    pub(super) fn not_found(&self) -> Option<&ApiError> {
        self.problem
            .as_ref()
            .filter(|problem| self.http.status == 404 && problem.is("OBJECT_NOT_FOUND"))
    }
}

impl HubSpot {
    /// Lets a 2xx pass.
    pub(super) fn accept(&self, answer: &Answer) -> Result<(), CallError> {
        if (200..300).contains(&answer.http.status) {
            return Ok(());
        }
        Err(errors::of_answer(
            &answer.http,
            answer.problem.as_ref(),
            &self.settings,
        ))
    }

    /// What a 2xx says of the `count` rows that were sent; anything else is an error, with the rows
    /// that `suspects` finds in it. The refusal of one row alone is that row's error, and means
    /// what it means among others.
    pub(super) fn read<'a>(
        &self,
        answer: &'a Answer,
        count: usize,
        suspects: impl Fn(&ApiError) -> Vec<usize>,
    ) -> Result<BatchAnswer<'a>, CallError> {
        let unreadable = || CallError::failed(codes::UNREADABLE_ANSWER, FailureCause::Record);
        match (self.accept(answer), &answer.problem) {
            (Ok(()), _) => {
                BatchAnswer::read(&answer.http.body, &self.settings).ok_or_else(unreadable)
            }
            (Err(CallError::Refused { .. }), Some(problem)) if count == 1 => {
                Ok(BatchAnswer::of(problem))
            }
            (Err(CallError::Refused { rejection, .. }), Some(problem)) => {
                match errors::of_settings(problem, &self.settings) {
                    // Each of the rows carries it, and none can be the cause alone.
                    Some(found) if found.reach == Reach::EveryRecord => {
                        Err(CallError::Stop(found.stop))
                    }
                    _ => Err(CallError::Refused {
                        rejection,
                        suspects: suspects(problem),
                    }),
                }
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Sends `body` with the token at hand, and once more where that is refused and the secret
    /// holds another.
    pub(super) async fn send(
        &self,
        endpoint: Endpoint,
        body: Vec<u8>,
        call: Call<'_>,
    ) -> Result<Answer, CallError> {
        let body = Bytes::from(body);
        let token = self.auth.token(call).await?;
        let answer = self.send_with(&token, endpoint, body.clone(), call).await?;
        if !answer.refuses_token() {
            return Ok(answer);
        }
        call.meter.auth_failure();
        let Some(token) = self.auth.renew(&token, call).await? else {
            return Ok(answer);
        };
        let answer = self.send_with(&token, endpoint, body, call).await?;
        if answer.refuses_token() {
            call.meter.auth_failure();
        }
        Ok(answer)
    }

    async fn send_with(
        &self,
        token: &Token,
        endpoint: Endpoint,
        body: Bytes,
        call: Call<'_>,
    ) -> Result<Answer, CallError> {
        let call_name = match endpoint {
            Endpoint::Upsert => "upsert",
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
            let remedy =
                "`hubspot.base_url` has to be a URL such as https://api.hubapi.com".to_owned();
            let code = Code::new(codes::BASE_URL_INVALID);
            CallError::Stop(Stop {
                cause: Cause::Configuration,
                code,
                remedy,
                after: None,
            })
        })?;
        let answer = self
            .http
            .send(request, call)
            .await
            .map_err(HttpError::into_call_error)?;
        if let Some(quota) = quota(&answer) {
            call.note_quota(quota);
        }
        Ok(Answer::new(answer))
    }
}

/// What the answer's headers tell of the quota; `None` where they tell nothing, which is normal.
/// <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>
fn quota(answer: &HttpResponse) -> Option<Quota> {
    let number = |name: &str| answer.header(name)?.trim().parse::<u64>().ok();
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
