//! Tokens: by client credentials or by a signed assertion, kept for the process, one request at a time however many
//! calls wait for it.
//!
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm>

mod refusals;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use self::refusals::refused;
use crate::adapters::http::{Http, HttpAnswer, HttpError, bearer};
use crate::adapters::{Call, CallError, Cause, Code, FailureCause, Stop};
use crate::secrets::Secret;

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

/// The token endpoint's answer. It says nothing about how long the token lives.
#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    instance_url: String,
}

/// A token, and where to take it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Marked as sensitive: `Debug` does not show it.
    pub(super) header: HeaderValue,
    pub(super) instance: Url,
    generation: u64,
}

/// Where tokens come from.
#[derive(Debug)]
pub(super) struct Auth {
    secret: Arc<Secret>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    generation: u64,
    /// The last answer that was no token, and when it came.
    failure: Option<(Instant, CallError)>,
}

/// A grant that came to nothing.
enum Failed {
    /// What the secret says is refused: one that has been changed meanwhile may help.
    Secret(CallError),
    /// Another secret would not help.
    Other(CallError),
}

impl Auth {
    pub(super) fn new(secret: Arc<Secret>) -> Self {
        Self { secret, state: Mutex::default() }
    }

    /// The token at hand, or a new one.
    pub(super) async fn token(&self, http: &Http, call: Call<'_>) -> Result<Token, CallError> {
        self.token_after(None, http, call).await
    }

    /// Salesforce refused `token`: the one that has replaced it, or a new one.
    pub(super) async fn renew(&self, token: &Token, http: &Http, call: Call<'_>) -> Result<Token, CallError> {
        self.token_after(Some(token.generation), http, call).await
    }

    async fn token_after(&self, refused: Option<u64>, http: &Http, call: Call<'_>) -> Result<Token, CallError> {
        let asked = Instant::now();
        let mut state = timeout_at(call.give_up_at, self.state.lock()).await.map_err(|_| timed_out())?;
        if let Some(token) = state.token.as_ref().filter(|token| Some(token.generation) != refused) {
            return Ok(token.clone());
        }
        // Calls that waited together do not ask one after the other; one that comes later asks anew.
        if let Some((_, failure)) = state.failure.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(failure.clone());
        }
        state.token = None;
        let granted = timeout_at(call.give_up_at, self.grant(http, call)).await.unwrap_or_else(|_| Err(timed_out()));
        match granted {
            Ok((header, instance)) => {
                state.generation += 1;
                let token = Token { header, instance, generation: state.generation };
                state.token = Some(token.clone());
                state.failure = None;
                Ok(token)
            }
            Err(error) => {
                state.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Asks for a token, and once more with the secret read again where its content is refused.
    async fn grant(&self, http: &Http, call: Call<'_>) -> Result<(HeaderValue, Url), CallError> {
        let secret = self.secret.get().await.map_err(|error| CallError::secret_unreadable(&error))?;
        let refusal = match request(&secret, http, call).await {
            Ok(granted) => return Ok(granted),
            Err(Failed::Other(error)) => return Err(error),
            Err(Failed::Secret(error)) => error,
        };
        if matches!(&refusal, CallError::Stop(stop) if stop.cause == Cause::Credential) {
            call.meter.auth_failure();
        }
        match self.secret.renew(&secret).await.map_err(|error| CallError::secret_unreadable(&error))? {
            None => Err(refusal),
            Some(renewed) => match request(&renewed, http, call).await {
                Ok(granted) => Ok(granted),
                Err(Failed::Secret(error) | Failed::Other(error)) => Err(error),
            },
        }
    }
}

async fn request(secret: &SecretString, http: &Http, call: Call<'_>) -> Result<(HeaderValue, Url), Failed> {
    let form =
        r#"{"login_url", "client_id", "client_secret"} (or, for JWT, "private_key_pem", "username", "audience")"#;
    let malformed = |what: &str| {
        Failed::Secret(stop(Cause::Credential, "SECRET_MALFORMED", format!("{what}; the secret's form is {form}")))
    };
    let content: Content =
        serde_json::from_str(secret.expose_secret()).map_err(|_| malformed("the secret has not the right fields"))?;
    let mut url = Url::parse(&content.login_url).map_err(|_| malformed("login_url is no URL"))?;
    url.set_path("/services/oauth2/token");
    url.set_query(None);
    let body = Bytes::from_owner(body(&content).map_err(|what| malformed(&what))?);
    let request = http.client().post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let request = request.build().map_err(HttpError::Connection).map_err(unsent)?;
    let answer = http.send(request, call).await.map_err(unsent)?;
    if answer.status == 200 { granted(answer) } else { Err(refused(&answer)) }
}

/// A request for a token without an answer. It goes to the host that the secret names.
fn unsent(error: HttpError) -> Failed {
    let of_secret = matches!(error, HttpError::Forbidden(_));
    let error = error.into_call_error().without_records();
    if of_secret { Failed::Secret(error) } else { Failed::Other(error) }
}

/// The form that asks for a token. It has room for the longest secrets, so that no shorter draft of it is left behind.
fn body(content: &Content) -> Result<Zeroizing<String>, String> {
    const ROOM: usize = 8192;
    let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(ROOM));
    if let Some(pem) = &content.private_key_pem {
        let assertion = Zeroizing::new(assertion(content, pem.expose_secret())?);
        form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion);
    } else {
        let client_secret = content.client_secret.as_ref().ok_or("client_secret is missing")?.expose_secret();
        form.append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &content.client_id)
            .append_pair("client_secret", client_secret);
    }
    Ok(Zeroizing::new(form.finish()))
}

/// A signed statement of who we are.
/// <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm>
fn assertion(content: &Content, pem: &str) -> Result<String, String> {
    #[derive(Serialize)]
    struct Claims<'a> {
        iss: &'a str,
        sub: &'a str,
        aud: &'a str,
        exp: u64,
    }
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes())
        .map_err(|_| "private_key_pem is no RSA private key in PEM form")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Claims {
        iss: &content.client_id,
        sub: content.username.as_deref().ok_or("username is missing")?,
        aud: content.audience.as_deref().unwrap_or("https://login.salesforce.com"),
        exp: (now + ASSERTION_LIFE).as_secs(),
    };
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    jsonwebtoken::encode(&header, &claims, &key).map_err(|_| "private_key_pem cannot sign".to_owned())
}

fn granted(answer: HttpAnswer) -> Result<(HeaderValue, Url), Failed> {
    let unreadable = || Failed::Other(CallError::failed("UNREADABLE_TOKEN", FailureCause::Destination));
    let granted = serde_json::from_slice::<Granted>(&answer.body);
    wipe(answer.body);
    let granted = granted.map_err(|_| unreadable())?;
    let header = bearer(granted.access_token.expose_secret()).ok_or_else(unreadable)?;
    let instance = Url::parse(&granted.instance_url).ok().filter(Url::has_host).ok_or_else(unreadable)?;
    Ok((header, instance))
}

/// Leaves no token behind in the memory of an answer that nobody else holds.
fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
}

fn stop(cause: Cause, code: impl Into<Code>, remedy: String) -> CallError {
    CallError::Stop(Stop { cause, code: code.into(), remedy, after: None })
}

fn timed_out() -> CallError {
    CallError::failed("TOKEN_TIMEOUT", FailureCause::Destination)
}
