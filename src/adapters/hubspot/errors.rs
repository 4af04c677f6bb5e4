//! What HubSpot's errors mean for what to do next: one table for the errors of single rows, one for whole answers.
//! Pure.
//!
//! HubSpot publishes no list of categories and statuses; these are the documented ones and those met in the wild.
//! <https://developers.hubspot.com/docs/api-reference/error-handling>

use std::time::Duration;

use super::Settings;
use super::model::{EMAIL, STAGE};
use super::problem::{Clash, Problem};
use crate::adapters::http::HttpAnswer;
use crate::adapters::{CallError, Cause, Code, FailureCause, Outcome, Rejection, Retry, RetryMode, Stop};

/// A locked account stays so for two seconds.
const LOCKED: Duration = Duration::from_secs(2);

/// The pause of the policy `SECONDLY`, and of a limit that does not say which it is: too much is never an outage.
const A_SECOND: Duration = Duration::from_secs(1);

/// The rolling window, where no header tells its length.
const WINDOW: Duration = Duration::from_secs(10);

/// "Pause a few seconds, then retry", of 502, 503, 504 and 52x. Our pause and not their word: without a `Retry-After`
/// it is an outage, and no sign that the system only wants less at a time.
const A_FEW_SECONDS: Duration = Duration::from_secs(3);

/// The longest wait that is believed: a migration (477) takes typically up to 24 hours.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// What to do about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It can never succeed.
    Reject,
    /// It may have been bad luck: once more, then never again.
    Once,
    /// It is not the row's fault.
    Later,
}

/// The codes and categories of rows.
const ROWS: &[(&str, Verdict)] = &[
    ("INVALID_EMAIL", Verdict::Reject),
    ("INVALID_OPTION", Verdict::Reject),
    ("INVALID_INTEGER", Verdict::Reject),
    ("INVALID_LONG", Verdict::Reject),
    ("INVALID_DATE", Verdict::Reject),
    ("READ_ONLY_VALUE", Verdict::Reject),
    ("PROPERTY_DOESNT_EXIST", Verdict::Reject),
    ("MISSING_REQUIRED_PROPERTY", Verdict::Reject),
    ("MISSING_CONDITIONAL_REQUIRED_PROPERTY", Verdict::Reject),
    ("VALIDATION_ERROR", Verdict::Reject),
    ("CONFLICT", Verdict::Reject),
    ("OBJECT_ALREADY_EXISTS", Verdict::Reject),
    ("CONTACT_EXISTS", Verdict::Reject),
    // The record went away between HubSpot's own look-up and its write.
    ("OBJECT_NOT_FOUND", Verdict::Once),
    ("RATE_LIMITS", Verdict::Later),
    ("RATE_LIMIT", Verdict::Later),
    ("INTERNAL_ERROR", Verdict::Later),
    // A refused credential or scope is never a record's fault.
    ("INVALID_AUTHENTICATION", Verdict::Later),
    ("EXPIRED_AUTHENTICATION", Verdict::Later),
    ("MISSING_SCOPES", Verdict::Later),
    ("USER_DOES_NOT_HAVE_PERMISSIONS", Verdict::Later),
];

/// Whether the table of rows knows the code or the category.
pub(super) fn is_known(problem: &Problem) -> bool {
    ROWS.iter().any(|(name, _)| problem.is(name))
}

/// What became of a row that HubSpot reports with `problem`. An unknown code rejects the row; an error without any
/// is tried once more, and so is a clash about our own key, which two tries of one write make of each other.
pub(super) fn of_row(problem: &Problem, settings: &Settings) -> Outcome {
    let Some(code) = problem.code() else {
        return once(rejection(problem, &Code::new("NO_CODE")));
    };
    if problem.clash.as_ref().is_some_and(|clash| clash.property == settings.id_property) {
        return once(rejection(problem, code));
    }
    let verdict_of = |code: &Code| ROWS.iter().find(|(name, _)| code.as_str() == *name);
    let known = [&problem.code, &problem.category].into_iter().flatten().find_map(verdict_of);
    match known.map_or(Verdict::Reject, |(_, verdict)| *verdict) {
        Verdict::Reject => Outcome::Rejected(rejection(problem, code)),
        Verdict::Once => once(rejection(problem, code)),
        Verdict::Later => Outcome::Retry(Retry { code: code.clone(), after: None, how: RetryMode::Same }),
    }
}

