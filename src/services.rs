//! The AWS services that the function calls, as traits. The module `aws` implements them for the
//! SDK's clients. A build without the feature `aws` has [`Unavailable`] alone, and compiles no
//! client.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

/// Cause of a failed call.
pub type ServiceError = Box<dyn Error + Send + Sync>;

/// Future of a call.
pub type ServiceCall<'a, T, E = ServiceError> = BoxFuture<'a, Result<T, E>>;

/// All services. Each method makes a client.
pub trait Services: Send + Sync {
    /// Returns the store of the secrets.
    fn secrets(&self) -> Arc<dyn SecretStore>;
    /// Returns the client of the dead-letter queue.
    fn queue(&self) -> Arc<dyn DeadLetterQueue>;
    /// Returns the client of the state table.
    fn table(&self) -> Arc<dyn StateTable>;
    /// Returns the store of the settings document.
    fn parameters(&self) -> Arc<dyn ParameterStore>;
}

/// Store of secrets.
pub trait SecretStore: Debug + Send + Sync {
    /// Reads the text of one secret. A binary secret has none.
    fn get<'a>(&'a self, id: &'a str) -> ServiceCall<'a, Option<String>, SecretStoreError>;
    /// Reads several secrets in one call.
    fn get_batch(&self, ids: Vec<String>) -> ServiceCall<'_, SecretBatch, SecretStoreError>;
}

/// Error of the store of secrets.
#[derive(Debug)]
pub enum SecretStoreError {
    /// The service refused the call.
    Refused {
        /// Code of the service.
        code: String,
        /// Message of the service.
        message: Option<String>,
    },
    /// The service was not reached, or its answer is no answer of the service.
    Unreached(ServiceError),
}

/// Answer to a call for several secrets.
#[derive(Default)]
pub struct SecretBatch {
    /// Secrets that were read.
    pub found: Vec<StoredSecret>,
    /// Secrets that were refused.
    pub refused: Vec<RefusedSecret>,
}

/// Secret in an answer. Has no `Debug`, which would print the text.
#[derive(Default)]
#[expect(missing_docs, reason = "named as in the service's answer")]
pub struct StoredSecret {
    pub name: Option<String>,
    pub arn: Option<String>,
    pub text: Option<String>,
}

/// Refusal of one secret in an answer.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "named as in the service's answer")]
pub struct RefusedSecret {
    pub id: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
}

/// Queue of the dead letters.
pub trait DeadLetterQueue: Debug + Send + Sync {
    /// Opens a connection, by a call that changes nothing. Its answer is of no use.
    fn connect<'a>(&'a self, url: &'a str) -> BoxFuture<'a, ()>;
    /// Sends messages in one call, each with an id that is unique in the call.
    fn send<'a>(&'a self, url: &'a str, messages: Vec<(usize, String)>) -> ServiceCall<'a, Sent>;
}

/// Answer of the queue.
#[derive(Debug, Default)]
pub struct Sent {
    /// Ids of the stored messages.
    pub stored: Vec<usize>,
    /// Codes of the refused messages.
    pub refused: Vec<String>,
}

/// State table: a partition key and a sort key, both texts.
pub trait StateTable: Debug + Send + Sync {
    /// Returns the time limit of one call, where the client has one.
    fn time_limit(&self) -> Option<Duration>;
    /// Reads the items of a partition whose sort keys are not below `first`, in at most so many
    /// pages. Returns the items, and whether these are all.
    fn query<'a>(
        &'a self,
        table: &'a str,
        partition_key: String,
        first: String,
        most_pages: usize,
    ) -> ServiceCall<'a, (Vec<StateItem>, bool)>;
    /// Writes an item, which is deleted after `expires_at`, in seconds of the Unix epoch.
    fn put<'a>(
        &'a self,
        table: &'a str,
        partition_key: String,
        item: StateItem,
        expires_at: u64,
    ) -> ServiceCall<'a, ()>;
    /// Updates the number `attribute` of an item where a condition holds. The call is made once:
    /// its answer is worth nothing later.
    fn update<'a>(&'a self, table: &'a str, update: NumberUpdate<'a>) -> ServiceCall<'a, Updated>;
}

/// Item of the settled set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateItem {
    /// Sort key.
    pub sort_key: String,
    /// Names of the destinations that the records refer to.
    pub destinations: Vec<String>,
    /// Encoded records.
    pub records: Vec<u8>,
}

/// Conditional update of a number.
#[derive(Clone, Debug)]
pub struct NumberUpdate<'a> {
    /// Partition key of the item.
    pub partition_key: &'a str,
    /// Sort key of the item.
    pub sort_key: &'a str,
    /// Name of the number.
    pub attribute: &'a str,
    /// Update expression.
    pub change: &'a str,
    /// Condition expression.
    pub condition: &'a str,
    /// Values of both expressions, by name.
    pub values: Vec<(&'a str, u64)>,
}

/// Outcome of a conditional update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The condition held. The number is the one after the update, where the answer has any.
    Yes(Option<u64>),
    /// The condition did not hold. The number is the one of the item, where there is any.
    No(Option<u64>),
}

/// Store of the settings document.
pub trait ParameterStore: Debug + Send + Sync {
    /// Reads the value of a parameter. A parameter that does not exist has none.
    fn get<'a>(&'a self, name: &'a str) -> ServiceCall<'a, Option<String>>;
}

/// Services of a process without AWS: each call fails.
#[derive(Clone, Copy, Debug)]
pub struct Unavailable;

/// Fails a call.
fn unavailable<'a, T: Send + 'a, E: Send + 'a>(
    error: fn(ServiceError) -> E,
) -> ServiceCall<'a, T, E> {
    ready(Err(error("this process has no AWS client".into()))).boxed()
}

impl Services for Unavailable {
    fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::new(*self)
    }

    fn queue(&self) -> Arc<dyn DeadLetterQueue> {
        Arc::new(*self)
    }

    fn table(&self) -> Arc<dyn StateTable> {
        Arc::new(*self)
    }

    fn parameters(&self) -> Arc<dyn ParameterStore> {
        Arc::new(*self)
    }
}

impl SecretStore for Unavailable {
    fn get<'a>(&'a self, _: &'a str) -> ServiceCall<'a, Option<String>, SecretStoreError> {
        unavailable(SecretStoreError::Unreached)
    }

    fn get_batch(&self, _: Vec<String>) -> ServiceCall<'_, SecretBatch, SecretStoreError> {
        unavailable(SecretStoreError::Unreached)
    }
}

impl DeadLetterQueue for Unavailable {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn send<'a>(&'a self, _: &'a str, _: Vec<(usize, String)>) -> ServiceCall<'a, Sent> {
        unavailable(|error| error)
    }
}

impl StateTable for Unavailable {
    fn time_limit(&self) -> Option<Duration> {
        None
    }

    fn query<'a>(
        &'a self,
        _: &'a str,
        _: String,
        _: String,
        _: usize,
    ) -> ServiceCall<'a, (Vec<StateItem>, bool)> {
        unavailable(|error| error)
    }

    fn put<'a>(&'a self, _: &'a str, _: String, _: StateItem, _: u64) -> ServiceCall<'a, ()> {
        unavailable(|error| error)
    }

    fn update<'a>(&'a self, _: &'a str, _: NumberUpdate<'a>) -> ServiceCall<'a, Updated> {
        unavailable(|error| error)
    }
}

impl ParameterStore for Unavailable {
    fn get<'a>(&'a self, _: &'a str) -> ServiceCall<'a, Option<String>> {
        unavailable(|error| error)
    }
}
