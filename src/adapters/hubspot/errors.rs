//! Classifies HubSpot's errors: whole answers here, single rows in `codes`, and refusals of the
//! settings in `misconfigured`. Pure.
//!
//! HubSpot publishes no list of categories and statuses; these are the documented ones and recorded
//! ones.
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
use crate::adapters::{CallError, Cause, Code, FailureCause, Rejection, Stop};
use crate::codes::{EMAIL_CLASH, VALUE_CLASH, http};

/// A locked account stays so for two seconds.
const LOCKED: Duration = Duration::from_secs(2);

/// The pause of the policy `SECONDLY`, and of a limit that does not say which it is: too much is
/// never an outage.
const A_SECOND: Duration = Duration::from_secs(1);

/// The rolling window, where no header tells its length.
const WINDOW: Duration = Duration::from_secs(10);

/// "Pause a few seconds, then retry", of 502, 503, 504 and 52x. Our pause and not their word:
/// without a `Retry-After` it is an outage, and no sign that the system only wants less at a time.
const A_FEW_SECONDS: Duration = Duration::from_secs(3);

/// Returns our own pause, which never hands records back: no longer than the longest wait.
fn own_pause(settings: &Settings) -> Duration {
    A_FEW_SECONDS.min(Duration::from_millis(settings.retry.max_delay_ms))
}

/// The longest wait that is believed: a migration (477) takes typically up to 24 hours.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Returns whether an answer with this status may be about some of the rows, if the body is
/// HubSpot's own.
pub(super) fn may_blame_rows(status: u16) -> bool {
    matches!(status, 400 | 404 | 409 | 413 | 414 | 422 | 431)
}

/// Classifies an answer that is not a 2xx. `problem` is its body, where that is HubSpot's own.
///
/// A status counts as HubSpot's word with HubSpot's own body only. Without it the answer is
/// unavailability: no remedy, and one record of the batch may be its cause. The exceptions draw no
/// conclusion about the account or a record, or come from no other system: 423, 429 and 477 ask for
/// a pause, and a redirect leads away from the address in the settings.
pub(super) fn of_answer(
    answer: &HttpResponse,
    problem: Option<&ApiError>,
    settings: &Settings,
) -> CallError {
    let status = answer.status;
    let code = problem
        .and_then(ApiError::code)
        .cloned()
        .unwrap_or_else(|| http_code(status));
    let told = answer.retry_after().map(|wait| wait.min(LONGEST_WAIT));
    let stop = |cause, remedy: &str| {
        CallError::Stop(Stop {
            cause,
            code: code.clone(),
            remedy: remedy.to_owned(),
            after: told,
        })
    };
    let wait = |after, pressure| CallError::Retry {
        code: code.clone(),
        after,
        pressure,
        cause: cause_of(status),
    };
    match (status, problem) {
        (477, _) => stop(
            Cause::Unavailable,
            "HubSpot is moving the account to another data centre: wait",
        ),
        (429, _) => limited(answer, problem, &code, told),
        (423, _) => CallError::Throttled {
            code,
            after: Some(told.unwrap_or_default().max(LOCKED)),
        },
        (300..=399, _) if answer.header("location").is_some() => {
            stop(Cause::Configuration, remedies::REDIRECT)
        }
        (401, Some(problem)) => {
            let (cause, remedy) = remedies::unauthorized(problem);
            stop(cause, remedy)
        }
        (403, Some(problem)) if remedies::is_about_sensitive_data(problem) => {
            refused(problem, &code)
        }
        (403, Some(problem)) => stop(Cause::Configuration, &remedies::forbidden(problem)),
        (404, Some(problem)) if !problem.is("OBJECT_NOT_FOUND") => {
            stop(Cause::Configuration, remedies::NO_PATH)
        }
        (410, Some(_)) => stop(Cause::Configuration, remedies::RETIRED),
        (405 | 406 | 415, Some(_)) => stop(Cause::Configuration, remedies::NO_API),
        (_, Some(problem)) if may_blame_rows(status) => match of_settings(problem, settings) {
            Some(Misconfiguration {
                reach: Reach::Account,
                stop,
                ..
            }) => CallError::Stop(stop),
            _ => refused(problem, &code),
        },
        (408, _) => wait(told, true),
        (502..=504 | 521..=526, _) => wait(
            Some(told.unwrap_or_else(|| own_pause(settings))),
            told.is_some(),
        ),
        _ => wait(told, told.is_some()),
    }
}

