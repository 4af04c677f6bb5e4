//! What Salesforce's errors mean for what to do next: one table for the rows of an answer, one for whole answers.
//! Pure.
//!
//! Codes: <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm>,
//! and, complete, the enumeration `StatusCode` of the metadata WSDL, in `errors/status_codes.txt`. Statuses:
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>

mod codes;

use std::time::Duration;

pub(super) use self::codes::is_known;
use self::codes::{Verdict, verdict};
use super::model::{REQUIRED, with_defaults};
use super::problem::{Problem, problems};
use super::{ConvertedLeads, Settings};
use crate::adapters::http::HttpAnswer;
use crate::adapters::{Body, CallError, Cause, Code, FailureCause, Outcome, Rejection, Retry, RetryMode, Stop};

/// "Concurrent" limits count requests of 20 s and longer: some of them have ended after a few seconds.
const A_FEW_SECONDS: Duration = Duration::from_secs(3);

/// Of several errors of one row, the one that decides: what can never succeed is not helped by what passes.
pub(super) fn deciding<'a>(problems: &'a [Problem], settings: &Settings) -> Option<&'a Problem> {
    let is_final = |problem: &&Problem| verdict(problem, &settings.sobject) == Verdict::Reject;
    problems.iter().find(is_final).or_else(|| problems.first())
}

/// What became of a row with `problem`; `body` is what was sent, `None` for a delete; `alone` if nothing else was. Not
/// for rows of which [`of_all_rows`] speaks, and where [`is_about_rights`], the user is known to have the rights to the
/// object.
pub(super) fn of_row(problem: &Problem, body: Option<&Body>, alone: bool, settings: &Settings) -> Outcome {
    let rejection = || problem.rejection();
    let retry = |how| Outcome::Retry(Retry { code: problem.code(), after: None, how });
    match verdict(problem, &settings.sobject) {
        Verdict::Later => retry(RetryMode::Same),
        Verdict::Halved => retry(RetryMode::SplitBatch),
        Verdict::Large | Verdict::Fault if !alone => retry(RetryMode::SplitBatch),
        Verdict::Duplicate if problem.says("duplicate external id specified") => retry(RetryMode::SplitBatch),
        // Another writer was faster in creating the very record: now it is there to be updated.
        Verdict::Duplicate if problem.names(&settings.external_id_field) => {
            retry(RetryMode::OnceMore(None, rejection()))
        }
        Verdict::Missing if is_about_defaults(problem) => match body.and_then(with_defaults) {
            Some(body) => retry(RetryMode::OnceMore(Some(body), rejection())),
            None => Outcome::Rejected(rejection()),
        },
        Verdict::Converted if settings.converted_leads == ConvertedLeads::Skip => Outcome::Skipped(problem.code()),
        Verdict::Gone if body.is_none() => Outcome::Delivered(Some(Code::new("ALREADY_GONE"))),
        Verdict::Unfound if body.is_some() => Outcome::Rejected(rejection()),
        Verdict::Once | Verdict::Large | Verdict::Fault | Verdict::Gone | Verdict::Unfound => {
            retry(RetryMode::OnceMore(None, rejection()))
        }
        Verdict::Schema => Outcome::Failed(problem.code()),
        _ => Outcome::Rejected(rejection()),
    }
}

fn is_about_defaults(problem: &Problem) -> bool {
    let Problem { fields, .. } = problem;
    let named = |field: &String| REQUIRED.contains(&field.as_str());
    if fields.is_empty() { REQUIRED.iter().any(|field| problem.names(field)) } else { fields.iter().all(named) }
}

/// What the rows' errors mean for the whole call, where they tell of our settings or of Salesforce rather than of any
/// record. `problems` has one entry for each row, `None` for those that succeeded.
pub(super) fn of_all_rows(problems: &[Option<&Problem>], settings: &Settings) -> Option<CallError> {
    let verdict = |problem: &Problem| verdict(problem, &settings.sobject);
    for problem in problems.iter().flatten() {
        match verdict(problem) {
            Verdict::Full => return Some(CallError::Stop(full(problem))),
            Verdict::Barred => return Some(CallError::Stop(configuration(problem, settings))),
            _ => {}
        }
    }
    let first = (*problems.first()?)?;
    let blames_settings = |problem: &Problem| match verdict(problem) {
        // Records with an attribute say nothing of the next ones, which may have none: when they come again, they may be
        // all of a call.
        Verdict::Schema => !settings.attributes.values().any(|field| problem.names(field)),
        // A single record may be locked away for itself.
        Verdict::Access => problems.len() > 1,
        _ => false,
    };
    // A fault that each of several rows met is Salesforce's own trouble, and no record's. Halved down to single rows, all
    // of them would be rejected for it.
    let is_fault = |problem: &Problem| problems.len() > 1 && verdict(problem) == Verdict::Fault;
    let all = |holds: &dyn Fn(&Problem) -> bool| problems.iter().all(|problem| problem.is_some_and(holds));
    if all(&blames_settings) {
        return Some(CallError::Stop(configuration(first, settings)));
    }
    all(&is_fault).then(|| CallError::failed(first.code(), FailureCause::Record))
}

