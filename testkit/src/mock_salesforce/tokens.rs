//! Token endpoint, and validation of the tokens and headers of all other calls.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::json;

use super::super::server::{Answer, Request};
use super::{CLIENT_ID, State, refusal};

/// Maximum lifetime of an assertion.
const MAX_ASSERTION_LIFETIME: Duration = Duration::from_mins(5);

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Signer of assertions.
#[derive(Clone, Debug)]
pub struct Signer {
    pub public_key: DecodingKey,
    pub username: String,
    pub audience: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: u64,
}

impl State {
    /// Returns the error of a call without a valid session. Records missing headers as protocol
    /// violations.
    pub(super) fn unauthorized(&mut self, request: &Request) -> Option<Answer> {
        for (name, value) in [
            ("sforce-auto-assign", None),
            ("sforce-duplicate-rule-header", None),
            ("sforce-call-options", Some("client=contact-sync")),
        ] {
            let sent = request.header(name);
            if sent.is_none() || value.is_some_and(|value| sent != Some(value)) {
                self.controls
                    .record_violation(format!("{name} is {sent:?}"));
            }
        }
        let Some(token) = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
        else {
            return Some(refusal(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"));
        };
        if self.takes_any_token || self.tokens.contains(token) {
            return None;
        }
        self.controls.count_refused_token();
        Some(refusal(
            401,
            "INVALID_SESSION_ID",
            "Session expired or invalid",
        ))
    }

    pub(super) fn token(&mut self, request: &Request) -> Answer {
        if request.header("content-type") != Some("application/x-www-form-urlencoded") {
            self.controls
                .record_violation("a token request that is not a form");
        }
        let form: HashMap<String, String> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        if let Err((error, text)) = self.check(&form) {
            return Answer::json(400, &json!({"error": error, "error_description": text}));
        }
        self.granted += 1;
        let token = format!("00Dmock!{}", self.granted);
        self.tokens.insert(token.clone());
        let instance_url = self
            .behavior
            .instance_url
            .clone()
            .unwrap_or_else(|| self.url.clone());
        let body = json!({
            "access_token": token,
            "signature": "s",
            "scope": "api",
            "instance_url": instance_url,
            "id": "https://login.salesforce.com/id/00D/005",
            "token_type": "Bearer",
            "issued_at": "1782343657644",
        });
        Answer::json(200, &body)
    }

    fn check(&self, form: &HashMap<String, String>) -> Result<(), (&'static str, &'static str)> {
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        match (field("grant_type"), &self.signer) {
            (JWT_BEARER, Some(signer)) => check_assertion(field("assertion"), signer),
            (JWT_BEARER, None) => Err(("invalid_grant", "user hasn't approved this consumer")),
            ("client_credentials", None) if field("client_id") != CLIENT_ID => {
                Err(("invalid_client_id", "client identifier invalid"))
            }
            ("client_credentials", None) if field("client_secret") != self.client_secret => {
                Err(("invalid_client", "invalid client credentials"))
            }
            ("client_credentials", None) => Ok(()),
            _ => Err(("unsupported_grant_type", "grant type not supported")),
        }
    }
}

/// Validates an assertion as Salesforce does: signature, issuer, subject, audience and expiry.
fn check_assertion(assertion: &str, signer: &Signer) -> Result<(), (&'static str, &'static str)> {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[&signer.audience]);
    validation.required_spec_claims = ["exp", "aud", "iss", "sub"].map(str::to_owned).into();
    let Ok(token) = jsonwebtoken::decode::<Claims>(assertion, &signer.public_key, &validation)
    else {
        return Err(("invalid_grant", "invalid assertion"));
    };
    let Claims { iss, sub, exp } = token.claims;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    if iss != CLIENT_ID {
        return Err(("invalid_client_id", "client identifier invalid"));
    }
    if sub != signer.username {
        return Err(("invalid_grant", "user hasn't approved this consumer"));
    }
    if exp > (now + MAX_ASSERTION_LIFETIME).as_secs() {
        return Err(("invalid_grant", "expired authorization code"));
    }
    Ok(())
}
