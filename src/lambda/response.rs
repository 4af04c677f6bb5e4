//! The response to an event: the records that failed. Contract section 2.

use serde::Serialize;

use crate::settle::checkpoint::Identifier;

/// The response to an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The failed records, in batch order.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// One failed record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// Its position in its source.
    pub item_identifier: ItemIdentifier,
}

/// The position of a failed record, as the event source mapping reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ItemIdentifier {
    /// A sequence number of Kinesis.
    SequenceNumber(String),
    /// An offset of Kafka.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
    Offset {
        /// `<topic>-<partition>`
        partition: String,
        /// The offset in the partition.
        offset: u64,
    },
}

impl From<Identifier<'_>> for ItemFailure {
    fn from(identifier: Identifier<'_>) -> Self {
        let item_identifier = match identifier {
            Identifier::SequenceNumber(number) => ItemIdentifier::SequenceNumber(number.to_owned()),
            Identifier::Offset {
                topic_partition,
                offset,
            } => ItemIdentifier::Offset {
                partition: topic_partition.to_owned(),
                offset,
            },
        };
        Self { item_identifier }
    }
}
