//! The content of an item: the settled records of one partly failed invocation, as compressed JSON.
//!
//! One array holds a row for each record, `[number, fingerprint, outcome]`. The outcome of a record
//! that reached no destination is its fate; otherwise the outcome is an array with one
//! `[destination, fate, contact, is_resent]` for each destination. A row of one destination takes
//! 32 bytes compressed, one of two destinations 37. The records of the largest batch, 10,000, fit
//! an item, which takes 400 KB.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>

mod packed;

use std::io::Read;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use super::batch::ContactHash;
use super::number::SequenceNumber;
use crate::settle::Fate;

/// The first byte of an item's content. An item that begins with another byte was written by
/// another version.
const FORMAT: u8 = 4;

/// Bound of the content of one item, in bytes. Its other attributes have 10,000 bytes.
const MAX_BYTES: usize = 399_600;

/// Bound of the decompressed content, in bytes. The JSON of 10,000 records has some 2 MB.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// The outcome of a record at one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OutcomeRow", into = "OutcomeRow")]
pub(in crate::settle) struct DestinationOutcome {
    /// Index of the destination in the item's list.
    pub(in crate::settle) destination: usize,
    pub(in crate::settle) fate: Fate,
    /// The contact of a change that changed the destination. The position of such a change among
    /// the changes of its contact matters.
    pub(in crate::settle) ordered: Option<ContactHash>,
    /// Whether a redelivered record is sent again and compared with the destination.
    pub(in crate::settle) is_resent: bool,
}

/// The outcome of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::settle) enum PriorOutcome {
    /// The record ended before any destination was called.
    Whole(Fate),
    /// The record ended at these destinations.
    At(Vec<DestinationOutcome>),
}

/// [`DestinationOutcome`] in a row.
type OutcomeRow = (usize, Fate, Option<ContactHash>, bool);

impl From<OutcomeRow> for DestinationOutcome {
    fn from((destination, fate, ordered, is_resent): OutcomeRow) -> Self {
        Self {
            destination,
            fate,
            ordered,
            is_resent,
        }
    }
}

impl From<DestinationOutcome> for OutcomeRow {
    fn from(outcome: DestinationOutcome) -> Self {
        (
            outcome.destination,
            outcome.fate,
            outcome.ordered,
            outcome.is_resent,
        )
    }
}

/// Encodes `records` in their order. Omits the last records where the item would exceed its bound.
pub(super) fn encode<'a>(
    records: impl IntoIterator<Item = (SequenceNumber<'a>, u64, &'a PriorOutcome)>,
) -> Vec<u8> {
    let mut rows: Vec<_> = records.into_iter().collect();
    loop {
        let bytes = compress(&rows);
        if bytes.len() <= MAX_BYTES {
            return bytes;
        }
        rows.truncate(rows.len() * MAX_BYTES / bytes.len());
    }
}

