//! Which records a batch holds, as the settled set tells records apart.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::number::SequenceNumber;
use crate::model::{ContactId, Position, Record};

/// What tells one record of a shard from all others. The number alone does not: the parts of a KPL
/// aggregate share it under enhanced fan-out, and a stream that was made anew begins to count anew.
/// So the content has a say. (A release of Rust that hashes otherwise makes records unknown for
/// once, and they are sent again.)
pub(super) type Identity<'a> = (SequenceNumber<'a>, u64);

/// A contact, as an item tells it from others. Two that look alike cost an item, and nothing else.
pub(super) type ContactHash = u32;

/// The contact's.
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
    /// By position; `None` where a record has no number, or cannot be told from another one.
    pub(super) identities: Vec<Option<Identity<'a>>>,
    pub(super) first: SequenceNumber<'a>,
    pub(super) last: SequenceNumber<'a>,
    /// Tells the last record from others of its number.
    last_fingerprint: u64,
}

impl<'a> Batch<'a> {
    /// `None` where the records are not of one shard of one stream: then no event source mapping
    /// brought them.
    pub(super) fn of(records: &'a [Record<'a>]) -> Option<Self> {
        let shards = || {
            records
                .iter()
                .filter(|record| record.sequence_number.is_some())
                .map(shard)
        };
        let shard = shards().next()??;
        if shards().any(|other| other.as_ref() != Some(&shard)) {
            return None;
        }
        let numbers = || {
            records
                .iter()
                .filter_map(|record| Some((number(record)?, record)))
        };
        let (last, last_record) = numbers().max_by_key(|(number, _)| *number)?;
        Some(Self {
            shard: format!("{}#{}", shard.0, shard.1),
            first: numbers().map(|(number, _)| number).min()?,
            last,
            last_fingerprint: fingerprint(last_record),
            identities: identities(records),
        })
    }

    /// The sort key of what is remembered of the batch. Another batch that ends with the same
    /// record has the same one.
    pub(super) fn sort_key(&self) -> String {
        format!("{}#{:016x}", self.last.sort_key(), self.last_fingerprint)
    }

    /// The key of everything that `function` remembers of the shard. Another one reads the same
    /// stream with filters, routes and accounts of its own: what is settled for one is not for the
    /// other.
    pub(super) fn partition_key(&self, function: &str) -> String {
        format!("settled#{function}#{}", self.shard)
    }

    /// Each record's place.
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

/// The stream's ARN and the shard's id. A consumer of enhanced fan-out reads the same stream under
/// an ARN of its own.
fn shard<'a>(record: &'a Record<'_>) -> Option<(&'a str, &'a str)> {
    let arn = record.event_source_arn.as_deref()?;
    let stream = arn
        .split_once("/consumer/")
        .map_or(arn, |(stream, _)| stream);
    Some((stream, record.shard_id.as_deref()?))
}

fn identities<'a>(records: &'a [Record<'a>]) -> Vec<Option<Identity<'a>>> {
    let identity = |record| Some((number(record)?, fingerprint(record)));
    let mut identities: Vec<Option<Identity<'a>>> = records.iter().map(identity).collect();
    let mut seen: HashMap<Identity<'a>, u32> = HashMap::with_capacity(identities.len());
    identities
        .iter()
        .flatten()
        .for_each(|identity| *seen.entry(*identity).or_default() += 1);
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
    fn a_batch_is_of_one_shard_of_one_stream_whoever_reads_it() {
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
    fn parts_of_an_aggregate_are_told_apart_by_content_and_twins_are_not_told_apart_at_all() {
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
