//! Splits the aggregates of the Kinesis Producer Library into their records.
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>
//!
//! An aggregate is valid as a whole or not at all. AWS's own libraries lose the other records of an
//! aggregate of which one is broken. Here such an aggregate stays one record, which is refused and
//! becomes a dead letter. Records whose hash key is not of the shard are not left out, as they are
//! by a consumer with enhanced fan-out: nobody else would deliver them.

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::{Message, decode_length_delimiter};

use crate::model::{Data, KinesisOrigin, Origin, Position, Record, Refusal, codes};
use crate::source::refuse;

/// The first bytes of an aggregate.
pub(super) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// The beginning of the base64 text of [`MAGIC`]. The last character depends on the next byte.
const MAGIC_BASE64: &str = "84maw";

/// The length of the checksum at the end, in bytes.
const CHECKSUM: usize = 16;

/// The fewest bytes of an aggregate for each of its entries: its records and keys. A record takes
/// some hundred bytes of memory, and an empty one two of an aggregate: without this bound, an event
/// of 6 MB would fill the memory. The smallest change has some 100 bytes.
const FEWEST_BYTES: usize = 16;

#[derive(Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Part>,
}

/// A record of an aggregate. Its tags are not read.
#[derive(Message)]
struct Part {
    #[prost(uint64, optional, tag = "1")]
    partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    data: Option<Bytes>,
}

/// The valid aggregates of an event, by the positions of their records.
#[derive(Default)]
pub struct Aggregates(Vec<(Position, AggregatedRecord)>);

impl std::fmt::Debug for Aggregates {
    /// Prints the number only: the content is contact data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Aggregates").field(&self.0.len()).finish()
    }
}

impl Aggregates {
    /// Parses the aggregates among the records of Kinesis.
    pub fn of(records: &[Record<'_>]) -> Self {
        let mut aggregates = Vec::new();
        for (position, record) in records.iter().enumerate() {
            if let (Origin::Kinesis(_), Some(Data::Base64(text))) = (&record.origin, &record.data)
                && text.starts_with(MAGIC_BASE64)
                && let Ok(bytes) = base64_simd::STANDARD.decode_to_vec(&**text)
                && let Some(Ok(aggregate)) = parse(&bytes)
            {
                aggregates.push((position, aggregate));
            }
        }
        Self(aggregates)
    }
}

/// Replaces each aggregate by its records, which share its sequence number. Returns the records as
/// they are where none is an aggregate.
pub fn split_aggregates<'a>(
    records: Vec<Record<'a>>,
    aggregates: &'a Aggregates,
) -> Vec<Record<'a>> {
    if aggregates.0.is_empty() {
        return records;
    }
    let parts = aggregates
        .0
        .iter()
        .map(|(_, aggregate)| aggregate.records.len());
    let mut split = Vec::with_capacity(records.len() + parts.sum::<usize>());
    let mut aggregates = aggregates.0.iter().peekable();
    for (position, record) in records.into_iter().enumerate() {
        match aggregates.next_if(|(at, _)| *at == position) {
            Some((_, aggregate)) => aggregate.split(&record, &mut split),
            None => split.push(record),
        }
    }
    split
}

/// Returns the refusal of data that begins as an aggregate: it is broken, or within another layer.
pub(super) fn refusal(data: &[u8]) -> Option<Box<Refusal>> {
    let reason = match parse(data)? {
        Ok(_) => "it is within another layer, or not in a record of Kinesis",
        Err(reason) => reason,
    };
    let message = format!("the data is a KPL aggregate that cannot be split: {reason}");
    Some(refuse(codes::INVALID_AGGREGATE, &message))
}

/// Parses an aggregate; `None` for data that does not begin as one, an error with the reason for
/// one that is broken.
fn parse(data: &[u8]) -> Option<Result<AggregatedRecord, &'static str>> {
    let content = data.strip_prefix(&MAGIC)?;
    Some(checked(content, data.len()))
}

