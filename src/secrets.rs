//! Caches secrets. They are read from Secrets Manager (or, in the presets `local` and `test`, from
//! a file), expire, and are read again when a system refuses them.
//!
//! The values in this module are wiped from memory when they are dropped, and so are the copies of
//! the adapters. The buffers of other libraries cannot be wiped from here: those of TLS and HTTP,
//! which carry values and tokens, and those of the AWS SDK, which parses the response. These
//! buffers live as long as a call, the header with a token as long as the token. No error, log
//! line, `Debug` output or environment variable holds a value.

mod manager;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use self::manager::SecretsManager;
use crate::clock;
use crate::services::SecretStore;

/// Least interval between two reads of a refused secret: a wrong secret must not cause a stream of
/// calls.
const REREAD_EVERY: Duration = Duration::from_secs(30);

/// Lifetime of a cached secret, so that a rotated secret is found before the old one is refused. Up
/// to a tenth is subtracted at random: functions that started together do not read together. Counts
/// wall-clock time ([`clock`]).
const TIME_TO_LIVE: Duration = Duration::from_mins(10);

/// Timeout of a read. The SDK itself has none.
const LONGEST_READ: Duration = Duration::from_secs(5);

/// Timeout of a read while an earlier value is cached: records wait for the read.
const LONGEST_REREAD: Duration = Duration::from_secs(1);

/// The code of Secrets Manager for a secret that does not exist, and for a secret without a value.
const NOT_FOUND: &str = "ResourceNotFoundException";

/// The source of a secret.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// AWS Secrets Manager, by name or ARN.
    SecretsManager(Arc<SecretsManager>, String),
    /// A file on this machine.
    File(PathBuf),
}

/// A secret cannot be read. The message names the secret, never its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager refused the read.
    #[error("Secrets Manager refuses to return the secret `{id}` ({code}: {message})")]
    Refused {
        /// The secret's name or ARN.
        id: String,
        /// The service's code.
        code: String,
        /// The service's message, which names the secret and the caller.
        message: String,
    },
    /// Secrets Manager was not reached, or did not respond.
    #[error("Secrets Manager does not respond for the secret `{id}`")]
    Unreached {
        /// The secret's name or ARN.
        id: String,
        /// The client's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The secret is binary.
    #[error("the secret `{0}` holds binary data, not text")]
    NotText(String),
    /// The file cannot be read.
    #[error("cannot read the secret file `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
}

impl SecretError {
    /// Returns the instruction for the operator.
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors>
    pub fn remedy(&self) -> &'static str {
        match self {
            // The service has one code for both cases; their messages differ.
            // <https://github.com/boto/boto3/issues/2794>
            Self::Refused { code, message, .. }
                if code == NOT_FOUND && message.contains("staging label") =>
            {
                "it exists without a value: put a value into it"
            }
            Self::Refused { code, .. } => match code.as_str() {
                NOT_FOUND => "create it, or correct the secret_id",
                "InvalidRequestException" => {
                    "put a value into it, or restore it where its deletion is scheduled"
                }
                "AccessDeniedException" | "DecryptionFailure" => {
                    "allow the caller (in a deployment the function's role, for the operator's \
                     tool yourself) secretsmanager:GetSecretValue, and kms:Decrypt where the \
                     secret has its own key"
                }
                _ => "the service is unavailable: the secret is read again",
            },
            Self::Unreached { .. } => {
                "check that the function has credentials, and in a VPC a route to the service: \
                 a NAT gateway or an endpoint"
            }
            Self::NotText(_) => "store it as text, not as binary",
            Self::File { .. } => "name a readable file",
        }
    }
}

/// All secrets of the process, each by its id.
#[derive(Debug)]
pub struct Secrets {
    manager: Arc<SecretsManager>,
    files_allowed: bool,
    known: std::sync::Mutex<BTreeMap<String, Arc<Secret>>>,
}

