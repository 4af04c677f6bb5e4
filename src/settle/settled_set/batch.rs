//! Identifies the records of a batch in the settled set.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::number::SequenceNumber;
use crate::model::{ContactId, Data, Origin, Position, Record};

/// Identifies one record of a shard: its number and a hash of its content. The number alone is not
/// unique: the records of a KPL aggregate share it, and a recreated stream or topic restarts its
/// numbers. (A release of Rust with another hash makes records unknown once, and they are sent
/// again.)
pub(super) type Identity<'a> = (SequenceNumber<'a>, u64);

/// Identifies a contact in an item. A collision costs an item, and has no other effect.
pub(super) type ContactHash = u32;

/// Returns the hash of a contact's id.
pub(super) fn contact_hash(id: &ContactId) -> ContactHash {
    let mut hasher = DefaultHasher::new();
    id.key().hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    ContactHash::from_le_bytes([a, b, c, d])
}

/// The records of an invocation that are of one shard, or of one partition of Kafka.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// `<stream ARN>#<shard id>`, or `<cluster>#<topic>-<partition>`
    pub(super) shard: String,
    /// The records that no other record equals, in order.
    known: Vec<Known<'a>>,
    pub(super) first: SequenceNumber<'a>,
    pub(super) last: SequenceNumber<'a>,
    /// Distinguishes the last record from others of its number.
    last_fingerprint: u64,
}

/// A record with an identity.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    position: Position,
    number: SequenceNumber<'a>,
    fingerprint: u64,
}

impl<'a> Batch<'a> {
    /// Splits an invocation's records by partition. Returns none where records of Kinesis are not
    /// of one shard of one stream, as those of an event source mapping are.
    pub(super) fn all(records: &'a [Record<'a>]) -> Vec<Self> {
        let mut shards: HashMap<Shard<'a>, Vec<Known<'a>>> = HashMap::new();
        let mut order = Vec::new();
        for (position, record) in records.iter().enumerate() {
            if record
                .kinesis()
                .is_some_and(|origin| origin.sequence_number.is_none())
            {
                continue;
            }
            let Some(shard) = shard(record) else {
                return Vec::new();
            };
            let Some(known) = Known::of(position, record) else {
                continue;
            };
            let records = shards.entry(shard).or_insert_with(|| {
                order.push(shard);
                Vec::new()
            });
            records.push(known);
        }
        if shards.len() > 1 && records.iter().any(|record| record.kinesis().is_some()) {
            return Vec::new();
        }
        let of_shard = |shard| Some(Self::new(shard, shards.remove(&shard)?)).flatten();
        order.into_iter().filter_map(of_shard).collect()
    }

    fn new((stream, shard): Shard<'_>, mut known: Vec<Known<'a>>) -> Option<Self> {
        let first = known.iter().map(|record| record.number).min()?;
        // Of the records with the last number, the last one counts.
        let last = *known.iter().max_by_key(|record| record.number)?;
        retain_unique(&mut known);
        Some(Self {
            shard: format!("{stream}#{shard}"),
            known,
            first,
            last: last.number,
            last_fingerprint: last.fingerprint,
        })
    }

    /// Returns the records that have an identity, by their positions.
    pub(super) fn identities(&self) -> impl Iterator<Item = (Position, Identity<'a>)> {
        let known = self.known.iter();
        known.map(|record| (record.position, (record.number, record.fingerprint)))
    }

    /// Returns the sort key of the batch's item. Batches that end with the same record share it.
    pub(super) fn sort_key(&self) -> String {
        format!("{}#{:016x}", self.last.sort_key(), self.last_fingerprint)
    }

    /// Returns the partition key of `function`'s items of the shard. Another function that reads
    /// the same stream has filters, routes and accounts of its own, and settles records of its own.
    pub(super) fn partition_key(&self, function: &str) -> String {
        format!("settled#{function}#{}", self.shard)
    }

    /// Returns the position of each identity.
    pub(super) fn positions(&self) -> HashMap<Identity<'a>, Position> {
        let identities = self.identities();
        identities
            .map(|(position, identity)| (identity, position))
            .collect()
    }
}

impl<'a> Known<'a> {
    /// Returns the identity of a record. One that is put back has its former position, and none: it
    /// is to be sent, whatever became of it there.
    fn of(position: Position, record: &'a Record<'_>) -> Option<Self> {
        if record.replay {
            return None;
        }
        let number = match &record.origin {
            Origin::Kinesis(origin) => SequenceNumber::parse(origin.sequence_number.as_deref()?)?,
            Origin::Kafka(origin) => SequenceNumber::Offset(origin.offset?),
        };
        Some(Self {
            position,
            number,
            fingerprint: fingerprint(record),
        })
    }
}

/// Removes the records whose identity is that of another record, too.
fn retain_unique<'a>(known: &mut Vec<Known<'a>>) {
    let mut seen: HashMap<Identity<'a>, u32> = HashMap::with_capacity(known.len());
    for record in &*known {
        let identity = (record.number, record.fingerprint);
        *seen.entry(identity).or_default() += 1;
    }
    known.retain(|record| seen.get(&(record.number, record.fingerprint)) == Some(&1));
}

/// The stream or the cluster, and the shard or the partition.
type Shard<'a> = (&'a str, &'a str);

