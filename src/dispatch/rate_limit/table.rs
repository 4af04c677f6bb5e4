//! The item of the state table with the next free slot of a destination.
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `pk` | `rate#` and the destination |
//! | `sk` | `lease` |
//! | `next_slot` | the next free slot, in microseconds since the Unix epoch |

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::lease::{LeaseRequest, Leased, Micros};
use crate::model::Destination;

const NEXT_SLOT: &str = "next_slot";

/// Bound of the writes for one lease, while other environments lease slots at the same time.
const MOST_WRITES: usize = 4;

/// Leases the slots of one destination to all environments.
#[derive(Debug)]
pub struct LeaseTable {
    client: Client,
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
    Refused(#[source] Box<UpdateItemError>),
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
    pub fn new(client: Client, table: &str, destination: Destination) -> Self {
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
        let values = HashMap::from([
            (":length", request.length()),
            (":oldest", request.oldest),
            (":latest", request.latest),
        ]);
        let condition = "next_slot BETWEEN :oldest AND :latest";
        self.write("SET next_slot = next_slot + :length", condition, values)
            .await
    }

    /// Leases a block that begins at the time of the answer, after all leased slots have expired.
    async fn restart(&self, request: LeaseRequest) -> Result<WriteOutcome, LeaseError> {
        let values = HashMap::from([
            (":end", request.earliest + request.length()),
            (":oldest", request.oldest),
        ]);
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
        values: HashMap<&str, Micros>,
    ) -> Result<WriteOutcome, LeaseError> {
        let values = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), AttributeValue::N(value.to_string())));
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(self.key.clone()))
            .key("sk", AttributeValue::S("lease".to_owned()))
            .update_expression(change)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.collect()))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        // A retry would end after our timeout, and lease a second block.
        let once = aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled());
        match request.customize().config_override(once).send().await {
            Ok(answer) => next_slot(answer.attributes())
                .map(WriteOutcome::Leased)
                .ok_or(LeaseError::Unreadable),
            Err(error) => match error.into_service_error() {
                UpdateItemError::ConditionalCheckFailedException(held) => {
                    Ok(WriteOutcome::Rejected(next_slot(held.item())))
                }
                error => Err(LeaseError::Refused(Box::new(error))),
            },
        }
    }
}

fn next_slot(item: Option<&HashMap<String, AttributeValue>>) -> Option<Micros> {
    item?.get(NEXT_SLOT)?.as_n().ok()?.parse().ok()
}
