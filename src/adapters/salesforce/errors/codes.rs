//! The table of the rows' status codes.
//!
//! A passing code ends in one of three ways. What ends by itself, for all records at once or with
//! another writer's transaction, is sent again until it has ended: the org's maintenance, its
//! sessions, its services that are away ([`RowClass::Later`]). A lock ends with its
//! transaction, in ten minutes at most ([`RowClass::Halved`]); one that lasts longer is rejected on
//! evidence that other records succeed. What one record may meet for ever is isolated,
//! and rejected on evidence that other records succeed: a fault ([`RowClass::Fault`]), and a limit
//! that the record reaches alone ([`RowClass::Large`]). A race is decided by a second try
//! ([`RowClass::Once`]).
//!
//! A code that is not in the table refuses the record, if it is published. Of any other it is not
//! known whether it passes: it is isolated, too.

use super::ApiError;
use crate::adapters::Body;
use crate::adapters::salesforce::sent;
use crate::codes;

/// What to do about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum RowClass {
    /// It is of the record's own making.
    Reject,
    /// Not the row's fault, and no record keeps it: the same again.
    Later,
    /// The rows locked each other out, or another writer did: the same again, in smaller company.
    Halved,
    /// A limit of one transaction, or another row's fault: smaller company helps. A row that meets
    /// it alone may do so for ever.
    Large,
    /// Salesforce's own fault, for which one row may be the occasion, for ever.
    Fault,
    /// Nobody has published what it means.
    Unknown,
    /// A race: a second try decides.
    Once,
    /// It depends on what the org's own code says.
    Trigger,
    /// Another record holds a value that only one may hold.
    Duplicate,
    Missing,
    Converted,
    /// On a delete it is what we want.
    Gone,
    /// The record went away between look-up and delete. An upsert names no record by Salesforce's
    /// id.
    Unfound,
    /// A field that settings or the fixed mapping name is missing, or closed to the user: never the
    /// record's fault.
    Field,
    /// The object or the org does not take such records: never the record's fault.
    Schema,
    /// The user lacks a right: to this record, or to all of them.
    Access,
    /// The integration user may not write at all, whatever the record.
    Barred,
    /// The org takes nothing more.
    Full,
}

/// The codes whose meaning is not simply that the record is refused.
pub(super) const ROWS: &[(&str, RowClass)] = &[
    ("UNABLE_TO_LOCK_ROW", RowClass::Halved),
    ("UNABLE_TO_LOCK_RECORD", RowClass::Halved),
    ("RECORD_IN_USE_BY_WORKFLOW", RowClass::Halved),
    ("TOO_MANY_APEX_REQUESTS", RowClass::Halved),
    ("LIMIT_EXCEEDED", RowClass::Large),
    ("TOO_MANY_JOBS", RowClass::Large),
    ("DELETE_OPERATION_TOO_LARGE", RowClass::Large),
    ("MAX_DEPTH_IN_FLOW_EXECUTION", RowClass::Large),
    ("REQUEST_RUNNING_TOO_LONG", RowClass::Large),
    // Told of other rows of the call; alone there are none.
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
    ("TERRITORY_REALIGN_IN_PROGRESS", RowClass::Later),
    (
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
        RowClass::Later,
    ),
    ("MATCH_SERVICE_UNAVAILABLE_ERROR", RowClass::Later),
    ("PLATFORM_EVENT_PUBLISHING_UNAVAILABLE", RowClass::Later),
    ("REQUEST_LIMIT_EXCEEDED", RowClass::Later),
    ("SERVICE_UNAVAILABLE", RowClass::Later),
    ("BAD_GATEWAY", RowClass::Later),
    ("FUNCTIONALITY_TEMPORARILY_UNAVAILABLE", RowClass::Later),
    ("SERVER_UNAVAILABLE", RowClass::Later),
    ("ORG_IN_MAINTENANCE", RowClass::Later),
    (DISABLED, RowClass::Later),
    // A refused session is never a record's fault.
    ("INVALID_SESSION_ID", RowClass::Later),
    ("SESSION_EXPIRED", RowClass::Later),
    ("SESSION_INVALIDATED", RowClass::Later),
    ("INVALID_ACCESS_TOKEN", RowClass::Later),
    ("INVALID_AUTH_HEADER", RowClass::Later),
    ("COLLISION_DETECTED", RowClass::Once),
    ("CONFLICT", RowClass::Once),
    ("OPERATION_CONFLICT", RowClass::Once),
    ("RECORD_LOCKED", RowClass::Once),
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
    ("INVALID_CROSS_REFERENCE_KEY", RowClass::Unfound),
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
    // Of whole calls, and so of the row of a call with one.
    ("JSON_PARSER_ERROR", RowClass::Reject),
    ("EXCEEDED_ID_LIMIT", RowClass::Reject),
    ("MALFORMED_QUERY", RowClass::Reject),
];

