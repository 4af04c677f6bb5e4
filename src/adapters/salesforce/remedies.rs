//! Builds the remedies. Each names the thing to change. Pure.

use super::api_error::ApiError;
use super::{Settings, mapping, sent};
use crate::model::Body;

/// Message of a session that the org's policies refuse.
/// <https://nango.dev/blog/fix-salesforce-invalid-session-id-error>
pub(super) const BARRED_SESSION: &str = "not valid for use with the REST API";

/// Remedy for a new session that is refused.
pub(super) const SESSION: &str = "Salesforce refuses a new token: check the External Client App's \
    policies, whether the integration user is active, and whether the org is";

/// Remedy for a user that is refused because of its address.
const ADDRESS: &str = "the org refuses the integration user because of its address: add the \
    addresses that this function calls from to the login IP ranges of the user's profile and to \
    the org's trusted IP ranges, and check API access control";

/// Returns the remedy for an error that names no field.
pub(super) fn of_error(error: &ApiError, settings: &Settings) -> String {
    let Settings {
        sobject,
        external_id_field,
        api_version,
        ..
    } = settings;
    let fixed = match error.code.as_deref().unwrap_or_default() {
        "API_DISABLED_FOR_ORG" => {
            "the API is switched off for the org: its edition has to include API access, which \
             Salesforce enables"
        }
        "API_CURRENTLY_DISABLED" => {
            "give the integration user the system permission API Enabled (profile or permission \
             set)"
        }
        "INSUFFICIENT_ACCESS"
        | "INSUFFICIENT_ACCESS_OR_READONLY"
        | "FORBIDDEN_EXCEPTION"
        | "UNAUTHORIZED_EXCEPTION" => {
            return rights(sobject);
        }
        "TXN_SECURITY_NO_ACCESS" => {
            "exempt the integration user from the org's transaction security policy"
        }
        "INVALID_READ_ONLY_USER_DML" => {
            "the integration user is read-only: choose a user and a licence that may write"
        }
        "ORG_LOCKED" => "Salesforce has locked the org: contact Salesforce Support",
        "TRIAL_EXPIRED" => {
            "the org's trial is over: buy the edition, or use another org (login_url in the secret)"
        }
        "INVALID_OPERATION_WITH_EXPIRED_PASSWORD" => {
            "the integration user's password has expired: let it never expire"
        }
        "LOGIN_DURING_RESTRICTED_TIME" => "lift the login hours of the integration user's profile",
        "LOGIN_DURING_RESTRICTED_DOMAIN" | "LOGIN_MUST_USE_SECURITY_TOKEN" => ADDRESS,
        "UNSUPPORTED_API_VERSION" => return version(api_version),
        "NOT_FOUND" if error.contains("external id field") => {
            return of_field(external_id_field, None, settings);
        }
        "NOT_FOUND" => return path(settings),
        _ if error.contains(BARRED_SESSION) => ADDRESS,
        _ if error.starts_with("entity type cannot be") => return rights(sobject),
        _ => {
            return format!(
                "Salesforce refuses a name of the settings ({api_version}, {sobject}, \
                 {external_id_field}, its fields and attributes): create the fields, mark \
                 {external_id_field} as External ID and unique, and grant the integration user \
                 access"
            );
        }
    };
    fixed.to_owned()
}

/// Returns the remedy for a version of the API that Salesforce does not have, or has retired.
pub(super) fn version(api_version: &str) -> String {
    format!(
        "`salesforce.api_version` is {api_version}, which Salesforce does not have, or has \
         retired: set a later one (Setup, Apex Classes shows the org's)"
    )
}

fn rights(sobject: &str) -> String {
    format!(
        "give the integration user's permission set read, create, edit and delete on {sobject}, \
         and View All and Modify All where records are not shared with it"
    )
}

fn path(settings: &Settings) -> String {
    let Settings {
        sobject,
        api_version,
        ..
    } = settings;
    format!(
        "Salesforce has no such resource: check `salesforce.sobject` ({sobject}), whether the \
         integration user may see that object, and `salesforce.api_version` ({api_version})"
    )
}

/// Returns the remedy for a field of ours. `body` is the record that was refused for it.
pub(super) fn of_field(field: &str, body: Option<&Body>, settings: &Settings) -> String {
    let is = |name: &str| field.eq_ignore_ascii_case(name);
    if is(&settings.external_id_field) {
        return format!(
            "`salesforce.external_id_field` names {field}: make it a text of 255, External ID and \
             unique, and let the integration user edit it"
        );
    }
    if is(&settings.version_field) {
        return format!(
            "`salesforce.version_field` names {field}: make it a Number(18, 0), and let the \
             integration user edit it"
        );
    }
    if let Some((attribute, _)) = settings.attributes.iter().find(|(_, name)| is(name)) {
        return format!(
            "`salesforce.attributes` sends {attribute} to {field}: create the field and let the \
             integration user edit it, or remove the attribute from the settings"
        );
    }
    if is(&settings.baseline_field) {
        return format!(
            "`salesforce.baseline_field` names {field}: make it a Long Text Area, and let the \
             integration user edit it"
        );
    }
    if settings.constants.keys().any(|name| is(name)) {
        return format!(
            "`salesforce.constants` writes {field}: create the field, let the integration user \
             edit it, and set a value that it takes"
        );
    }
    let status = body
        .filter(|_| is(mapping::status(settings)))
        .and_then(|body| sent::value(body, mapping::status(settings)));
    if let Some(key) = status
        .as_ref()
        .and_then(|status| key_of_status(status.as_str()?, settings))
    {
        return format!(
            "`{key}` is no value that {} takes for {field}: set it to one of the org's, or add it \
             to them",
            settings.sobject
        );
    }
    format!(
        "let the integration user's permission set edit the field {field} of {}",
        settings.sobject
    )
}

/// Returns the setting that chose this status, if any. Where an event has the same status, the
/// setting is still the one to change.
pub(super) fn key_of_status(status: &str, settings: &Settings) -> Option<&'static str> {
    match status {
        "" => None,
        _ if *status == settings.status.lead => Some("salesforce.status.lead"),
        _ if *status == settings.status.prospect => Some("salesforce.status.prospect"),
        _ => None,
    }
}
