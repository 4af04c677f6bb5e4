//! Classifies Salesforce's errors: the rows of a response by one table, whole responses by another.
//! Pure.
//!
//! Codes:
//! <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm>,
//! and the complete enumeration `StatusCode` of the metadata WSDL, in `errors/status_codes.txt`.
//! Statuses:
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
//!
//! A status is evidence only with Salesforce's own JSON. Without it the body is a page of the
//! network, and the call counts as one without a response.

mod codes;
mod registry;

use std::time::Duration;

use self::codes::classify;
pub(super) use self::codes::{RowClass, is_known};
pub use self::registry::{CODES, PATTERNS};
use super::api_error::{ApiError, api_error};
use super::misconfigured::{self, Misconfiguration};
use super::model::with_defaults;
use super::{ConvertedLeads, Settings, mapping, remedies};
use crate::adapters::http::HttpResponse;
use crate::model::codes::http;
use crate::model::{
    Body, CallError, Cause, Code, FailureCause, Outcome, Rejection, RetryMode, Stop,
};

/// Pause after a "concurrent" limit, which counts requests of 20 s and longer: some of them have
/// ended after a few seconds.
const A_FEW_SECONDS: Duration = Duration::from_secs(3);

/// A classified error of a row.
#[derive(Clone)]
pub(super) struct RowError {
    pub(super) api_error: ApiError,
    pub(super) class: RowClass,
    /// The refused part of the settings or of the fixed mapping, where that is the reason.
    pub(super) misconfigured: Option<Misconfiguration>,
}

impl RowError {
    /// Classifies the error of a row. `body` is the record that was sent, `None` for a delete.
    pub(super) fn new(error: ApiError, body: Option<&Body>, settings: &Settings) -> Self {
        let class = classify(&error, body, &settings.sobject);
        let misconfigured = misconfigured::of_settings(&error, class, body, settings);
        Self {
            api_error: error,
            class,
            misconfigured,
        }
    }

    /// Returns whether the record does not exist any more. An error that names fields is about the
    /// ids in them.
    pub(super) fn is_gone(&self) -> bool {
        let is_gone = matches!(self.class, RowClass::Gone | RowClass::NotFound);
        is_gone && self.api_error.fields.is_empty()
    }

    /// Returns the one of several errors of a row that decides its outcome. An error that can never
    /// pass ranks before a misconfiguration, and that before an error that may pass. A row without
    /// errors gets [`ApiError::reasonless`].
    pub(super) fn deciding(
        errors: Vec<ApiError>,
        body: Option<&Body>,
        settings: &Settings,
    ) -> Self {
        let rank = |error: &Self| match (error.class, &error.misconfigured) {
            (_, Some(_)) => 1,
            (RowClass::Reject, None) => 0,
            _ => 2,
        };
        let errors = errors
            .into_iter()
            .map(|error| Self::new(error, body, settings));
        errors
            .min_by_key(rank)
            .unwrap_or_else(|| Self::new(ApiError::reasonless(), body, settings))
    }
}

/// The other rows of a row's call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbours {
    /// The row is alone in its call.
    pub(super) is_alone: bool,
    /// Another row was written.
    pub(super) any_written: bool,
}