/// Whether the row's error blames settings or the account, while other rows fare otherwise.
pub(super) fn is_about_schema(problem: &Problem, settings: &Settings) -> bool {
    verdict(problem, &settings.sobject) == Verdict::Schema
}

/// Whether the row lacks a right, and the answer itself cannot tell to what. Where another row was written, it is to
/// this record: that one is rejected, or its shard would wait for it until it is too old. Where none was, it may be to
/// all, and rejecting them one by one would make a dead letter of every record that comes.
pub(super) fn is_about_rights(problem: &Problem, settings: &Settings) -> bool {
    verdict(problem, &settings.sobject) == Verdict::Access
}

fn full(problem: &Problem) -> Stop {
    let remedy = "the org's storage is full: free some, or buy more".to_owned();
    Stop { cause: Cause::Quota, code: problem.code(), remedy, after: None }
}

/// What Salesforce says about names is about our settings: it may be told.
pub(super) fn configuration(problem: &Problem, settings: &Settings) -> Stop {
    let Settings { sobject, external_id_field, api_version, .. } = settings;
    let remedy = format!(
        "Salesforce refuses what settings name ({api_version}, {sobject}, {external_id_field}, its fields and attributes): \
         create the fields, mark {external_id_field} as External ID and unique, and grant the integration user access"
    );
    Stop { cause: Cause::Configuration, code: problem.code(), remedy, after: None }
}

/// What an answer with a status other than 2xx means for the whole call.
pub(super) fn of_answer(answer: &HttpAnswer, settings: &Settings) -> CallError {
    let problems = problems(answer);
    let problem = problems.first();
    let code = problem.map_or_else(|| Code::from_system(&format!("HTTP_{}", answer.status)), Problem::code);
    let after = answer.retry_after();
    let cause = match answer.status {
        408 | 504 => FailureCause::Size,
        _ if code.as_str() == "REQUEST_RUNNING_TOO_LONG" => FailureCause::Size,
        420 => FailureCause::Destination,
        _ => FailureCause::Record,
    };
    let retry = |after, pressure| CallError::Retry { code: code.clone(), after, pressure, cause };
    let stop =
        |cause, remedy: &str| CallError::Stop(Stop { cause, code: code.clone(), remedy: remedy.to_owned(), after });
    let of = |problem| verdict(problem, &settings.sobject);
    match (answer.status, problem) {
        (401, Some(problem)) if problem.says("not valid for use with the REST API") => stop(
            Cause::Configuration,
            "the org's policies keep the integration user from the REST API: check IP ranges and API access control",
        ),
        (401, _) => stop(Cause::Credential, "Salesforce refuses a new token: check the External Client App's policies"),
        (_, Some(problem)) if code.as_str() == "REQUEST_LIMIT_EXCEEDED" => {
            if problem.says("TotalRequests") {
                stop(Cause::Quota, "the org's API calls of the last 24 hours are used up: wait, or buy more")
            } else {
                CallError::Throttled { code, after: Some(after.unwrap_or(A_FEW_SECONDS)) }
            }
        }
        (_, Some(problem)) if of(problem) == Verdict::Full => CallError::Stop(full(problem)),
        (_, Some(problem)) if matches!(of(problem), Verdict::Later | Verdict::Halved | Verdict::Fault) => {
            retry(after, answer.status == 503)
        }
        (403 | 404 | 405 | 410 | 415, Some(problem)) => CallError::Stop(configuration(problem, settings)),
        (400, Some(problem)) if names_settings(problem, of(problem)) => {
            CallError::Stop(configuration(problem, settings))
        }
        // A malformed query, too: the names in it have been checked, so that it can only be an id.
        (400, Some(problem)) => CallError::Refused { rejection: problem.rejection(), suspects: Vec::new() },
        // Whoever says so, a smaller request helps.
        (300 | 413 | 414, _) => {
            let rejection = Rejection::new(code.clone(), format!("Salesforce answered {}", answer.status));
            CallError::Refused { rejection, suspects: Vec::new() }
        }
        (301..=399, _) => stop(
            Cause::Configuration,
            "Salesforce redirects: login_url in the secret has to be the org's own My Domain",
        ),
        (429, _) => CallError::Throttled { code, after },
        (503 | 504, _) => retry(after, true),
        // 400, 403 or 404 without Salesforce's own words is a proxy's; so is whatever else is unknown.
        _ => retry(after, false),
    }
}

fn names_settings(problem: &Problem, verdict: Verdict) -> bool {
    problem.code().as_str() == "NOT_FOUND" || matches!(verdict, Verdict::Schema | Verdict::Access | Verdict::Barred)
}

#[cfg(test)]
mod tests;
