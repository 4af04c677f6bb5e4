//! The settled set: what a partly failed invocation settled is remembered in DynamoDB, so that it
//! is not sent again when Kinesis delivers everything after the checkpoint once more.
//!
//! A record comes again only after a failure, so the cost is one query for each invocation and one
//! item for each that failed in part. The item's sort key begins with the last sequence number that
//! it covers; a batch asks for those that end at or after its first record, whatever part of a
//! batch it is. Batches of one shard that are under way at once (a parallelization factor above 1)
//! interleave, so a range says nothing of a record: each is known by itself.
//!
//! A table that does not answer never fails an invocation. Then what was settled is sent again,
//! which is harmless, and only what can be left out after that as well is remembered
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
use crate::adapters::Destination;
use crate::consume::Record;

/// The table has this long to answer, and no longer, where its client has no limit for an
/// operation.
const PATIENCE: Duration = Duration::from_secs(1);

/// Pages that one query reads: 1 MB each, an item of ours 31 bytes for each settled record, up to
/// 400 KB. More lie behind a batch only where many invocations of a shard failed, and their records
/// are read once more.
const MOST_PAGES: usize = 4;

type Item = HashMap<String, AttributeValue>;

/// The settled set of one table.
#[derive(Clone, Debug)]
pub struct SettledSet {
    client: aws_sdk_dynamodb::Client,
    table: String,
    function: String,
    ttl: Duration,
    /// How long the table has to answer.
    patience: Duration,
    /// Whether the table took what was written to it last.
    is_writable: Arc<AtomicBool>,
}

/// Why the table was of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("the state table refused the query")]
    Query(#[source] Box<QueryError>),
    #[error("the state table refused the item")]
    Put(#[source] Box<PutItemError>),
    #[error("the state table did not answer in time")]
    OutOfTime,
}

impl SettledSet {
    /// The settled set of `function` in this table, whose items live for `ttl_hours`.
    pub fn new(
        client: aws_sdk_dynamodb::Client,
        table: String,
        function: String,
        ttl_hours: u64,
    ) -> Self {
        let limit = client
            .config()
            .timeout_config()
            .and_then(TimeoutConfig::operation_timeout);
        let (patience, is_writable) = (limit.unwrap_or(PATIENCE), Arc::new(AtomicBool::new(true)));
        Self {
            client,
            table,
            function,
            ttl: Duration::from_hours(ttl_hours),
            patience,
            is_writable,
        }
    }

    /// What of `records` was settled by earlier invocations.
    pub(super) async fn read(
        &self,
        records: &[Record<'_>],
        destinations: &[Destination],
        until: Instant,
    ) -> Result<PriorOutcomes, TableError> {
        let Some(batch) = Batch::of(records) else {
            return Ok(PriorOutcomes::default());
        };
        let mut earlier = PriorOutcomes::nothing(&batch, self.is_writable.load(Ordering::Relaxed));
        // Boxed, like the item's: the SDK's futures are several kilobytes of every invocation's.
        let items = timeout_at(
            until.min(Instant::now() + self.patience),
            Box::pin(self.items(&batch)),
        )
        .await;
        let (items, is_all) = items.map_err(|_| TableError::OutOfTime)??;
        for item in items {
            earlier.learn(&item, &batch, destinations);
        }
        if !is_all {
            earlier.set_blind();
        }
        Ok(earlier)
    }

    /// The items that end at or after the batch's first record, and whether these are all.
    /// Consistent: the batch comes again within a second.
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
            let answer = query
                .send()
                .await
                .map_err(|error| TableError::Query(Box::new(error.into_service_error())))?;
            items.extend(answer.items.unwrap_or_default());
            page = answer.last_evaluated_key;
            if page.is_none() {
                break;
            }
        }
        Ok((items, page.is_none()))
    }

    /// Remembers what was settled of `records`. `is_blind` says whether more may have been settled
    /// before than is known.
    pub(super) async fn write(
        &self,
        records: &[Record<'_>],
        ended: &BatchOutcome<'_>,
        is_blind: bool,
        destinations: &[Destination],
        until: Instant,
    ) -> Result<(), TableError> {
        let Some(batch) = Batch::of(records) else {
            return Ok(());
        };
        let Some(bytes) = settled(&batch, ended, destinations) else {
            return Ok(());
        };
        // What an invocation knows it remembers again. One that does not know everything leaves the
        // others' items alone.
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

    /// Empties the items of these sort keys, in the shard of `records`.
    pub(super) async fn forget(
        &self,
        records: &[Record<'_>],
        sort_keys: impl IntoIterator<Item = &str>,
        until: Instant,
    ) -> Result<(), TableError> {
        let Some(batch) = Batch::of(records) else {
            return Ok(());
        };
        let empty = |key: &str| self.put(&batch, key.to_owned(), item::encode([]), &[], until);
        try_join_all(sort_keys.into_iter().map(empty))
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
        let answer = timeout_at(until.min(Instant::now() + self.patience), Box::pin(put)).await;
        self.is_writable
            .store(matches!(answer, Ok(Ok(_))), Ordering::Relaxed);
        let answer = answer.map_err(|_| TableError::OutOfTime)?;
        answer
            .map(drop)
            .map_err(|error| TableError::Put(Box::new(error.into_service_error())))
    }
}

/// Returns the content of a batch's item; `None` where no record is to be remembered.
fn settled(
    batch: &Batch<'_>,
    ended: &BatchOutcome<'_>,
    destinations: &[Destination],
) -> Option<Vec<u8>> {
    let identity = |position: usize| batch.identities.get(position).copied().flatten();
    let memories = remember(ended, destinations.len(), &|position| {
        identity(position).is_some()
    });
    let mut known = Vec::new();
    for (position, memory) in memories.iter().enumerate() {
        if let (Some((number, fingerprint)), Some(memory)) = (identity(position), memory) {
            known.push((number, fingerprint, memory));
        }
    }
    (!known.is_empty()).then(|| item::encode(known))
}
