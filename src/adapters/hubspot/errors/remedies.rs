//! Builds the remedies. Each names the setting, property, scope or account to change. Of a response
//! it quotes only the names of scopes and properties.

use super::super::api_error::ApiError;
use super::misconfigured::Source;
use crate::model::Cause;

pub(super) const REDIRECT: &str =
    "the address in `hubspot.base_url` redirects: name the final address, https://api.hubapi.com";

pub(super) const NO_PATH: &str = "HubSpot does not have this path: set `hubspot.api_version` to a \
    version that it has, such as 2026-09";

/// A retired version. That HubSpot responses it with a 410 is unconfirmed.
pub(super) const RETIRED: &str = "HubSpot no longer has this version of its API: set \
    `hubspot.api_version` to a supported one, such as 2026-09";

pub(super) const NO_API: &str =
    "HubSpot does not take such calls here: check `hubspot.base_url` and `hubspot.api_version`";

/// Returns the cause and the remedy of HubSpot's 401. An uninstalled app, an inactive account and a
/// restriction of addresses have no documented form, and are recognized by phrases; another token
/// would not help against them.
pub(super) fn unauthorized(error: &ApiError) -> (Cause, &'static str) {
    if let Some(remedy) = of_account(error) {
        return (Cause::Configuration, remedy);
    }
    let remedy = if error.is("EXPIRED_AUTHENTICATION") {
        "the access token has expired: put the token of a service key or of a private app, which \
         does not expire, into the secret `hubspot.secret_id`"
    } else {
        "put a valid access token into the secret `hubspot.secret_id`"
    };
    (Cause::Credential, remedy)
}

/// Returns the remedy of HubSpot's 403.
pub(super) fn forbidden(error: &ApiError) -> String {
    if let Some(remedy) = of_account(error) {
        return remedy.to_owned();
    }
    if error.is("USER_DOES_NOT_HAVE_PERMISSIONS") {
        // A private app acts for the super admin that created it, and loses the rights that this
        // user loses.
        return "the user who made the access token may not do this: give that user the permission, \
                or use the token of another app or of a service key"
            .to_owned();
    }
    if error.scopes.is_empty() {
        return "give the access token the scopes crm.objects.contacts.write and \
                crm.objects.contacts.read"
            .to_owned();
    }
    format!(
        "give the access token the scope that HubSpot asks for: {}",
        error.scopes.join(", ")
    )
}

/// Returns whether the credential lacks nothing but scopes of sensitive data. HubSpot requires
/// those for properties that some records carry.
pub(super) fn is_about_sensitive_data(error: &ApiError) -> bool {
    !error.scopes.is_empty() && error.scopes.iter().all(|scope| scope.contains("sensitive"))
}

fn of_account(error: &ApiError) -> Option<&'static str> {
    const REMEDIES: [(&[&str], &str); 3] = [
        (
            &["uninstalled", "not installed", "isn't installed"],
            "the app is not installed in the HubSpot account: install it, or put the token of a \
             service key into the secret `hubspot.secret_id`",
        ),
        (
            &["IP address", "ip address", "IP restriction"],
            "HubSpot does not accept calls from this address: allow the function's outgoing \
             addresses in the account's security settings",
        ),
        (
            &["is inactive", "not active", "deactivated", "suspended"],
            "the HubSpot account is not active: have it activated, or put a token of another \
             account into the secret `hubspot.secret_id`",
        ),
    ];
    for (phrases, remedy) in REMEDIES {
        if phrases.iter().any(|phrase| error.contains(phrase)) {
            return Some(remedy);
        }
    }
    None
}

/// Returns the remedy for an id property whose values are not unique.
pub(super) fn not_unique(id_property: &str) -> String {
    format!(
        "`hubspot.id_property` has to name a property with unique values, and `{id_property}` has \
         none: create another one, since a property cannot get them later"
    )
}

/// Returns the remedy for a property that is missing, or may not be written.
pub(super) fn property(named: Option<(&str, Source)>, is_read_only: bool) -> String {
    let Some((name, source)) = named else {
        return "HubSpot refuses a property and does not name it: run `doctor`, which names it"
            .into();
    };
    let fault = if is_read_only {
        format!("HubSpot's contact property `{name}` is read-only: make it editable")
    } else {
        format!("HubSpot has no contact property `{name}`: create it")
    };
    match source.setting() {
        Some(setting) => format!("{fault}, or change `{setting}`"),
        None => format!("{fault}; the value of every contact that has one is written to it"),
    }
}

/// Returns the remedy for a property that does not accept the value that settings chose.
pub(super) fn value(name: &str, source: Source) -> String {
    match source {
        Source::Id => format!(
            "`hubspot.id_property` has to name a text property, and `{name}` is of another type"
        ),
        Source::Version => {
            format!(
                "`hubspot.version_property` has to name a number property, and `{name}` does not \
                 take our numbers"
            )
        }
        Source::Type => format!(
            "the contact property `{name}` does not take a contact type: add the types that are \
             routed to HubSpot to its options, or change `hubspot.type_property`"
        ),
        Source::Constant => format!(
            "the contact property `{name}` does not take the value of `hubspot.constants`: change \
             the value, or add it to the property's options"
        ),
        Source::Baseline => format!(
            "`hubspot.baseline_property` has to name a text property of its own, and `{name}` \
             does not take our texts"
        ),
        Source::Stage | Source::Attribute | Source::Mapping => format!(
            "HubSpot does not have the lifecycle stage of `hubspot.lifecycle_stage`: add it to the \
             options of `{name}`, or change the setting"
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
            Self::Constant => Some("hubspot.constants"),
            Self::Baseline => Some("hubspot.baseline_property"),
            Self::Stage | Self::Mapping => None,
        }
    }
}
