//! Classifies the refusals of the token endpoint. Each remedy names the thing to change.
//!
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_flow_errors.htm>

use super::super::api_error::{ApiError, errors_in};
use super::grant::TokenError;
use crate::adapters::http::HttpResponse;
use crate::model::codes;
use crate::model::{CallError, Cause, Code, FailureCause, Stop};

/// A refusal that is recognized by a phrase.
struct Refusal {
    /// Phrases in lower case, one of which the code or the description contains.
    phrases: &'static [&'static str],
    cause: Cause,
    /// A corrected secret may help, so that the secret is read again.
    is_of_secret: bool,
    remedy: &'static str,
}

const fn configuration(phrases: &'static [&'static str], remedy: &'static str) -> Refusal {
    Refusal {
        phrases,
        cause: Cause::Configuration,
        is_of_secret: false,
        remedy,
    }
}

const fn credential(phrases: &'static [&'static str], remedy: &'static str) -> Refusal {
    Refusal {
        phrases,
        cause: Cause::Credential,
        is_of_secret: true,
        remedy,
    }
}

/// Builds a fault of the configuration that arises where the secret names the wrong org.
const fn wrong_org(phrases: &'static [&'static str], remedy: &'static str) -> Refusal {
    Refusal {
        phrases,
        cause: Cause::Configuration,
        is_of_secret: true,
        remedy,
    }
}

/// Known refusals. The first match decides.
const REFUSALS: &[Refusal] = &[
    wrong_org(
        &["not supported on this domain"],
        "login_url in the secret has to be the org's own My Domain, https://NAME.my.salesforce.com",
    ),
    // The generic hosts have no External Client Apps of an org.
    wrong_org(
        &["is not installed in this org", "app_not_found"],
        "the External Client App is not installed in the org: login_url in the secret has to be \
         the My Domain of the org that has the app, and client_id that app's consumer key; or \
         install the app there",
    ),
    wrong_org(
        &["inactive_org", "inactive organization", "inactive org"],
        "the org is locked, closed or suspended: have Salesforce reactivate it, or correct \
         login_url in the secret",
    ),
    configuration(
        &["no client credentials user enabled"],
        "choose a run-as user in the External Client App's client credentials flow",
    ),
    configuration(
        &[
            "not admin approved",
            "invalid_app_access",
            "oauth_app_access_denied",
            "oauth_authorization_blocked",
            "hasn't approved this consumer",
            "has not approved this consumer",
        ],
        "the integration user is not approved for the app: pre-authorize the user's permission set \
         in the External Client App's policies (Permitted Users: admin approved users are \
         pre-authorized)",
    ),
    configuration(
        &["oauth_app_blocked", "blocked by admin"],
        "the org blocks the app: unblock it under Setup, Connected Apps OAuth Usage (or External \
         Client App Manager)",
    ),
    configuration(
        &[
            "ip restricted",
            "restricted ip",
            "login hours",
            "login_ip",
            "ip_restricted",
        ],
        "the org's IP restrictions or login hours refuse the integration user: add the function's \
         outgoing addresses to the Login IP Ranges and all hours to the Login Hours of the user's \
         profile, or relax IP restrictions in the External Client App's policies",
    ),
    configuration(
        &["unsupported_grant_type"],
        "enable the client credentials flow (or JWT bearer) in the External Client App",
    ),
    credential(
        &["inactive_user", "inactive user", "user is inactive"],
        "the integration user is inactive: activate it in Setup, Users (or name another: the \
         run-as user of the External Client App, with JWT the username in the secret)",
    ),
    Refusal {
        phrases: &["login rate exceeded", "rate_limit_exceeded"],
        cause: Cause::Quota,
        is_of_secret: false,
        remedy: "the integration user has logged in 3,600 times within an hour: give this service \
                 a user of its own",
    },
    credential(
        &["invalid_client"],
        "client_id and client_secret in the secret have to be the External Client App's (a new app \
         takes ten minutes to be known)",
    ),
    credential(
        &["invalid assertion", "invalid_assertion"],
        "private_key_pem in the secret has to belong to the certificate of the External Client \
         App, and client_id to the app",
    ),
    credential(
        &["audience is invalid", "invalid audience"],
        "audience in the secret has to be https://login.salesforce.com, for a sandbox \
         https://test.salesforce.com",
    ),
];

/// Phrases of refusals that pass by themselves, although they have the status 400.
/// <https://github.com/amazon-connect/amazon-connect-salesforce-lambda/issues/43>
/// <https://help.salesforce.com/s/articleView?id=release-notes.rn_security_refresh_token_error.htm&release=252&type=5>
const PASSING: &[&str] = &[
    "retry your request",
    "token request is already being processed",
    "temporarily_unavailable",
    "server_error",
];

/// Classifies a response that is no token.
pub(super) fn refused(response: &HttpResponse) -> TokenError {
    let http_code = || Code::from_system(&codes::http(response.status));
    let after = response.retry_after();
    let retry = |code| CallError::Retry {
        code,
        after,
        pressure: false,
        cause: FailureCause::Destination,
    };
    let errors = errors_in(response);
    match (response.status, errors.first()) {
        (429, _) => TokenError::Other(CallError::Throttled {
            code: http_code(),
            after,
        }),
        (300..=399, None) => {
            let remedy = "login_url in the secret redirects: it has to be the org's own My Domain";
            TokenError::Secret(Stop::new(Cause::Configuration, codes::NO_TOKEN, remedy).into())
        }
        // A page, with a 403 for example, is a proxy's, and may be gone in a moment. The circuit
        // breaker limits the calls.
        (_, None) => TokenError::Host(retry(http_code())),
        (408 | 420 | 500.., Some(_)) => TokenError::Other(retry(http_code())),
        (_, Some(error)) => {
            known_refusal(error).unwrap_or_else(|| TokenError::Other(retry(error.code())))
        }
    }
}

/// Looks a refusal up; `None` for one that passes by itself.
fn known_refusal(error: &ApiError) -> Option<TokenError> {
    let text = format!(
        "{} {}",
        error.code(),
        error.message.as_deref().unwrap_or_default()
    )
    .to_lowercase();
    let contains = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if contains(PASSING) {
        return None;
    }
    let unknown = credential(
        &[],
        "Salesforce grants no token: check the secret, and the External Client App's policies",
    );
    let refusal = REFUSALS
        .iter()
        .find(|refusal| contains(refusal.phrases))
        .unwrap_or(&unknown);
    let error = Stop::new(refusal.cause, error.code(), refusal.remedy).into();
    Some(if refusal.is_of_secret {
        TokenError::Secret(error)
    } else {
        TokenError::Other(error)
    })
}