/// Returns the outcome of a row with `error`. `body` is the record that was sent, `None` for a
/// delete. Rows for which [`of_all_rows`] returns a stop are not passed here. Where the user lacks
/// a right and no row was written, the caller has checked the user's rights to the object.
pub(super) fn of_row(
    error: &RowError,
    body: Option<&Body>,
    neighbours: Neighbours,
    settings: &Settings,
) -> Outcome {
    let RowError {
        api_error: error,
        class,
        misconfigured,
    } = error;
    let rejection = || error.rejection();
    let retry = |how| Outcome::retry(error.code(), how);
    match class {
        _ if misconfigured.is_some() => Outcome::Failed(error.code()),
        RowClass::Same => retry(RetryMode::Same),
        RowClass::SplitBatch => retry(RetryMode::SplitBatch),
        RowClass::Large if !neighbours.is_alone => retry(RetryMode::SplitBatch),
        RowClass::Large | RowClass::Fault | RowClass::Unknown => {
            retry(RetryMode::Isolate(rejection()))
        }
        RowClass::Duplicate if error.contains("duplicate external id specified") => {
            retry(RetryMode::SplitBatch)
        }
        // The other record may give the value up in the same invocation. Of two writers that create
        // one record, the slower one then finds it and updates it.
        RowClass::Duplicate => retry(RetryMode::Last(rejection())),
        RowClass::Missing if is_about_defaults(error, settings) => {
            match body.and_then(|body| with_defaults(body, settings)) {
                Some(body) => retry(RetryMode::OnceMore(Some(body), rejection())),
                None => Outcome::Rejected(rejection()),
            }
        }
        RowClass::Converted if settings.converted_leads == ConvertedLeads::Skip => {
            Outcome::Skipped(error.code())
        }
        RowClass::Gone if body.is_none() => Outcome::already_gone(),
        RowClass::NotFound if body.is_some() => Outcome::Rejected(rejection()),
        RowClass::OnceMore | RowClass::Gone | RowClass::NotFound => {
            retry(RetryMode::OnceMore(None, rejection()))
        }
        // Where another row was written, the right is missing for this record alone: its shard
        // would wait for it until it is too old. Where none was, the right may be missing for all,
        // and only other calls can show it.
        RowClass::Access if !neighbours.any_written => retry(RetryMode::Isolate(rejection())),
        RowClass::Reject if may_leave_out(&error.fields, settings) => {
            retry(RetryMode::Without(error.fields.clone(), rejection()))
        }
        _ => Outcome::Rejected(rejection()),
    }
}

/// Returns whether a record may be written without the refused fields, which are known.
pub(super) fn may_leave_out(fields: &[String], settings: &Settings) -> bool {
    let is_listed = |field: &String| settings.may_leave_out(field);
    !fields.is_empty() && fields.iter().all(is_listed)
}

fn is_about_defaults(error: &ApiError, settings: &Settings) -> bool {
    if error.fields.is_empty() {
        return mapping::required(settings).any(|field| error.names_field(field));
    }
    let is_required = |field: &String| mapping::is_required(settings, field);
    error.fields.iter().all(is_required)
}

/// Returns the stop of a call in which no row was written, where the rows' errors cannot be one
/// record's: they are about the account, or each of several records is refused for a value that
/// every record has. `rows` has one entry for each row, `None` for a row without an error;
/// `contacts` is the number of their records.
pub(super) fn of_all_rows(rows: &[Option<&RowError>], contacts: usize) -> Option<Stop> {
    let of_account = rows
        .iter()
        .flatten()
        .find(|error| matches!(error.class, RowClass::Full | RowClass::Barred));
    if let Some(misconfigured) = of_account.and_then(|error| error.misconfigured.as_ref()) {
        return Some(misconfigured.stop.clone());
    }
    let mut first = None;
    for row in rows {
        match &row.as_ref()?.misconfigured {
            Some(misconfigured) if misconfigured.is_everywhere => {
                first.get_or_insert(&misconfigured.stop);
            }
            _ => return None,
        }
    }
    if contacts > 1 { first.cloned() } else { None }
}

/// Returns the stop of an org whose storage is full.
pub(super) fn full(error: &ApiError) -> Stop {
    let remedy = "the org's storage is full: free some, or buy more";
    Stop::new(Cause::Quota, error.code(), remedy)
}

/// Returns the stop of a misconfiguration. Its remedy may quote the names of the settings.
pub(super) fn configuration(error: &ApiError, settings: &Settings) -> Stop {
    let remedy = remedies::of_error(error, settings);
    Stop::new(Cause::Configuration, error.code(), remedy)
}