impl Secrets {
    /// Creates the cache for secrets of Secrets Manager, and for files (`file:PATH`) where those
    /// are allowed.
    pub fn new(store: Arc<dyn SecretStore>, files_allowed: bool) -> Self {
        Self {
            manager: Arc::new(SecretsManager::new(store)),
            files_allowed,
            known: std::sync::Mutex::default(),
        }
    }

    /// Returns the secret of this id. Reads nothing.
    pub fn get(&self, id: &str) -> Arc<Secret> {
        self.known_or(id, || self.manager.source(id))
    }

    /// Returns the secret of this id, which [`Self::prefetch`] does not read.
    pub fn get_unused(&self, id: &str) -> Arc<Secret> {
        self.known_or(id, || self.manager.unused_source(id))
    }

    fn known_or(&self, id: &str, managed: impl FnOnce() -> SecretSource) -> Arc<Secret> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = known.entry(id.to_owned()).or_insert_with(|| {
            Arc::new(Secret::new(match id.strip_prefix("file:") {
                Some(path) if self.files_allowed => SecretSource::File(path.into()),
                _ => managed(),
            }))
        });
        Arc::clone(secret)
    }

    /// Reads all secrets of Secrets Manager that [`Self::get`] returned so far, in one call, where
    /// there are any. A read in the meantime waits for the same call.
    pub async fn prefetch(&self) {
        self.manager.prefetch().await;
    }
}

/// One secret, shared by all clients of one destination.
#[derive(Debug)]
pub struct Secret {
    source: SecretSource,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    value: Option<Arc<SecretString>>,
    fresh_until: Option<Instant>,
    reread_at: Option<Instant>,
}

/// A value and the time when it was read.
#[derive(Debug)]
struct Reading {
    value: SecretString,
    at: Instant,
}

impl Reading {
    fn now(value: SecretString) -> Self {
        Self {
            value,
            at: clock::now(),
        }
    }
}

impl State {
    fn keep(&mut self, Reading { value, at }: Reading) -> Arc<SecretString> {
        let value = Arc::new(value);
        self.value = Some(Arc::clone(&value));
        self.fresh_until = Some(at + TIME_TO_LIVE.mul_f64(1.0 - 0.1 * fastrand::f64()));
        value
    }
}

impl Secret {
    /// Creates a secret that the first [`Self::get`] reads.
    pub fn new(source: SecretSource) -> Self {
        Self {
            source,
            state: Mutex::default(),
        }
    }

    /// Returns the value. Reads it from its source the first time, and again when it has expired.
    /// An expired value stays in use while the source cannot be read.
    ///
    /// # Errors
    /// Where the source cannot be read and no earlier value is cached.
    pub async fn get(&self) -> Result<Arc<SecretString>, SecretError> {
        let mut state = self.state.lock().await;
        let Some(value) = state.value.clone() else {
            return Ok(state.keep(self.source.read(LONGEST_READ).await?));
        };
        if state.fresh_until.is_some_and(|until| clock::now() < until) {
            return Ok(value);
        }
        // Before the attempt, so that a cancelled attempt counts too.
        state.fresh_until = Some(clock::now() + REREAD_EVERY);
        match self.source.read(LONGEST_REREAD).await {
            Ok(new) => Ok(state.keep(new)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "secret not read again: the last value stays");
                Ok(value)
            }
        }
    }

    /// Returns another value than `refused`, which a system refused; `None` where there is none.
    /// Reads the source, unless another value is cached or the source was read within 30 seconds.
    ///
    /// # Errors
    /// Where the source cannot be read.
    pub async fn renew(
        &self,
        refused: &Arc<SecretString>,
    ) -> Result<Option<Arc<SecretString>>, SecretError> {
        let mut state = self.state.lock().await;
        if let Some(value) = &state.value
            && is_other(value, refused)
        {
            return Ok(Some(Arc::clone(value)));
        }
        if state
            .reread_at
            .is_some_and(|at| clock::elapsed(at) < REREAD_EVERY)
        {
            return Ok(None);
        }
        state.reread_at = Some(clock::now());
        let value = state.keep(self.source.read(LONGEST_READ).await?);
        Ok(is_other(&value, refused).then_some(value))
    }
}

