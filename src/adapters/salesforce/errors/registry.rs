//! Salesforce's codes, as the reference lists them. `codes.rs` classifies them; a test holds the
//! fates here to its classes.
//!
//! Published codes that the table leaves out reject the record. The frequent ones are here.

use crate::model::codes::{CodeEntry, entries};

const PASSES: &str = "None. If it lasts, look at status.salesforce.com.";
const FAULT: &str = "Look at status.salesforce.com, then at the record. Replay.";
const LOCK: &str = "None. If it lasts, end the approval or process that locks the record. Replay.";
const SMALLER: &str = "Lower `salesforce.batch_size`, or simplify the org's triggers and flows.";
const TRIGGER: &str = "Read the message. Correct the org's trigger or flow, or the data. Replay.";
const MERGE: &str = "Merge the records, or correct the rule or the value. Replay.";
const DATA: &str = "Correct the value at its source, or the rule or field in the org. Replay.";
const OF_FIELD: &str = "Follow the remedy in the log line: create the field, or let the \
    integration user edit it.";
const OF_OBJECT: &str = "Follow the remedy in the log line: check `salesforce.sobject`, \
    `salesforce.external_id_field` and the org's features.";
const RIGHTS: &str = "Give the integration user's permission set read, create, edit and delete, \
    and Modify All where records are not shared with it. Replay.";
const ADDRESS: &str = "Add the function's outgoing addresses to the login IP ranges of the user's \
    profile and to the org's trusted IP ranges.";
const SESSION: &str = "None. If it lasts, check the External Client App's policies and the user.";
const REPLAY: &str = "Replay.";

