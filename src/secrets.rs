//! Secrets: read from Secrets Manager (or, in the presets `local` and `test`, from a file), kept
//! for a while, read again when a system refuses them.
//!
//! What is kept here is wiped from memory when it is dropped, and so is what the adapters take out
//! of it. What cannot be wiped from here are the buffers of others, which free them as they are:
//! TLS and HTTP, through which a value comes and a token goes, and the AWS SDK, which parses the
//! answer. They live as long as a call does, the header with the token as long as the token. What
//! is never made cannot be left behind either: no error, log line, `Debug` or environment variable
//! holds a value.

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

/// A refused secret is read again at most this often: a wrong one must not become a stream of
/// calls.
const REREAD_EVERY: Duration = Duration::from_secs(30);

/// A secret is read again after this long, so that a rotated one is found before the old one is
/// refused. Up to a tenth is taken off at random: functions that started together do not ask
/// together. Counts wall-clock time ([`clock`]).
const TIME_TO_LIVE: Duration = Duration::from_mins(10);

/// A source that has not answered by then does not answer. The SDK itself waits for an answer
/// without end.
const LONGEST_READ: Duration = Duration::from_secs(5);

/// The same where an earlier value is at hand: records wait for it.
const LONGEST_REREAD: Duration = Duration::from_secs(1);

/// The code for a secret that does not exist, and for one that has no value.
const NOT_FOUND: &str = "ResourceNotFoundException";

/// Where a secret lives.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// AWS Secrets Manager, by name or ARN.
    SecretsManager(Arc<SecretsManager>, String),
    /// A file on this machine.
    File(PathBuf),
}

/// Why a secret cannot be had. Names the secret, never its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager refused.
    #[error("Secrets Manager does not give the secret `{id}` ({code}: {message})")]
    Refused {
        /// The secret's name or ARN.
        id: String,
        /// The service's code.
        code: String,
        /// The service's words, which name the secret and whoever asked for it.
        message: String,
    },
    /// Secrets Manager was not reached, or did not answer.
    #[error("Secrets Manager does not answer for the secret `{id}`")]
    Unreached {
        /// The secret's name or ARN.
        id: String,
        /// What the client says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The secret is binary.
    #[error("the secret `{0}` holds no text")]
    NotText(String),
    /// The file cannot be read.
    #[error("cannot read the secret file `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl SecretError {
    /// What the operator is to do about it.
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors>
    pub fn remedy(&self) -> &'static str {
        match self {
            // The service has one code for both, and other words.
            // <https://github.com/boto/boto3/issues/2794>
            Self::Refused { code, message, .. }
                if code == NOT_FOUND && message.contains("staging label") =>
            {
                "it exists without a value: put a value into it"
            }
            Self::Refused { code, .. } => match code.as_str() {
                NOT_FOUND => "create it, or correct the secret_id",
                "InvalidRequestException" => {
                    "give it a value, or restore it where it is being deleted"
                }
                "AccessDeniedException" | "DecryptionFailure" => {
                    "allow the function's role secretsmanager:GetSecretValue, and kms:Decrypt where the secret has its own key"
                }
                _ => "the service is in trouble, and the secret is read again",
            },
            Self::Unreached { .. } => {
                "see that the function has credentials, and in a VPC a way to the service: a NAT gateway or an endpoint"
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
    /// Secrets of Secrets Manager, and of files (`file:PATH`) where those are allowed.
    pub fn new(store: Arc<dyn SecretStore>, files_allowed: bool) -> Self {
        Self {
            manager: Arc::new(SecretsManager::new(store)),
            files_allowed,
            known: std::sync::Mutex::default(),
        }
    }

    /// The secret of this id. Nothing is read yet.
    pub fn get(&self, id: &str) -> Arc<Secret> {
        self.known_or(id, || self.manager.source(id))
    }

    /// Returns the secret of this id, which [`Self::prefetch`] does not read.
    pub fn get_unused(&self, id: &str) -> Arc<Secret> {
        self.known_or(id, || self.manager.unused_source(id))
    }

    fn known_or(&self, id: &str, managed: impl FnOnce() -> SecretSource) -> Arc<Secret> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let file = id.strip_prefix("file:").filter(|_| self.files_allowed);
            Arc::new(Secret::new(match file {
                Some(path) => SecretSource::File(path.into()),
                None => managed(),
            }))
        };
        Arc::clone(known.entry(id.to_owned()).or_insert_with(new))
    }

    /// Begins to read all secrets of Secrets Manager that were asked for by their names so far, in
    /// one call beside whatever else there is to do. Whoever wants a value meanwhile waits for the
    /// same call.
    pub fn prefetch(&self) {
        let manager = Arc::clone(&self.manager);
        tokio::spawn(async move { manager.prefetch().await });
    }
}

