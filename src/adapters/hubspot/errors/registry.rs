//! HubSpot's codes, as the reference lists them. `codes.rs` classifies those of rows; a test holds
//! the fates here to its classes.

use crate::model::codes::{CodeEntry, entries};

const DATA: &str = "Correct the value at its source, or the property in HubSpot. Replay.";
const OPTION: &str = "Add the option to the property, or correct the value. Replay.";
const REQUIRED: &str = "Have the producer send the property, or make it optional. Replay.";
const MERGE: &str = "Merge the two contacts in HubSpot, or correct the value. Replay.";
const WAIT: &str = "None. If it lasts, lower `hubspot.rate_limit`.";
const CREDENTIAL: &str = "Follow the remedy in the log line `destination stopped`.";
const OF_PROPERTY: &str = "Create the property, or change the setting that the remedy names.";

/// HubSpot's codes and categories.
pub const CODES: &[CodeEntry] = entries! {
    "deliver" => "rejected" {
        INVALID_EMAIL: "HubSpot refuses the email address as invalid.", DATA;
        MISSING_REQUIRED_PROPERTY: "The portal requires a property that the change does not bring.",
            REQUIRED;
        MISSING_CONDITIONAL_REQUIRED_PROPERTY: "The portal requires a property because of another \
            one's value.", REQUIRED;
        VALIDATION_ERROR: "HubSpot refuses a value, without a more exact code.", DATA;
        CONFLICT: "Another contact holds a value that must be unique.", MERGE;
        OBJECT_ALREADY_EXISTS: "Another contact holds a value that must be unique.", MERGE;
        CONTACT_EXISTS: "Another contact holds the email address.", MERGE;
        UNIQUE_VALUE_CONFLICT: "Another contact holds a value that must be unique.", MERGE;
        OBJECT_NOT_FOUND: "The contact was removed from HubSpot during the write, twice.",
            "Replay.";
    }
    "deliver" => "failed or rejected" {
        INVALID_OPTION: "The property has no such option; where settings chose the value, the \
            record fails.", OPTION;
        INVALID_INTEGER: "The value is no integer; of the id or version property, the property is \
            of a wrong type and the record fails.", DATA;
        INVALID_LONG: "The value is no integer; of the id or version property, the property is of \
            a wrong type and the record fails.", DATA;
        INVALID_DATE: "The value is no date; of the id or version property, the property is of a \
            wrong type and the record fails.", DATA;
        INTERNAL_ERROR: "HubSpot met a fault of its own. A record that meets it alone and more \
            than once, while others are written, is rejected.",
            "Look at the contact in HubSpot, and at status.hubspot.com. Replay.";
    }
    "deliver" => "failed" {
        RATE_LIMIT: "Too many calls.", WAIT;
        RATE_LIMITS: "Too many calls.", WAIT;
        SECONDLY: "Too many calls within a second.", WAIT;
        TEN_SECONDLY_ROLLING: "Too many calls within ten seconds.", WAIT;
        DAILY: "The portal's calls of the day are used up. The destination is stopped until \
            midnight in the portal's time zone.",
            "Follow the alarm `hubspot-quota`.";
        INVALID_AUTHENTICATION: "HubSpot refuses the token. The destination is stopped.",
            CREDENTIAL;
        EXPIRED_AUTHENTICATION: "The token has expired. The destination is stopped.", CREDENTIAL;
        MISSING_SCOPES: "The token lacks a scope. The destination is stopped; of a scope for \
            sensitive data, only the records that carry such a property fail.",
            "Give the key the scopes that the remedy names.";
        USER_DOES_NOT_HAVE_PERMISSIONS: "The user of a private app's token lacks a permission.",
            "Give the user the permission, or use a service key.";
        PROPERTY_DOESNT_EXIST: "The portal lacks a property that settings or the fixed mapping \
            name. The records that carry it fail.", OF_PROPERTY;
        READ_ONLY_VALUE: "A property that settings or the fixed mapping name is read-only. The \
            records that carry it fail.", OF_PROPERTY;
    }
};

#[cfg(test)]
mod tests {
    use super::super::codes::{ROWS, RowClass};
    use super::*;

    #[test]
    fn every_classified_code_is_listed_with_the_fate_of_its_class() {
        for (code, class) in ROWS {
            let entry = CODES.iter().find(|entry| entry.code == *code);
            let fate = entry.map(|entry| entry.fate).unwrap_or_default();
            let is_allowed = match class {
                // A value that settings chose fails the record instead.
                RowClass::Reject => matches!(fate, "rejected" | "failed or rejected"),
                RowClass::OnceMore | RowClass::Last => fate == "rejected",
                RowClass::Isolate => fate == "failed or rejected",
                RowClass::Same => fate == "failed",
            };
            assert!(is_allowed, "{code}: {fate:?}");
        }
    }
}
