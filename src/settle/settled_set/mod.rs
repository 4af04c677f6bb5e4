//! Stores the records that a partly failed invocation settled in DynamoDB, so that they are not
//! sent again when Kinesis redelivers everything after the checkpoint.
//!
//! A record is redelivered only after a failure. So the cost is one query for each invocation, and
//! one item for each that failed in part. The item's sort key begins with the last sequence number
//! that it covers. A batch reads the items that end at or after its first record, so that any part
//! of a batch finds them. Concurrent batches of one shard (a parallelization factor above 1)
//! interleave, so an item lists single records, not a range.
//!
//! An unavailable table never fails an invocation. Settled records are then sent again, which is
//! harmless. Only those are stored that may be skipped after such a repetition as well
//! (`remember.rs`).

mod batch;
mod item;
mod number;
mod prior_outcomes;
mod remember;
mod skip;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::QueryError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout_at};

pub use prior_outcomes::PriorOutcomes;
pub(super) use remember::BatchOutcome;
pub(crate) use skip::{Rest, Skipping};

use self::batch::Batch;
use self::remember::remember;
use crate::model::{Destination, Record};

/// Timeout of a call of the table, where the client's configuration has none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// Bound of the pages of one query, of 1 MB each. An item has 32 bytes for each settled record, up
/// to 400 KB. More pages exist only where many invocations of a shard failed, and its records are
/// read once more.
const MOST_PAGES: usize = 4;

type Item = HashMap<String, AttributeValue>;

/// The settled set of one table.
#[derive(Clone, Debug)]
pub struct SettledSet {
    client: aws_sdk_dynamodb::Client,
    table: String,
    function: String,
    ttl: Duration,
    /// Timeout of a call.
    timeout: Duration,
    /// Whether the last write succeeded.
    is_writable: Arc<AtomicBool>,
}