fn checked(content: &[u8], length: usize) -> Result<AggregatedRecord, &'static str> {
    let Some((content, checksum)) = content.split_last_chunk::<CHECKSUM>() else {
        return Err("it has no checksum");
    };
    if Md5::digest(content)[..] != checksum[..] {
        return Err("its checksum is wrong");
    }
    let entries = entries(content).ok_or("its Protobuf cannot be decoded")?;
    if entries > length / FEWEST_BYTES {
        return Err("it has more records and keys than one in 16 bytes");
    }
    let aggregate = AggregatedRecord::decode(Bytes::copy_from_slice(content))
        .map_err(|_| "its Protobuf cannot be decoded")?;
    if aggregate.records.is_empty() {
        return Err("it has no records");
    }
    for part in &aggregate.records {
        aggregate.check(part)?;
    }
    Ok(aggregate)
}

/// Counts the entries of an aggregate, which are fields of a stated length, without decoding them.
/// `None` where the fields cannot be told apart.
fn entries(mut content: &[u8]) -> Option<usize> {
    let mut entries = 0;
    while !content.is_empty() {
        let kind = decode_length_delimiter(&mut content).ok()? & 0x07;
        let length = match kind {
            0 => {
                decode_length_delimiter(&mut content).ok()?;
                0
            }
            1 => 8,
            2 => {
                entries += 1;
                decode_length_delimiter(&mut content).ok()?
            }
            5 => 4,
            _ => return None,
        };
        content = content.get(length..)?;
    }
    Some(entries)
}

impl AggregatedRecord {
    fn check(&self, part: &Part) -> Result<(), &'static str> {
        if self.partition_key(part).is_none() {
            return Err("a record's partition key is not in its table");
        }
        if part.explicit_hash_key_index.is_some() && self.explicit_hash_key(part).is_none() {
            return Err("a record's explicit hash key is not in its table");
        }
        if part.data.is_none() {
            return Err("a record has no data");
        }
        Ok(())
    }

    fn partition_key(&self, part: &Part) -> Option<&str> {
        entry(&self.partition_key_table, part.partition_key_index?)
    }

    fn explicit_hash_key(&self, part: &Part) -> Option<&str> {
        entry(&self.explicit_hash_key_table, part.explicit_hash_key_index?)
    }

    /// Appends the records of the aggregate in `whole`.
    fn split<'a>(&'a self, whole: &Record<'a>, records: &mut Vec<Record<'a>>) {
        let Some(origin) = whole.kinesis() else {
            return;
        };
        for (part, sub_sequence) in self.records.iter().zip(0..) {
            let origin = KinesisOrigin {
                sub_sequence,
                partition_key: self.partition_key(part).map(Into::into),
                explicit_hash_key: self.explicit_hash_key(part),
                ..origin.clone()
            };
            records.push(Record {
                event_source_arn: whole.event_source_arn.clone(),
                origin: Origin::Kinesis(origin),
                data: part.data.as_deref().map(Data::Bytes),
                replay: whole.replay,
            });
        }
    }
}

