//! AWS Secrets Manager as the store of secrets.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::types::{ApiErrorType, SecretValueEntry};
use futures_util::FutureExt;

use crate::services::{
    RefusedSecret, SecretBatch, SecretStore, SecretStoreError, ServiceCall, StoredSecret,
};

impl SecretStore for Client {
    fn get<'a>(&'a self, id: &'a str) -> ServiceCall<'a, Option<String>, SecretStoreError> {
        async move {
            let answer = self.get_secret_value().secret_id(id).send().await;
            Ok(answer.map_err(store_error)?.secret_string)
        }
        .boxed()
    }

    fn get_batch(&self, ids: Vec<String>) -> ServiceCall<'_, SecretBatch, SecretStoreError> {
        async move {
            let call = self.batch_get_secret_value().set_secret_id_list(Some(ids));
            let answer = call.send().await.map_err(store_error)?;
            let found = answer.secret_values.unwrap_or_default();
            let refused = answer.errors.unwrap_or_default();
            Ok(SecretBatch {
                found: found.into_iter().map(stored).collect(),
                refused: refused.into_iter().map(refusal).collect(),
            })
        }
        .boxed()
    }
}

fn stored(entry: SecretValueEntry) -> StoredSecret {
    StoredSecret {
        name: entry.name,
        arn: entry.arn,
        text: entry.secret_string,
    }
}

fn refusal(error: ApiErrorType) -> RefusedSecret {
    RefusedSecret {
        id: error.secret_id,
        code: error.error_code,
        message: error.message,
    }
}

/// Classifies a failed call by whether the service gave it a code.
fn store_error<E, R>(error: SdkError<E, R>) -> SecretStoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match error.code() {
        Some(code) => SecretStoreError::Refused {
            code: code.to_owned(),
            message: error.message().map(str::to_owned),
        },
        None => SecretStoreError::Unreached(error.into()),
    }
}