fn compress(rows: &[(SequenceNumber<'_>, u64, &PriorOutcome)]) -> Vec<u8> {
    // The fast level: the slow ones take eight times as long and save nothing in random digits.
    let mut encoder = DeflateEncoder::new(vec![FORMAT], Compression::fast());
    // Serializing these rows into memory cannot fail.
    let _ = serde_json::to_writer(&mut encoder, rows);
    encoder.finish().unwrap_or_default()
}

/// Decodes an item and calls `each` with every record. Returns `None` for bytes of an unknown
/// format.
pub(super) fn decode(
    bytes: &[u8],
    mut each: impl FnMut(SequenceNumber<'_>, u64, PriorOutcome),
) -> Option<()> {
    let (format, content) = bytes.split_first()?;
    if *format != FORMAT {
        return packed::decode(*format, content, each);
    }
    let mut json = Vec::new();
    DeflateDecoder::new(content)
        .take(MAX_JSON_BYTES)
        .read_to_end(&mut json)
        .ok()?;
    let rows: Vec<(&str, u64, PriorOutcome)> = serde_json::from_slice(&json).ok()?;
    for (digits, fingerprint, outcome) in rows {
        each(SequenceNumber::of_digits(digits)?, fingerprint, outcome);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Known = (String, u64, PriorOutcome);

    fn encoded(records: &[Known]) -> Vec<u8> {
        let number = |text| SequenceNumber::parse(text).expect("a number");
        encode(
            records
                .iter()
                .map(|(text, fingerprint, outcome)| (number(text), *fingerprint, outcome)),
        )
    }

    fn decoded(bytes: &[u8]) -> Option<Vec<Known>> {
        let mut records = Vec::new();
        decode(bytes, |number, fingerprint, outcome| {
            let digits = serde_json::to_value(number).expect("a text");
            let digits = match digits.as_str() {
                Some("") | None => "0",
                Some(digits) => digits,
            };
            records.push((digits.to_owned(), fingerprint, outcome));
        })?;
        Some(records)
    }

    fn outcome() -> impl Strategy<Value = PriorOutcome> {
        let fate = || {
            prop::sample::select(vec![
                Fate::Delivered,
                Fate::Filtered,
                Fate::Superseded,
                Fate::Rejected,
            ])
        };
        let at_destination = (
            0_usize..300,
            fate(),
            any::<Option<ContactHash>>(),
            any::<bool>(),
        )
            .prop_map(DestinationOutcome::from);
        prop_oneof![
            fate().prop_map(PriorOutcome::Whole),
            proptest::collection::vec(at_destination, 1..4).prop_map(PriorOutcome::At),
        ]
    }

    proptest! {
        #[test]
        fn decoding_returns_the_encoded_records(
            records in proptest::collection::vec(
                ("(0|[1-9][0-9]{0,128})", any::<u64>(), outcome()),
                0..40,
            )
        ) {
            prop_assert_eq!(decoded(&encoded(&records)), Some(records));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(
            format in 0_u8..6,
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = decoded(&[&[format], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn a_later_format_is_not_decoded() {
        assert_eq!(decoded(&[FORMAT + 1]), None);
        assert_eq!(decoded(&[]), None);
    }

    /// Returns `count` records as Kinesis numbers those of one shard: the first 27 of 56 digits are
    /// the shard's. The other digits, the fingerprints and the contacts are random, which
    /// compresses worst.
    fn native_records(count: u64, destinations: usize) -> Vec<Known> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut records = Vec::new();
        for at in 0..count {
            let number = u128::from(at) * 10_u128.pow(22) + random.u128(..10_u128.pow(22));
            let contact = random.u32(..);
            let outcome = |destination| DestinationOutcome {
                destination,
                fate: Fate::Delivered,
                ordered: Some(contact),
                is_resent: false,
            };
            records.push((
                format!("495903382714902566085596925{number:029}"),
                random.u64(..),
                PriorOutcome::At((0..destinations).map(outcome).collect()),
            ));
        }
        records
    }

    #[test]
    fn ten_thousand_records_fit_one_item_and_what_does_not_fit_is_left_out() {
        for (destinations, limit) in [(1, 330_000), (2, MAX_BYTES)] {
            let records = native_records(10_000, destinations);
            let bytes = encoded(&records);
            assert!(bytes.len() < limit, "{}", bytes.len());
            assert_eq!(decoded(&bytes), Some(records));
        }

        let mut random = fastrand::Rng::with_seed(1);
        let mut records: Vec<Known> = Vec::new();
        for _ in 0..10_000 {
            let digits: String = (0..129)
                .map(|_| char::from(b'1' + random.u8(..9)))
                .collect();
            let outcome = DestinationOutcome {
                destination: 1,
                fate: Fate::Delivered,
                ordered: Some(random.u32(..)),
                is_resent: false,
            };
            records.push((digits, random.u64(..), PriorOutcome::At(vec![outcome])));
        }
        let bytes = encoded(&records);
        assert!(bytes.len() <= MAX_BYTES, "{}", bytes.len());
        let read = decoded(&bytes).expect("whole records");
        assert_eq!(read, records[..read.len()]);
        assert!(read.len() > 4_000, "{}", read.len());
    }
}
