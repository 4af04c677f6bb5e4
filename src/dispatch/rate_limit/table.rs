//! The item of the state table that says when a destination's next free slot is.
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `pk` | `rate#` and the destination |
//! | `sk` | `lease` |
//! | `next_slot` | the next free slot, in microseconds of the Unix epoch |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::lease::{LeaseRequest, Leased, Micros};
use crate::adapters::Destination;
use crate::services::{NumberUpdate, ServiceError, StateTable, Updated};

const NEXT_SLOT: &str = "next_slot";

/// Writes for one lease, when others move the slots on at the same time.
const MOST_WRITES: usize = 4;

/// Where all environments lease the slots of one destination.
#[derive(Debug)]
pub struct LeaseTable {
    client: Arc<dyn StateTable>,
    table: String,
    key: String,
    /// What was last heard of the next free slot: tells which of the two writes is likely to
    /// succeed.
    heard: AtomicU64,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The table refused or could not be reached.
    #[error(
        "the state table refused the lease: check its name, its keys, the function's permissions and its throttles"
    )]
    Refused(#[source] ServiceError),
    /// No answer in time.
    #[error("the state table did not answer in time")]
    Silent,
    /// The item changed faster than it could be written.
    #[error("the state table's item changes too fast")]
    Contended,
    /// The next free slot is impossibly far away.
    #[error("the state table's next free slot is too far ahead: a clock was wrong")]
    Implausible,
    /// The item is not as we write it.
    #[error("the state table's item has no number `{NEXT_SLOT}`")]
    Unreadable,
}

enum Written {
    /// The next free slot after it.
    Yes(Micros),
    /// The next free slot, where there is any.
    No(Option<Micros>),
}

impl LeaseTable {
    /// The slots of `destination`, in `table`.
    pub fn new(client: Arc<dyn StateTable>, table: &str, destination: Destination) -> Self {
        Self {
            client,
            table: table.to_owned(),
            key: format!("rate#{destination}"),
            heard: AtomicU64::new(0),
        }
    }

    /// Leases a block: one conditional write, and a second one where the first guesses wrong
    /// whether others are at work.
    pub(super) async fn lease(&self, ask: LeaseRequest) -> Result<Leased, LeaseError> {
        let mut next = Some(self.heard.load(Relaxed)).filter(|next| *next >= ask.oldest);
        for _ in 0..MOST_WRITES {
            let written = match next {
                Some(_) => self.queue_up(ask).await?,
                None => self.begin_anew(ask).await?,
            };
            match written {
                Written::Yes(after) => {
                    self.heard.store(after, Relaxed);
                    return Ok(Leased::From(after.saturating_sub(ask.length())));
                }
                Written::No(Some(found)) if found > ask.latest => {
                    return Ok(Leased::TooLate(found));
                }
                Written::No(found) => next = found.filter(|found| *found >= ask.oldest),
            }
        }
        Err(LeaseError::Contended)
    }

    /// The block begins where the last one ends.
    async fn queue_up(&self, ask: LeaseRequest) -> Result<Written, LeaseError> {
        let values = vec![
            (":length", ask.length()),
            (":oldest", ask.oldest),
            (":latest", ask.latest),
        ];
        let condition = "next_slot BETWEEN :oldest AND :latest";
        self.write("SET next_slot = next_slot + :length", condition, values)
            .await
    }

    /// The slots that were taken are over: the block begins when the answer is there.
    async fn begin_anew(&self, ask: LeaseRequest) -> Result<Written, LeaseError> {
        let values = vec![
            (":end", ask.earliest + ask.length()),
            (":oldest", ask.oldest),
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
    ) -> Result<Written, LeaseError> {
        // A retry would come after our patience has ended, and lease a second block.
        let update = NumberUpdate {
            partition_key: &self.key,
            sort_key: "lease",
            attribute: NEXT_SLOT,
            change,
            condition,
            values,
        };
        match self.client.update(&self.table, update).await {
            Ok(Updated::Yes(next)) => next.map(Written::Yes).ok_or(LeaseError::Unreadable),
            Ok(Updated::No(next)) => Ok(Written::No(next)),
            Err(error) => Err(LeaseError::Refused(error)),
        }
    }
}
