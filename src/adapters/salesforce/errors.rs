//! What Salesforce's errors mean for what to do next: one table for the rows of an answer, one for
//! whole answers. Pure.
//!
//! Codes:
//! <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm>,
//! and, complete, the enumeration `StatusCode` of the metadata WSDL, in `errors/status_codes.txt`.
//! Statuses:
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
//!
//! A status counts as Salesforce's word only with Salesforce's own JSON: without it a page of the
//! network is all that is known, and the call is one without an answer.

mod codes;
mod registry;

use std::time::Duration;

use self::codes::verdict;
pub(super) use self::codes::{RowClass, is_known};
pub use self::registry::{CODES, PATTERNS};
use super::api_error::{ApiError, api_error};
use super::misconfigured::{self, Misconfiguration};
use super::model::{REQUIRED, with_defaults};
use super::{ConvertedLeads, Settings, remedies};
use crate::adapters::http::HttpResponse;
use crate::adapters::{
    Body, CallError, Cause, Code, FailureCause, Outcome, Rejection, Retry, RetryMode, Stop,
};
use crate::codes::http;

/// "Concurrent" limits count requests of 20 s and longer: some of them have ended after a few
/// seconds.
const A_FEW_SECONDS: Duration = Duration::from_secs(3);

/// The error of a row, classified.
#[derive(Clone)]
pub(super) struct RowError {
    pub(super) problem: ApiError,
    pub(super) verdict: RowClass,
    /// What of settings or of the fixed mapping is refused, where that is the reason.
    pub(super) misconfigured: Option<Misconfiguration>,
}

impl RowError {
    /// Classifies the error of a row; `body` is what was sent, `None` for a delete.
    pub(super) fn new(problem: ApiError, body: Option<&Body>, settings: &Settings) -> Self {
        let verdict = verdict(&problem, body, &settings.sobject);
        let misconfigured = misconfigured::of_settings(&problem, verdict, body, settings);
        Self {
            problem,
            verdict,
            misconfigured,
        }
    }

    /// Of several errors of one row, the one that decides: what can never succeed is helped neither
    /// by other settings nor by what passes, and what waits for other settings not by what passes.
    /// Of none, that there is none.
    pub(super) fn deciding(
        problems: Vec<ApiError>,
        body: Option<&Body>,
        settings: &Settings,
    ) -> Self {
        let rank = |error: &Self| match (error.verdict, &error.misconfigured) {
            (_, Some(_)) => 1,
            (RowClass::Reject, None) => 0,
            _ => 2,
        };
        let errors = problems
            .into_iter()
            .map(|problem| Self::new(problem, body, settings));
        errors
            .min_by_key(rank)
            .unwrap_or_else(|| Self::new(ApiError::reasonless(), body, settings))
    }
}

/// What else was in the call of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbours {
    /// Nothing.
    pub(super) is_alone: bool,
    /// Another row was written.
    pub(super) any_written: bool,
}

