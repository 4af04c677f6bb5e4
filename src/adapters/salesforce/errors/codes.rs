//! Table of the rows' status codes.
//!
//! A passing code ends in one of three ways. A state that ends by itself, for all records at once
//! or with another writer's transaction, is retried until it has ended: the org's maintenance, its
//! sessions, its unavailable services ([`RowClass::Same`]). A lock ends with its transaction, in
//! ten minutes at most ([`RowClass::SplitBatch`]); one that lasts longer is rejected on the
//! evidence that other records succeed. A failure that one record may meet at every try is
//! isolated, and rejected on the evidence that other records succeed: a fault
//! ([`RowClass::Fault`]), and a limit that the record reaches alone ([`RowClass::Large`]). A race
//! is decided by a second try ([`RowClass::OnceMore`]).
//!
//! A published code that is not in the table rejects the record. Any other code may or may not
//! pass: its record is isolated as well.

use super::ApiError;
use crate::adapters::salesforce::sent;
use crate::model::Body;
use crate::model::codes;

/// Class of a row's error, which decides the row's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum RowClass {
    /// Rejected: the record is the cause.
    Reject,
    /// Retried: the record is not the cause, and the failure ends for every record.
    Same,
    /// Retried in a smaller batch: the rows locked each other out, or another writer did.
    SplitBatch,
    /// A limit of one transaction, or another row's fault: a smaller batch helps. A row that meets
    /// it alone may meet it at every try.
    Large,
    /// A fault of Salesforce, which one row may cause at every try.
    Fault,
    /// The code is not published.
    Unknown,
    /// A race: a second try decides.
    OnceMore,
    /// The message of the org's own code decides.
    Trigger,
    /// Another record holds a value that must be unique.
    Duplicate,
    Missing,
    Converted,
    /// The record is deleted; a delete has succeeded then.
    Gone,
    /// The record was deleted between look-up and delete. An upsert names no record by Salesforce's
    /// id.
    NotFound,
    /// A field that settings or the fixed mapping name is missing, or closed to the user. Never the
    /// record's fault.
    Field,
    /// The object or the org does not accept such records. Never the record's fault.
    Schema,
    /// The user lacks a right: to this record, or to all of them.
    Access,
    /// The integration user may not write any record.
    Barred,
    /// The org's storage is full.
    Full,
}

