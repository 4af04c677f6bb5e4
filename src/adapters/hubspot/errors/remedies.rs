//! Words the remedies. Each names the setting, property, scope or account to change, and quotes
//! nothing of an answer but the names of scopes and properties.

use super::super::api_error::ApiError;
use super::misconfigured::Source;
use crate::model::Cause;

pub(super) const REDIRECT: &str =
    "the address in `hubspot.base_url` redirects: name the final address, https://api.hubapi.com";

pub(super) const NO_PATH: &str = "HubSpot does not have this path: set `hubspot.api_version` to a version that it has, such as 2026-09";

/// A retired version. That HubSpot answers it with a 410 is unconfirmed.
pub(super) const RETIRED: &str = "HubSpot no longer has this version of its API: set `hubspot.api_version` to a supported one, such as 2026-09";

pub(super) const NO_API: &str =
    "HubSpot does not take such calls here: check `hubspot.base_url` and `hubspot.api_version`";

/// Returns the cause and the remedy of HubSpot's 401. An uninstalled app, an inactive account and a
/// restriction of addresses have no documented form, and are recognized by their words; another
/// token would not help against them.
pub(super) fn unauthorized(problem: &ApiError) -> (Cause, &'static str) {
    if let Some(remedy) = of_account(problem) {
        return (Cause::Configuration, remedy);
    }
    let remedy = if problem.is("EXPIRED_AUTHENTICATION") {
        "the access token has expired: put the token of a service key or of a private app, which does not expire, into \
         the secret `hubspot.secret_id`"
    } else {
        "put a valid access token into the secret `hubspot.secret_id`"
    };
    (Cause::Credential, remedy)
}

/// Returns the remedy of HubSpot's 403.
pub(super) fn forbidden(problem: &ApiError) -> String {
    if let Some(remedy) = of_account(problem) {
        return remedy.to_owned();
    }
    if problem.is("USER_DOES_NOT_HAVE_PERMISSIONS") {
        // A private app acts for the super admin who made it, and loses what that user loses.
        return "the user who made the access token may not do this: give that user the permission, or use the token \
                of another app or of a service key"
            .to_owned();
    }
    if problem.scopes.is_empty() {
        return "give the access token the scopes crm.objects.contacts.write and crm.objects.contacts.read".to_owned();
    }
    format!(
        "give the access token the scope that HubSpot asks for: {}",
        problem.scopes.join(", ")
    )
}

/// Returns whether the credential lacks nothing but scopes of sensitive data. Those are asked for
/// by properties that some records carry.
pub(super) fn is_about_sensitive_data(problem: &ApiError) -> bool {
    !problem.scopes.is_empty()
        && problem
            .scopes
            .iter()
            .all(|scope| scope.contains("sensitive"))
}

fn of_account(problem: &ApiError) -> Option<&'static str> {
    const REMEDIES: [(&[&str], &str); 3] = [
        (
            &["uninstalled", "not installed", "isn't installed"],
            "the app is not installed in the HubSpot account: install it, or put the token of a service key into the \
             secret `hubspot.secret_id`",
        ),
        (
            &["IP address", "ip address", "IP restriction"],
            "HubSpot does not accept calls from this address: allow the function's outgoing addresses in the account's \
             security settings",
        ),
        (
            &["is inactive", "not active", "deactivated", "suspended"],
            "the HubSpot account is not active: have it activated, or put a token of another account into the secret \
             `hubspot.secret_id`",
        ),
    ];
    let is_said =
        |(phrases, _): &&(&[&str], &str)| phrases.iter().any(|phrase| problem.says(phrase));
    REMEDIES.iter().find(is_said).map(|(_, remedy)| *remedy)
}

/// Returns the remedy for an id property whose values are not unique.
pub(super) fn not_unique(id_property: &str) -> String {
    format!(
        "`hubspot.id_property` has to name a property with unique values, and `{id_property}` has none: create \
         another one, since a property cannot get them later"
    )
}

/// Returns the remedy for a property that is missing, or may not be written.
pub(super) fn property(named: Option<(&str, Source)>, is_read_only: bool) -> String {
    let Some((name, source)) = named else {
        return "HubSpot refuses a property and does not name it: `doctor` says which is missing"
            .into();
    };
    let fault = if is_read_only {
        format!("HubSpot lets nobody write its contact property `{name}`: make it editable")
    } else {
        format!("HubSpot has no contact property `{name}`: create it")
    };
    match source.setting() {
        Some(setting) => format!("{fault}, or change `{setting}`"),
        None => format!("{fault}; every contact that has such a value is written to it"),
    }
}

/// Returns the remedy for a property that does not take the value that settings chose.
pub(super) fn value(name: &str, source: Source) -> String {
    match source {
        Source::Id => format!(
            "`hubspot.id_property` has to name a text property, and `{name}` is of another type"
        ),
        Source::Version => {
            format!(
                "`hubspot.version_property` has to name a number property, and `{name}` does not take our numbers"
            )
        }
        Source::Type => format!(
            "the contact property `{name}` does not take a contact type: add the types that are routed to HubSpot to \
             its options, or change `hubspot.type_property`"
        ),
        Source::Stage | Source::Attribute | Source::Mapping => format!(
            "HubSpot does not have the lifecycle stage of `hubspot.lifecycle_stage`: add it to the options of \
             `{name}`, or change the setting"
        ),
    }
}

impl Source {
    fn setting(self) -> Option<&'static str> {
        match self {
            Self::Id => Some("hubspot.id_property"),
            Self::Version => Some("hubspot.version_property"),
            Self::Type => Some("hubspot.type_property"),
            Self::Attribute => Some("hubspot.attributes"),
            Self::Stage | Self::Mapping => None,
        }
    }
}