/// Returns the possible cause of an answer with this status.
///
/// 502 and 504 say that processing limits were met, and 524 that 100 seconds have passed. 521 to
/// 523, 525 and 526 come from an edge that has no connection to HubSpot. 407 and 511 come from a
/// proxy that lets nothing pass.
/// <https://developers.hubspot.com/docs/api-reference/error-handling>
fn cause_of(status: u16) -> FailureCause {
    match status {
        408 | 413 | 414 | 431 | 502 | 504 | 524 => FailureCause::Size,
        407 | 511 | 521..=523 | 525 | 526 => FailureCause::Destination,
        _ => FailureCause::Record,
    }
}

/// A 429, by its policy. `Retry-After` is not documented for it, and counts where it is sent.
/// <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>
fn limited(
    answer: &HttpResponse,
    problem: Option<&ApiError>,
    code: &Code,
    told: Option<Duration>,
) -> CallError {
    let policy = problem.and_then(|problem| problem.policy.as_ref());
    let says = |phrase| problem.is_some_and(|problem| problem.says(phrase));
    let is =
        |name: &str, phrase| policy.map_or_else(|| says(phrase), |policy| policy.as_str() == name);
    let code = policy.unwrap_or(code).clone();
    if is("DAILY", "daily limit") {
        let remedy = "the day's calls of the account are used up: wait for midnight in its time zone, or buy more";
        return CallError::Stop(Stop {
            cause: Cause::Quota,
            code,
            remedy: remedy.to_owned(),
            after: told,
        });
    }
    let pause = if is("TEN_SECONDLY_ROLLING", "ten_secondly_rolling limit") {
        let interval = answer.header("x-hubspot-ratelimit-interval-milliseconds");
        let interval = interval
            .and_then(|millis| millis.trim().parse().ok())
            .map(Duration::from_millis);
        interval.unwrap_or(WINDOW).min(LONGEST_WAIT)
    } else {
        A_SECOND
    };
    CallError::Throttled {
        code,
        after: Some(told.unwrap_or(pause)),
    }
}

/// Returns the refusal of a whole batch; its reader finds the suspects.
fn refused(problem: &ApiError, code: &Code) -> CallError {
    CallError::Refused {
        rejection: rejection(problem, code),
        suspects: Vec::new(),
    }
}

/// The reason in our own words: HubSpot's quote the offending value.
fn rejection(problem: &ApiError, code: &Code) -> Rejection {
    let mut words = vec![format!("HubSpot refuses the record: {code}")];
    words.extend(
        problem
            .category
            .as_ref()
            .filter(|category| *category != code)
            .map(Code::to_string),
    );
    let code = match &problem.clash {
        Some(clash) if clash.property == EMAIL => Code::new(EMAIL_CLASH),
        Some(_) => Code::new(VALUE_CLASH),
        None => code.clone(),
    };
    if let Some(Clash { property, owner }) = &problem.clash {
        let owner = owner
            .as_ref()
            .map_or_else(|| "another record".to_owned(), |id| format!("record {id}"));
        words.push(format!("{owner} has this value of `{property}` already"));
    } else if !problem.properties.is_empty() {
        words.push(format!("it is about {}", problem.properties.join(", ")));
    }
    words.extend(
        problem
            .correlation_id
            .as_ref()
            .map(|id| format!("correlation id {id}")),
    );
    let message = words.join("; ");
    Rejection {
        code,
        message,
        fields: problem.properties.clone(),
    }
}

/// The code of an answer that has none.
fn http_code(status: u16) -> Code {
    Code::from_system(&http(status))
}

#[cfg(test)]
mod tests;
