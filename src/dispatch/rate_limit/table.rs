//! The item of the state table that says when a destination's next free slot is.
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `pk` | `rate#` and the destination |
//! | `sk` | `lease` |
//! | `next_slot` | the next free slot, in microseconds of the Unix epoch |

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::lease::{LeaseRequest, Leased, Micros};
use crate::model::Destination;

const NEXT_SLOT: &str = "next_slot";

/// Writes for one lease, when others move the slots on at the same time.
const MOST_WRITES: usize = 4;

/// Where all environments lease the slots of one destination.
#[derive(Debug)]
pub struct LeaseTable {
    client: Client,
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
    Refused(#[source] Box<UpdateItemError>),
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
    pub fn new(client: Client, table: &str, destination: Destination) -> Self {
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
        let values = HashMap::from([
            (":length", ask.length()),
            (":oldest", ask.oldest),
            (":latest", ask.latest),
        ]);
        let condition = "next_slot BETWEEN :oldest AND :latest";
        self.write("SET next_slot = next_slot + :length", condition, values)
            .await
    }

    /// The slots that were taken are over: the block begins when the answer is there.
    async fn begin_anew(&self, ask: LeaseRequest) -> Result<Written, LeaseError> {
        let values = HashMap::from([
            (":end", ask.earliest + ask.length()),
            (":oldest", ask.oldest),
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
    ) -> Result<Written, LeaseError> {
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
        // A retry would come after our patience has ended, and lease a second block.
        let once = aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled());
        match request.customize().config_override(once).send().await {
            Ok(answer) => next_slot(answer.attributes())
                .map(Written::Yes)
                .ok_or(LeaseError::Unreadable),
            Err(error) => match error.into_service_error() {
                UpdateItemError::ConditionalCheckFailedException(held) => {
                    Ok(Written::No(next_slot(held.item())))
                }
                error => Err(LeaseError::Refused(Box::new(error))),
            },
        }
    }
}

fn next_slot(item: Option<&HashMap<String, AttributeValue>>) -> Option<Micros> {
    item?.get(NEXT_SLOT)?.as_n().ok()?.parse().ok()
}
