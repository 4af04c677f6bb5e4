//! What Salesforce's errors mean for what to do next: one table for the rows of an answer, one for whole answers.
//! Pure.
//!
//! Codes: <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm>,
//! and, complete, the enumeration `StatusCode` of the metadata WSDL, in `status_codes.txt`. Statuses:
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::model::{REQUIRED, with_defaults};
use super::{ConvertedLeads, Settings};
use crate::adapters::http::HttpAnswer;
use crate::adapters::{Again, CallError, Cause, Code, Outcome, Rejection, Retry, Stop};

/// "Concurrent" limits count requests of 20 s and longer: some of them have ended after a few seconds.
const A_FEW_SECONDS: Duration = Duration::from_secs(3);

/// One error of a row or of an answer. Rows say `statusCode`, answers `errorCode`, the token endpoint `error`.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Problem {
    #[serde(default, alias = "errorCode", alias = "error", rename = "statusCode")]
    pub(super) code: Option<String>,
    #[serde(default, alias = "error_description")]
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) fields: Option<Vec<String>>,
}

impl Problem {
    fn says(&self, part: &str) -> bool {
        self.message.as_ref().is_some_and(|message| message.to_lowercase().contains(&part.to_lowercase()))
    }

    /// A row that failed and does not say why.
    pub(super) fn reasonless() -> Self {
        let message = "Salesforce gives no reason".to_owned();
        Self { code: Some("NO_REASON".to_owned()), message: Some(message), fields: None }
    }

    /// Whether the message names the field `name`, and not one whose name only ends or begins so.
    fn names(&self, name: &str) -> bool {
        let message = self.message.as_deref().unwrap_or_default();
        let words = message.split(|character: char| !character.is_alphanumeric() && character != '_');
        words.into_iter().any(|word| word.eq_ignore_ascii_case(name))
    }

    pub(super) fn code(&self) -> Code {
        Code::from_system(self.code.as_deref().unwrap_or("NO_CODE"))
    }

    fn rejection(&self) -> Rejection {
        let mut rejection = Rejection::new(self.code(), self.message.clone().unwrap_or_default());
        rejection.fields = self.fields.clone().unwrap_or_default();
        rejection
    }
}

/// What to do about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is of the record's own making.
    Reject,
    /// Not the row's fault: the same again.
    Later,
    /// The company was too large, or locked each other out.
    Halved,
    /// A race that a second try wins.
    Once,
    /// It depends on the message.
    Trigger,
    Duplicate,
    Missing,
    Converted,
    /// On a delete it is what we want.
    Gone,
    /// Settings or permissions, if every row has it. Field names are ours, so that one row is enough.
    Schema,
    /// The same, but a single record may be locked away for itself.
    Access,
    /// The org takes nothing more.
    Full,
}

/// The codes whose meaning is not simply that the record is refused.
const ROWS: &[(&str, Verdict)] = &[
    ("UNABLE_TO_LOCK_ROW", Verdict::Halved),
    ("TOO_MANY_APEX_REQUESTS", Verdict::Halved),
    ("UNABLE_TO_LOCK_RECORD", Verdict::Later),
    ("TERRITORY_REALIGN_IN_PROGRESS", Verdict::Later),
    ("INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", Verdict::Later),
    ("RECORD_IN_USE_BY_WORKFLOW", Verdict::Later),
    ("ALREADY_IN_PROCESS", Verdict::Later),
    ("MATCH_SERVICE_TIMED_OUT", Verdict::Later),
    ("MATCH_SERVICE_UNAVAILABLE_ERROR", Verdict::Later),
    ("ALL_OR_NONE_OPERATION_ROLLED_BACK", Verdict::Later),
    ("PROCESSING_HALTED", Verdict::Later),
    ("QUERY_TIMEOUT", Verdict::Later),
    ("REQUEST_RUNNING_TOO_LONG", Verdict::Later),
    ("SERVICE_UNAVAILABLE", Verdict::Later),
    ("BAD_GATEWAY", Verdict::Later),
    ("UNKNOWN_EXCEPTION", Verdict::Later),
    ("INTERNAL_ERROR", Verdict::Later),
    ("FUNCTIONALITY_TEMPORARILY_UNAVAILABLE", Verdict::Later),
    ("SERVER_UNAVAILABLE", Verdict::Later),
    ("ORG_IN_MAINTENANCE", Verdict::Later),
    ("API_CURRENTLY_DISABLED", Verdict::Later),
    ("COLLISION_DETECTED", Verdict::Once),
    ("NO_REASON", Verdict::Once),
    ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Verdict::Trigger),
    ("CANNOT_EXECUTE_FLOW_TRIGGER", Verdict::Trigger),
    ("FLOW_EXCEPTION", Verdict::Trigger),
    ("APEX_FAILED", Verdict::Trigger),
    ("DUPLICATE_VALUE", Verdict::Duplicate),
    ("REQUIRED_FIELD_MISSING", Verdict::Missing),
    ("CANNOT_UPDATE_CONVERTED_LEAD", Verdict::Converted),
    ("ENTITY_IS_DELETED", Verdict::Gone),
    ("INVALID_FIELD", Verdict::Schema),
    ("INVALID_FIELD_FOR_INSERT_UPDATE", Verdict::Schema),
    ("INVALID_TYPE", Verdict::Schema),
    ("INVALID_EXTERNAL_ID_FIELD_NAME", Verdict::Schema),
    ("INSUFFICIENT_ACCESS", Verdict::Access),
    ("INSUFFICIENT_ACCESS_OR_READONLY", Verdict::Access),
    ("STORAGE_LIMIT_EXCEEDED", Verdict::Full),
];

