//! Tokens: by client credentials or by a signed assertion, one request at a time however many calls
//! wait for it.
//!
//! A token is kept until its secret changes, Salesforce refuses it (401), or its instance does not
//! answer in Salesforce's own words: a page, a redirect, no connection, no answer in time. An org
//! that moves to another host answers 401 at none of the old ones. The secret is asked for with
//! each call, and is read again after ten minutes at most. The host of a token is checked before
//! the token is kept.
//!
//! An instance that does not answer costs one token at once and at most one more in each
//! [`REPLACE_EVERY`], however many calls are made: the new token may name another instance, or the
//! same. Where no token is granted, each call asks once, and the breaker limits the calls.
//!
//! <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm>

mod grant;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

use self::grant::{Grant, TokenError, request};
use crate::adapters::http::Http;
use crate::adapters::{Call, CallError, Cause, FailureCause};
use crate::clock;
use crate::codes;
use crate::secrets::Secret;

/// The shortest time between two tokens that are asked for because the instance does not answer.
const REPLACE_EVERY: Duration = Duration::from_secs(30);

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

impl Auth {
    pub(super) fn new(secret: Arc<Secret>) -> Self {
        Self {
            secret,
            state: Mutex::default(),
            doubted: AtomicU64::new(0),
        }
    }

    /// The token at hand, or a new one.
    pub(super) async fn token(&self, http: &Http, call: Call<'_>) -> Result<Token, CallError> {
        self.token_after(None, http, call).await
    }

    /// Salesforce refused `token`: the one that has replaced it, or a new one.
    pub(super) async fn renew(
        &self,
        token: &Token,
        http: &Http,
        call: Call<'_>,
    ) -> Result<Token, CallError> {
        self.token_after(Some(token.generation), http, call).await
    }

    /// Takes note of whether the instance of `token` answered a call in Salesforce's own words.
    pub(super) fn note(&self, token: &Token, is_answer: bool) {
        if is_answer {
            // An error here is a doubt about another token, which stays.
            let _ = self
                .doubted
                .compare_exchange(token.generation, 0, Relaxed, Relaxed);
        } else {
            self.doubted.fetch_max(token.generation, Relaxed);
        }
    }

    async fn token_after(
        &self,
        refused: Option<u64>,
        http: &Http,
        call: Call<'_>,
    ) -> Result<Token, CallError> {
        let asked = Instant::now();
        let mut state = self.locked(call).await?;
        // Calls that waited together do not ask one after the other; one that comes later asks
        // anew.
        if let Some((_, failure)) = state.failure.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(failure.clone());
        }
        let token = timeout_at(
            call.give_up_at,
            self.current(&mut state, refused, http, call),
        )
        .await;
        let token = token.unwrap_or_else(|_| Err(timed_out()));
        state.failure = token
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.clone()));
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
        let secret = self
            .secret
            .get()
            .await
            .map_err(|error| CallError::secret_unreadable(&error))?;
        self.drop_doubted(state);
        let is_usable = |token: &&Token| Some(token.generation) != refused && token.is_of(&secret);
        if let Some(token) = state.token.as_ref().filter(is_usable) {
            return Ok(token.clone());
        }
        state.token = None;
        let Grant {
            header,
            instance,
            secret,
        } = self.grant(secret, http, call).await?;
        state.generation += 1;
        let token = Token {
            header,
            instance,
            secret,
            generation: state.generation,
        };
        state.token = Some(token.clone());
        Ok(token)
    }

    /// Drops a token whose instance does not answer, unless one was replaced for that a moment ago.
    fn drop_doubted(&self, state: &mut State) {
        let doubted = self.doubted.load(Relaxed);
        let is_doubted = state
            .token
            .as_ref()
            .is_some_and(|token| token.generation == doubted);
        if is_doubted
            && state
                .replaced
                .is_none_or(|at| clock::elapsed(at) >= REPLACE_EVERY)
        {
            state.replaced = Some(clock::now());
            state.token = None;
        }
    }

    /// Waits for the state, without a permit: the call that holds it may need one for its request.
    async fn locked(&self, call: Call<'_>) -> Result<MutexGuard<'_, State>, CallError> {
        if let Ok(state) = self.state.try_lock() {
            return Ok(state);
        }
        call.permits.give_back();
        timeout_at(call.give_up_at, self.state.lock())
            .await
            .map_err(|_| timed_out())
    }

    /// Asks for a token, and once more with the secret read again where its content is refused or
    /// its host does not answer.
    async fn grant(
        &self,
        secret: Arc<SecretString>,
        http: &Http,
        call: Call<'_>,
    ) -> Result<Grant, CallError> {
        let (refusal, is_silent) = match request(&secret, http, call).await {
            Ok(granted) => return Ok(granted),
            Err(TokenError::Other(error)) => return Err(error),
            Err(TokenError::Secret(error)) => (error, false),
            Err(TokenError::Host(error)) => (error, true),
        };
        if matches!(&refusal, CallError::Stop(stop) if stop.cause == Cause::Credential) {
            call.meter.auth_failure();
        }
        match self.secret.renew(&secret).await {
            Ok(Some(renewed)) => request(&renewed, http, call)
                .await
                .map_err(TokenError::into_error),
            // Where the host is silent, it is the one to be named, whether or not the secret can be
            // read.
            Err(error) if !is_silent => Err(CallError::secret_unreadable(&error)),
            Ok(None) | Err(_) => Err(refusal),
        }
    }
}

fn timed_out() -> CallError {
    CallError::failed(codes::TOKEN_TIMEOUT, FailureCause::Destination)
}
