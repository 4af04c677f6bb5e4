//! Access token: read from the secret, and read again once where HubSpot refuses it.
//!
//! Private app tokens, service keys and OAuth tokens use the same header. Static tokens do not
//! expire, but are rotated by hand: the secret then holds another one.
//! <https://developers.hubspot.com/changelog/service-keys>

use std::sync::Arc;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::timeout_at;

use crate::adapters::http::bearer;
use crate::adapters::{Call, secret_unreadable};
use crate::model::codes;
use crate::model::{CallError, Cause, FailureCause, Stop};
use crate::secrets::{Secret, SecretError};

/// Content of the secret, as JSON.
#[derive(Deserialize)]
struct Content {
    access_token: SecretString,
}

/// A token in the form in which it is sent.
pub(super) struct Token {
    /// Marked as sensitive: `Debug` does not show it.
    pub(super) header: HeaderValue,
    secret: Arc<SecretString>,
}

/// Source of tokens.
#[derive(Debug)]
pub(super) struct Auth {
    secret: Arc<Secret>,
}

impl Auth {
    pub(super) fn new(secret: Arc<Secret>) -> Self {
        Self { secret }
    }

    /// Returns the secret's token. A secret without one is read again, like a refused one;
    /// otherwise its correction would go unnoticed until the process ends.
    pub(super) async fn token(&self, call: Call<'_>) -> Result<Token, CallError> {
        let secret = in_time(self.secret.get(), call).await?;
        if let Some(token) = Token::parse(&secret) {
            return Ok(token);
        }
        let renewed = in_time(self.secret.renew(&secret), call).await?;
        renewed
            .as_ref()
            .and_then(Token::parse)
            .ok_or_else(malformed)
    }

    /// Returns another token after HubSpot refused `token`; `None` where the secret still holds
    /// that one.
    pub(super) async fn renew(
        &self,
        token: &Token,
        call: Call<'_>,
    ) -> Result<Option<Token>, CallError> {
        let renewed = in_time(self.secret.renew(&token.secret), call).await?;
        renewed
            .map(|secret| Token::parse(&secret).ok_or_else(malformed))
            .transpose()
    }
}

impl Token {
    fn parse(secret: &Arc<SecretString>) -> Option<Self> {
        let content: Content = serde_json::from_str(secret.expose_secret()).ok()?;
        let token = content.access_token.expose_secret().trim();
        if token.is_empty() {
            return None;
        }
        Some(Self {
            header: bearer(token)?,
            secret: Arc::clone(secret),
        })
    }
}

async fn in_time<T>(
    reading: impl Future<Output = Result<T, SecretError>>,
    call: Call<'_>,
) -> Result<T, CallError> {
    match timeout_at(call.give_up_at, reading).await {
        Ok(read) => read.map_err(|error| secret_unreadable(&error)),
        Err(_) => Err(CallError::failed(
            codes::SECRET_TIMEOUT,
            FailureCause::Destination,
        )),
    }
}

fn malformed() -> CallError {
    let remedy = "put {\"access_token\": \"…\"} into the secret `hubspot.secret_id`";
    Stop::new(Cause::Credential, codes::SECRET_MALFORMED, remedy).into()
}
