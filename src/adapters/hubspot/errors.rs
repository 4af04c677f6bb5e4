//! Classifies HubSpot's errors: whole responses here, single rows in `codes`, and refusals of the
//! settings in `misconfigured`. Pure.
//!
//! HubSpot publishes no list of categories and statuses. This module knows the documented ones and
//! those of recorded responses.
//! <https://developers.hubspot.com/docs/api-reference/error-handling>

mod codes;
mod misconfigured;
mod registry;
mod remedies;

use std::time::Duration;

pub(super) use self::codes::{is_known, of_row};
pub(super) use self::misconfigured::{Misconfiguration, Reach, of_settings};
pub use self::registry::CODES;
use super::Settings;
use super::api_error::{ApiError, Clash};
use super::model::EMAIL;
use crate::adapters::http::HttpResponse;
use crate::model::codes::{EMAIL_CLASH, VALUE_CLASH, http};
use crate::model::{CallError, Cause, Code, FailureCause, Rejection, Stop};

/// Time for which a locked account stays locked.
const LOCKED: Duration = Duration::from_secs(2);

/// Pause after the policy `SECONDLY`, and after a limit that is not named. Rate limiting never
/// counts as an outage.
const A_SECOND: Duration = Duration::from_secs(1);

/// Rolling window, where no header reports its length.
const WINDOW: Duration = Duration::from_secs(10);

/// "Pause a few seconds, then retry", as documented for 502, 503, 504 and 52x. This pause is ours:
/// such a response without a `Retry-After` is an outage, and no request for fewer calls.
const A_FEW_SECONDS: Duration = Duration::from_secs(3);

/// Returns our own pause. It is no longer than the longest backoff, so that no record is handed
/// back to the stream for it.
fn own_pause(settings: &Settings) -> Duration {
    A_FEW_SECONDS.min(Duration::from_millis(settings.retry.max_delay_ms))
}

/// Longest pause that is accepted: a migration (477) typically takes up to 24 hours.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Returns whether a response with this status may be about some of the rows, if the body is
/// HubSpot's own.
pub(super) fn may_blame_rows(status: u16) -> bool {
    matches!(status, 400 | 404 | 409 | 413 | 414 | 422 | 431)
}

/// Classifies a response that is not a 2xx. `error` is its body, where that is HubSpot's own.
///
/// A status is evidence only with HubSpot's own body. Without it the response counts as
/// unavailability: it has no remedy, and one record of the batch may be its cause. The exceptions
/// draw no conclusion about the account or a record, or come from no other system: 423, 429 and 477
/// ask for a pause, and a redirect points away from the address in the settings.
pub(super) fn of_response(
    response: &HttpResponse,
    error: Option<&ApiError>,
    settings: &Settings,
) -> CallError {
    let status = response.status;
    let code = error
        .and_then(ApiError::code)
        .cloned()
        .unwrap_or_else(|| http_code(status));
    let retry_after = response.retry_after().map(|wait| wait.min(LONGEST_WAIT));
    let stop = |cause, remedy: &str| {
        CallError::Stop(Stop::new(cause, code.clone(), remedy).with_pause(retry_after))
    };
    let wait = |after, pressure| CallError::Retry {
        code: code.clone(),
        after,
        pressure,
        cause: cause_of(status),
    };
    match (status, error) {
        (477, _) => stop(
            Cause::Unavailable,
            "HubSpot is moving the account to another data centre: wait",
        ),
        (429, _) => limited(response, error, &code, retry_after),
        (423, _) => CallError::Throttled {
            code,
            after: Some(retry_after.unwrap_or_default().max(LOCKED)),
        },
        (300..=399, _) if response.header("location").is_some() => {
            stop(Cause::Configuration, remedies::REDIRECT)
        }
        (401, Some(error)) => {
            let (cause, remedy) = remedies::unauthorized(error);
            stop(cause, remedy)
        }
        (403, Some(error)) if remedies::is_about_sensitive_data(error) => refused(error, &code),
        (403, Some(error)) => stop(Cause::Configuration, &remedies::forbidden(error)),
        (404, Some(error)) if !error.is("OBJECT_NOT_FOUND") => {
            stop(Cause::Configuration, remedies::NO_PATH)
        }
        (410, Some(_)) => stop(Cause::Configuration, remedies::RETIRED),
        (405 | 406 | 415, Some(_)) => stop(Cause::Configuration, remedies::NO_API),
        (_, Some(error)) if may_blame_rows(status) => match of_settings(error, settings) {
            Some(Misconfiguration {
                reach: Reach::Account,
                stop,
                ..
            }) => CallError::Stop(stop),
            _ => refused(error, &code),
        },
        (408, _) => wait(retry_after, true),
        (502..=504 | 521..=526, _) => wait(
            Some(retry_after.unwrap_or_else(|| own_pause(settings))),
            retry_after.is_some(),
        ),
        _ => wait(retry_after, retry_after.is_some()),
    }
}