/// What a trigger's message holds where it was bad luck and not the record.
const PASSING: [&str; 3] = ["UNABLE_TO_LOCK_ROW", "Too many SOQL queries", "Apex CPU time limit"];

/// The published codes, in alphabetical order.
const PUBLISHED: &str = include_str!("status_codes.txt");

fn verdict(code: &str) -> Verdict {
    ROWS.iter().find(|(name, _)| *name == code).map_or(Verdict::Reject, |(_, verdict)| *verdict)
}

/// Whether the code is known: in the table, or published.
pub(super) fn is_known(problem: &Problem) -> bool {
    let code = problem.code.as_deref().unwrap_or_default();
    ROWS.iter().any(|(name, _)| *name == code) || PUBLISHED.lines().any(|name| name == code)
}

/// Of several errors of one row, the one that decides: what can never succeed is not helped by what passes.
pub(super) fn deciding(problems: &[Problem]) -> Option<&Problem> {
    let is_final = |problem: &&Problem| verdict_of(problem) == Verdict::Reject;
    problems.iter().find(is_final).or_else(|| problems.first())
}

/// What became of a row with `problem`; `body` is what was sent, `None` for a delete.
pub(super) fn of_row(problem: &Problem, body: Option<&RawValue>, settings: &Settings) -> Outcome {
    let rejection = || problem.rejection();
    let retry = |how| Outcome::Retry(Retry { code: problem.code(), after: None, how });
    match verdict(problem.code.as_deref().unwrap_or_default()) {
        Verdict::Later => retry(Again::Same),
        Verdict::Halved => retry(Again::Halved),
        Verdict::Trigger if PASSING.iter().any(|part| problem.says(part)) => retry(Again::Halved),
        // Another writer was faster in creating the very record: now it is there to be updated.
        Verdict::Duplicate if problem.names(&settings.external_id_field) => retry(Again::Once(None, rejection())),
        Verdict::Duplicate if problem.says("duplicate external id specified") => retry(Again::Halved),
        Verdict::Missing if is_about_defaults(problem) => match body.and_then(with_defaults) {
            Some(body) => retry(Again::Once(Some(body), rejection())),
            None => Outcome::Rejected(rejection()),
        },
        Verdict::Converted if settings.converted_leads == ConvertedLeads::Skip => Outcome::Skipped(problem.code()),
        Verdict::Gone if body.is_none() => Outcome::Delivered(Some(Code::new("ALREADY_GONE"))),
        Verdict::Once | Verdict::Gone => retry(Again::Once(None, rejection())),
        _ => Outcome::Rejected(rejection()),
    }
}

fn is_about_defaults(problem: &Problem) -> bool {
    let fields = problem.fields.as_deref().unwrap_or_default();
    let named = |field: &String| REQUIRED.contains(&field.as_str());
    if fields.is_empty() { REQUIRED.iter().any(|field| problem.names(field)) } else { fields.iter().all(named) }
}

/// Whether the rows' errors tell of our settings or of the org rather than of any record. `problems` has one entry
/// for each row, `None` for those that succeeded.
pub(super) fn of_all_rows(problems: &[Option<&Problem>], settings: &Settings) -> Option<Stop> {
    let full = problems.iter().flatten().find(|problem| verdict_of(problem) == Verdict::Full);
    if let Some(problem) = full {
        let remedy = "the org's storage is full: free some, or buy more".to_owned();
        return Some(Stop { cause: Cause::Quota, code: problem.code(), remedy, after: None });
    }
    let first = (*problems.first()?)?;
    let same = problems.iter().all(|problem| problem.is_some_and(|problem| problem.code == first.code));
    let blames_settings = match verdict_of(first) {
        Verdict::Schema => true,
        Verdict::Access => problems.len() > 1,
        _ => false,
    };
    (same && blames_settings).then(|| configuration(first, settings))
}

fn verdict_of(problem: &Problem) -> Verdict {
    verdict(problem.code.as_deref().unwrap_or_default())
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

/// The errors in an answer that is none of success. Salesforce sends an array of objects, at times a bare object, and
/// in front of it proxies send pages.
pub(super) fn problems(answer: &HttpAnswer) -> Vec<Problem> {
    let one = || serde_json::from_slice::<Problem>(&answer.body).map(|problem| vec![problem]);
    let problems = serde_json::from_slice::<Vec<Problem>>(&answer.body).or_else(|_| one()).unwrap_or_default();
    problems.into_iter().filter(|problem| problem.code.is_some()).collect()
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
                retry(Some(after.unwrap_or(A_FEW_SECONDS)), true)
            }
        }
        (_, Some(problem)) if verdict_of(problem) == Verdict::Full => {
            stop(Cause::Quota, "the org's storage is full: free some, or buy more")
        }
        (_, Some(problem)) if verdict_of(problem) == Verdict::Later => retry(after, answer.status == 503),
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
        (429 | 503 | 504, _) => retry(after, true),
        // 400, 403 or 404 without Salesforce's own words is a proxy's; so is whatever else is unknown.
        _ => retry(after, false),
    }
}

fn is_about_settings(status: u16, problem: &Problem) -> bool {
    status != 400
        || matches!(verdict_of(problem), Verdict::Schema | Verdict::Access)
        || matches!(
            problem.code.as_deref(),
            Some("NOT_FOUND" | "UNSUPPORTED_API_VERSION" | "API_DISABLED_FOR_ORG" | "MALFORMED_QUERY")
        )
}

#[cfg(test)]
mod tests;
