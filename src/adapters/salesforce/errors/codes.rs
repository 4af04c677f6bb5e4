//! The table of the rows' status codes.

use super::Problem;

/// What to do about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is of the record's own making.
    Reject,
    /// Not the row's fault: the same again.
    Later,
    /// The rows locked each other out: the same again, in smaller company.
    Halved,
    /// A limit of one transaction: smaller company helps. A row that reaches it alone does so by itself.
    Large,
    /// Salesforce's own fault, for which one row may be the occasion: for the same reason in smaller company.
    Fault,
    /// A race, or a fault that passes: a second try decides.
    Once,
    /// It depends on what the org's own code says.
    Trigger,
    Duplicate,
    Missing,
    Converted,
    /// On a delete it is what we want.
    Gone,
    /// The record went away between look-up and delete. An upsert names no record by Salesforce's id.
    Unfound,
    /// What settings name or the account lacks: never a record's fault, whichever record meets it.
    Schema,
    /// The user lacks a right: to this record, or to all of them.
    Access,
    /// The integration user may not write at all, whatever the record.
    Barred,
    /// The org takes nothing more.
    Full,
}

/// The codes whose meaning is not simply that the record is refused.
pub(super) const ROWS: &[(&str, Verdict)] = &[
    ("UNABLE_TO_LOCK_ROW", Verdict::Halved),
    ("TOO_MANY_APEX_REQUESTS", Verdict::Halved),
    ("FAILED_DUE_TO_OTHER_INPUTS", Verdict::Halved),
    ("LIMIT_EXCEEDED", Verdict::Large),
    ("TOO_MANY_JOBS", Verdict::Large),
    ("DELETE_OPERATION_TOO_LARGE", Verdict::Large),
    ("MAX_DEPTH_IN_FLOW_EXECUTION", Verdict::Large),
    ("UNKNOWN_EXCEPTION", Verdict::Fault),
    ("INTERNAL_ERROR", Verdict::Fault),
    ("UNABLE_TO_LOCK_RECORD", Verdict::Later),
    ("TERRITORY_REALIGN_IN_PROGRESS", Verdict::Later),
    ("INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", Verdict::Later),
    ("RECORD_IN_USE_BY_WORKFLOW", Verdict::Later),
    ("ALREADY_IN_PROCESS", Verdict::Later),
    ("MATCH_SERVICE_TIMED_OUT", Verdict::Later),
    ("MATCH_SERVICE_UNAVAILABLE_ERROR", Verdict::Later),
    ("PLATFORM_EVENT_PUBLISHING_UNAVAILABLE", Verdict::Later),
    ("ALL_OR_NONE_OPERATION_ROLLED_BACK", Verdict::Later),
    ("PROCESSING_HALTED", Verdict::Later),
    ("QUERY_TIMEOUT", Verdict::Later),
    ("INVALID_QUERY_LOCATOR", Verdict::Later),
    ("REQUEST_RUNNING_TOO_LONG", Verdict::Later),
    ("REQUEST_LIMIT_EXCEEDED", Verdict::Later),
    ("TXN_SECURITY_METERING_ERROR", Verdict::Later),
    ("SERVICE_UNAVAILABLE", Verdict::Later),
    ("BAD_GATEWAY", Verdict::Later),
    ("FUNCTIONALITY_TEMPORARILY_UNAVAILABLE", Verdict::Later),
    ("SERVER_UNAVAILABLE", Verdict::Later),
    ("ORG_IN_MAINTENANCE", Verdict::Later),
    ("API_CURRENTLY_DISABLED", Verdict::Later),
    // A refused session is never a record's fault.
    ("INVALID_SESSION_ID", Verdict::Later),
    ("SESSION_EXPIRED", Verdict::Later),
    ("SESSION_INVALIDATED", Verdict::Later),
    ("INVALID_ACCESS_TOKEN", Verdict::Later),
    ("INVALID_AUTH_HEADER", Verdict::Later),
    ("COLLISION_DETECTED", Verdict::Once),
    ("CONFLICT", Verdict::Once),
    ("OPERATION_CONFLICT", Verdict::Once),
    ("RECORD_LOCKED", Verdict::Once),
    ("RESOURCE_NOT_AVAILABLE", Verdict::Once),
    ("MATCH_SERVICE_ERROR", Verdict::Once),
    ("MATCH_RUNTIME_ERROR", Verdict::Once),
    ("PLATFORM_EVENT_PUBLISH_FAILED", Verdict::Once),
    ("NO_REASON", Verdict::Once),
    ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Verdict::Trigger),
    ("CANNOT_EXECUTE_FLOW_TRIGGER", Verdict::Trigger),
    ("FLOW_EXCEPTION", Verdict::Trigger),
    ("APEX_FAILED", Verdict::Trigger),
    ("DUPLICATE_VALUE", Verdict::Duplicate),
    ("REQUIRED_FIELD_MISSING", Verdict::Missing),
    ("CANNOT_UPDATE_CONVERTED_LEAD", Verdict::Converted),
    ("ENTITY_IS_DELETED", Verdict::Gone),
    ("INVALID_CROSS_REFERENCE_KEY", Verdict::Unfound),
    ("INVALID_FIELD", Verdict::Schema),
    ("INVALID_FIELD_FOR_INSERT_UPDATE", Verdict::Schema),
    ("INVALID_TYPE", Verdict::Schema),
    ("INVALID_TYPE_FOR_OPERATION", Verdict::Schema),
    ("INVALID_EXTERNAL_ID_FIELD_NAME", Verdict::Schema),
    ("INVALID_ENTITY_FOR_UPSERT", Verdict::Schema),
    ("FIELD_NOT_UPDATABLE", Verdict::Schema),
    ("FUNCTIONALITY_NOT_ENABLED", Verdict::Schema),
    ("PACKAGE_DISABLED", Verdict::Schema),
    ("PACKAGE_LICENSE_REQUIRED", Verdict::Schema),
    ("INVALID_PACKAGE_LICENSE", Verdict::Schema),
    ("INSUFFICIENT_ACCESS", Verdict::Access),
    ("INSUFFICIENT_ACCESS_OR_READONLY", Verdict::Access),
    ("TXN_SECURITY_NO_ACCESS", Verdict::Access),
    ("FORBIDDEN_EXCEPTION", Verdict::Access),
    ("UNAUTHORIZED_EXCEPTION", Verdict::Access),
    ("API_DISABLED_FOR_ORG", Verdict::Barred),
    ("UNSUPPORTED_API_VERSION", Verdict::Barred),
    ("INVALID_READ_ONLY_USER_DML", Verdict::Barred),
    ("ORG_LOCKED", Verdict::Barred),
    ("TRIAL_EXPIRED", Verdict::Barred),
    ("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", Verdict::Barred),
    ("STORAGE_LIMIT_EXCEEDED", Verdict::Full),
];

