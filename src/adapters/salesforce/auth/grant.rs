//! One request for a token: the form that the secret makes, and the answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::refusals::refused;
use crate::adapters::http::{Http, HttpError, HttpResponse, bearer};
use crate::adapters::{Call, CallError, Cause, Code, FailureCause, Stop};
use crate::codes;

/// How long an assertion is valid; Salesforce allows up to five minutes.
const ASSERTION_LIFE: Duration = Duration::from_mins(3);

/// What the secret holds, as JSON.
#[derive(Deserialize)]
struct Content {
    login_url: String,
    client_id: String,
    client_secret: Option<SecretString>,
    private_key_pem: Option<SecretString>,
    username: Option<String>,
    audience: Option<String>,
}

impl Content {
    fn read(secret: &SecretString) -> Result<Self, &'static str> {
        serde_json::from_str(secret.expose_secret())
            .map_err(|_| "the secret has not the right fields")
    }
}

/// The token endpoint's answer. It says nothing about how long the token lives.
#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    instance_url: String,
}

/// A token as it was granted.
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    pub(super) instance: Url,
    pub(super) secret: Arc<SecretString>,
}

/// A grant that came to nothing.
pub(super) enum TokenError {
    /// What the secret says is refused: one that has been changed meanwhile may help.
    Secret(CallError),
    /// The host that the secret names does not answer in Salesforce's own words: the same.
    Host(CallError),
    /// Another secret would not help.
    Other(CallError),
}

impl TokenError {
    pub(super) fn into_error(self) -> CallError {
        let (Self::Secret(error) | Self::Host(error) | Self::Other(error)) = self;
        error
    }
}

/// Asks the token endpoint that `secret` names.
pub(super) async fn request(
    secret: &Arc<SecretString>,
    http: &Http,
    call: Call<'_>,
) -> Result<Grant, TokenError> {
    let content = Content::read(secret).map_err(malformed)?;
    let mut url =
        Url::parse(content.login_url.trim()).map_err(|_| malformed("login_url is no URL"))?;
    url.set_path("/services/oauth2/token");
    url.set_query(None);
    let body = Bytes::from_owner(body(&content).map_err(malformed)?);
    let request = http
        .client()
        .post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    let request = request
        .build()
        .map_err(HttpError::Connection)
        .map_err(unsent)?;
    let answer = http.send(request, call).await.map_err(unsent)?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    let (header, instance) = granted(answer)?;
    http.check(&instance)
        .map_err(|error| astray("the token's instance_url", &error))?;
    Ok(Grant {
        header,
        instance,
        secret: Arc::clone(secret),
    })
}

/// A secret that cannot be used as it is.
fn malformed(what: &str) -> TokenError {
    let form = r#"{"login_url", "client_id", "client_secret"} (or, for JWT, "private_key_pem", "username", "audience")"#;
    TokenError::Secret(stop(
        Cause::Credential,
        codes::SECRET_MALFORMED,
        format!("{what}; the secret's form is {form}"),
    ))
}

/// A request for a token without an answer. It goes to the host that the secret names.
fn unsent(error: HttpError) -> TokenError {
    match error {
        HttpError::Forbidden(_) => astray("login_url in the secret", &error),
        HttpError::NotSentInTime | HttpError::CutByDeadline => {
            TokenError::Other(error.into_call_error())
        }
        error => TokenError::Host(error.into_call_error().without_records()),
    }
}

/// A URL, named by `name`, to which no credential may go. A corrected secret may name another.
fn astray(name: &str, error: &HttpError) -> TokenError {
    let remedy = format!(
        "{name} is refused: {error}. Correct login_url in the secret, or add the host to `salesforce.allowed_hosts`"
    );
    TokenError::Secret(HttpError::Forbidden(remedy).into_call_error())
}

/// The form that asks for a token, without the blanks that copying leaves around a value. It has
/// room for the longest secrets, so that no shorter draft of it is left behind.
fn body(content: &Content) -> Result<Zeroizing<String>, &'static str> {
    const ROOM: usize = 8192;
    let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(ROOM));
    if let Some(pem) = &content.private_key_pem {
        let assertion = Zeroizing::new(assertion(content, pem.expose_secret())?);
        form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion);
    } else {
        let client_secret = content
            .client_secret
            .as_ref()
            .ok_or("client_secret is missing")?
            .expose_secret();
        form.append_pair("grant_type", "client_credentials")
            .append_pair("client_id", content.client_id.trim())
            .append_pair("client_secret", client_secret.trim());
    }
    Ok(Zeroizing::new(form.finish()))
}

/// A signed statement of who we are.
/// <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm>
fn assertion(content: &Content, pem: &str) -> Result<String, &'static str> {
    #[derive(Serialize)]
    struct Claims<'a> {
        iss: &'a str,
        sub: &'a str,
        aud: &'a str,
        exp: u64,
    }
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes())
        .map_err(|_| "private_key_pem is no RSA private key in PEM form")?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let claims = Claims {
        iss: content.client_id.trim(),
        sub: content
            .username
            .as_deref()
            .ok_or("username is missing")?
            .trim(),
        aud: content
            .audience
            .as_deref()
            .unwrap_or("https://login.salesforce.com")
            .trim(),
        exp: (now + ASSERTION_LIFE).as_secs(),
    };
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    jsonwebtoken::encode(&header, &claims, &key).map_err(|_| "private_key_pem cannot sign")
}

fn granted(answer: HttpResponse) -> Result<(HeaderValue, Url), TokenError> {
    let unreadable = || {
        TokenError::Host(CallError::failed(
            codes::UNREADABLE_TOKEN,
            FailureCause::Destination,
        ))
    };
    let granted = serde_json::from_slice::<Granted>(&answer.body);
    wipe(answer.body);
    let granted = granted.map_err(|_| unreadable())?;
    let header = bearer(granted.access_token.expose_secret()).ok_or_else(unreadable)?;
    let instance = Url::parse(&granted.instance_url)
        .ok()
        .filter(Url::has_host)
        .ok_or_else(unreadable)?;
    Ok((header, instance))
}

/// Leaves no token behind in the memory of an answer that nobody else holds.
fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
}

pub(super) fn stop(cause: Cause, code: impl Into<Code>, remedy: String) -> CallError {
    CallError::Stop(Stop {
        cause,
        code: code.into(),
        remedy,
        after: None,
    })
}
