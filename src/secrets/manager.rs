//! AWS Secrets Manager: every secret in one call at the start, if that is allowed, and one by one
//! after that.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::{REREAD_EVERY, Reading, SecretError, SecretSource, TIME_TO_LIVE};
use crate::clock;
use crate::services::{SecretBatch, SecretStore, SecretStoreError, ServiceError};

/// A batch that has not come by then is not waited for: the secrets are read one by one.
const LONGEST_BATCH: Duration = Duration::from_secs(2);

/// The most secrets that one call takes.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html>
const LARGEST_BATCH: usize = 20;

/// So many times everything else that is ready goes first at the start: the connection to the
/// Runtime API and the first poll take some six turns, and nothing may delay them. TLS, which this
/// call makes ready on the same thread, would.
const TURNS_OF_OTHERS: usize = 16;

type Read<T> = Result<T, SecretError>;

/// The service, and what its first answer brought for secrets that have not asked yet.
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

    /// The source of one secret, which is among those of the first call.
    pub(super) fn source(self: &Arc<Self>, id: &str) -> SecretSource {
        lock(&self.ids).push(id.to_owned());
        self.unused_source(id)
    }

    /// Returns the source of one secret that the first call does not read.
    pub(super) fn unused_source(self: &Arc<Self>, id: &str) -> SecretSource {
        SecretSource::SecretsManager(Arc::clone(self), id.to_owned())
    }

    /// Makes the first reading, if nobody has. One that comes to nothing says nothing: a function
    /// that is frozen after its start loses its connections. Whoever wants a secret then makes the
    /// first reading.
    pub(super) async fn prefetch(&self) {
        for _ in 0..TURNS_OF_OTHERS {
            yield_now().await;
        }
        if let Err(error) = self.first.get_or_try_init(|| self.read_all()).await {
            tracing::info!(
                error = &*error as &dyn Error,
                "secrets not read at the start: the first call reads them"
            );
        }
    }

    /// The secret's current value.
    pub(super) async fn read(&self, id: &str) -> Read<Reading> {
        let first = self
            .first
            .get_or_init(async || self.read_all().await.unwrap_or_else(|_| First::empty()))
            .await;
        let found = lock(first).take(id);
        match found {
            Some(read) => read,
            None => self.read_one(id).await.map(Reading::of_now),
        }
    }

    /// The first reading. What it does not bring is read one by one.
    async fn read_all(&self) -> Result<Mutex<First>, ServiceError> {
        let ids = lock(&self.ids).clone();
        if !(2..=LARGEST_BATCH).contains(&ids.len()) {
            return Ok(First::empty());
        }
        let call = self.store.get_batch(ids.clone());
        let found = match timeout(LONGEST_BATCH, call).await? {
            Ok(answer) => sorted(&ids, answer),
            Err(SecretStoreError::Unreached(error)) => return Err(error),
            Err(SecretStoreError::Refused { code, .. }) => {
                tracing::info!(
                    code,
                    "secrets are read one by one: secretsmanager:BatchGetSecretValue was refused"
                );
                HashMap::new()
            }
        };
        Ok(Mutex::new(First {
            at: clock::now(),
            found,
        }))
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

    /// What it brought for a secret, once, and while it is believed: a refusal may have been
    /// repaired meanwhile.
    fn take(&mut self, id: &str) -> Option<Read<Reading>> {
        let (at, age) = (self.at, clock::elapsed(self.at));
        let read = self.found.remove(id)?;
        let is_believed = age
            < if read.is_ok() {
                TIME_TO_LIVE
            } else {
                REREAD_EVERY
            };
        is_believed.then(|| read.map(|value| Reading { value, at }))
    }
}

/// The values and refusals of an answer, which is a 200 whatever became of each secret.
fn sorted(ids: &[String], answer: SecretBatch) -> HashMap<String, Read<SecretString>> {
    let mut found = HashMap::new();
    for value in answer.found {
        // A secret may be asked for by its name, its ARN, or its ARN without the six characters at
        // its end.
        let arn = value.arn.as_deref().unwrap_or_default();
        let is_it = |id: &&String| {
            value.name.as_ref() == Some(*id)
                || (id.starts_with("arn:") && arn.starts_with(id.as_str()))
        };
        if let Some(id) = ids.iter().find(is_it) {
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