/// What the message of a trigger or flow holds where rows locked each other out.
const LOCKED: &str = "UNABLE_TO_LOCK_ROW";

/// What it holds where the limits of one transaction were reached.
const LARGE: [&str; 3] = ["Too many SOQL queries", "Apex CPU time limit", "System.LimitException"];

/// How it begins where the integration user lacks the right to create or edit such records; the object's label follows.
/// Further in, it quotes what a trigger met with an object of its own.
const FORBIDDEN: &str = "entity type cannot be";

/// The published codes, in alphabetical order.
pub(super) const PUBLISHED: &str = include_str!("status_codes.txt");

/// The verdict on a row with `problem`, of the object `sobject`.
pub(super) fn verdict(problem: &Problem, sobject: &str) -> Verdict {
    let code = problem.code.as_deref().unwrap_or_default();
    match ROWS.iter().find(|(name, _)| *name == code) {
        Some((_, Verdict::Trigger)) if problem.says(LOCKED) => Verdict::Halved,
        Some((_, Verdict::Trigger)) if LARGE.iter().any(|part| problem.says(part)) => Verdict::Large,
        Some((_, Verdict::Trigger)) if problem.begins(FORBIDDEN) => {
            if problem.says(&label(sobject)) {
                Verdict::Barred
            } else {
                Verdict::Access
            }
        }
        Some((_, Verdict::Trigger)) | None => Verdict::Reject,
        Some((_, verdict)) => *verdict,
    }
}

/// The label that Salesforce proposes for an object of this name. A custom object may have another.
fn label(sobject: &str) -> String {
    sobject.strip_suffix("__c").unwrap_or(sobject).replace('_', " ")
}

/// Whether the code is known: in the table, or published.
pub(in super::super) fn is_known(problem: &Problem) -> bool {
    let code = problem.code.as_deref().unwrap_or_default();
    ROWS.iter().any(|(name, _)| *name == code) || PUBLISHED.lines().any(|name| name == code)
}
