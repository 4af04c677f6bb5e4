//! What the token endpoint refuses, and what to do about it.

use super::super::problem::problems;
use super::{Failed, stop};
use crate::adapters::http::HttpAnswer;
use crate::adapters::{CallError, Cause, Code, FailureCause};

/// What the endpoint says of a `login_url` that is not the org's own.
const ELSEWHERE: &str = "not supported on this domain";

/// What the endpoint's refusals mean. Each remedy is what people found to help.
const REFUSALS: &[(&str, Cause, &str)] = &[
    (
        ELSEWHERE,
        Cause::Configuration,
        "login_url in the secret has to be the org's own My Domain, https://NAME.my.salesforce.com",
    ),
    (
        "no client credentials user enabled",
        Cause::Configuration,
        "choose a run-as user in the External Client App's client credentials flow",
    ),
    (
        "user hasn't approved this consumer",
        Cause::Configuration,
        "pre-authorize the integration user's permission set in the External Client App",
    ),
    (
        "unsupported_grant_type",
        Cause::Configuration,
        "enable the client credentials flow (or JWT bearer) in the External Client App",
    ),
    (
        "login rate exceeded",
        Cause::Quota,
        "the integration user has logged in 3,600 times within an hour: give this service a user of its own",
    ),
    (
        "invalid_client",
        Cause::Credential,
        "client_id and client_secret in the secret have to be the External Client App's",
    ),
];

/// What the endpoint says, with a 400, where it failed for itself.
/// <https://github.com/amazon-connect/amazon-connect-salesforce-lambda/issues/43>
const RETRY: &str = "retry your request";

/// What to do about an answer that is no token.
pub(super) fn refused(answer: &HttpAnswer) -> Failed {
    if answer.status >= 500 || matches!(answer.status, 408 | 420 | 429) {
        let code = Code::from_system(&format!("HTTP_{}", answer.status));
        let after = answer.retry_after();
        return Failed::Other(match answer.status {
            429 => CallError::Throttled { code, after },
            _ => CallError::Retry { code, after, pressure: false, cause: FailureCause::Destination },
        });
    }
    let problems = problems(answer);
    let Some(problem) = problems.first() else {
        if answer.status < 400 {
            let remedy = "login_url in the secret leads elsewhere: it has to be the org's own My Domain".to_owned();
            return Failed::Secret(stop(Cause::Configuration, "NO_TOKEN", remedy));
        }
        // Without Salesforce's own words it is a proxy's, which may be gone in a moment; the breaker bounds the calls.
        let code = Code::from_system(&format!("HTTP_{}", answer.status));
        return Failed::Other(CallError::failed(code, FailureCause::Destination));
    };
    let said = format!("{} {}", problem.code(), problem.message.as_deref().unwrap_or_default()).to_lowercase();
    if said.contains(RETRY) {
        return Failed::Other(CallError::failed(problem.code(), FailureCause::Destination));
    }
    let unknown = ("", Cause::Credential, "Salesforce grants no token: check the secret and the External Client App");
    let (_, cause, remedy) = *REFUSALS.iter().find(|(part, ..)| said.contains(part)).unwrap_or(&unknown);
    let error = stop(cause, problem.code(), remedy.to_owned());
    let of_secret = cause == Cause::Credential || said.contains(ELSEWHERE);
    if of_secret { Failed::Secret(error) } else { Failed::Other(error) }
}
