//! Classifies the refusals of the token endpoint, and names the thing to change for each.
//!
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_flow_errors.htm>

use super::super::api_error::{ApiError, problems};
use super::grant::{TokenError, stop};
use crate::adapters::http::HttpResponse;
use crate::adapters::{CallError, Cause, Code, FailureCause};
use crate::codes;

/// A refusal that is known by its words.
struct Refusal {
    /// One of these is in the code or the description, in lower case.
    says: &'static [&'static str],
    cause: Cause,
    /// A corrected secret may help, so that the secret is read again.
    is_of_secret: bool,
    remedy: &'static str,
}

const fn configuration(says: &'static [&'static str], remedy: &'static str) -> Refusal {
    Refusal {
        says,
        cause: Cause::Configuration,
        is_of_secret: false,
        remedy,
    }
}

const fn credential(says: &'static [&'static str], remedy: &'static str) -> Refusal {
    Refusal {
        says,
        cause: Cause::Credential,
        is_of_secret: true,
        remedy,
    }
}

/// A configuration that is at fault because the secret names the wrong org.
const fn elsewhere(says: &'static [&'static str], remedy: &'static str) -> Refusal {
    Refusal {
        says,
        cause: Cause::Configuration,
        is_of_secret: true,
        remedy,
    }
}

/// All known refusals. The first that fits decides.
const REFUSALS: &[Refusal] = &[
    elsewhere(
        &["not supported on this domain"],
        "login_url in the secret has to be the org's own My Domain, https://NAME.my.salesforce.com",
    ),
    // The generic hosts do not know the External Client Apps of an org.
    elsewhere(
        &["is not installed in this org", "app_not_found"],
        "the External Client App is not installed in the org: login_url in the secret has to be the My Domain of the org \
         that has the app, and client_id that app's consumer key; or install the app there",
    ),
    elsewhere(
        &["inactive_org", "inactive organization", "inactive org"],
        "the org is locked, closed or suspended: have Salesforce reactivate it, or correct login_url in the secret",
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
        "the integration user is not approved for the app: pre-authorize the user's permission set in the External Client \
         App's policies (Permitted Users: admin approved users are pre-authorized)",
    ),
    configuration(
        &["oauth_app_blocked", "blocked by admin"],
        "the org blocks the app: unblock it under Setup, Connected Apps OAuth Usage (or External Client App Manager)",
    ),
    configuration(
        &[
            "ip restricted",
            "restricted ip",
            "login hours",
            "login_ip",
            "ip_restricted",
        ],
        "the org's IP restrictions or login hours keep the integration user out: add the function's outgoing addresses to \
         the Login IP Ranges and all hours to the Login Hours of the user's profile, or relax IP restrictions in the \
         External Client App's policies",
    ),
    configuration(
        &["unsupported_grant_type"],
        "enable the client credentials flow (or JWT bearer) in the External Client App",
    ),
    credential(
        &["inactive_user", "inactive user", "user is inactive"],
        "the integration user is inactive: activate it in Setup, Users (or name another: the run-as user of the External \
         Client App, with JWT the username in the secret)",
    ),
    Refusal {
        says: &["login rate exceeded", "rate_limit_exceeded"],
        cause: Cause::Quota,
        is_of_secret: false,
        remedy: "the integration user has logged in 3,600 times within an hour: give this service a user of its own",
    },
    credential(
        &["invalid_client"],
        "client_id and client_secret in the secret have to be the External Client App's (a new app takes ten minutes to be \
         known)",
    ),
    credential(
        &["invalid assertion", "invalid_assertion"],
        "private_key_pem in the secret has to belong to the certificate of the External Client App, and client_id to the app",
    ),
    credential(
        &["audience is invalid", "invalid audience"],
        "audience in the secret has to be https://login.salesforce.com, for a sandbox https://test.salesforce.com",
    ),
];

/// Refusals that pass by themselves, though they come with a 400.
/// <https://github.com/amazon-connect/amazon-connect-salesforce-lambda/issues/43>
/// <https://help.salesforce.com/s/articleView?id=release-notes.rn_security_refresh_token_error.htm&release=252&type=5>
const PASSING: &[&str] = &[
    "retry your request",
    "token request is already being processed",
    "temporarily_unavailable",
    "server_error",
];

/// Returns the error of an answer that is no token.
pub(super) fn refused(answer: &HttpResponse) -> TokenError {
    let http_code = || Code::from_system(&codes::http(answer.status));
    let after = answer.retry_after();
    let retry = |code| CallError::Retry {
        code,
        after,
        pressure: false,
        cause: FailureCause::Destination,
    };
    let problems = problems(answer);
    match (answer.status, problems.first()) {
        (429, _) => TokenError::Other(CallError::Throttled {
            code: http_code(),
            after,
        }),
        (300..=399, None) => TokenError::Secret(stop(
            Cause::Configuration,
            codes::NO_TOKEN,
            "login_url in the secret leads elsewhere: it has to be the org's own My Domain"
                .to_owned(),
        )),
        // A page, with a 403 say, is a proxy's, and may be gone in a moment. The breaker limits the
        // calls.
        (_, None) => TokenError::Host(retry(http_code())),
        (408 | 420 | 500.., Some(_)) => TokenError::Other(retry(http_code())),
        (_, Some(problem)) => {
            said(problem).unwrap_or_else(|| TokenError::Other(retry(problem.code())))
        }
    }
}

/// Looks a refusal up; `None` for one that passes by itself.
fn said(problem: &ApiError) -> Option<TokenError> {
    let said = format!(
        "{} {}",
        problem.code(),
        problem.message.as_deref().unwrap_or_default()
    )
    .to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    if says(PASSING) {
        return None;
    }
    let unknown = credential(
        &[],
        "Salesforce grants no token: check the secret, and the External Client App's policies",
    );
    let refusal = REFUSALS
        .iter()
        .find(|refusal| says(refusal.says))
        .unwrap_or(&unknown);
    let error = stop(refusal.cause, problem.code(), refusal.remedy.to_owned());
    Some(if refusal.is_of_secret {
        TokenError::Secret(error)
    } else {
        TokenError::Other(error)
    })
}
