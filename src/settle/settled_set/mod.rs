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

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout_at};

pub use prior_outcomes::PriorOutcomes;
pub(super) use remember::BatchOutcome;
pub(crate) use skip::{Rest, Skipping};

use self::batch::Batch;
use self::remember::remember;
use crate::adapters::Destination;
use crate::consume::Record;
use crate::services::{ServiceError, StateItem, StateTable};

/// The table has this long to answer, and no longer, where its client has no limit for an
/// operation.
const PATIENCE: Duration = Duration::from_secs(1);

/// Pages that one query reads: 1 MB each, an item of ours 31 bytes for each settled record, up to
/// 400 KB. More lie behind a batch only where many invocations of a shard failed, and their records
/// are read once more.
const MOST_PAGES: usize = 4;

/// The settled set of one table.
#[derive(Clone, Debug)]
pub struct SettledSet {
    client: Arc<dyn StateTable>,
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
    Query(#[source] ServiceError),
    #[error("the state table refused the item")]
    Put(#[source] ServiceError),
    #[error("the state table did not answer in time")]
    OutOfTime,
}

impl SettledSet {
    /// The settled set of `function` in this table, whose items live for `ttl_hours`.
    pub fn new(
        client: Arc<dyn StateTable>,
        table: String,
        function: String,
        ttl_hours: u64,
    ) -> Self {
        let limit = client.time_limit();
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
        let query = self.client.query(
            &self.table,
            batch.partition_key(&self.function),
            batch.first.sort_key(),
            MOST_PAGES,
        );
        let items = timeout_at(until.min(Instant::now() + self.patience), query).await;
        let items = items.map_err(|_| TableError::OutOfTime)?;
        let (items, is_all) = items.map_err(TableError::Query)?;
        for item in items {
            earlier.learn(&item, &batch, destinations);
        }
        if !is_all {
            earlier.set_blind();
        }
        Ok(earlier)
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
        let bytes = settled(&batch, ended, destinations);
        if bytes == item::encode([]) {
            return Ok(());
        }
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
        let expires_at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + self.ttl;
        let item = StateItem {
            sort_key,
            destinations: destinations
                .iter()
                .map(|destination| destination.0.to_owned())
                .collect(),
            records,
        };
        let put = self.client.put(
            &self.table,
            batch.partition_key(&self.function),
            item,
            expires_at.as_secs(),
        );
        let answer = timeout_at(until.min(Instant::now() + self.patience), put).await;
        self.is_writable
            .store(matches!(answer, Ok(Ok(()))), Ordering::Relaxed);
        let answer = answer.map_err(|_| TableError::OutOfTime)?;
        answer.map_err(TableError::Put)
    }
}

/// What is worth remembering of a batch, as an item holds it.
fn settled(batch: &Batch<'_>, ended: &BatchOutcome<'_>, destinations: &[Destination]) -> Vec<u8> {
    let identity = |position: usize| batch.identities.get(position).copied().flatten();
    let memories = remember(ended, destinations.len(), &|position| {
        identity(position).is_some()
    });
    let known = memories
        .iter()
        .enumerate()
        .filter_map(|(position, memory)| {
            let (number, fingerprint) = identity(position)?;
            Some((number, fingerprint, memory.as_ref()?))
        });
    item::encode(known)
}