fn is_other(value: &SecretString, refused: &SecretString) -> bool {
    value.expose_secret() != refused.expose_secret()
}

impl SecretSource {
    async fn read(&self, longest: Duration) -> Result<Reading, SecretError> {
        match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|source| SecretError::File {
                    path: path.clone(),
                    source,
                })?;
                Ok(Reading::now(text.into()))
            }
            Self::SecretsManager(manager, id) => match timeout(longest, manager.read(id)).await {
                Ok(read) => read,
                Err(_) => Err(SecretError::Unreached {
                    id: id.clone(),
                    source: "no response in time".into(),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct File(tempfile::NamedTempFile);

    impl File {
        fn new(text: &str) -> (Self, Secret) {
            let file = tempfile::NamedTempFile::new().expect("a file");
            let secret = Secret::new(SecretSource::File(file.path().into()));
            let file = Self(file);
            file.write(text);
            (file, secret)
        }

        fn write(&self, text: &str) {
            std::fs::write(self.0.path(), text).expect("written");
        }
    }

    async fn get(secret: &Secret) -> String {
        secret
            .get()
            .await
            .expect("readable")
            .expose_secret()
            .to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_is_read_once_and_again_after_its_lifetime() {
        let (file, secret) = File::new("old");
        assert_eq!(get(&secret).await, "old");
        file.write("new");
        tokio::time::advance(Duration::from_mins(8)).await;
        assert_eq!(get(&secret).await, "old");
        tokio::time::advance(Duration::from_mins(3)).await;
        assert_eq!(get(&secret).await, "new");
        std::fs::remove_file(file.0.path()).expect("removed");
        tokio::time::advance(Duration::from_mins(11)).await;
        assert_eq!(
            get(&secret).await,
            "new",
            "a value that cannot be read again stays in use"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_secret_is_read_again_at_most_once_in_30_seconds() {
        let (file, secret) = File::new("old");
        let old = secret.get().await.expect("readable");
        assert!(
            secret.renew(&old).await.expect("readable").is_none(),
            "the same value is not returned"
        );
        file.write("new");
        assert!(
            secret.renew(&old).await.expect("readable").is_none(),
            "read a moment ago"
        );
        tokio::time::advance(REREAD_EVERY).await;
        let new = secret
            .renew(&old)
            .await
            .expect("readable")
            .expect("another value");
        assert_eq!(new.expose_secret(), "new");
        let again = secret
            .renew(&old)
            .await
            .expect("readable")
            .expect("the other value is cached");
        assert_eq!(again.expose_secret(), "new");
    }

    #[tokio::test(start_paused = true)]
    async fn a_freeze_of_the_environment_counts_toward_the_lifetime() {
        let (file, secret) = File::new("old");
        let old = secret.get().await.expect("readable");
        file.write("new");
        clock::freeze(Duration::from_mins(8));
        assert_eq!(get(&secret).await, "old");
        clock::freeze(Duration::from_mins(2));
        assert_eq!(get(&secret).await, "new", "ten minutes at most");
        let new = secret
            .renew(&old)
            .await
            .expect("readable")
            .expect("another value");
        assert!(secret.renew(&new).await.expect("readable").is_none());
        file.write("newer");
        assert!(
            secret.renew(&new).await.expect("readable").is_none(),
            "read a moment ago"
        );
        clock::freeze(REREAD_EVERY);
        assert!(secret.renew(&new).await.expect("readable").is_some());
    }

    #[tokio::test]
    async fn debug_output_and_errors_name_the_secret_and_never_its_value() {
        let (_file, secret) = File::new("hunter2");
        secret.get().await.expect("readable");
        assert!(!format!("{secret:?}").contains("hunter2"));
        let missing = Secret::new(SecretSource::File("/nowhere/at-all".into()));
        let error = missing.get().await.expect_err("unreadable").to_string();
        assert!(error.contains("/nowhere/at-all"), "{error}");
    }
}
