//! Reads secrets from AWS Secrets Manager: those that are known at the start in one call, where the
//! role allows that call, and others one by one.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::{REREAD_EVERY, Reading, SecretError, SecretSource, TIME_TO_LIVE};
use crate::clock;
use crate::services::{SecretBatch, SecretStore, SecretStoreError, ServiceError};

/// Timeout of the first call. After it the secrets are read one by one.
const LONGEST_FIRST: Duration = Duration::from_secs(2);

/// Bound of the secrets in one call.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html>
const LARGEST_BATCH: usize = 20;

type Read<T> = Result<T, SecretError>;

/// The service, and the results of the first call that no secret has taken yet.
#[derive(Debug)]
pub struct SecretsManager {
    store: Arc<dyn SecretStore>,
    ids: Mutex<Vec<String>>,
    first: OnceCell<Mutex<First>>,
}

#[derive(Debug)]
struct First {
    at: Instant,
    found: HashMap<String, Read<SecretString>>,
}

impl SecretsManager {
    pub(super) fn new(store: Arc<dyn SecretStore>) -> Self {
        Self {
            store,
            ids: Mutex::default(),
            first: OnceCell::new(),
        }
    }

    /// Returns the source of one secret, and adds the secret to the first call.
    pub(super) fn source(self: &Arc<Self>, id: &str) -> SecretSource {
        lock(&self.ids).push(id.to_owned());
        self.unused_source(id)
    }

    /// Returns the source of one secret that the first call omits.
    pub(super) fn unused_source(self: &Arc<Self>, id: &str) -> SecretSource {
        SecretSource::SecretsManager(Arc::clone(self), id.to_owned())
    }

    /// Makes the first call, unless it was made. A call without a response decides nothing, because
    /// a function that is frozen after its start loses its connections: the first read of a secret
    /// then makes the call again.
    pub(super) async fn prefetch(&self) {
        if lock(&self.ids).is_empty() {
            return;
        }
        if let Err(error) = self.first.get_or_try_init(|| self.read_all()).await {
            tracing::info!(
                error = &*error as &dyn Error,
                "secrets not read at the start: the first call reads them"
            );
        }
    }

    /// Reads a secret: its result of the first call, or a call of its own.
    pub(super) async fn read(&self, id: &str) -> Read<Reading> {
        let first = self
            .first
            .get_or_init(async || self.read_all().await.unwrap_or_else(|_| First::empty()))
            .await;
        let found = lock(first).take(id);
        match found {
            Some(read) => read,
            None => self.read_one(id).await.map(Reading::now),
        }
    }

    /// Makes the first call. Secrets that its response omits are read one by one.
    async fn read_all(&self) -> Result<Mutex<First>, ServiceError> {
        let ids = lock(&self.ids).clone();
        let found = match &ids[..] {
            [id] => match timeout(LONGEST_FIRST, self.read_one(id)).await? {
                Err(SecretError::Unreached { source, .. }) => return Err(source),
                read => HashMap::from([(id.clone(), read)]),
            },
            ids if ids.len() <= LARGEST_BATCH => {
                timeout(LONGEST_FIRST, self.read_batch(ids)).await??
            }
            _ => HashMap::new(),
        };
        Ok(Mutex::new(First {
            at: clock::now(),
            found,
        }))
    }

    /// Reads several secrets in one call. None of them where the role does not allow the call.
    async fn read_batch(
        &self,
        ids: &[String],
    ) -> Result<HashMap<String, Read<SecretString>>, ServiceError> {
        match self.store.get_batch(ids.to_vec()).await {
            Ok(answer) => Ok(results(ids, answer)),
            Err(SecretStoreError::Unreached(error)) => Err(error),
            Err(SecretStoreError::Refused { code, .. }) => {
                tracing::info!(
                    code,
                    "secretsmanager:BatchGetSecretValue refused: secrets are read one by one"
                );
                Ok(HashMap::new())
            }
        }
    }

    async fn read_one(&self, id: &str) -> Read<SecretString> {
        let answer = self.store.get(id).await;
        let answer = answer.map_err(|error| match error {
            SecretStoreError::Refused { code, message } => refused(id, &code, message.as_deref()),
            SecretStoreError::Unreached(source) => SecretError::Unreached {
                id: id.to_owned(),
                source,
            },
        })?;
        text(id, answer)
    }
}

impl First {
    fn empty() -> Mutex<Self> {
        Mutex::new(Self {
            at: clock::now(),
            found: HashMap::new(),
        })
    }

    /// Takes the result for a secret, while it is valid. A refusal is valid for a short time only:
    /// its cause may be fixed by then.
    fn take(&mut self, id: &str) -> Option<Read<Reading>> {
        let (at, age) = (self.at, clock::elapsed(self.at));
        let read = self.found.remove(id)?;
        let is_valid = age
            < if read.is_ok() {
                TIME_TO_LIVE
            } else {
                REREAD_EVERY
            };
        is_valid.then(|| read.map(|value| Reading { value, at }))
    }
}

/// Returns the value or refusal of each secret of a response, which has the status 200 in any case.
fn results(ids: &[String], answer: SecretBatch) -> HashMap<String, Read<SecretString>> {
    let mut found = HashMap::new();
    for value in answer.found {
        // An id is a secret's name, its ARN, or its ARN without the six characters at its end.
        let arn = value.arn.as_deref().unwrap_or_default();
        let id = ids.iter().find(|id| {
            value.name.as_ref() == Some(*id)
                || (id.starts_with("arn:") && arn.starts_with(id.as_str()))
        });
        if let Some(id) = id {
            found.insert(id.clone(), text(id, value.text));
        }
    }
    for error in answer.refused {
        if let Some(id) = error.id.filter(|id| ids.contains(id)) {
            let refusal = refused(
                &id,
                &error.code.unwrap_or_default(),
                error.message.as_deref(),
            );
            found.insert(id, Err(refusal));
        }
    }
    found
}

fn text(id: &str, text: Option<String>) -> Read<SecretString> {
    text.map(SecretString::from)
        .ok_or_else(|| SecretError::NotText(id.to_owned()))
}

fn refused(id: &str, code: &str, message: Option<&str>) -> SecretError {
    SecretError::Refused {
        id: id.to_owned(),
        code: code.to_owned(),
        message: message.unwrap_or_default().to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
