//! Requests one token: builds the form from the secret, and parses the response.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::refusals::refused;
use crate::adapters::Call;
use crate::adapters::http::{Http, HttpError, HttpResponse, bearer};
use crate::model::codes;
use crate::model::{CallError, Cause, FailureCause, Stop};

/// Validity of an assertion; Salesforce allows up to five minutes.
const ASSERTION_LIFE: Duration = Duration::from_mins(3);

/// Content of the secret, as JSON.
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
            .map_err(|_| "the secret lacks a field, or has one of a wrong type")
    }
}

/// Response of the token endpoint. It does not report the token's lifetime.
#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    instance_url: String,
}

/// A granted token.
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    /// Host that granted it.
    pub(super) login: Url,
    pub(super) instance: Url,
    pub(super) secret: Arc<SecretString>,
}

/// A failed grant.
pub(super) enum TokenError {
    /// The secret's content is refused. A secret that has changed since may help.
    Secret(CallError),
    /// The host that the secret names sends no response of Salesforce's own. A secret that has
    /// changed since may help.
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

/// Requests a token at the endpoint that `secret` names.
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
        .post(url.clone())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    let request = request
        .build()
        .map_err(HttpError::Connection)
        .map_err(unanswered)?;
    let response = http.send(request, call).await.map_err(unanswered)?;
    if response.status != 200 {
        return Err(refused(&response));
    }
    let (header, instance) = granted(response)?;
    http.check(&instance)
        .map_err(|error| forbidden("the token's instance_url", &error))?;
    Ok(Grant {
        header,
        login: url,
        instance,
        secret: Arc::clone(secret),
    })
}

/// Builds the error of a secret that cannot be used.
fn malformed(fault: &str) -> TokenError {
    let form = r#"{"login_url", "client_id", "client_secret"}"#;
    let form_of_jwt = r#"(or, for JWT, "private_key_pem", "username", "audience")"#;
    let remedy = format!("{fault}; the secret's form is {form} {form_of_jwt}");
    TokenError::Secret(Stop::new(Cause::Credential, codes::SECRET_MALFORMED, remedy).into())
}

/// Converts the error of a token request without a response. The request is sent to the host that
/// the secret names.
fn unanswered(error: HttpError) -> TokenError {
    match error {
        HttpError::Forbidden(_) => forbidden("login_url in the secret", &error),
        HttpError::NotSentInTime | HttpError::CutByDeadline => {
            TokenError::Other(error.into_call_error())
        }
        error => TokenError::Host(error.into_call_error().without_records()),
    }
}

/// Builds the error of a URL, named by `name`, to which no credential may be sent. A corrected
/// secret may name another.
fn forbidden(name: &str, error: &HttpError) -> TokenError {
    let remedy = format!(
        "{name} is refused: {error}. Correct login_url in the secret, or add the host to \
         `salesforce.allowed_hosts`"
    );
    TokenError::Secret(HttpError::Forbidden(remedy).into_call_error())
}

/// Builds the form of a token request, without the blanks that copying leaves around a value. Its
/// capacity suffices for the longest secrets, so that no reallocation leaves a copy in memory.
fn body(content: &Content) -> Result<Zeroizing<String>, &'static str> {
    const CAPACITY: usize = 8192;
    let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(CAPACITY));
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

/// Builds the signed assertion of our identity.
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

fn granted(response: HttpResponse) -> Result<(HeaderValue, Url), TokenError> {
    let unreadable = || {
        TokenError::Host(CallError::failed(
            codes::UNREADABLE_TOKEN,
            FailureCause::Destination,
        ))
    };
    let granted = serde_json::from_slice::<Granted>(&response.body);
    wipe(response.body);
    let granted = granted.map_err(|_| unreadable())?;
    let header = bearer(granted.access_token.expose_secret()).ok_or_else(unreadable)?;
    let instance = Url::parse(&granted.instance_url)
        .ok()
        .filter(Url::has_host)
        .ok_or_else(unreadable)?;
    Ok((header, instance))
}

/// Wipes the token from the memory of a response that has no other owner.
fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
}
