//! Classifies the errors of single rows by their code.

use super::super::Settings;
use super::super::api_error::ApiError;
use super::{http_code, rejection};
use crate::adapters::{Code, Outcome, Retry, RetryMode};
use crate::codes;

/// What to do about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowClass {
    /// Reject it.
    Reject,
    /// Send it once more, then reject it.
    Once,
    /// Send it once more after all others, then reject it.
    Last,
    /// Isolate it. Reject it where it fails alone while others succeed.
    Isolate,
    /// Send it again. The record is not the cause.
    Later,
}

/// The codes and categories of rows.
///
/// Of the codes that pass, `INTERNAL_ERROR` can stay for ever for one record, and isolation ends
/// it. Refused authentication is no record's: the 401 of the next call stops the destination. Rate
/// limits count calls and rows, not content: their window ends them.
pub(super) const ROWS: &[(&str, RowClass)] = &[
    ("INVALID_EMAIL", RowClass::Reject),
    ("INVALID_OPTION", RowClass::Reject),
    ("INVALID_INTEGER", RowClass::Reject),
    ("INVALID_LONG", RowClass::Reject),
    ("INVALID_DATE", RowClass::Reject),
    ("MISSING_REQUIRED_PROPERTY", RowClass::Reject),
    ("MISSING_CONDITIONAL_REQUIRED_PROPERTY", RowClass::Reject),
    ("VALIDATION_ERROR", RowClass::Reject),
    ("CONFLICT", RowClass::Last),
    ("OBJECT_ALREADY_EXISTS", RowClass::Last),
    ("CONTACT_EXISTS", RowClass::Last),
    ("UNIQUE_VALUE_CONFLICT", RowClass::Last),
    // The record went away between HubSpot's own look-up and its write.
    ("OBJECT_NOT_FOUND", RowClass::Once),
    ("RATE_LIMITS", RowClass::Later),
    ("RATE_LIMIT", RowClass::Later),
    ("INTERNAL_ERROR", RowClass::Isolate),
    ("INVALID_AUTHENTICATION", RowClass::Later),
    ("EXPIRED_AUTHENTICATION", RowClass::Later),
];

/// Returns the verdict of the most exact code that the table has.
pub(super) fn verdict(problem: &ApiError) -> Option<RowClass> {
    let verdict_of = |code: &Code| ROWS.iter().find(|(name, _)| code.as_str() == *name);
    let known = [&problem.code, &problem.category]
        .into_iter()
        .flatten()
        .find_map(verdict_of);
    known.map(|(_, verdict)| *verdict)
}

/// Returns whether the table has the code or the category, or the error has none.
pub(in super::super) fn is_known(problem: &ApiError) -> bool {
    problem.code().is_none() || verdict(problem).is_some()
}

/// Classifies a row that HubSpot refuses with `problem`. Not for refusals of the settings: see
/// `of_settings`.
///
/// A clash about our own key is the race of two tries of one write. Any other clash is judged after
/// every other record, which may give the value up. A code that is unknown or missing says neither
/// that the record can never succeed nor that it can: HubSpot may refuse every record with it.
pub(in super::super) fn of_row(problem: &ApiError, settings: &Settings) -> Outcome {
    let fallback = || {
        problem
            .http_status
            .map_or(Code::new(codes::NO_CODE), http_code)
    };
    let rejection = rejection(problem, &problem.code().cloned().unwrap_or_else(fallback));
    let code = rejection.code.clone();
    let verdict = match &problem.clash {
        Some(clash) if clash.property == settings.id_property => RowClass::Once,
        Some(_) => RowClass::Last,
        None => verdict(problem).unwrap_or(RowClass::Isolate),
    };
    let how = match verdict {
        RowClass::Reject => return Outcome::Rejected(rejection),
        RowClass::Once => RetryMode::OnceMore(None, rejection),
        RowClass::Last => RetryMode::Last(rejection),
        RowClass::Isolate => RetryMode::Isolate(rejection),
        RowClass::Later => RetryMode::Same,
    };
    Outcome::Retry(Retry {
        code,
        after: None,
        how,
    })
}