/// The API is away, or closed to the user: the message tells which.
/// <https://github.com/restforce/restforce/issues/562>
const DISABLED: &str = "API_CURRENTLY_DISABLED";

/// What its message says of a user.
const FOR_THE_USER: &str = "for this user";

/// The request cannot be read; of a field that is not there, Salesforce says so in these words.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
const UNREADABLE: (&str, &str) = ("JSON_PARSER_ERROR", "no such column");

/// What the message of a trigger or flow says where another transaction holds a lock.
/// <https://github.com/SFDO-Community/declarative-lookup-rollup-summaries/issues/1021>
const LOCKED: [&str; 4] = [
    "record currently unavailable",
    "being modified by another",
    "exclusive access",
    "deadlock",
];

/// What it says where the limits of one transaction were reached. A package's prefix may stand
/// before it.
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

/// How it begins where the integration user lacks the right to create or edit such records; the
/// object's label follows. Further in, it quotes what a trigger met with an object of its own.
const FORBIDDEN: &str = "entity type cannot be";

/// The published codes, in alphabetical order.
pub(super) const PUBLISHED: &str = include_str!("status_codes.txt");

/// The verdict on a row with `problem`, of the object `sobject`, for which `body` was sent.
pub(super) fn verdict(problem: &ApiError, body: Option<&Body>, sobject: &str) -> RowClass {
    match listed(problem.code.as_deref().unwrap_or_default()) {
        Some(RowClass::Trigger) if problem.begins(FORBIDDEN) => {
            if problem.says(&label(sobject)) {
                RowClass::Barred
            } else {
                RowClass::Access
            }
        }
        Some(RowClass::Trigger) => of_trigger(problem, &body.map(sent::texts).unwrap_or_default()),
        Some(RowClass::Later) if problem.is(DISABLED) && problem.says(FOR_THE_USER) => {
            RowClass::Barred
        }
        Some(RowClass::Reject) if problem.is(UNREADABLE.0) && problem.says(UNREADABLE.1) => {
            RowClass::Field
        }
        None if is_known(problem) => RowClass::Reject,
        None => RowClass::Unknown,
        Some(verdict) => verdict,
    }
}

/// Reads the message of a trigger or flow. The status code that it quotes decides (`first error:
/// CODE, …`), else its words. Neither counts within one of `texts`, the record's own; and behind
/// another code no word counts: a validation rule may quote what the org holds of the contact.
fn of_trigger(problem: &ApiError, texts: &[String]) -> RowClass {
    if let Some(code) = quoted_code(problem, texts) {
        return match listed(code) {
            // What passes for a record passes for the trigger's own; what else its records meet is
            // the org's code's.
            Some(
                passing @ (RowClass::Later
                | RowClass::Halved
                | RowClass::Large
                | RowClass::Fault
                | RowClass::Duplicate),
            ) => passing,
            _ => RowClass::Reject,
        };
    }
    let says = |words: &[&str]| words.iter().any(|part| problem.says_itself(part, texts));
    match () {
        () if says(&LARGE) => RowClass::Large,
        () if says(&LOCKED) => RowClass::Halved,
        () => RowClass::Reject,
    }
}

/// The first status code in the message that is not itself a trigger's.
fn quoted_code<'a>(problem: &'a ApiError, texts: &[String]) -> Option<&'a str> {
    let message = problem.message.as_deref()?;
    let words =
        message.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    for word in words.filter(|word| word.contains('_')) {
        let is_code = listed(word).is_some()
            || PUBLISHED
                .lines()
                .any(|code| code.eq_ignore_ascii_case(word));
        if is_code && listed(word) != Some(RowClass::Trigger) && problem.says_itself(word, texts) {
            return Some(word);
        }
    }
    None
}

fn listed(code: &str) -> Option<RowClass> {
    ROWS.iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(code))
        .map(|(_, verdict)| *verdict)
}

/// The label that Salesforce proposes for an object of this name. A custom object may have another.
fn label(sobject: &str) -> String {
    sobject
        .strip_suffix("__c")
        .unwrap_or(sobject)
        .replace('_', " ")
}

/// Whether the code is known: in the table, or published.
pub(in super::super) fn is_known(problem: &ApiError) -> bool {
    let code = problem.code.as_deref().unwrap_or_default();
    ROWS.iter().any(|(name, _)| *name == code) || PUBLISHED.lines().any(|name| name == code)
}
