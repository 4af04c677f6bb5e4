//! What Salesforce's errors mean for what to do next: one table for the rows of an answer, one for whole answers.
//! Pure.
//!
//! Codes: <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm>,
//! and, complete, the enumeration `StatusCode` of the metadata WSDL, in `errors/status_codes.txt`. Statuses:
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>

mod codes;

use std::time::Duration;

use serde_json::value::RawValue;

pub(super) use self::codes::is_known;
use self::codes::{Verdict, verdict};
use super::model::{REQUIRED, with_defaults};
use super::problem::{Problem, problems};
use super::{ConvertedLeads, Settings};
use crate::adapters::http::HttpAnswer;
use crate::adapters::{Again, CallError, Cause, Code, Outcome, Rejection, Retry, Stop};

/// "Concurrent" limits count requests of 20 s and longer: some of them have ended after a few seconds.
const A_FEW_SECONDS: Duration = Duration::from_secs(3);

/// Of several errors of one row, the one that decides: what can never succeed is not helped by what passes.
pub(super) fn deciding(problems: &[Problem]) -> Option<&Problem> {
    let is_final = |problem: &&Problem| verdict(problem) == Verdict::Reject;
    problems.iter().find(is_final).or_else(|| problems.first())
}

/// What became of a row with `problem`; `body` is what was sent, `None` for a delete; `alone` if nothing else was.
pub(super) fn of_row(problem: &Problem, body: Option<&RawValue>, alone: bool, settings: &Settings) -> Outcome {
    let rejection = || problem.rejection();
    let retry = |how| Outcome::Retry(Retry { code: problem.code(), after: None, how });
    match verdict(problem) {
        Verdict::Later => retry(Again::Same),
        Verdict::Halved => retry(Again::Halved),
        Verdict::Large if !alone => retry(Again::Halved),
        // Another writer was faster in creating the very record: now it is there to be updated.
        Verdict::Duplicate if problem.names(&settings.external_id_field) => retry(Again::Once(None, rejection())),
        Verdict::Duplicate if problem.says("duplicate external id specified") => retry(Again::Halved),
        Verdict::Missing if is_about_defaults(problem) => match body.and_then(with_defaults) {
            Some(body) => retry(Again::Once(Some(body), rejection())),
            None => Outcome::Rejected(rejection()),
        },
        Verdict::Converted if settings.converted_leads == ConvertedLeads::Skip => Outcome::Skipped(problem.code()),
        Verdict::Gone if body.is_none() => Outcome::Delivered(Some(Code::new("ALREADY_GONE"))),
        Verdict::Unfound if body.is_some() => Outcome::Rejected(rejection()),
        Verdict::Once | Verdict::Large | Verdict::Gone | Verdict::Unfound => retry(Again::Once(None, rejection())),
        _ => Outcome::Rejected(rejection()),
    }
}

fn is_about_defaults(problem: &Problem) -> bool {
    let Problem { fields, .. } = problem;
    let named = |field: &String| REQUIRED.contains(&field.as_str());
    if fields.is_empty() { REQUIRED.iter().any(|field| problem.names(field)) } else { fields.iter().all(named) }
}

/// Whether the rows' errors tell of our settings or of the org rather than of any record. `problems` has one entry
/// for each row, `None` for those that succeeded.
pub(super) fn of_all_rows(problems: &[Option<&Problem>], settings: &Settings) -> Option<Stop> {
    for problem in problems.iter().flatten() {
        match verdict(problem) {
            Verdict::Full => return Some(full(problem)),
            Verdict::Barred => return Some(configuration(problem, settings)),
            _ => {}
        }
    }
    let first = (*problems.first()?)?;
    let same = problems.iter().all(|problem| problem.is_some_and(|problem| problem.code == first.code));
    let blames_settings = match verdict(first) {
        Verdict::Schema => true,
        Verdict::Access => problems.len() > 1,
        _ => false,
    };
    (same && blames_settings).then(|| configuration(first, settings))
}

fn full(problem: &Problem) -> Stop {
    let remedy = "the org's storage is full: free some, or buy more".to_owned();
    Stop { cause: Cause::Quota, code: problem.code(), remedy, after: None }
}

/// What Salesforce says about names is about our settings: it may be told.
fn configuration(problem: &Problem, settings: &Settings) -> Stop {
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
    let retry = |after, pressure| CallError::Retry { code: code.clone(), after, pressure };
    let stop =
        |cause, remedy: &str| CallError::Stop(Stop { cause, code: code.clone(), remedy: remedy.to_owned(), after });
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
        (_, Some(problem)) if verdict(problem) == Verdict::Full => CallError::Stop(full(problem)),
        (_, Some(problem)) if matches!(verdict(problem), Verdict::Later | Verdict::Halved) => {
            retry(after, answer.status == 503)
        }
        (400 | 403 | 404 | 405 | 410 | 415, Some(problem)) if is_about_settings(answer.status, problem) => {
            CallError::Stop(configuration(problem, settings))
        }
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

fn is_about_settings(status: u16, problem: &Problem) -> bool {
    status != 400
        || matches!(verdict(problem), Verdict::Schema | Verdict::Access | Verdict::Barred)
        || matches!(problem.code.as_deref(), Some("NOT_FOUND" | "MALFORMED_QUERY"))
}

#[cfg(test)]
mod tests;