/// A call of the state table failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("the state table refused the query")]
    Query(#[source] Box<QueryError>),
    #[error("the state table refused the item")]
    Put(#[source] Box<PutItemError>),
    #[error("the state table did not respond in time")]
    OutOfTime,
}

impl SettledSet {
    /// Creates the settled set of `function` in this table. Its items expire after `ttl_hours`.
    pub fn new(
        client: aws_sdk_dynamodb::Client,
        table: String,
        function: String,
        ttl_hours: u64,
    ) -> Self {
        let configured = client
            .config()
            .timeout_config()
            .and_then(TimeoutConfig::operation_timeout);
        Self {
            client,
            table,
            function,
            ttl: Duration::from_hours(ttl_hours),
            timeout: configured.unwrap_or(DEFAULT_TIMEOUT),
            is_writable: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Reads the outcomes of `records` that earlier invocations stored.
    pub(super) async fn read(
        &self,
        records: &[Record<'_>],
        destinations: &[Destination],
        until: Instant,
    ) -> Result<PriorOutcomes, TableError> {
        let Some(batch) = Batch::of(records) else {
            return Ok(PriorOutcomes::default());
        };
        let mut prior = PriorOutcomes::unknown(&batch, self.is_writable.load(Ordering::Relaxed));
        // Boxed, like the future of `put`: the SDK's futures would add several kilobytes to that of
        // every invocation.
        let items = timeout_at(
            until.min(Instant::now() + self.timeout),
            Box::pin(self.items(&batch)),
        )
        .await;
        let (items, is_complete) = items.map_err(|_| TableError::OutOfTime)??;
        for item in items {
            prior.add_item(&item, &batch, destinations);
        }
        if !is_complete {
            prior.set_blind();
        }
        Ok(prior)
    }

    /// Queries the items that end at or after the batch's first record. Returns whether these are
    /// all besides. The read is consistent, because a batch is redelivered within a second.
    async fn items(&self, batch: &Batch<'_>) -> Result<(Vec<Item>, bool), TableError> {
        let mut items = Vec::new();
        let mut page = None;
        for _ in 0..MOST_PAGES {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true);
            let query = query
                .key_condition_expression("pk = :pk AND sk >= :first")
                .expression_attribute_values(
                    ":pk",
                    AttributeValue::S(batch.partition_key(&self.function)),
                )
                .expression_attribute_values(":first", AttributeValue::S(batch.first.sort_key()))
                .set_exclusive_start_key(page);
            let response = query
                .send()
                .await
                .map_err(|error| TableError::Query(Box::new(error.into_service_error())))?;
            items.extend(response.items.unwrap_or_default());
            page = response.last_evaluated_key;
            if page.is_none() {
                break;
            }
        }
        Ok((items, page.is_none()))
    }

    /// Stores the settled records of `records`. `is_blind` means that earlier invocations may have
    /// settled records that this one does not know.
    pub(super) async fn write(
        &self,
        records: &[Record<'_>],
        outcome: &BatchOutcome<'_>,
        is_blind: bool,
        destinations: &[Destination],
        until: Instant,
    ) -> Result<(), TableError> {
        let Some(batch) = Batch::of(records) else {
            return Ok(());
        };
        let Some(bytes) = settled(&batch, outcome, destinations) else {
            return Ok(());
        };
        // An invocation stores the outcomes that it has read again. One that does not know all of
        // them keeps the items of the others.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let sort_key = if is_blind {
            format!("{}#{}", batch.sort_key(), now.as_millis())
        } else {
            batch.sort_key()
        };
        self.put(&batch, sort_key, bytes, destinations, until).await
    }

    /// Clears the items of these sort keys, in the shard of `records`.
    pub(super) async fn clear(
        &self,
        records: &[Record<'_>],
        sort_keys: impl IntoIterator<Item = &str>,
        until: Instant,
    ) -> Result<(), TableError> {
        let Some(batch) = Batch::of(records) else {
            return Ok(());
        };
        try_join_all(
            sort_keys
                .into_iter()
                .map(|key| self.put(&batch, key.to_owned(), item::encode([]), &[], until)),
        )
        .await
        .map(drop)
    }

    async fn put(
        &self,
        batch: &Batch<'_>,
        sort_key: String,
        records: Vec<u8>,
        destinations: &[Destination],
        until: Instant,
    ) -> Result<(), TableError> {
        let names = destinations
            .iter()
            .map(|destination| AttributeValue::S(destination.0.to_owned()))
            .collect();
        let expires_at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + self.ttl;
        let item = Item::from([
            (
                "pk".to_owned(),
                AttributeValue::S(batch.partition_key(&self.function)),
            ),
            ("sk".to_owned(), AttributeValue::S(sort_key)),
            ("destinations".to_owned(), AttributeValue::L(names)),
            ("records".to_owned(), AttributeValue::B(Blob::new(records))),
            (
                "expires_at".to_owned(),
                AttributeValue::N(expires_at.as_secs().to_string()),
            ),
        ]);
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send();
        let result = timeout_at(until.min(Instant::now() + self.timeout), Box::pin(put)).await;
        self.is_writable
            .store(matches!(result, Ok(Ok(_))), Ordering::Relaxed);
        result
            .map_err(|_| TableError::OutOfTime)?
            .map(drop)
            .map_err(|error| TableError::Put(Box::new(error.into_service_error())))
    }
}

/// Encodes a batch's item; `None` where no record is to be stored.
fn settled(
    batch: &Batch<'_>,
    outcome: &BatchOutcome<'_>,
    destinations: &[Destination],
) -> Option<Vec<u8>> {
    let outcomes = remember(outcome, destinations.len(), &|position| {
        batch.identity(position).is_some()
    });
    let mut known = Vec::new();
    for (position, outcome) in outcomes.iter().enumerate() {
        if let (Some((number, fingerprint)), Some(outcome)) = (batch.identity(position), outcome) {
            known.push((number, fingerprint, outcome));
        }
    }
    (!known.is_empty()).then(|| item::encode(known))
}