fn once(rejection: Rejection) -> Outcome {
    let code = rejection.code.clone();
    Outcome::Retry(Retry { code, after: None, how: RetryMode::OnceMore(None, rejection) })
}

/// What settings name and HubSpot does not take.
pub(super) struct Unfit<'a> {
    /// The property.
    pub(super) property: &'a str,
    /// Every record that is written has it.
    pub(super) is_everywhere: bool,
    /// What the operator is to do about it.
    pub(super) stop: Stop,
}

/// What HubSpot refuses of our settings rather than of a record: a property that they name, or a value that they chose.
/// No record is rejected for it.
pub(super) fn of_settings<'a>(problem: &Problem, settings: &'a Settings) -> Option<Unfit<'a>> {
    let Settings { id_property, version_property, type_property, .. } = settings;
    let is_not_unique = problem.begins("Unable to perform") && problem.says("by non-unique");
    let property = if is_not_unique { id_property } else { refused_setting(problem, settings)? };
    let remedy = if is_not_unique {
        format!("`hubspot.id_property` has to name a property with unique values, and `{property}` has none")
    } else {
        format!("HubSpot does not take the property `{property}` as settings use it: create it, or change them")
    };
    let code = problem.code().cloned().unwrap_or(Code::new("CONFIGURATION_REFUSED"));
    Some(Unfit {
        property,
        // Which value a record has depends on its type.
        is_everywhere: [id_property, version_property, type_property].iter().any(|name| *name == property)
            && !problem.is("INVALID_OPTION"),
        stop: Stop { cause: Cause::Configuration, code, remedy, after: None },
    })
}

/// Whether an answer with this status may be about some of the rows, if it says so in HubSpot's own words.
pub(super) fn may_blame_rows(status: u16) -> bool {
    matches!(status, 400 | 404 | 409 | 422)
}

/// The property that is missing or read-only though settings name it, or does not take the value that they gave it.
fn refused_setting<'a>(problem: &Problem, settings: &'a Settings) -> Option<&'a str> {
    let attributes = || settings.attributes.values().map(String::as_str);
    let is_named = |name: &&str| problem.properties.iter().any(|property| property == name);
    let kind = [settings.type_property.as_str(), STAGE];
    if problem.is("PROPERTY_DOESNT_EXIST") || problem.is("READ_ONLY_VALUE") {
        let keys = [settings.id_property.as_str(), &settings.version_property];
        return keys.into_iter().chain(kind).chain(attributes()).find(is_named);
    }
    // Where an attribute goes to the same property, the value may be a producer's.
    let is_chosen = |name: &&str| problem.is("INVALID_OPTION") && !attributes().any(|other| other == *name);
    kind.into_iter().filter(is_chosen).find(is_named)
}

/// What an answer that is not a 2xx means for the whole call.
pub(super) fn of_answer(answer: &HttpAnswer, problem: Option<&Problem>, settings: &Settings) -> CallError {
    let status = answer.status;
    let code = problem.and_then(Problem::code).cloned().unwrap_or_else(|| http_code(status));
    let told = answer.retry_after().map(|wait| wait.min(LONGEST_WAIT));
    let stop = |cause, remedy: &str| {
        CallError::Stop(Stop { cause, code: code.clone(), remedy: remedy.to_owned(), after: told })
    };
    let cause = match status {
        408 | 502 | 504 | 524 => FailureCause::Size,
        521..=523 | 525 | 526 => FailureCause::Destination,
        _ => FailureCause::Record,
    };
    let wait = |after, pressure| CallError::Retry { code: code.clone(), after, pressure, cause };
    match status {
        401 => stop(Cause::Credential, "put a valid access token into the secret `hubspot.secret_id`"),
        403 => stop(Cause::Configuration, &forbidden(problem)),
        477 => stop(Cause::Unavailable, "HubSpot is moving the account to another data centre: wait"),
        429 => limited(answer, problem, &code, told),
        423 => CallError::Throttled { code, after: Some(told.unwrap_or_default().max(LOCKED)) },
        408 => wait(told, true),
        502..=504 | 521..=526 => wait(Some(told.unwrap_or(A_FEW_SECONDS)), told.is_some()),
        300..=399 => stop(Cause::Configuration, "`hubspot.base_url` redirects: name the final address"),
        405 | 406 | 415 => stop(Cause::Configuration, "`hubspot.base_url` is not HubSpot's API"),
        404 if !problem.is_some_and(|problem| problem.is("OBJECT_NOT_FOUND")) => {
            stop(Cause::Configuration, "HubSpot does not have this path: check `hubspot.api_version`")
        }
        413 => refused(problem, &code),
        _ if may_blame_rows(status) && problem.is_some() => match problem.and_then(|p| of_settings(p, settings)) {
            Some(unfit) => CallError::Stop(unfit.stop),
            None => refused(problem, &code),
        },
        // Another 5xx, an error in words that are not HubSpot's, or one that nobody knows: no record is rejected
        // for it.
        _ => wait(told, told.is_some()),
    }
}