/// Returns the possible cause of a response with this status.
///
/// 502 and 504 mean that processing limits were met, and 524 that 100 seconds have passed. 521 to
/// 523, 525 and 526 come from an edge that has no connection to HubSpot. 407 and 511 come from a
/// proxy that forwards nothing.
/// <https://developers.hubspot.com/docs/api-reference/error-handling>
fn cause_of(status: u16) -> FailureCause {
    match status {
        408 | 413 | 414 | 431 | 502 | 504 | 524 => FailureCause::Size,
        407 | 511 | 521..=523 | 525 | 526 => FailureCause::Destination,
        _ => FailureCause::Record,
    }
}

/// Classifies a 429 by its policy. `Retry-After` is not documented for a 429, and is obeyed where
/// it is sent.
/// <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>
fn limited(
    response: &HttpResponse,
    error: Option<&ApiError>,
    code: &Code,
    retry_after: Option<Duration>,
) -> CallError {
    let policy = error.and_then(|error| error.policy.as_ref());
    let is = |name: &str, phrase| match (policy, error) {
        (Some(policy), _) => policy.as_str() == name,
        (None, Some(error)) => error.contains(phrase),
        (None, None) => false,
    };
    let code = policy.unwrap_or(code).clone();
    if is("DAILY", "daily limit") {
        let remedy = "the day's calls of the account are used up: wait for midnight in its time \
            zone, or buy more";
        return Stop::new(Cause::Quota, code, remedy)
            .with_pause(retry_after)
            .into();
    }
    let pause = if is("TEN_SECONDLY_ROLLING", "ten_secondly_rolling limit") {
        let interval = response.header("x-hubspot-ratelimit-interval-milliseconds");
        let interval = interval
            .and_then(|millis| millis.trim().parse().ok())
            .map(Duration::from_millis);
        interval.unwrap_or(WINDOW).min(LONGEST_WAIT)
    } else {
        A_SECOND
    };
    CallError::Throttled {
        code,
        after: Some(retry_after.unwrap_or(pause)),
    }
}

/// Returns the refusal of a whole batch. The caller finds the suspects.
fn refused(error: &ApiError, code: &Code) -> CallError {
    CallError::refused(rejection(error, code))
}

/// Builds the reason in our own words: HubSpot's messages quote the offending value.
fn rejection(error: &ApiError, code: &Code) -> Rejection {
    let mut words = vec![format!("HubSpot refuses the record: {code}")];
    words.extend(
        error
            .category
            .as_ref()
            .filter(|category| *category != code)
            .map(Code::to_string),
    );
    let code = match &error.clash {
        Some(clash) if clash.property == EMAIL => Code::new(EMAIL_CLASH),
        Some(_) => Code::new(VALUE_CLASH),
        None => code.clone(),
    };
    if let Some(Clash { property, owner }) = &error.clash {
        words.push(match owner {
            Some(id) => format!("record {id} has this value of `{property}` already"),
            None => format!("another record has this value of `{property}` already"),
        });
    } else if !error.properties.is_empty() {
        words.push(format!("it is about {}", error.properties.join(", ")));
    }
    words.extend(
        error
            .correlation_id
            .as_ref()
            .map(|id| format!("correlation id {id}")),
    );
    let message = words.join("; ");
    Rejection {
        code,
        message,
        fields: error.properties.clone(),
    }
}

/// Returns the code of a response that has none.
fn http_code(status: u16) -> Code {
    Code::from_system(&http(status))
}

#[cfg(test)]
mod tests;
