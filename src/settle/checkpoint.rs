//! Computes the records that Lambda redelivers after a partial failure: of a shard or a partition
//! all from the first record that the response names. For Kafka, Lambda's guide promises that the
//! named records alone come again. To keep the order of a partition, the records after them would
//! have to come again, too, so both are assumed to be possible.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>

use std::collections::HashMap;

use crate::model::{Origin, Position, Record};

/// The identifier that reports a record as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identifier<'a> {
    /// A sequence number of Kinesis.
    SequenceNumber(&'a str),
    /// An offset of Kafka, in the list that the event names so.
    Offset {
        topic_partition: &'a str,
        offset: u64,
    },
}

impl<'a> Identifier<'a> {
    fn of(record: &'a Record<'_>) -> Option<Self> {
        match &record.origin {
            Origin::Kinesis(origin) => {
                let number = origin.sequence_number.as_deref();
                number.map(Self::SequenceNumber)
            }
            Origin::Kafka(origin) => Some(Self::Offset {
                topic_partition: &origin.topic_partition,
                offset: origin.offset?,
            }),
        }
    }
}

/// Returns the partition of a record of Kafka. The records of an event of Kinesis are of one shard.
fn partition<'a>(record: &'a Record<'_>) -> Option<&'a str> {
    record.kafka().map(|origin| &*origin.topic_partition)
}

/// Returns the identifier that reports the record at `position`: its own, or that of the nearest
/// record before it in its shard or partition. Records that are redelivered without need are
/// written again, which is harmless.
pub(crate) fn identifier<'a>(
    records: &'a [Record<'_>],
    position: Position,
) -> Option<Identifier<'a>> {
    let (own, before) = records.get(..=position)?.split_last()?;
    Identifier::of(own).or_else(|| {
        let same = before
            .iter()
            .rev()
            .filter(|record| partition(record) == partition(own));
        same.map(Identifier::of).find(Option::is_some).flatten()
    })
}

/// Returns by position whether each record is redelivered, where these are failed. Records that
/// share a sequence number are redelivered together. Without a known identifier the whole batch is.
pub(super) fn redelivered(
    records: &[Record<'_>],
    failed: impl IntoIterator<Item = Position>,
) -> Vec<bool> {
    let mut first: HashMap<Option<&str>, Position> = HashMap::new();
    for position in failed {
        let partition = records.get(position).and_then(partition);
        if first.contains_key(&partition) {
            continue;
        }
        let Some(identifier) = identifier(records, position) else {
            return vec![true; records.len()];
        };
        let same = |record: &Record<'_>| Identifier::of(record) == Some(identifier);
        let from = records.iter().position(same).unwrap_or(0);
        first.insert(partition, from);
    }
    let is_redelivered = |(position, record): (Position, &Record<'_>)| {
        let from = first.get(&partition(record));
        from.is_some_and(|from| position >= *from)
    };
    records.iter().enumerate().map(is_redelivered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KafkaOrigin, KinesisOrigin};

    fn numbered(number: Option<&'static str>) -> Record<'static> {
        let origin = Origin::Kinesis(KinesisOrigin {
            sequence_number: number.map(Into::into),
            ..KinesisOrigin::default()
        });
        Record {
            origin,
            ..Record::default()
        }
    }

    fn at(topic_partition: &'static str, offset: Option<u64>) -> Record<'static> {
        let origin = Origin::Kafka(KafkaOrigin {
            topic_partition: topic_partition.into(),
            offset,
            ..KafkaOrigin::default()
        });
        Record {
            origin,
            ..Record::default()
        }
    }

    /// Returns the positions that are redelivered.
    fn positions(records: &[Record<'_>], failed: &[Position]) -> Vec<Position> {
        let redelivered = redelivered(records, failed.iter().copied());
        (0..records.len()).filter(|at| redelivered[*at]).collect()
    }

    #[test]
    fn all_records_from_the_failed_sequence_number_on_are_redelivered() {
        for (numbers, failed, expected) in [
            (
                &[Some("1"), Some("2"), Some("3")][..],
                &[1][..],
                &[1, 2][..],
            ),
            (&[Some("1"), Some("2"), Some("3")], &[], &[]),
            (
                &[Some("1"), Some("2"), Some("2"), Some("2")],
                &[3],
                &[1, 2, 3],
            ),
            (&[Some("1"), None, None], &[2], &[0, 1, 2]),
            (&[Some("1"), Some("2"), None], &[2], &[1, 2]),
            (&[None, Some("2"), Some("3")], &[2], &[2]),
            (&[None, Some("2")], &[0], &[0, 1]),
        ] {
            let records: Vec<_> = numbers.iter().copied().map(numbered).collect();
            assert_eq!(positions(&records, failed), expected, "{numbers:?}");
        }
    }

    #[test]
    fn each_partition_of_kafka_is_redelivered_from_its_own_first_failure() {
        let records = [
            at("a-0", Some(7)),
            at("a-0", Some(9)),
            at("a-1", Some(7)),
            at("a-1", None),
            at("a-1", Some(8)),
            at("a-2", None),
        ];
        for (failed, expected) in [
            (&[1][..], &[1][..]),
            (&[0, 4], &[0, 1, 4]),
            (&[3], &[2, 3, 4]),
            (&[1, 2], &[1, 2, 3, 4]),
            // No offset is known that reports the record.
            (&[5], &[0, 1, 2, 3, 4, 5]),
        ] {
            assert_eq!(positions(&records, failed), expected, "{failed:?}");
        }
        let reported = |offset| Identifier::Offset {
            topic_partition: "a-1",
            offset,
        };
        assert_eq!(identifier(&records, 3), Some(reported(7)));
        assert_eq!(identifier(&records, 4), Some(reported(8)));
        assert_eq!(identifier(&records, 5), None);
    }
}
