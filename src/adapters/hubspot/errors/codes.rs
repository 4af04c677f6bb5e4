//! Classifies the errors of single rows by their code.

use super::super::Settings;
use super::super::api_error::ApiError;
use super::{http_code, rejection};
use crate::model::codes;
use crate::model::{Code, Outcome, RetryMode};

/// Class of a row's error, which decides the row's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowClass {
    /// Rejected.
    Reject,
    /// Sent once more, then rejected.
    OnceMore,
    /// Sent once more after all other records, then rejected.
    Last,
    /// Isolated, and rejected where it fails alone while other records succeed.
    Isolate,
    /// Sent again. The record is not the cause.
    Same,
}

/// Codes and categories of rows.
///
/// Of the passing codes, `INTERNAL_ERROR` can persist for one record; isolation ends it. Refused
/// authentication is no record's fault: the 401 of the next call stops the destination. Rate limits
/// count calls and rows, not content, and end with their window.
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
    // The record was deleted between HubSpot's own look-up and its write.
    ("OBJECT_NOT_FOUND", RowClass::OnceMore),
    ("RATE_LIMITS", RowClass::Same),
    ("RATE_LIMIT", RowClass::Same),
    ("INTERNAL_ERROR", RowClass::Isolate),
    ("INVALID_AUTHENTICATION", RowClass::Same),
    ("EXPIRED_AUTHENTICATION", RowClass::Same),
];

/// Returns the class of the most exact code that the table has.
pub(super) fn row_class(error: &ApiError) -> Option<RowClass> {
    let class_of = |code: &Code| ROWS.iter().find(|(name, _)| code.as_str() == *name);
    let known = [&error.code, &error.category]
        .into_iter()
        .flatten()
        .find_map(class_of);
    known.map(|(_, class)| *class)
}

/// Returns whether the table has the code or the category, or the error has neither.
pub(in super::super) fn is_known(error: &ApiError) -> bool {
    error.code().is_none() || row_class(error).is_some()
}

/// Classifies a row that HubSpot refuses with `error`, where the error is no refusal of the
/// settings (see `of_settings`).
///
/// A clash about our own key is a race between two tries of one write. Any other clash is decided
/// after every other record, which may give the value up. An unknown or missing code is no evidence
/// that the record can never succeed, nor that it can: HubSpot may refuse every record with it.
pub(in super::super) fn of_row(error: &ApiError, settings: &Settings) -> Outcome {
    let fallback = || {
        error
            .http_status
            .map_or(Code::new(codes::NO_CODE), http_code)
    };
    let rejection = rejection(error, &error.code().cloned().unwrap_or_else(fallback));
    let code = rejection.code.clone();
    let class = match &error.clash {
        Some(clash) if clash.property == settings.id_property => RowClass::OnceMore,
        Some(_) => RowClass::Last,
        None => row_class(error).unwrap_or(RowClass::Isolate),
    };
    let how = match class {
        RowClass::Reject if may_leave_out(error, settings) => {
            RetryMode::Without(error.properties.clone(), rejection)
        }
        RowClass::Reject => return Outcome::Rejected(rejection),
        RowClass::OnceMore => RetryMode::OnceMore(None, rejection),
        RowClass::Last => RetryMode::Last(rejection),
        RowClass::Isolate => RetryMode::Isolate(rejection),
        RowClass::Same => RetryMode::Same,
    };
    Outcome::retry(code, how)
}

/// Returns whether a contact may be written without the refused properties, which are known.
fn may_leave_out(error: &ApiError, settings: &Settings) -> bool {
    let is_listed = |property: &String| settings.may_leave_out(property);
    !error.properties.is_empty() && error.properties.iter().all(is_listed)
}