/// Salesforce's codes.
pub const CODES: &[CodeEntry] = entries! {
    "deliver" => "failed" {
        TERRITORY_REALIGN_IN_PROGRESS: "The org realigns its territories.", PASSES;
        INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE: "The org is in maintenance.", PASSES;
        ORG_IN_MAINTENANCE: "The org is in maintenance.", PASSES;
        MATCH_SERVICE_UNAVAILABLE_ERROR: "The service that finds duplicates is unavailable.",
            PASSES;
        PLATFORM_EVENT_PUBLISHING_UNAVAILABLE: "The org's platform events are unavailable.", PASSES;
        SERVICE_UNAVAILABLE: "Salesforce is unavailable.", PASSES;
        SERVER_UNAVAILABLE: "Salesforce is unavailable.", PASSES;
        BAD_GATEWAY: "Salesforce is unavailable.", PASSES;
        FUNCTIONALITY_TEMPORARILY_UNAVAILABLE: "A feature of the org is unavailable.", PASSES;
        REQUEST_LIMIT_EXCEEDED: "Too many requests run at once; with `TotalRequests` in the \
            message, the org's calls of 24 hours are used up and the destination is stopped.",
            "None, or follow the alarm `salesforce-quota`.";
        API_CURRENTLY_DISABLED: "The API is unavailable; with *for this user* in the message, the \
            integration user may not use it and the destination is stopped.",
            "Give the integration user the system permission API Enabled.";
        INVALID_SESSION_ID: "The session has ended, or the org's policies refuse it.", SESSION;
        SESSION_EXPIRED: "The session has ended.", SESSION;
        SESSION_INVALIDATED: "The session was ended.", SESSION;
        INVALID_ACCESS_TOKEN: "Salesforce refuses the token.", SESSION;
        INVALID_AUTH_HEADER: "Salesforce refuses the token.", SESSION;
        INVALID_FIELD: "A field that settings or the fixed mapping name does not exist, or is \
            closed to the integration user.", OF_FIELD;
        INVALID_FIELD_FOR_INSERT_UPDATE: "A field that settings or the fixed mapping name cannot \
            be written by the integration user.", OF_FIELD;
        FIELD_NOT_UPDATABLE: "A field that settings or the fixed mapping name is read-only.",
            OF_FIELD;
        INVALID_TYPE: "The org has no such object, or the integration user may not see it.",
            OF_OBJECT;
        INVALID_TYPE_FOR_OPERATION: "The object does not take this operation.", OF_OBJECT;
        INVALID_EXTERNAL_ID_FIELD_NAME: "`salesforce.external_id_field` names no external id.",
            OF_OBJECT;
        INVALID_ENTITY_FOR_UPSERT: "The object does not take upserts.", OF_OBJECT;
        FUNCTIONALITY_NOT_ENABLED: "The org lacks a feature that the object needs.", OF_OBJECT;
        PACKAGE_DISABLED: "The package of the object is disabled.", OF_OBJECT;
        PACKAGE_LICENSE_REQUIRED: "The package of the object has no licence.", OF_OBJECT;
        INVALID_PACKAGE_LICENSE: "The licence of the object's package is not valid.", OF_OBJECT;
        URL_NOT_RESET: "The org has moved to another host. The next call asks for a new token.",
            "None. If it lasts, correct `login_url` in the secret.";
        API_DISABLED_FOR_ORG: "The org's edition has no API access. The destination is stopped.",
            "Have Salesforce enable the API for the org.";
        UNSUPPORTED_API_VERSION: "Salesforce does not have this API version, or has retired it. \
            The destination is stopped.",
            "Set `salesforce.api_version` to a later one.";
        INVALID_READ_ONLY_USER_DML: "The integration user is read-only. The destination is \
            stopped.",
            "Choose a user and a licence that may write.";
        ORG_LOCKED: "Salesforce has locked the org. The destination is stopped.",
            "Ask Salesforce Support.";
        TRIAL_EXPIRED: "The org's trial is over. The destination is stopped.",
            "Buy the edition, or name another org in the secret's `login_url`.";
        INVALID_OPERATION_WITH_EXPIRED_PASSWORD: "The integration user's password has expired. The \
            destination is stopped.",
            "Renew the password, and let it never expire.";
        LOGIN_DURING_RESTRICTED_DOMAIN: "The org keeps the integration user out by its address. \
            The destination is stopped.", ADDRESS;
        LOGIN_MUST_USE_SECURITY_TOKEN: "The org keeps the integration user out by its address. The \
            destination is stopped.", ADDRESS;
        LOGIN_DURING_RESTRICTED_TIME: "The login hours of the user's profile keep the integration \
            user out. The destination is stopped.",
            "Lift the login hours of the integration user's profile.";
        STORAGE_LIMIT_EXCEEDED: "The org's storage is full. The destination is stopped.",
            "Free storage in the org, or buy more.";
    }
    "deliver" => "failed or rejected" {
        UNABLE_TO_LOCK_ROW: "Another transaction holds a lock on the record, or the rows of the \
            call lock each other out.", LOCK;
        TOO_MANY_APEX_REQUESTS: "The org runs as many long requests as it may.", LOCK;
        UNABLE_TO_LOCK_RECORD: "Another transaction holds a lock on the record.", LOCK;
        RECORD_IN_USE_BY_WORKFLOW: "A workflow of the org works on the record.", LOCK;
        LIMIT_EXCEEDED: "A limit of one transaction was reached.", SMALLER;
        TOO_MANY_JOBS: "The org has queued as many jobs as it may.", SMALLER;
        DELETE_OPERATION_TOO_LARGE: "The delete takes more records along than it may.", SMALLER;
        MAX_DEPTH_IN_FLOW_EXECUTION: "A flow called itself too often.", SMALLER;
        REQUEST_RUNNING_TOO_LONG: "The request ran longer than Salesforce allows.", SMALLER;
        FAILED_DUE_TO_OTHER_INPUTS: "Another row of the call failed, and this one with it.", FAULT;
        ALL_OR_NONE_OPERATION_ROLLED_BACK: "Another row of the call failed, and this one with it.",
            FAULT;
        PROCESSING_HALTED: "Another row of the call failed, and this one with it.", FAULT;
        UNKNOWN_EXCEPTION: "Salesforce met a fault of its own.", FAULT;
        INTERNAL_ERROR: "Salesforce met a fault of its own.", FAULT;
        QUERY_TIMEOUT: "A query ran longer than Salesforce allows.", FAULT;
        INVALID_QUERY_LOCATOR: "Salesforce lost the place in a query's answer.", FAULT;
        ALREADY_IN_PROCESS: "Another process of the org works on the record.", FAULT;
        MATCH_SERVICE_TIMED_OUT: "The service that finds duplicates did not answer.", FAULT;
        MATCH_SERVICE_ERROR: "The service that finds duplicates failed.", FAULT;
        MATCH_RUNTIME_ERROR: "The service that finds duplicates failed.", FAULT;
        PLATFORM_EVENT_PUBLISH_FAILED: "The org did not publish a platform event.", FAULT;
        RESOURCE_NOT_AVAILABLE: "A resource of the org is unavailable.", FAULT;
        TXN_SECURITY_METERING_ERROR: "The org's transaction security failed.", FAULT;
        CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY: "An Apex trigger of the org refused the record, met \
            a lock or a limit, or the integration user may not write such records.", TRIGGER;
        CANNOT_EXECUTE_FLOW_TRIGGER: "A flow of the org refused the record, met a lock or a limit.",
            TRIGGER;
        FLOW_EXCEPTION: "A flow of the org refused the record, met a lock or a limit.", TRIGGER;
        APEX_FAILED: "Apex code of the org refused the record, met a lock or a limit.", TRIGGER;
        CUSTOM_APEX_ERROR: "Apex code of the org refused the record, met a lock or a limit.",
            TRIGGER;
        INSUFFICIENT_ACCESS: "The integration user lacks a right to the record, or to all of them.",
            RIGHTS;
        INSUFFICIENT_ACCESS_OR_READONLY: "The integration user lacks a right to the record, or to \
            all of them.", RIGHTS;
        FORBIDDEN_EXCEPTION: "The integration user lacks a right.", RIGHTS;
        UNAUTHORIZED_EXCEPTION: "The integration user lacks a right.", RIGHTS;
        TXN_SECURITY_NO_ACCESS: "The org's transaction security policy refuses the record.",
            "Exempt the integration user from the policy. Replay.";
        NOT_FOUND: "The org has no such resource: object, external id field or API version; in a \
            row, no such record.", OF_OBJECT;
        JSON_PARSER_ERROR: "Salesforce cannot read a value of the record as its field's type, or \
            the field does not exist. `fields` names it.",
            "Correct the value at its source, or the field's type. Replay.";
        STRING_TOO_LONG: "A value is longer than its field in the org; of the external id field, \
            the field is too short and the record fails.",
            "Correct the value at its source, or lengthen the field. Replay.";
        INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST: "A picklist lacks the value; where settings chose \
            the value, the record fails.",
            "Add the value to the picklist, or correct it. Replay.";
        INVALID_TYPE_ON_FIELD_IN_RECORD: "A value is not of its field's type; of the external id \
            field or the version field, the record fails.", DATA;
        NUMBER_OUTSIDE_VALID_RANGE: "A number is outside of its field's range; of the version \
            field, the record fails.", DATA;
    }
    "deliver" => "rejected" {
        COLLISION_DETECTED: "Another writer changed the record at the same time, twice.", REPLAY;
        CONFLICT: "Another writer changed the record at the same time, twice.", REPLAY;
        OPERATION_CONFLICT: "Another writer changed the record at the same time, twice.", REPLAY;
        RECORD_LOCKED: "The record was locked, twice.",
            "Unlock the record (an approval process, say). Replay.";
        DUPLICATE_VALUE: "Another record holds a value that must be unique.", MERGE;
        DUPLICATES_DETECTED: "A duplicate rule of the org blocks the record.", MERGE;
        DUPLICATE_EXTERNAL_ID: "Several records of the org have the contact's id.", MERGE;
        REQUIRED_FIELD_MISSING: "The org requires a field that the change does not bring.",
            "Give the field a default in the org, or have the producer send it. Replay.";
        ENTITY_IS_DELETED: "The record is in the recycle bin. A delete ends `delivered` instead.",
            "Restore the record, or empty the recycle bin. Replay.";
        INVALID_CROSS_REFERENCE_KEY: "A record that the write refers to does not exist.", DATA;
        EXCEEDED_ID_LIMIT: "The request names more records than it may.", REPLAY;
        MALFORMED_QUERY: "The look-up of the contact's id is refused.",
            "Look at the contact's id.";
        INVALID_EMAIL_ADDRESS: "The org refuses the email address as invalid.", DATA;
        FIELD_CUSTOM_VALIDATION_EXCEPTION: "A validation rule of the org refuses the record.", DATA;
        FIELD_INTEGRITY_EXCEPTION: "A value does not fit its field or another field.", DATA;
        FIELD_FILTER_VALIDATION_EXCEPTION: "A lookup filter of the org refuses the record.", DATA;
        TEXT_DATA_OUTSIDE_SUPPORTED_CHARSET: "A text has characters that the org does not store.",
            DATA;
        MALFORMED_ID: "A value is no record id of Salesforce.", DATA;
        DELETE_FAILED: "Other records of the org keep the record from being deleted.",
            "Remove what refers to the record. Replay.";
        DEPENDENCY_EXISTS: "Other records of the org keep the record from being deleted.",
            "Remove what refers to the record. Replay.";
    }
    "deliver" => "filtered or rejected" {
        CANNOT_UPDATE_CONVERTED_LEAD: "The lead is converted. `converted_leads = \"skip\"` leaves \
            it alone, `\"dead_letter\"` rejects the record.",
            "None, or follow up by hand in the org.";
    }
};

