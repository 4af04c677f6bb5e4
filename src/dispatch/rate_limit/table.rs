//! The item of the state table with the next free slot of a destination.
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `pk` | `rate#` and the destination |
//! | `sk` | `lease` |
//! | `next_slot` | the next free slot, in microseconds since the Unix epoch |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::lease::{LeaseRequest, Leased, Micros};
use crate::model::Destination;
use crate::services::{NumberUpdate, ServiceError, StateTable, Updated};

const NEXT_SLOT: &str = "next_slot";

/// Bound of the writes for one lease, while other environments lease slots at the same time.
const MOST_WRITES: usize = 4;

/// Leases the slots of one destination to all environments.
#[derive(Debug)]
pub struct LeaseTable {
    client: Arc<dyn StateTable>,
    table: String,
    key: String,
    /// Last known next free slot. It decides which of the two writes is tried first.
    last_next_slot: AtomicU64,
}

/// Reason why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The table refused the write, or could not be reached.
    #[error(
        "the state table refused the lease: check its name, its keys, the function's permissions \
         and its throttles"
    )]
    Refused(#[source] ServiceError),
    /// The table did not answer in time.
    #[error("the state table did not answer in time")]
    TimedOut,
    /// The item changed faster than it could be written.
    #[error("the state table's item changes too fast")]
    Contended,
    /// The next free slot is too far ahead to be correct.
    #[error("the state table's next free slot is too far ahead: a clock was wrong")]
    Implausible,
    /// The item has no valid next free slot.
    #[error("the state table's item has no number `{NEXT_SLOT}`")]
    Unreadable,
}

enum WriteOutcome {
    /// The condition held; the next free slot after the write.
    Leased(Micros),
    /// The condition failed; the next free slot in the table, if it has one.
    Rejected(Option<Micros>),
}

impl LeaseTable {
    /// Creates the table of the slots of `destination`.
    pub fn new(client: Arc<dyn StateTable>, table: &str, destination: Destination) -> Self {
        Self {
            client,
            table: table.to_owned(),
            key: format!("rate#{destination}"),
            last_next_slot: AtomicU64::new(0),
        }
    }

    /// Leases a block by a conditional write. Takes further writes if other environments have
    /// changed the item, or if the last known slot led to the wrong kind of write.
    pub(super) async fn lease(&self, request: LeaseRequest) -> Result<Leased, LeaseError> {
        let mut continues = self.last_next_slot.load(Relaxed) >= request.oldest;
        for _ in 0..MOST_WRITES {
            let outcome = if continues {
                self.append(request).await?
            } else {
                self.restart(request).await?
            };
            match outcome {
                WriteOutcome::Leased(next) => {
                    self.last_next_slot.store(next, Relaxed);
                    return Ok(Leased::From(next.saturating_sub(request.length())));
                }
                WriteOutcome::Rejected(Some(next)) if next > request.latest => {
                    return Ok(Leased::TooLate(next));
                }
                WriteOutcome::Rejected(next) => {
                    continues = next.is_some_and(|next| next >= request.oldest);
                }
            }
        }
        Err(LeaseError::Contended)
    }

    /// Leases the block that begins at the end of the last one.
    async fn append(&self, request: LeaseRequest) -> Result<WriteOutcome, LeaseError> {
        let values = vec![
            (":length", request.length()),
            (":oldest", request.oldest),
            (":latest", request.latest),
        ];
        let condition = "next_slot BETWEEN :oldest AND :latest";
        self.write("SET next_slot = next_slot + :length", condition, values)
            .await
    }

    /// Leases a block that continues no other one, after all leased slots have expired.
    async fn restart(&self, request: LeaseRequest) -> Result<WriteOutcome, LeaseError> {
        let values = vec![
            (":end", request.start_after_pause + request.length()),
            (":oldest", request.oldest),
        ];
        self.write(
            "SET next_slot = :end",
            "attribute_not_exists(next_slot) OR next_slot < :oldest",
            values,
        )
        .await
    }

    async fn write(
        &self,
        change: &str,
        condition: &str,
        values: Vec<(&str, Micros)>,
    ) -> Result<WriteOutcome, LeaseError> {
        // A retry would end after our timeout, and lease a second block.
        let update = NumberUpdate {
            partition_key: &self.key,
            sort_key: "lease",
            attribute: NEXT_SLOT,
            change,
            condition,
            values,
        };
        match self.client.update(&self.table, update).await {
            Ok(Updated::Yes(next)) => next.map(WriteOutcome::Leased).ok_or(LeaseError::Unreadable),
            Ok(Updated::No(next)) => Ok(WriteOutcome::Rejected(next)),
            Err(error) => Err(LeaseError::Refused(error)),
        }
    }
}
