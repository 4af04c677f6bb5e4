//! Stores the records that a partly failed invocation settled in DynamoDB, so that they are not
//! sent again when Kinesis or Kafka redelivers everything after the checkpoint.
//!
//! A record is redelivered only after a failure. So the cost is one query for each invocation, and
//! one item for each that failed in part; with Kafka, for each partition of the event. The item's
//! sort key begins with the last sequence number that it covers. A batch reads the items that end
//! at or after its first record, so that any part of a batch finds them. Concurrent batches of one
//! shard (a parallelization factor above 1) interleave, so an item lists single records, not a
//! range.
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

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout_at};

pub use prior_outcomes::PriorOutcomes;
pub(super) use remember::BatchOutcome;
pub(crate) use skip::{Rest, Skipping};

use self::batch::Batch;
use self::item::PriorOutcome;
use self::prior_outcomes::ItemKey;
use self::remember::remember;
use crate::model::{Destination, Position, Record};
use crate::services::{ServiceError, StateItem, StateTable};

/// Timeout of a call of the table, where the client's configuration has none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// Bound of the pages of one query, of 1 MB each. An item has 32 bytes for each settled record, up
/// to 400 KB. More pages exist only where many invocations of a shard failed, and its records are
/// read once more.
const MOST_PAGES: usize = 4;

/// The settled set of one table.
#[derive(Clone, Debug)]
pub struct SettledSet {
    client: Arc<dyn StateTable>,
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
    Query(#[source] ServiceError),
    #[error("the state table refused the item")]
    Put(#[source] ServiceError),
    #[error("the state table did not respond in time")]
    OutOfTime,
}

impl SettledSet {
    /// Creates the settled set of `function` in this table. Its items expire after `ttl_hours`.
    pub fn new(
        client: Arc<dyn StateTable>,
        table: String,
        function: String,
        ttl_hours: u64,
    ) -> Self {
        let configured = client.time_limit();
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
        let batches = Batch::all(records);
        if batches.is_empty() {
            return Ok(PriorOutcomes::default());
        }
        let is_writable = self.is_writable.load(Ordering::Relaxed);
        let mut prior = PriorOutcomes::unknown(records.len(), &batches, is_writable);
        let queries = batches.iter().map(|batch| {
            self.client.query(
                &self.table,
                batch.partition_key(&self.function),
                batch.first.sort_key(),
                MOST_PAGES,
            )
        });
        let queries = try_join_all(queries);
        let items = timeout_at(until.min(Instant::now() + self.timeout), queries).await;
        let items = items.map_err(|_| TableError::OutOfTime)?;
        let items = items.map_err(TableError::Query)?;
        for (of_batch, (items, is_complete)) in batches.iter().enumerate().zip(items) {
            for item in items {
                prior.add_item(&item, of_batch, destinations);
            }
            if !is_complete {
                prior.set_blind();
            }
        }
        Ok(prior)
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
        let batches = Batch::all(records);
        let storable: HashSet<Position> = batches
            .iter()
            .flat_map(Batch::identities)
            .map(|(position, _)| position)
            .collect();
        let outcomes = remember(outcome, destinations.len(), &|at| storable.contains(&at));
        // An invocation stores the outcomes that it has read again. One that does not know all of
        // them keeps the items of the others.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut puts = Vec::new();
        for batch in &batches {
            // The records of a partition without a failure are not redelivered.
            let is_redelivered = |(at, _)| outcome.redelivered.get(at) == Some(&true);
            let Some(bytes) = settled(batch, &outcomes) else {
                continue;
            };
            if !batch.identities().any(is_redelivered) {
                continue;
            }
            let sort_key = if is_blind {
                format!("{}#{}", batch.sort_key(), now.as_millis())
            } else {
                batch.sort_key()
            };
            puts.push(self.put(batch, sort_key, bytes, destinations, until));
        }
        try_join_all(puts).await.map(drop)
    }

    /// Clears these items of the batches of `records`.
    pub(super) async fn clear(
        &self,
        records: &[Record<'_>],
        items: impl IntoIterator<Item = &ItemKey>,
        until: Instant,
    ) -> Result<(), TableError> {
        let batches = Batch::all(records);
        let mut puts = Vec::new();
        for (index, sort_key) in items {
            if let Some(batch) = batches.get(*index) {
                puts.push(self.put(batch, sort_key.clone(), item::encode([]), &[], until));
            }
        }
        try_join_all(puts).await.map(drop)
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
        let result = timeout_at(until.min(Instant::now() + self.timeout), put).await;
        self.is_writable
            .store(matches!(result, Ok(Ok(()))), Ordering::Relaxed);
        let result = result.map_err(|_| TableError::OutOfTime)?;
        result.map_err(TableError::Put)
    }
}

/// Encodes a batch's item; `None` where no record is to be stored.
fn settled(batch: &Batch<'_>, outcomes: &[Option<PriorOutcome>]) -> Option<Vec<u8>> {
    let mut known = Vec::new();
    for (position, (number, fingerprint)) in batch.identities() {
        if let Some(Some(outcome)) = outcomes.get(position) {
            known.push((number, fingerprint, outcome));
        }
    }
    (!known.is_empty()).then(|| item::encode(known))
}
