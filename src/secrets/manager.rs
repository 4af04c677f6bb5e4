//! AWS Secrets Manager: every secret in one call the first time, if that is allowed, and one by one after that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::batch_get_secret_value::BatchGetSecretValueOutput;
use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::{SecretError, SecretSource, TIME_TO_LIVE};

/// A batch that has not come by then is not waited for: the secrets are read one by one.
const LONGEST_BATCH: Duration = Duration::from_secs(2);

/// The most secrets that one call takes.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html>
const LARGEST_BATCH: usize = 20;

type Read = Result<SecretString, SecretError>;

/// The service, and what its first answer brought for secrets that have not asked yet.
#[derive(Debug)]
pub struct SecretsManager {
    client: Client,
    ids: Mutex<Vec<String>>,
    first: OnceCell<Mutex<First>>,
}

#[derive(Debug)]
struct First {
    at: Instant,
    found: HashMap<String, Read>,
}

impl SecretsManager {
    pub(super) fn new(client: Client) -> Self {
        Self { client, ids: Mutex::default(), first: OnceCell::new() }
    }

    /// The source of one secret, which is among those of the first call.
    pub(super) fn source(self: &Arc<Self>, id: &str) -> SecretSource {
        lock(&self.ids).push(id.to_owned());
        SecretSource::SecretsManager(Arc::clone(self), id.to_owned())
    }

    /// The secret's current value.
    pub(super) async fn read(&self, id: &str) -> Read {
        let first = self.first.get_or_init(|| self.read_all()).await;
        let found = {
            let mut first = lock(first);
            let is_fresh = first.at.elapsed() < TIME_TO_LIVE;
            first.found.remove(id).filter(|_| is_fresh)
        };
        match found {
            Some(read) => read,
            None => self.read_one(id).await,
        }
    }

    /// The first reading. What it does not bring is read one by one.
    async fn read_all(&self) -> Mutex<First> {
        let ids = lock(&self.ids).clone();
        let found = match ids.len() {
            2..=LARGEST_BATCH => self.read_together(&ids).await,
            _ => HashMap::new(),
        };
        Mutex::new(First { at: Instant::now(), found })
    }

    async fn read_together(&self, ids: &[String]) -> HashMap<String, Read> {
        let call = self.client.batch_get_secret_value().set_secret_id_list(Some(ids.to_vec())).send();
        match timeout(LONGEST_BATCH, call).await {
            Ok(Ok(answer)) => sorted(ids, answer),
            Ok(Err(error)) => {
                let error = error.into_service_error();
                let error: &dyn std::error::Error = &error;
                tracing::info!(error, "secrets are read one by one: secretsmanager:BatchGetSecretValue was refused");
                HashMap::new()
            }
            Err(_) => HashMap::new(),
        }
    }

    async fn read_one(&self, id: &str) -> Read {
        let answer = self.client.get_secret_value().secret_id(id).send().await;
        let answer = answer.map_err(|source| error(id, source.into_service_error()))?;
        text(id, answer.secret_string)
    }
}

/// The values and refusals of an answer, which is a 200 whatever became of each secret.
fn sorted(ids: &[String], answer: BatchGetSecretValueOutput) -> HashMap<String, Read> {
    let mut found = HashMap::new();
    for value in answer.secret_values.unwrap_or_default() {
        // A secret may be asked for by its name, its ARN, or its ARN without the six characters at its end.
        let arn = value.arn.as_deref().unwrap_or_default();
        let is_it =
            |id: &&String| value.name.as_ref() == Some(*id) || (id.starts_with("arn:") && arn.starts_with(id.as_str()));
        if let Some(id) = ids.iter().find(is_it) {
            found.insert(id.clone(), text(id, value.secret_string));
        }
    }
    for refused in answer.errors.unwrap_or_default() {
        let code = refused.error_code.unwrap_or_default();
        let message = refused.message.unwrap_or_default();
        if let Some(id) = refused.secret_id.filter(|id| ids.contains(id)) {
            let refusal = error(&id, format!("{code}: {message}"));
            found.insert(id, Err(refusal));
        }
    }
    found
}

fn text(id: &str, text: Option<String>) -> Read {
    text.map(SecretString::from).ok_or_else(|| SecretError::NotText(id.to_owned()))
}

pub(super) fn error(id: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SecretError {
    SecretError::SecretsManager { id: id.to_owned(), source: source.into() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
