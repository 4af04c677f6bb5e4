//! Access tokens, by client credentials or by a signed assertion. One token request is sent at a
//! time, however many calls wait for it.
//!
//! A token is kept until its secret changes, Salesforce refuses it (401), or its instance sends no
//! response of Salesforce's own: a page, a redirect, no connection, or no response in time. An org
//! that moves to another host causes no 401 at the old one. The secret is requested with each call,
//! and is read again after ten minutes at most. The host of a token is checked before the token is
//! kept.
//!
//! An instance without responses costs one token at once and at most one more in each
//! [`REPLACE_EVERY`], however many calls are made: the new token may name another instance, or the
//! same. Where no token is granted, each call requests one, and the circuit breaker limits the
//! calls.
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
use crate::adapters::{Call, secret_unreadable};
use crate::clock;
use crate::model::codes;
use crate::model::{CallError, Cause, FailureCause};
use crate::secrets::Secret;

/// Shortest time between two tokens that are requested because the instance sends no response of
/// its own.
const REPLACE_EVERY: Duration = Duration::from_secs(30);

/// A token, and the instance that accepts it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Marked as sensitive: `Debug` does not show it.
    pub(super) header: HeaderValue,
    pub(super) instance: Url,
    /// Whether the instance is the host that granted the token, to which there is a connection.
    pub(super) is_granted_by_instance: bool,
    /// Secret by which it was granted.
    secret: Arc<SecretString>,
    generation: u64,
}

impl Token {
    fn is_of(&self, secret: &SecretString) -> bool {
        self.secret.expose_secret() == secret.expose_secret()
    }
}

/// Source of tokens.
#[derive(Debug)]
pub(super) struct Auth {
    secret: Arc<Secret>,
    state: Mutex<State>,
    /// Generation of the token whose instance sends no response of its own; 0 where each does.
    doubted: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    generation: u64,
    /// Last failed grant, and its time.
    failure: Option<(Instant, CallError)>,
    /// Time at which a token was last replaced because of its instance.
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

    /// Returns the current token, or a new one.
    pub(super) async fn token(&self, http: &Http, call: Call<'_>) -> Result<Token, CallError> {
        self.token_after(None, http, call).await
    }

    /// Returns the token that has replaced `token`, which Salesforce refused, or a new one.
    pub(super) async fn renew(
        &self,
        token: &Token,
        http: &Http,
        call: Call<'_>,
    ) -> Result<Token, CallError> {
        self.token_after(Some(token.generation), http, call).await
    }

    /// Notes whether the instance of `token` sent a response of Salesforce's own.
    pub(super) fn note_response(&self, token: &Token, is_own: bool) {
        if is_own {
            // An error means that another token is doubted, which stays so.
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
        let requested = Instant::now();
        let mut state = self.locked(call).await?;
        // Calls that waited together share one failure; a later call requests a token again.
        if let Some((failed, failure)) = &state.failure
            && *failed >= requested
        {
            return Err(failure.clone());
        }
        let token = self.current(&mut state, refused, http, call);
        let token = match timeout_at(call.give_up_at, token).await {
            Ok(token) => token,
            Err(_) => Err(timed_out()),
        };
        state.failure = token
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.clone()));
        token
    }

    /// Returns the current token where it may be used, or a new one.
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
            .map_err(|error| secret_unreadable(&error))?;
        self.drop_doubted(state);
        if let Some(token) = &state.token
            && Some(token.generation) != refused
            && token.is_of(&secret)
        {
            return Ok(token.clone());
        }
        state.token = None;
        let Grant {
            header,
            login,
            instance,
            secret,
        } = self.grant(secret, http, call).await?;
        state.generation += 1;
        let token = Token {
            header,
            is_granted_by_instance: login.origin() == instance.origin(),
            instance,
            secret,
            generation: state.generation,
        };
        state.token = Some(token.clone());
        Ok(token)
    }

    /// Drops a token whose instance sends no response of its own, unless one was replaced for that
    /// within [`REPLACE_EVERY`].
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

    /// Waits for the state without a permit: the call that holds the state may need one for its
    /// request.
    async fn locked(&self, call: Call<'_>) -> Result<MutexGuard<'_, State>, CallError> {
        if let Ok(state) = self.state.try_lock() {
            return Ok(state);
        }
        call.permits.give_back();
        timeout_at(call.give_up_at, self.state.lock())
            .await
            .map_err(|_| timed_out())
    }

    /// Requests a token, and once more with the secret read again where its content is refused or
    /// its host sends no response of its own.
    async fn grant(
        &self,
        secret: Arc<SecretString>,
        http: &Http,
        call: Call<'_>,
    ) -> Result<Grant, CallError> {
        let (refusal, is_about_host) = match request(&secret, http, call).await {
            Ok(grant) => return Ok(grant),
            Err(TokenError::Other(error)) => return Err(error),
            Err(TokenError::Secret(error)) => (error, false),
            Err(TokenError::Host(error)) => (error, true),
        };
        if matches!(&refusal, CallError::Stop(stop) if stop.cause == Cause::Credential) {
            call.metrics.auth_failure();
        }
        match self.secret.renew(&secret).await {
            Ok(Some(renewed)) => request(&renewed, http, call)
                .await
                .map_err(TokenError::into_error),
            // Where the host sends no response, the error names the host, whether or not the secret
            // can be read.
            Err(error) if !is_about_host => Err(secret_unreadable(&error)),
            Ok(None) | Err(_) => Err(refusal),
        }
    }
}

fn timed_out() -> CallError {
    CallError::failed(codes::TOKEN_TIMEOUT, FailureCause::Destination)
}