/// Codes whose class is not simply [`RowClass::Reject`].
pub(super) const ROWS: &[(&str, RowClass)] = &[
    ("UNABLE_TO_LOCK_ROW", RowClass::SplitBatch),
    ("UNABLE_TO_LOCK_RECORD", RowClass::SplitBatch),
    ("RECORD_IN_USE_BY_WORKFLOW", RowClass::SplitBatch),
    ("TOO_MANY_APEX_REQUESTS", RowClass::SplitBatch),
    ("LIMIT_EXCEEDED", RowClass::Large),
    ("TOO_MANY_JOBS", RowClass::Large),
    ("DELETE_OPERATION_TOO_LARGE", RowClass::Large),
    ("MAX_DEPTH_IN_FLOW_EXECUTION", RowClass::Large),
    ("REQUEST_RUNNING_TOO_LONG", RowClass::Large),
    // About other rows of the call; a row that is alone has none.
    ("FAILED_DUE_TO_OTHER_INPUTS", RowClass::Large),
    ("ALL_OR_NONE_OPERATION_ROLLED_BACK", RowClass::Large),
    ("PROCESSING_HALTED", RowClass::Large),
    ("UNKNOWN_EXCEPTION", RowClass::Fault),
    ("INTERNAL_ERROR", RowClass::Fault),
    ("QUERY_TIMEOUT", RowClass::Fault),
    ("INVALID_QUERY_LOCATOR", RowClass::Fault),
    ("ALREADY_IN_PROCESS", RowClass::Fault),
    ("MATCH_SERVICE_TIMED_OUT", RowClass::Fault),
    ("MATCH_SERVICE_ERROR", RowClass::Fault),
    ("MATCH_RUNTIME_ERROR", RowClass::Fault),
    ("PLATFORM_EVENT_PUBLISH_FAILED", RowClass::Fault),
    ("RESOURCE_NOT_AVAILABLE", RowClass::Fault),
    ("TXN_SECURITY_METERING_ERROR", RowClass::Fault),
    (codes::NO_REASON, RowClass::Fault),
    ("TERRITORY_REALIGN_IN_PROGRESS", RowClass::Same),
    (
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
        RowClass::Same,
    ),
    ("MATCH_SERVICE_UNAVAILABLE_ERROR", RowClass::Same),
    ("PLATFORM_EVENT_PUBLISHING_UNAVAILABLE", RowClass::Same),
    ("REQUEST_LIMIT_EXCEEDED", RowClass::Same),
    ("SERVICE_UNAVAILABLE", RowClass::Same),
    ("BAD_GATEWAY", RowClass::Same),
    ("FUNCTIONALITY_TEMPORARILY_UNAVAILABLE", RowClass::Same),
    ("SERVER_UNAVAILABLE", RowClass::Same),
    ("ORG_IN_MAINTENANCE", RowClass::Same),
    (DISABLED, RowClass::Same),
    // A refused session is never a record's fault.
    ("INVALID_SESSION_ID", RowClass::Same),
    ("SESSION_EXPIRED", RowClass::Same),
    ("SESSION_INVALIDATED", RowClass::Same),
    ("INVALID_ACCESS_TOKEN", RowClass::Same),
    ("INVALID_AUTH_HEADER", RowClass::Same),
    ("COLLISION_DETECTED", RowClass::OnceMore),
    ("CONFLICT", RowClass::OnceMore),
    ("OPERATION_CONFLICT", RowClass::OnceMore),
    ("RECORD_LOCKED", RowClass::OnceMore),
    ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", RowClass::Trigger),
    ("CANNOT_EXECUTE_FLOW_TRIGGER", RowClass::Trigger),
    ("FLOW_EXCEPTION", RowClass::Trigger),
    ("APEX_FAILED", RowClass::Trigger),
    ("CUSTOM_APEX_ERROR", RowClass::Trigger),
    ("DUPLICATE_VALUE", RowClass::Duplicate),
    ("DUPLICATES_DETECTED", RowClass::Duplicate),
    ("DUPLICATE_EXTERNAL_ID", RowClass::Duplicate),
    ("REQUIRED_FIELD_MISSING", RowClass::Missing),
    ("CANNOT_UPDATE_CONVERTED_LEAD", RowClass::Converted),
    ("ENTITY_IS_DELETED", RowClass::Gone),
    ("INVALID_CROSS_REFERENCE_KEY", RowClass::NotFound),
    ("INVALID_FIELD", RowClass::Field),
    ("INVALID_FIELD_FOR_INSERT_UPDATE", RowClass::Field),
    ("FIELD_NOT_UPDATABLE", RowClass::Field),
    ("INVALID_TYPE", RowClass::Schema),
    ("INVALID_TYPE_FOR_OPERATION", RowClass::Schema),
    ("INVALID_EXTERNAL_ID_FIELD_NAME", RowClass::Schema),
    ("INVALID_ENTITY_FOR_UPSERT", RowClass::Schema),
    ("FUNCTIONALITY_NOT_ENABLED", RowClass::Schema),
    ("PACKAGE_DISABLED", RowClass::Schema),
    ("PACKAGE_LICENSE_REQUIRED", RowClass::Schema),
    ("INVALID_PACKAGE_LICENSE", RowClass::Schema),
    ("INSUFFICIENT_ACCESS", RowClass::Access),
    ("INSUFFICIENT_ACCESS_OR_READONLY", RowClass::Access),
    ("TXN_SECURITY_NO_ACCESS", RowClass::Access),
    ("FORBIDDEN_EXCEPTION", RowClass::Access),
    ("UNAUTHORIZED_EXCEPTION", RowClass::Access),
    ("API_DISABLED_FOR_ORG", RowClass::Barred),
    ("UNSUPPORTED_API_VERSION", RowClass::Barred),
    ("INVALID_READ_ONLY_USER_DML", RowClass::Barred),
    ("ORG_LOCKED", RowClass::Barred),
    ("TRIAL_EXPIRED", RowClass::Barred),
    ("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", RowClass::Barred),
    ("LOGIN_DURING_RESTRICTED_DOMAIN", RowClass::Barred),
    ("LOGIN_DURING_RESTRICTED_TIME", RowClass::Barred),
    ("LOGIN_MUST_USE_SECURITY_TOKEN", RowClass::Barred),
    ("STORAGE_LIMIT_EXCEEDED", RowClass::Full),
    // Codes of whole calls, and so of the row of a call with one.
    ("JSON_PARSER_ERROR", RowClass::Reject),
    ("EXCEEDED_ID_LIMIT", RowClass::Reject),
    ("MALFORMED_QUERY", RowClass::Reject),
];

/// The API is unavailable, or closed to the user: the message distinguishes them.
/// <https://github.com/restforce/restforce/issues/562>
const DISABLED: &str = "API_CURRENTLY_DISABLED";

/// Part of the message of [`DISABLED`] where the API is closed to the user.
const FOR_THE_USER: &str = "for this user";