/// What became of a row with `error`; `body` is what was sent, `None` for a delete. Not for rows of
/// which [`of_all_rows`] speaks, and where the user lacks a right and no row was written, the user
/// is known to have the rights to the object.
pub(super) fn of_row(
    error: &RowError,
    body: Option<&Body>,
    neighbours: Neighbours,
    settings: &Settings,
) -> Outcome {
    let RowError {
        problem,
        verdict,
        misconfigured,
    } = error;
    let rejection = || problem.rejection();
    let retry = |how| {
        Outcome::Retry(Retry {
            code: problem.code(),
            after: None,
            how,
        })
    };
    match verdict {
        _ if misconfigured.is_some() => Outcome::Failed(problem.code()),
        RowClass::Later => retry(RetryMode::Same),
        RowClass::Halved => retry(RetryMode::SplitBatch),
        RowClass::Large if !neighbours.is_alone => retry(RetryMode::SplitBatch),
        RowClass::Large | RowClass::Fault | RowClass::Unknown => {
            retry(RetryMode::Isolate(rejection()))
        }
        RowClass::Duplicate if problem.says("duplicate external id specified") => {
            retry(RetryMode::SplitBatch)
        }
        // The other record may give the value up in this very invocation; and of two writers that
        // create one record, the slower one finds it there to be updated.
        RowClass::Duplicate => retry(RetryMode::Last(rejection())),
        RowClass::Missing if is_about_defaults(problem) => match body.and_then(with_defaults) {
            Some(body) => retry(RetryMode::OnceMore(Some(body), rejection())),
            None => Outcome::Rejected(rejection()),
        },
        RowClass::Converted if settings.converted_leads == ConvertedLeads::Skip => {
            Outcome::Skipped(problem.code())
        }
        RowClass::Gone if body.is_none() => Outcome::already_gone(),
        RowClass::Unfound if body.is_some() => Outcome::Rejected(rejection()),
        RowClass::Once | RowClass::Gone | RowClass::Unfound => {
            retry(RetryMode::OnceMore(None, rejection()))
        }
        // Where another row was written, the right is lacking to this record alone: its shard would
        // wait for it until it is too old. Where none was, it may be lacking to all, and only other
        // calls can tell.
        RowClass::Access if !neighbours.any_written => retry(RetryMode::Isolate(rejection())),
        _ => Outcome::Rejected(rejection()),
    }
}

fn is_about_defaults(problem: &ApiError) -> bool {
    let ApiError { fields, .. } = problem;
    let named = |field: &String| REQUIRED.contains(&field.as_str());
    if fields.is_empty() {
        REQUIRED.iter().any(|field| problem.names(field))
    } else {
        fields.iter().all(named)
    }
}

/// Why the destination stops, where no row was written and the rows' errors cannot be one record's:
/// they speak of the account, or every record of several is refused for what every record has.
/// `rows` has one entry for each row, `None` for those that say nothing; `contacts` is how many
/// records they are about.
pub(super) fn of_all_rows(rows: &[Option<&RowError>], contacts: usize) -> Option<Stop> {
    let is_of_the_account =
        |error: &&&RowError| matches!(error.verdict, RowClass::Full | RowClass::Barred);
    if let Some(misconfigured) = rows
        .iter()
        .flatten()
        .find(is_of_the_account)
        .and_then(|error| error.misconfigured.as_ref())
    {
        return Some(misconfigured.stop.clone());
    }
    let mut first = None;
    for row in rows {
        let misconfigured = row
            .as_ref()?
            .misconfigured
            .as_ref()
            .filter(|misconfigured| misconfigured.is_everywhere)?;
        first.get_or_insert(&misconfigured.stop);
    }
    first.filter(|_| contacts > 1).cloned()
}

pub(super) fn full(problem: &ApiError) -> Stop {
    let remedy = "the org's storage is full: free some, or buy more".to_owned();
    Stop {
        cause: Cause::Quota,
        code: problem.code(),
        remedy,
        after: None,
    }
}

/// What Salesforce says about names is about our settings: it may be told.
pub(super) fn configuration(problem: &ApiError, settings: &Settings) -> Stop {
    let remedy = remedies::of_problem(problem, settings);
    Stop {
        cause: Cause::Configuration,
        code: problem.code(),
        remedy,
        after: None,
    }
}

/// What an answer with a status other than 2xx means for the whole call, whatever records are in
/// it. Of a refusal that may be about fields of records, `refusal.rs` tells more.
pub(super) fn of_answer(answer: &HttpResponse, settings: &Settings) -> CallError {
    match api_error(answer) {
        Some(problem) => of_api_error(answer, &problem, settings),
        None => of_status(answer),
    }
}