/// What a 403 asks for.
fn forbidden(problem: Option<&Problem>) -> String {
    let scopes = problem.map(|problem| problem.scopes.join(", ")).unwrap_or_default();
    if problem.is_some_and(|problem| problem.is("USER_DOES_NOT_HAVE_PERMISSIONS")) {
        // A private app acts for the super admin who made it, and loses what that user loses.
        return "the user who made the access token may not do this: give that user the permission, or use the token \
                of another app or of a service key"
            .to_owned();
    }
    if scopes.is_empty() {
        return "give the access token the scopes crm.objects.contacts.write and crm.objects.contacts.read".to_owned();
    }
    format!("give the access token the scope that HubSpot asks for: {scopes}")
}

/// A 429, by its policy. `Retry-After` is not documented for it, and counts where it is sent.
/// <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>
fn limited(answer: &HttpAnswer, problem: Option<&Problem>, code: &Code, told: Option<Duration>) -> CallError {
    let policy = problem.and_then(|problem| problem.policy.as_ref());
    let says = |phrase| problem.is_some_and(|problem| problem.says(phrase));
    let is = |name: &str, phrase| policy.map_or_else(|| says(phrase), |policy| policy.as_str() == name);
    let code = policy.unwrap_or(code).clone();
    if is("DAILY", "daily limit") {
        let remedy = "the day's calls of the account are used up: wait for midnight in its time zone, or buy more";
        return CallError::Stop(Stop { cause: Cause::Quota, code, remedy: remedy.to_owned(), after: told });
    }
    let pause = if is("TEN_SECONDLY_ROLLING", "ten_secondly_rolling limit") {
        let interval = answer.header("x-hubspot-ratelimit-interval-milliseconds");
        let interval = interval.and_then(|millis| millis.trim().parse().ok()).map(Duration::from_millis);
        interval.unwrap_or(WINDOW).min(LONGEST_WAIT)
    } else {
        A_SECOND
    };
    CallError::Throttled { code, after: Some(told.unwrap_or(pause)) }
}

/// A refused batch; who is to blame is found by those who know its rows.
fn refused(problem: Option<&Problem>, code: &Code) -> CallError {
    let rejection = problem.map_or_else(
        || Rejection::new(code.clone(), format!("HubSpot refuses the record: {code}")),
        |problem| rejection(problem, code),
    );
    CallError::Refused { rejection, suspects: Vec::new() }
}

/// The reason in our own words: HubSpot's quote the offending value.
fn rejection(problem: &Problem, code: &Code) -> Rejection {
    let mut words = vec![format!("HubSpot refuses the record: {code}")];
    words.extend(problem.category.as_ref().filter(|category| *category != code).map(Code::to_string));
    let code = match &problem.clash {
        Some(clash) if clash.property == EMAIL => Code::new("EMAIL_CLASH"),
        Some(_) => Code::new("VALUE_CLASH"),
        None => code.clone(),
    };
    if let Some(Clash { property, owner }) = &problem.clash {
        let owner = owner.as_ref().map_or_else(|| "another record".to_owned(), |id| format!("record {id}"));
        words.push(format!("{owner} has this value of `{property}` already"));
    } else if !problem.properties.is_empty() {
        words.push(format!("it is about {}", problem.properties.join(", ")));
    }
    words.extend(problem.correlation_id.as_ref().map(|id| format!("correlation id {id}")));
    let message = words.join("; ");
    Rejection { code, message, fields: problem.properties.clone() }
}

/// The code of an answer that has none.
fn http_code(status: u16) -> Code {
    Code::from_system(&format!("HTTP_{status}"))
}

#[cfg(test)]
mod tests;
