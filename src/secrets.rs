//! Secrets: read from Secrets Manager (or, in the presets `local` and `test`, from a file), kept for a while, read
//! again when a system refuses them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A refused secret is read again at most this often: a wrong one must not become a stream of calls.
const REREAD_EVERY: Duration = Duration::from_secs(30);

/// Where a secret lives.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// AWS Secrets Manager, by name or ARN.
    SecretsManager(aws_sdk_secretsmanager::Client, String),
    /// A file on this machine.
    File(PathBuf),
}

/// Why a secret cannot be had. Names the secret, never its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager refused or did not answer.
    #[error("cannot read the secret `{id}` from Secrets Manager")]
    SecretsManager {
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

/// One secret, shared by everything that talks to one destination.
#[derive(Debug)]
pub struct Secret {
    source: SecretSource,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    value: Option<Arc<SecretString>>,
    reread_at: Option<Instant>,
}

impl Secret {
    /// A secret that is read when it is first asked for.
    pub fn new(source: SecretSource) -> Self {
        Self { source, state: Mutex::default() }
    }

    /// The value; read from its source the first time.
    ///
    /// # Errors
    /// Where the source cannot be read.
    pub async fn get(&self) -> Result<Arc<SecretString>, SecretError> {
        let mut state = self.state.lock().await;
        if let Some(value) = &state.value {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(self.source.read().await?);
        state.value = Some(Arc::clone(&value));
        Ok(value)
    }

    /// A system refused `refused`: reads the source again, unless that was done within 30 seconds or another value is
    /// at hand already. The answer is `None` where there is no other value to try.
    ///
    /// # Errors
    /// Where the source cannot be read.
    pub async fn renew(&self, refused: &Arc<SecretString>) -> Result<Option<Arc<SecretString>>, SecretError> {
        use secrecy::ExposeSecret;
        let mut state = self.state.lock().await;
        let is_other = |value: &Arc<SecretString>| value.expose_secret() != refused.expose_secret();
        if let Some(value) = state.value.as_ref().filter(|value| is_other(value)) {
            return Ok(Some(Arc::clone(value)));
        }
        if state.reread_at.is_some_and(|at| at.elapsed() < REREAD_EVERY) {
            return Ok(None);
        }
        state.reread_at = Some(Instant::now());
        let value = Arc::new(self.source.read().await?);
        state.value = Some(Arc::clone(&value));
        Ok(Some(value).filter(is_other))
    }
}

impl SecretSource {
    async fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|source| SecretError::File { path: path.clone(), source })?;
                Ok(SecretString::from(text))
            }
            Self::SecretsManager(client, id) => {
                let answer = client.get_secret_value().secret_id(id).send().await;
                let answer = answer.map_err(|error| SecretError::SecretsManager {
                    id: id.clone(),
                    source: Box::new(error.into_service_error()),
                })?;
                let text = answer.secret_string.ok_or_else(|| SecretError::NotText(id.clone()))?;
                Ok(SecretString::from(text))
            }
        }
    }
}
