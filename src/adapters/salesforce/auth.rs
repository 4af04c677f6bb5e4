//! Tokens: by client credentials or by a signed assertion, one request at a time however many calls
//! wait for it.
//!
//! A token is kept until its secret changes, Salesforce refuses it (401), or its instance does not answer
//! in Salesforce's own words: a page, a redirect, no connection, no answer in time. An org that moves
//! to another host answers 401 at none of the old ones. The secret is asked for with each call, and is
//! read again after ten minutes at most. The host of a token is checked before the token is kept.
//!
//! An instance that does not answer costs one token at once and at most one more in each
//! [`REPLACE_EVERY`], however many calls are made: the new token may name another instance, or the same.
//! Where no token is granted, each call asks once, and the breaker limits the calls.
//!
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm>

mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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
use crate::clock;
use crate::secrets::Secret;

/// How long an assertion is valid; Salesforce allows up to five minutes.
const ASSERTION_LIFE: Duration = Duration::from_mins(3);

/// The shortest time between two tokens that are asked for because the instance does not answer.
const REPLACE_EVERY: Duration = Duration::from_secs(30);

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
    fn read(secret: &SecretString) -> Result<Self, String> {
        serde_json::from_str(secret.expose_secret()).map_err(|_| "the secret has not the right fields".to_owned())
    }
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
    /// By which secret it was granted.
    secret: Arc<SecretString>,
    generation: u64,
}

impl Token {
    fn is_of(&self, secret: &SecretString) -> bool {
        self.secret.expose_secret() == secret.expose_secret()
    }
}

/// Where tokens come from.
#[derive(Debug)]
pub(super) struct Auth {
    secret: Arc<Secret>,
    state: Mutex<State>,
    /// The generation of the token whose instance does not answer; 0 where all do.
    doubted: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    generation: u64,
    /// The last answer that was no token, and when it came.
    failure: Option<(Instant, CallError)>,
    /// When a token was replaced because its instance did not answer.
    replaced: Option<Instant>,
}

/// A token as it was granted.
struct Grant {
    header: HeaderValue,
    instance: Url,
    secret: Arc<SecretString>,
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
        Self { secret, state: Mutex::default(), doubted: AtomicU64::new(0) }
    }

    /// The token at hand, or a new one.
    pub(super) async fn token(&self, http: &Http, call: Call<'_>) -> Result<Token, CallError> {
        self.token_after(None, http, call).await
    }

    /// Salesforce refused `token`: the one that has replaced it, or a new one.
    pub(super) async fn renew(&self, token: &Token, http: &Http, call: Call<'_>) -> Result<Token, CallError> {
        self.token_after(Some(token.generation), http, call).await
    }

    /// Takes note of whether the instance of `token` answered a call in Salesforce's own words.
    pub(super) fn note(&self, token: &Token, is_answer: bool) {
        if is_answer {
            // An error here is a doubt about another token, which stays.
            let _ = self.doubted.compare_exchange(token.generation, 0, Relaxed, Relaxed);
        } else {
            self.doubted.fetch_max(token.generation, Relaxed);
        }
    }

    async fn token_after(&self, refused: Option<u64>, http: &Http, call: Call<'_>) -> Result<Token, CallError> {
        let asked = Instant::now();
        let mut state = timeout_at(call.give_up_at, self.state.lock()).await.map_err(|_| timed_out())?;
        // Calls that waited together do not ask one after the other; one that comes later asks anew.
        if let Some((_, failure)) = state.failure.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(failure.clone());
        }
        let token = timeout_at(call.give_up_at, self.current(&mut state, refused, http, call)).await;
        let token = token.unwrap_or_else(|_| Err(timed_out()));
        state.failure = token.as_ref().err().map(|error| (Instant::now(), error.clone()));
        token
    }

    /// Returns the token at hand where it may be used, or a new one.
    async fn current(
        &self,
        state: &mut State,
        refused: Option<u64>,
        http: &Http,
        call: Call<'_>,
    ) -> Result<Token, CallError> {
        let secret = self.secret.get().await.map_err(|error| CallError::secret_unreadable(&error))?;
        self.drop_doubted(state);
        let is_usable = |token: &&Token| Some(token.generation) != refused && token.is_of(&secret);
        if let Some(token) = state.token.as_ref().filter(is_usable) {
            return Ok(token.clone());
        }
        state.token = None;
        let Grant { header, instance, secret } = self.grant(secret, http, call).await?;
        state.generation += 1;
        let token = Token { header, instance, secret, generation: state.generation };
        state.token = Some(token.clone());
        Ok(token)
    }

    /// Drops a token whose instance does not answer, unless one was replaced for that a moment ago.
    fn drop_doubted(&self, state: &mut State) {
        let doubted = self.doubted.load(Relaxed);
        let is_doubted = state.token.as_ref().is_some_and(|token| token.generation == doubted);
        if is_doubted && state.replaced.is_none_or(|at| clock::elapsed(at) >= REPLACE_EVERY) {
            state.replaced = Some(clock::now());
            state.token = None;
        }
    }

    /// Asks for a token, and once more with the secret read again where its content is refused.
    async fn grant(&self, secret: Arc<SecretString>, http: &Http, call: Call<'_>) -> Result<Grant, CallError> {
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

async fn request(secret: &Arc<SecretString>, http: &Http, call: Call<'_>) -> Result<Grant, Failed> {
    let content = Content::read(secret).map_err(malformed)?;
    let mut url = Url::parse(content.login_url.trim()).map_err(|_| malformed("login_url is no URL".to_owned()))?;
    url.set_path("/services/oauth2/token");
    url.set_query(None);
    let body = Bytes::from_owner(body(&content).map_err(malformed)?);
    let request = http.client().post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let request = request.build().map_err(HttpError::Connection).map_err(unsent)?;
    let answer = http.send(request, call).await.map_err(unsent)?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    let (header, instance) = granted(answer)?;
    http.check(&instance).map_err(|error| astray("the token's instance_url", error))?;
    Ok(Grant { header, instance, secret: Arc::clone(secret) })
}

/// A secret that cannot be used as it is.
fn malformed(what: String) -> Failed {
    let form =
        r#"{"login_url", "client_id", "client_secret"} (or, for JWT, "private_key_pem", "username", "audience")"#;
    Failed::Secret(stop(Cause::Credential, "SECRET_MALFORMED", format!("{what}; the secret's form is {form}")))
}

/// A request for a token without an answer. It goes to the host that the secret names.
fn unsent(error: HttpError) -> Failed {
    match error {
        HttpError::Forbidden(_) => astray("login_url in the secret", error),
        error => Failed::Other(error.into_call_error().without_records()),
    }
}

/// A URL, named by `name`, to which no credential may go. A corrected secret may name another.
fn astray(name: &str, error: HttpError) -> Failed {
    let remedy = format!(
        "{name} is refused: {error}. Correct login_url in the secret, or add the host to `salesforce.allowed_hosts`"
    );
    Failed::Secret(HttpError::Forbidden(remedy).into_call_error())
}

/// The form that asks for a token, without the blanks that copying leaves around a value. It has room for the longest
/// secrets, so that no shorter draft of it is left behind.
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
            .append_pair("client_id", content.client_id.trim())
            .append_pair("client_secret", client_secret.trim());
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
        iss: content.client_id.trim(),
        sub: content.username.as_deref().ok_or("username is missing")?.trim(),
        aud: content.audience.as_deref().unwrap_or("https://login.salesforce.com").trim(),
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