/// Returns the key at `index` of a table.
fn entry(table: &[String], index: u64) -> Option<&str> {
    let index = usize::try_from(index).ok()?;
    table.get(index).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The aggregate of two records that AWS's libraries split.
    const SAMPLE: &str = "84mawgoDYy0xCgNjLTIaEAgAGgx7ImlkIjoiYy0xIn0aEAgBGgx7ImlkIjoiYy0yIn25daf\
                          U8dFm88jM4wmNKBKJ";

    fn framed(content: &[u8]) -> Vec<u8> {
        [&MAGIC, content, &Md5::digest(content)[..]].concat()
    }

    fn encoded(aggregate: &AggregatedRecord) -> Vec<u8> {
        framed(&aggregate.encode_to_vec())
    }

    fn part(key: u64, hash_key: Option<u64>, data: &[u8]) -> Part {
        Part {
            partition_key_index: Some(key),
            explicit_hash_key_index: hash_key,
            data: Some(Bytes::copy_from_slice(data)),
        }
    }

    fn aggregate(parts: Vec<Part>) -> AggregatedRecord {
        AggregatedRecord {
            partition_key_table: vec!["a key of a contact".to_owned(), "c-2".to_owned()],
            explicit_hash_key_table: vec![
                "340282366920938463463374607431768211455".to_owned(),
                "0".to_owned(),
            ],
            records: parts,
        }
    }

    fn record(data: String) -> Record<'static> {
        Record {
            origin: Origin::Kinesis(KinesisOrigin {
                sequence_number: Some("49".into()),
                partition_key: Some("whole".into()),
                ..KinesisOrigin::default()
            }),
            ..Record::of_data(data)
        }
    }

    fn base64(data: &[u8]) -> String {
        base64_simd::STANDARD.encode_to_string(data)
    }

    /// The sub-sequence, the key, the explicit hash key and the data of a record.
    type Split = (u64, String, Option<String>, Vec<u8>);

    /// Splits the aggregates among `records`.
    fn split(records: Vec<Record<'_>>) -> Vec<Split> {
        let aggregates = Aggregates::of(&records);
        let mut parts = Vec::new();
        for record in split_aggregates(records, &aggregates) {
            let origin = record.kinesis().expect("of Kinesis");
            assert_eq!(origin.sequence_number.as_deref(), Some("49"));
            let key = origin.partition_key.clone().expect("a key").into_owned();
            let data = match &record.data {
                Some(Data::Bytes(bytes)) => bytes.to_vec(),
                Some(Data::Base64(text)) => text.as_bytes().to_vec(),
                None => panic!("no data: {record:?}"),
            };
            let hash_key = origin.explicit_hash_key.map(str::to_owned);
            parts.push((origin.sub_sequence, key, hash_key, data));
        }
        parts
    }

    #[test]
    fn the_records_of_an_aggregate_have_their_own_keys_and_data() {
        let plain = || record("e30=".to_owned());
        assert_eq!(
            split(vec![plain(), record(SAMPLE.to_owned()), plain()]),
            [
                (0, "whole".to_owned(), None, b"e30=".to_vec()),
                (0, "c-1".to_owned(), None, b"{\"id\":\"c-1\"}".to_vec()),
                (1, "c-2".to_owned(), None, b"{\"id\":\"c-2\"}".to_vec()),
                (0, "whole".to_owned(), None, b"e30=".to_vec()),
            ]
        );
    }

    #[test]
    fn a_broken_aggregate_is_refused_as_a_whole() {
        let good = || part(0, None, b"data of one record");
        let without_data = Part {
            data: None,
            ..good()
        };
        let without_key = Part {
            partition_key_index: None,
            ..good()
        };
        let mut unchecked = encoded(&aggregate(vec![good()]));
        *unchecked.last_mut().expect("a byte") ^= 1;
        for (data, reason) in [
            (MAGIC.to_vec(), "no checksum"),
            (unchecked, "checksum is wrong"),
            (framed(&[0x0a, 0xff]), "Protobuf"),
            (framed(&[0x0a, 1, 0xff]), "Protobuf"),
            (framed(&[]), "no records"),
            (encoded(&aggregate(vec![])), "no records"),
            (
                encoded(&aggregate(vec![good(), part(2, None, b"")])),
                "partition key",
            ),
            (
                encoded(&aggregate(vec![good(), part(u64::MAX, None, b"")])),
                "partition key",
            ),
            (
                encoded(&aggregate(vec![good(), without_key])),
                "partition key",
            ),
            (
                encoded(&aggregate(vec![good(), part(0, Some(2), b"")])),
                "explicit hash key",
            ),
            (encoded(&aggregate(vec![good(), without_data])), "no data"),
            (
                encoded(&aggregate((0..1_000).map(|_| part(0, None, b"")).collect())),
                "more records and keys",
            ),
            (framed(&[0x1a, 0].repeat(1_000)), "more records and keys"),
            (framed(&[0x0a, 0].repeat(1_000)), "more records and keys"),
            (framed(&[0x1b; 100]), "Protobuf"),
        ] {
            assert!(matches!(parse(&data), Some(Err(_))), "{reason}");
            assert_eq!(split(vec![record(base64(&data))]).len(), 1, "{reason}");
            let rejection = refusal(&data).expect("refused").rejection;
            assert_eq!(rejection.code.as_str(), "INVALID_AGGREGATE");
            assert!(rejection.message.contains(reason), "{}", rejection.message);
        }
        assert!(refusal(b"{}").is_none());
        let within = refusal(&encoded(&aggregate(vec![good()]))).expect("refused");
        assert!(within.rejection.message.contains("another layer"));
    }

    #[test]
    fn tags_and_unknown_fields_are_skipped() {
        let mut content = vec![0x0a, 3, b'c', b'-', b'1'];
        // A record with a tag, field 4, and an unknown field 9.
        let record = [
            &[0x08, 0, 0x1a, 12][..],
            b"twelve bytes",
            &[0x22, 3, 0x0a, 1, b't', 0x4a, 1, b'u'],
        ]
        .concat();
        content.extend([0x1a, u8::try_from(record.len()).expect("fits")]);
        content.extend(record);
        assert_eq!(
            split(vec![self::record(base64(&framed(&content)))]),
            [(0, "c-1".to_owned(), None, b"twelve bytes".to_vec())]
        );
    }

    fn parts() -> impl Strategy<Value = Vec<(u64, Option<u64>, Vec<u8>)>> {
        let data = proptest::collection::vec(any::<u8>(), 12..60);
        proptest::collection::vec((0..2_u64, proptest::option::of(0..2_u64), data), 1..20)
    }

    fn of(parts: &[(u64, Option<u64>, Vec<u8>)]) -> Vec<u8> {
        let parts = parts
            .iter()
            .map(|(key, hash, data)| part(*key, *hash, data));
        encoded(&aggregate(parts.collect()))
    }

    fn expected(parts: &[(u64, Option<u64>, Vec<u8>)]) -> Vec<Split> {
        let tables = aggregate(vec![]);
        let entry = |table: &[String], at: u64| table[usize::try_from(at).expect("fits")].clone();
        let mut expected = Vec::new();
        for ((key, hash_key, data), at) in parts.iter().zip(0..) {
            let key = entry(&tables.partition_key_table, *key);
            let hash_key = hash_key.map(|at| entry(&tables.explicit_hash_key_table, at));
            expected.push((at, key, hash_key, data.clone()));
        }
        expected
    }

    proptest! {
        #[test]
        fn all_records_of_any_aggregate_are_restored_in_order(parts in parts()) {
            prop_assert_eq!(split(vec![record(base64(&of(&parts)))]), expected(&parts));
        }

        #[test]
        fn a_damaged_aggregate_is_refused_and_drops_no_record(
            parts in parts(),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
            is_cut: bool,
        ) {
            let mut data = of(&parts);
            let at = at.index(data.len() - MAGIC.len()) + MAGIC.len();
            if is_cut {
                data.truncate(at);
            } else {
                data[at] ^= 1 << bit;
            }
            let text = base64(&data);
            let records = split(vec![record(text.clone())]);
            prop_assert_eq!(records, [(0, "whole".to_owned(), None, text.into_bytes())]);
            prop_assert!(refusal(&data).is_some());
        }

        #[test]
        fn a_valid_checksum_over_arbitrary_bytes_never_panics(
            content in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let data = framed(&content);
            let count = split(vec![record(base64(&data))]).len();
            prop_assert_eq!(count > 1 || refusal(&data).is_some(), true);
        }
    }
}