/// Classifies a response that is not a 2xx, without regard to the records of the call. `refusal.rs`
/// classifies refusals that may be about fields of records.
pub(super) fn of_response(response: &HttpResponse, settings: &Settings) -> CallError {
    match api_error(response) {
        Some(error) => of_api_error(response, &error, settings),
        None => of_status(response),
    }
}

/// Classifies Salesforce's own refusal of a call.
fn of_api_error(response: &HttpResponse, error: &ApiError, settings: &Settings) -> CallError {
    let (code, after) = (error.code(), response.retry_after());
    let class = classify(error, None, &settings.sobject);
    let stop = |cause, remedy: &str| {
        CallError::Stop(Stop::new(cause, error.code(), remedy).with_pause(after))
    };
    match (response.status, class) {
        (401, _) if error.contains(remedies::BARRED_SESSION) => {
            CallError::Stop(configuration(error, settings))
        }
        (401, _) => stop(Cause::Credential, remedies::SESSION),
        _ if error.is("REQUEST_LIMIT_EXCEEDED") && error.contains("TotalRequests") => stop(
            Cause::Quota,
            "the org's API calls of the last 24 hours are used up: wait, or buy more",
        ),
        _ if error.is("REQUEST_LIMIT_EXCEEDED") => CallError::Throttled {
            code,
            after: Some(after.unwrap_or(A_FEW_SECONDS)),
        },
        (429, _) => CallError::Throttled { code, after },
        (_, RowClass::Full) => CallError::Stop(full(error)),
        // A smaller call may pass: the rows lock each other out, or are too many.
        (_, RowClass::SplitBatch | RowClass::Large) => retry(response, code, FailureCause::Size),
        _ if error.is("QUERY_TIMEOUT") => retry(response, code, FailureCause::Size),
        (_, RowClass::Same | RowClass::Fault) | (400, RowClass::Unknown) => {
            retry(response, code, FailureCause::Record)
        }
        (410, _) => stop(
            Cause::Configuration,
            &remedies::version(&settings.api_version),
        ),
        (403 | 404 | 405 | 415, _) => CallError::Stop(configuration(error, settings)),
        (400, RowClass::Field | RowClass::Schema | RowClass::Access | RowClass::Barred) => {
            CallError::Stop(configuration(error, settings))
        }
        (400, _) if error.is("NOT_FOUND") => CallError::Stop(configuration(error, settings)),
        // A malformed query too: the settings check has validated its names, so that only an id can
        // be the cause.
        (300 | 400 | 413 | 414 | 431, _) => CallError::refused(error.rejection()),
        _ => of_status_with(response, code),
    }
}

/// Classifies a response without Salesforce's own JSON by its status.
fn of_status(response: &HttpResponse) -> CallError {
    of_status_with(response, Code::from_system(&http(response.status)))
}

fn of_status_with(response: &HttpResponse, code: Code) -> CallError {
    match response.status {
        // Several records have this id: the response is a list of them, without a code.
        300 if serde_json::from_slice::<Vec<String>>(&response.body).is_ok() => {
            CallError::refused(Rejection::new(code, "several records have this id"))
        }
        301..=399 => {
            let remedy =
                "Salesforce redirects: login_url in the secret has to be the org's own My Domain";
            Stop::new(Cause::Configuration, code, remedy)
                .with_pause(response.retry_after())
                .into()
        }
        429 => CallError::Throttled {
            code,
            after: response.retry_after(),
        },
        // No server serves this host at the moment.
        420 => retry(response, code, FailureCause::Destination),
        // A smaller request may pass, whichever server sent the status.
        408 | 413 | 414 | 431 | 504 => retry(response, code, FailureCause::Size),
        // Without Salesforce's own JSON, 400, 401, 403 and 404 come from a proxy; so does any other
        // unknown status.
        _ => retry(response, code, FailureCause::Record),
    }
}

fn retry(response: &HttpResponse, code: Code, cause: FailureCause) -> CallError {
    CallError::Retry {
        code,
        after: response.retry_after(),
        pressure: matches!(response.status, 503 | 504),
        cause,
    }
}

#[cfg(test)]
mod tests;