/// Families of Salesforce's codes.
pub const PATTERNS: &[CodeEntry] = &[CodeEntry {
    code: "`invalid_client`, `invalid_grant` and others of the token endpoint",
    stage: "deliver",
    fate: "failed",
    meaning: "Salesforce grants no token. The destination is stopped.",
    remedy: "Follow the remedy in the log line `destination stopped`.",
}];

#[cfg(test)]
mod tests {
    use super::super::codes::{PUBLISHED, ROWS, RowClass};
    use super::*;
    use crate::model::codes::NO_REASON;

    fn fate_of(class: RowClass) -> &'static str {
        match class {
            RowClass::Same
            | RowClass::Field
            | RowClass::Schema
            | RowClass::Barred
            | RowClass::Full => "failed",
            RowClass::SplitBatch
            | RowClass::Large
            | RowClass::Fault
            | RowClass::Unknown
            | RowClass::Trigger
            | RowClass::Access => "failed or rejected",
            RowClass::Reject
            | RowClass::OnceMore
            | RowClass::Duplicate
            | RowClass::Missing
            | RowClass::Gone
            | RowClass::NotFound => "rejected",
            RowClass::Converted => "filtered or rejected",
        }
    }

    #[test]
    fn every_classified_code_is_listed_with_the_fate_of_its_class() {
        for (code, class) in ROWS {
            if *code == NO_REASON {
                continue;
            }
            let entry = CODES.iter().find(|entry| entry.code == *code);
            let fate = entry.map(|entry| entry.fate).unwrap_or_default();
            // The message of a refused call may be about a field of the settings.
            let is_either = *class == RowClass::Reject && fate == "failed or rejected";
            assert!(fate == fate_of(*class) || is_either, "{code}: {fate:?}");
        }
    }

    #[test]
    fn every_other_listed_code_is_published() {
        for entry in CODES {
            let is_classified = ROWS.iter().any(|(code, _)| *code == entry.code);
            let is_published = PUBLISHED.lines().any(|code| code == entry.code);
            // The answer of a host that the org has left.
            let is_of_the_edge = entry.code == "URL_NOT_RESET";
            assert!(
                is_classified || is_published || is_of_the_edge,
                "{}",
                entry.code
            );
        }
    }
}