/// Returns the stream's ARN and the shard's id. A consumer of enhanced fan-out reads the same
/// stream under an ARN of its own. A self-managed cluster has no ARN: its brokers name it.
fn shard<'a>(record: &'a Record<'_>) -> Option<Shard<'a>> {
    let arn = record.event_source_arn.as_deref();
    match &record.origin {
        Origin::Kinesis(origin) => {
            let stream = match arn?.split_once("/consumer/") {
                Some((stream, _)) => stream,
                None => arn?,
            };
            Some((stream, origin.shard_id.as_deref()?))
        }
        Origin::Kafka(origin) => {
            let cluster = arn.or(origin.bootstrap_servers.as_deref());
            Some((cluster.unwrap_or_default(), &origin.topic_partition))
        }
    }
}

/// Hashes the key and the data, and the sub-sequence of a record that the function itself split off
/// an aggregate: equal records of one aggregate differ by it. Those that Lambda splits are numbered
/// by batch, and a bisected batch numbers them anew.
fn fingerprint(record: &Record<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let (key, sub_sequence) = match &record.origin {
        Origin::Kinesis(origin) => (origin.partition_key.as_deref(), origin.sub_sequence),
        Origin::Kafka(origin) => (origin.key.as_deref(), 0),
    };
    match &record.data {
        None => (key, None::<&str>).hash(&mut hasher),
        Some(Data::Base64(text)) => (key, Some(&**text)).hash(&mut hasher),
        Some(Data::Bytes(bytes)) => (key, bytes, sub_sequence).hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KafkaOrigin, KinesisOrigin};

    fn record(
        arn: &'static str,
        shard: &'static str,
        number: Option<&'static str>,
        data: &'static str,
    ) -> Record<'static> {
        Record {
            event_source_arn: Some(arn.into()),
            origin: Origin::Kinesis(KinesisOrigin {
                shard_id: Some(shard.into()),
                sequence_number: number.map(Into::into),
                ..KinesisOrigin::default()
            }),
            ..Record::of_data(data)
        }
    }

    /// Returns the positions of the records with an identity, in order.
    fn known(batch: &Batch<'_>) -> Vec<Position> {
        batch.identities().map(|(position, _)| position).collect()
    }

    #[test]
    fn a_batch_has_one_shard_of_one_stream_under_any_consumer() {
        let shard = |records: &[Record<'_>]| {
            let batches = Batch::all(records);
            assert!(batches.len() < 2, "{batches:?}");
            batches.first().map(|batch| batch.shard.clone())
        };
        let one = || record("arn:stream/s", "shard-1", Some("9"), "a");
        let through_a_consumer = record("arn:stream/s/consumer/c:1", "shard-1", Some("10"), "b");
        assert_eq!(
            shard(&[one(), through_a_consumer]),
            Some("arn:stream/s#shard-1".into())
        );
        assert_eq!(
            shard(&[one(), record("arn:stream/s", "shard-2", Some("1"), "b")]),
            None
        );
        assert_eq!(
            shard(&[one(), record("arn:stream/t", "shard-1", Some("1"), "b")]),
            None
        );
        assert_eq!(
            shard(&[one(), Record::default()]),
            Some("arn:stream/s#shard-1".into())
        );
        assert_eq!(shard(&[Record::default()]), None);
    }

    #[test]
    fn records_of_an_aggregate_differ_by_content_and_those_split_off_by_sub_sequence_too() {
        let part = |data: &'static str, sub_sequence, is_split_off| {
            let mut record = record("arn", "shard", Some("10"), data);
            if let Origin::Kinesis(origin) = &mut record.origin {
                origin.sub_sequence = sub_sequence;
            }
            if is_split_off {
                record.data = Some(Data::Bytes(data.as_bytes()));
            }
            record
        };
        for (is_split_off, expected) in [(false, vec![0, 2, 3]), (true, vec![0, 1, 2, 3, 4])] {
            let records = [
                record("arn", "shard", Some("9"), "x"),
                part("a", 0, is_split_off),
                part("b", 1, is_split_off),
                part("c", 2, is_split_off),
                part("a", 3, is_split_off),
            ];
            let batches = Batch::all(&records);
            let batch = &batches[0];
            let number = |digits| SequenceNumber::parse(digits).expect("a number");
            assert_eq!((batch.first, batch.last), (number("9"), number("10")));
            assert_eq!(known(batch), expected);
            assert_eq!(batch.positions().len(), expected.len());
        }
    }

    #[test]
    fn a_record_that_is_put_back_has_no_identity() {
        let records = [Record {
            replay: true,
            ..record("arn", "shard", Some("9"), "x")
        }];
        assert!(Batch::all(&records).is_empty());
    }

    #[test]
    fn each_partition_of_kafka_is_a_batch() {
        let at = |topic_partition: &'static str, offset, arn: Option<&'static str>| Record {
            event_source_arn: arn.map(Into::into),
            origin: Origin::Kafka(KafkaOrigin {
                bootstrap_servers: Some("b:9092".into()),
                topic_partition: topic_partition.into(),
                offset,
                ..KafkaOrigin::default()
            }),
            ..Record::of_data("e30=")
        };
        let records = [
            at("c-1", Some(9), None),
            at("c-0", Some(10), None),
            at("c-0", None, None),
            at("c-1", Some(10), None),
        ];
        let batches = Batch::all(&records);
        let shards: Vec<_> = batches.iter().map(|batch| &*batch.shard).collect();
        assert_eq!(shards, ["b:9092#c-1", "b:9092#c-0"]);
        assert_eq!(
            [known(&batches[0]), known(&batches[1])],
            [vec![0, 3], vec![1]]
        );
        assert_eq!(batches[0].last, SequenceNumber::Offset(10));
        let of_msk = [at("c-1", Some(9), Some("arn:cluster"))];
        assert_eq!(Batch::all(&of_msk)[0].shard, "arn:cluster#c-1");
    }
}