/// Code of a request that cannot be parsed, and the part of its message that reports a missing
/// field.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
const UNREADABLE: (&str, &str) = ("JSON_PARSER_ERROR", "no such column");

/// Parts of the message of a trigger or flow where another transaction holds a lock.
/// <https://github.com/SFDO-Community/declarative-lookup-rollup-summaries/issues/1021>
const LOCKED: [&str; 4] = [
    "record currently unavailable",
    "being modified by another",
    "exclusive access",
    "deadlock",
];

/// Parts of the message where the limits of one transaction were reached. The prefix of a package
/// may precede them.
/// <https://developer.salesforce.com/docs/atlas.en-us.apexcode.meta/apexcode/apex_gov_limits.htm>
const LARGE: [&str; 12] = [
    "too many soql queries",
    "too many sosl queries",
    "too many query rows",
    "too many dml statements",
    "too many dml rows",
    "too many callouts",
    "too many future calls",
    "too many queueable jobs",
    "too many email invocations",
    "heap size",
    "cpu time limit",
    "limitexception",
];

/// Beginning of the message where the integration user lacks the right to create or edit such
/// records; the object's label follows. In another position it is about an object of a trigger's
/// own.
const FORBIDDEN: &str = "entity type cannot be";

/// The published codes, in alphabetical order.
pub(super) const PUBLISHED: &str = include_str!("status_codes.txt");

/// Classifies a row's error. `body` is the record that was sent, of the object `sobject`.
pub(super) fn classify(error: &ApiError, body: Option<&Body>, sobject: &str) -> RowClass {
    match listed(error.code.as_deref().unwrap_or_default()) {
        Some(RowClass::Trigger) if error.starts_with(FORBIDDEN) => {
            if error.contains(&label(sobject)) {
                RowClass::Barred
            } else {
                RowClass::Access
            }
        }
        Some(RowClass::Trigger) => of_trigger(error, &body.map(sent::texts).unwrap_or_default()),
        Some(RowClass::Same) if error.is(DISABLED) && error.contains(FOR_THE_USER) => {
            RowClass::Barred
        }
        Some(RowClass::Reject) if error.is(UNREADABLE.0) && error.contains(UNREADABLE.1) => {
            RowClass::Field
        }
        None if is_known(error) => RowClass::Reject,
        None => RowClass::Unknown,
        Some(class) => class,
    }
}

/// Classifies the message of a trigger or flow. The status code that it quotes decides (`first
/// error: CODE, …`), else its wording. Neither counts within one of `texts`, the record's own, and
/// after another code no wording counts: a validation rule may quote the org's data of the contact.
fn of_trigger(error: &ApiError, texts: &[String]) -> RowClass {
    if let Some(code) = quoted_code(error, texts) {
        return match listed(code) {
            // A code that passes for a record passes for the trigger's own records; any other
            // failure of those is the org's code's.
            Some(
                passing @ (RowClass::Same
                | RowClass::SplitBatch
                | RowClass::Large
                | RowClass::Fault
                | RowClass::Duplicate),
            ) => passing,
            _ => RowClass::Reject,
        };
    }
    let contains = |phrases: &[&str]| {
        phrases
            .iter()
            .any(|phrase| error.contains_outside(phrase, texts))
    };
    if contains(&LARGE) {
        RowClass::Large
    } else if contains(&LOCKED) {
        RowClass::SplitBatch
    } else {
        RowClass::Reject
    }
}

/// Returns the first status code in the message that is not itself a trigger's.
fn quoted_code<'a>(error: &'a ApiError, texts: &[String]) -> Option<&'a str> {
    let message = error.message.as_deref()?;
    let words =
        message.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    for word in words.filter(|word| word.contains('_')) {
        let is_code = listed(word).is_some()
            || PUBLISHED
                .lines()
                .any(|code| code.eq_ignore_ascii_case(word));
        if is_code && listed(word) != Some(RowClass::Trigger) && error.contains_outside(word, texts)
        {
            return Some(word);
        }
    }
    None
}

fn listed(code: &str) -> Option<RowClass> {
    ROWS.iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(code))
        .map(|(_, class)| *class)
}

/// Returns the label that Salesforce proposes for an object of this name. A custom object may have
/// another.
fn label(sobject: &str) -> String {
    sobject
        .strip_suffix("__c")
        .unwrap_or(sobject)
        .replace('_', " ")
}

/// Returns whether the code is in the table or published.
pub(in super::super) fn is_known(error: &ApiError) -> bool {
    let code = error.code.as_deref().unwrap_or_default();
    ROWS.iter().any(|(name, _)| *name == code) || PUBLISHED.lines().any(|name| name == code)
}