/// What Salesforce's own refusal of a call means.
fn of_api_error(answer: &HttpResponse, problem: &ApiError, settings: &Settings) -> CallError {
    let (code, after) = (problem.code(), answer.retry_after());
    let verdict = verdict(problem, None, &settings.sobject);
    let stop = |cause, remedy: String| {
        CallError::Stop(Stop {
            cause,
            code: problem.code(),
            remedy,
            after,
        })
    };
    match (answer.status, verdict) {
        (401, _) if problem.says(remedies::BARRED_SESSION) => {
            CallError::Stop(configuration(problem, settings))
        }
        (401, _) => stop(Cause::Credential, remedies::SESSION.to_owned()),
        _ if problem.is("REQUEST_LIMIT_EXCEEDED") && problem.says("TotalRequests") => stop(
            Cause::Quota,
            "the org's API calls of the last 24 hours are used up: wait, or buy more".to_owned(),
        ),
        _ if problem.is("REQUEST_LIMIT_EXCEEDED") => CallError::Throttled {
            code,
            after: Some(after.unwrap_or(A_FEW_SECONDS)),
        },
        (429, _) => CallError::Throttled { code, after },
        (_, RowClass::Full) => CallError::Stop(full(problem)),
        // A smaller call may pass: the rows lock each other out, or are too many.
        (_, RowClass::Halved | RowClass::Large) => retry(answer, code, FailureCause::Size),
        _ if problem.is("QUERY_TIMEOUT") => retry(answer, code, FailureCause::Size),
        (_, RowClass::Later | RowClass::Fault) | (400, RowClass::Unknown) => {
            retry(answer, code, FailureCause::Record)
        }
        (410, _) => stop(
            Cause::Configuration,
            remedies::version(&settings.api_version),
        ),
        (403 | 404 | 405 | 415, _) => CallError::Stop(configuration(problem, settings)),
        (400, RowClass::Field | RowClass::Schema | RowClass::Access | RowClass::Barred) => {
            CallError::Stop(configuration(problem, settings))
        }
        (400, _) if problem.is("NOT_FOUND") => CallError::Stop(configuration(problem, settings)),
        // A malformed query, too: the names in it have been checked, so that it can only be an id.
        (300 | 400 | 413 | 414 | 431, _) => CallError::Refused {
            rejection: problem.rejection(),
            suspects: Vec::new(),
        },
        _ => of_status_with(answer, code),
    }
}

/// What a status says that anybody on the way may send.
fn of_status(answer: &HttpResponse) -> CallError {
    of_status_with(answer, Code::from_system(&http(answer.status)))
}

fn of_status_with(answer: &HttpResponse, code: Code) -> CallError {
    match answer.status {
        // Several records have this id: the answer is a list of them, without a code.
        300 if serde_json::from_slice::<Vec<String>>(&answer.body).is_ok() => {
            let rejection = Rejection::new(code, "several records have this id".to_owned());
            CallError::Refused {
                rejection,
                suspects: Vec::new(),
            }
        }
        301..=399 => {
            let remedy =
                "Salesforce redirects: login_url in the secret has to be the org's own My Domain"
                    .to_owned();
            CallError::Stop(Stop {
                cause: Cause::Configuration,
                code,
                remedy,
                after: answer.retry_after(),
            })
        }
        429 => CallError::Throttled {
            code,
            after: answer.retry_after(),
        },
        // Nothing serves this host at the moment.
        420 => retry(answer, code, FailureCause::Destination),
        // Whoever says so, a smaller request may help.
        408 | 413 | 414 | 431 | 504 => retry(answer, code, FailureCause::Size),
        // 400, 401, 403 or 404 without Salesforce's own words is a proxy's; so is whatever else is
        // unknown.
        _ => retry(answer, code, FailureCause::Record),
    }
}

fn retry(answer: &HttpResponse, code: Code, cause: FailureCause) -> CallError {
    CallError::Retry {
        code,
        after: answer.retry_after(),
        pressure: matches!(answer.status, 503 | 504),
        cause,
    }
}

#[cfg(test)]
mod tests;