/// One secret, shared by everything that talks to one destination.
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

/// A value as it was read, which for one of the first call is earlier than now.
#[derive(Debug)]
struct Reading {
    value: SecretString,
    at: Instant,
}

impl Reading {
    fn of_now(value: SecretString) -> Self {
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
    /// A secret that is read when it is first asked for.
    pub fn new(source: SecretSource) -> Self {
        Self {
            source,
            state: Mutex::default(),
        }
    }

    /// The value; read from its source the first time, and again when it has been kept for long. A
    /// value that cannot be read again stays.
    ///
    /// # Errors
    /// Where the source cannot be read and there is no earlier value.
    pub async fn get(&self) -> Result<Arc<SecretString>, SecretError> {
        let mut state = self.state.lock().await;
        let Some(value) = state.value.clone() else {
            return Ok(state.keep(self.source.read(LONGEST_READ).await?));
        };
        if state.fresh_until.is_some_and(|until| clock::now() < until) {
            return Ok(value);
        }
        // Before the attempt, so that one that nobody waits for to its end is an attempt too.
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

    /// A system refused `refused`: reads the source again, unless that was done within 30 seconds
    /// or another value is at hand already. The answer is `None` where there is no other value to
    /// try.
    ///
    /// # Errors
    /// Where the source cannot be read.
    pub async fn renew(
        &self,
        refused: &Arc<SecretString>,
    ) -> Result<Option<Arc<SecretString>>, SecretError> {
        let mut state = self.state.lock().await;
        let is_other = |value: &Arc<SecretString>| value.expose_secret() != refused.expose_secret();
        if let Some(value) = state.value.as_ref().filter(|value| is_other(value)) {
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
        Ok(Some(value).filter(is_other))
    }
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
                Ok(Reading::of_now(text.into()))
            }
            Self::SecretsManager(manager, id) => match timeout(longest, manager.read(id)).await {
                Ok(read) => read,
                Err(_) => Err(SecretError::Unreached {
                    id: id.clone(),
                    source: "no answer in time".into(),
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
    async fn a_secret_is_read_once_and_again_after_its_time() {
        let (file, secret) = File::new("old");
        assert_eq!(get(&secret).await, "old");
        file.write("new");
        tokio::time::advance(Duration::from_mins(8)).await;
        assert_eq!(get(&secret).await, "old");
        tokio::time::advance(Duration::from_mins(3)).await;
        assert_eq!(get(&secret).await, "new");
        std::fs::remove_file(file.0.path()).expect("removed");
        tokio::time::advance(Duration::from_mins(11)).await;
        assert_eq!(get(&secret).await, "new", "what cannot be read again stays");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_secret_is_read_again_at_most_once_in_30_seconds() {
        let (file, secret) = File::new("old");
        let old = secret.get().await.expect("readable");
        assert!(
            secret.renew(&old).await.expect("readable").is_none(),
            "the same value is no help"
        );
        file.write("new");
        assert!(
            secret.renew(&old).await.expect("readable").is_none(),
            "asked a moment ago"
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
            .expect("the other value is at hand");
        assert_eq!(again.expose_secret(), "new");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_the_environment_is_frozen_counts() {
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
    async fn what_is_printed_names_the_secret_and_never_its_value() {
        let (_file, secret) = File::new("hunter2");
        secret.get().await.expect("readable");
        assert!(!format!("{secret:?}").contains("hunter2"));
        let missing = Secret::new(SecretSource::File("/nowhere/at-all".into()));
        let error = missing.get().await.expect_err("unreadable").to_string();
        assert!(error.contains("/nowhere/at-all"), "{error}");
    }
}
