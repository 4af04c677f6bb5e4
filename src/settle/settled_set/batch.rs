//! Identifies the records of a batch in the settled set.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::number::SequenceNumber;
use crate::model::{ContactId, Position, Record};

/// Identifies one record of a shard: its number and a hash of its content. The number alone is not
/// unique: the parts of a KPL aggregate share it under enhanced fan-out, and a recreated stream
/// restarts its numbers. (A release of Rust with another hash makes records unknown once, and they
/// are sent again.)
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

/// A batch of one shard.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// `<stream ARN>#<shard id>`
    pub(super) shard: String,
    /// By position; `None` for a record without a number or with the identity of another record.
    pub(super) identities: Vec<Option<Identity<'a>>>,
    pub(super) first: SequenceNumber<'a>,
    pub(super) last: SequenceNumber<'a>,
    /// Distinguishes the last record from others of its number.
    last_fingerprint: u64,
}

impl<'a> Batch<'a> {
    /// Creates a batch; `None` where the records are not of one shard of one stream, as those of an
    /// event source mapping are.
    pub(super) fn of(records: &'a [Record<'a>]) -> Option<Self> {
        let mut batch_shard = None;
        let (mut first, mut last) = (None, None);
        for record in records {
            if record.sequence_number.is_none() {
                continue;
            }
            let shard = shard(record)?;
            if *batch_shard.get_or_insert(shard) != shard {
                return None;
            }
            let Some(number) = number(record) else {
                continue;
            };
            if first.is_none_or(|first| number < first) {
                first = Some(number);
            }
            if last.is_none_or(|(last, _)| number >= last) {
                last = Some((number, record));
            }
        }
        let ((stream, shard), (last, last_record)) = (batch_shard?, last?);
        Some(Self {
            shard: format!("{stream}#{shard}"),
            first: first?,
            last,
            last_fingerprint: fingerprint(last_record),
            identities: identities(records),
        })
    }

    /// Returns the identity of the record at `position`, if it has one.
    pub(super) fn identity(&self, position: Position) -> Option<Identity<'a>> {
        *self.identities.get(position)?
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
        let places = self.identities.iter().enumerate();
        places
            .filter_map(|(position, identity)| Some(((*identity)?, position)))
            .collect()
    }
}

fn number<'a>(record: &'a Record<'_>) -> Option<SequenceNumber<'a>> {
    record
        .sequence_number
        .as_deref()
        .and_then(SequenceNumber::parse)
}

/// Returns the stream's ARN and the shard's id. A consumer of enhanced fan-out reads the same
/// stream under an ARN of its own.
fn shard<'a>(record: &'a Record<'_>) -> Option<(&'a str, &'a str)> {
    let arn = record.event_source_arn.as_deref()?;
    let stream = match arn.split_once("/consumer/") {
        Some((stream, _)) => stream,
        None => arn,
    };
    Some((stream, record.shard_id.as_deref()?))
}

fn identities<'a>(records: &'a [Record<'a>]) -> Vec<Option<Identity<'a>>> {
    let mut identities: Vec<Option<Identity<'a>>> = records
        .iter()
        .map(|record| Some((number(record)?, fingerprint(record))))
        .collect();
    let mut seen: HashMap<Identity<'a>, u32> = HashMap::with_capacity(identities.len());
    for identity in identities.iter().flatten() {
        *seen.entry(*identity).or_default() += 1;
    }
    for identity in &mut identities {
        if identity.is_some_and(|identity| seen.get(&identity).is_some_and(|count| *count > 1)) {
            *identity = None;
        }
    }
    identities
}

fn fingerprint(record: &Record<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (record.partition_key.as_deref(), record.data.as_deref()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(
        arn: &'static str,
        shard: &'static str,
        number: Option<&'static str>,
        data: &'static str,
    ) -> Record<'static> {
        Record {
            event_source_arn: Some(arn.into()),
            shard_id: Some(shard.into()),
            sequence_number: number.map(Into::into),
            data: Some(data.into()),
            ..Record::default()
        }
    }

    #[test]
    fn a_batch_has_one_shard_of_one_stream_under_any_consumer() {
        let shard = |records: &[Record<'_>]| Batch::of(records).map(|batch| batch.shard);
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
    fn parts_of_an_aggregate_differ_by_content_and_equal_parts_have_no_identity() {
        let part = |data| record("arn", "shard", Some("10"), data);
        let records = [
            record("arn", "shard", Some("9"), "x"),
            part("a"),
            part("b"),
            part("c"),
            part("a"),
        ];
        let batch = Batch::of(&records).expect("of one shard");
        assert_eq!((batch.first.digits(), batch.last.digits()), ("9", "10"));
        let known: Vec<bool> = batch.identities.iter().map(Option::is_some).collect();
        assert_eq!(known, [true, false, true, true, false]);
        assert_eq!(batch.positions().len(), 3);
    }
}
