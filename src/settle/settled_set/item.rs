//! One partly failed invocation's memory, as bytes: each settled record by its number and
//! fingerprint, and what became of it at each destination.
//!
//! A number is written as what differs from the one before it, two digits a byte: 56 digits of
//! which the last 29 differ take 17 bytes, a record 31. A batch of 10,000 so fits an item, which
//! takes 400 KB.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>

use smallvec::SmallVec;

use super::batch::ContactHash;
use super::number::SequenceNumber;
use crate::settle::Fate;

/// The first byte. What begins otherwise was written by another version, and is not understood.
const FORMAT: u8 = 3;

/// The same of the release before, which is read as well: its marks lack the bit of `is_again`.
const FORMAT_BEFORE: u8 = 2;

/// The records' bytes in one item; what else is in it has 10,000 bytes.
const MOST_BYTES: usize = 399_600;

/// A mark's word: two bits of the fate, `ordered`, `is_again`, and from this bit on the
/// destination.
const DESTINATION_AT: u32 = 4;

/// What became of a record at one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settle) struct DestinationOutcome {
    /// By its place in a list.
    pub(in crate::settle) destination: usize,
    pub(in crate::settle) fate: Fate,
    /// It changed something there, so that its place among the changes of this contact matters.
    pub(in crate::settle) ordered: Option<ContactHash>,
    /// It is sent again when it comes again, and is compared with the destination then.
    pub(in crate::settle) is_again: bool,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::settle) enum PriorOutcome {
    /// It ended before any destination was asked.
    Whole(Fate),
    /// It ended at these destinations.
    At(SmallVec<[DestinationOutcome; 1]>),
}

/// The bytes of `records`, in their order; what does not fit is left out.
pub(super) fn encode<'a>(
    records: impl IntoIterator<Item = (SequenceNumber<'a>, u64, &'a PriorOutcome)>,
) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    let mut before = "";
    for (number, fingerprint, memory) in records {
        let start = bytes.len();
        put_number(&mut bytes, before, number.digits());
        bytes.extend_from_slice(&fingerprint.to_le_bytes());
        put_memory(&mut bytes, memory);
        if bytes.len() > MOST_BYTES {
            bytes.truncate(start);
            break;
        }
        before = number.digits();
    }
    bytes
}

/// Reads the records one by one; `None` where the bytes are none of ours.
pub(super) fn decode(
    bytes: &[u8],
    mut each: impl FnMut(SequenceNumber<'_>, u64, PriorOutcome),
) -> Option<()> {
    let (format, mut rest) = bytes.split_first()?;
    let destination_at = match *format {
        FORMAT => DESTINATION_AT,
        FORMAT_BEFORE => DESTINATION_AT - 1,
        _ => return None,
    };
    let mut digits = String::new();
    while !rest.is_empty() {
        take_number(&mut rest, &mut digits)?;
        let (fingerprint, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        let memory = take_memory(&mut rest, destination_at)?;
        each(
            SequenceNumber::of_digits(&digits)?,
            u64::from_le_bytes(*fingerprint),
            memory,
        );
    }
    Some(())
}

fn put_number(bytes: &mut Vec<u8>, before: &str, digits: &str) {
    let shared = before
        .bytes()
        .zip(digits.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let rest = &digits.as_bytes()[shared..];
    // A number has at most 255 digits.
    bytes.extend([shared, rest.len()].map(|length| u8::try_from(length).unwrap_or(u8::MAX)));
    bytes.extend(
        rest.chunks(2)
            .map(|pair| (pair[0] - b'0') << 4 | pair.get(1).map_or(0, |digit| digit - b'0')),
    );
}

fn take_number(rest: &mut &[u8], digits: &mut String) -> Option<()> {
    let ([shared, length], after) = rest.split_first_chunk::<2>()?;
    let (packed, after) = after.split_at_checked(usize::from(*length).div_ceil(2))?;
    *rest = after;
    digits.truncate(usize::from(*shared));
    let end = usize::from(*shared) + usize::from(*length);
    for digit in packed.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        if digits.len() < end {
            digits.push(char::from_digit(digit.into(), 10)?);
        }
    }
    (digits.len() == end).then_some(())
}

fn put_memory(bytes: &mut Vec<u8>, memory: &PriorOutcome) {
    match memory {
        PriorOutcome::Whole(fate) => put_varint(bytes, u64::from(code(*fate))),
        PriorOutcome::At(marks) => {
            // Above every fate.
            put_varint(bytes, marks.len() as u64 + 3);
            for mark in marks {
                let flags = u64::from(mark.is_again) << 3 | u64::from(mark.ordered.is_some()) << 2;
                put_varint(
                    bytes,
                    (mark.destination as u64) << DESTINATION_AT
                        | flags
                        | u64::from(code(mark.fate)),
                );
                bytes.extend(mark.ordered.into_iter().flat_map(ContactHash::to_le_bytes));
            }
        }
    }
}

fn take_memory(rest: &mut &[u8], destination_at: u32) -> Option<PriorOutcome> {
    let head = take_varint(rest)?;
    if head <= 3 {
        return Some(PriorOutcome::Whole(fate(head)?));
    }
    let mut marks = SmallVec::new();
    for _ in 3..head {
        let word = take_varint(rest)?;
        let mut ordered = None;
        if word & 4 != 0 {
            let (contact, after) = rest.split_first_chunk()?;
            *rest = after;
            ordered = Some(ContactHash::from_le_bytes(*contact));
        }
        let is_again = destination_at == DESTINATION_AT && word & 8 != 0;
        let destination = usize::try_from(word >> destination_at).ok()?;
        marks.push(DestinationOutcome {
            destination,
            fate: fate(word & 3)?,
            ordered,
            is_again,
        });
    }
    Some(PriorOutcome::At(marks))
}

/// A failed record is not settled: it has no code.
fn code(fate: Fate) -> u8 {
    match fate {
        Fate::Delivered | Fate::Failed => 0,
        Fate::Filtered => 1,
        Fate::Superseded => 2,
        Fate::Rejected => 3,
    }
}

fn fate(code: u64) -> Option<Fate> {
    [
        Fate::Delivered,
        Fate::Filtered,
        Fate::Superseded,
        Fate::Rejected,
    ]
    .get(usize::try_from(code).ok()?)
    .copied()
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;

    type Known = (String, u64, PriorOutcome);

    fn encoded(records: &[Known]) -> Vec<u8> {
        let number = |text| SequenceNumber::parse(text).expect("a number");
        encode(
            records
                .iter()
                .map(|(text, fingerprint, memory)| (number(text), *fingerprint, memory)),
        )
    }

    fn decoded(bytes: &[u8]) -> Option<Vec<Known>> {
        let mut records = Vec::new();
        decode(bytes, |number, fingerprint, memory| {
            let digits = number.digits();
            records.push((
                if digits.is_empty() { "0" } else { digits }.to_owned(),
                fingerprint,
                memory,
            ));
        })?;
        Some(records)
    }

    fn memory() -> impl Strategy<Value = PriorOutcome> {
        let fate = || (0_u64..4).prop_map(|code| fate(code).expect("one of four"));
        let mark = (
            0_usize..300,
            fate(),
            any::<Option<ContactHash>>(),
            any::<bool>(),
        );
        let mark = mark.prop_map(
            |(destination, fate, ordered, is_again)| DestinationOutcome {
                destination,
                fate,
                ordered,
                is_again,
            },
        );
        prop_oneof![
            fate().prop_map(PriorOutcome::Whole),
            proptest::collection::vec(mark, 1..4).prop_map(|marks| PriorOutcome::At(marks.into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in proptest::collection::vec(("(0|[1-9][0-9]{0,128})", any::<u64>(), memory()), 0..40)
        ) {
            prop_assert_eq!(decoded(&encoded(&records)), Some(records));
        }

        #[test]
        fn whatever_else_is_read_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decoded(&[&[FORMAT], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn an_item_of_the_release_before_is_read() {
        let ordered = DestinationOutcome {
            destination: 1,
            fate: Fate::Superseded,
            ordered: Some(7),
            is_again: false,
        };
        let unchanged = DestinationOutcome {
            destination: 0,
            fate: Fate::Rejected,
            ordered: None,
            is_again: false,
        };
        let bytes = [
            &[FORMAT_BEFORE, 0, 3, 0x12, 0x30][..],
            &9_u64.to_le_bytes(),
            &[5, 1 << 3 | 1 << 2 | 2],
            &7_u32.to_le_bytes(),
            &[3],
        ];
        let read = decoded(&bytes.concat()).expect("understood");
        assert_eq!(
            read,
            [(
                "123".to_owned(),
                9,
                PriorOutcome::At(smallvec![ordered, unchanged])
            )]
        );
        assert_eq!(decoded(&[FORMAT + 1]), None);
    }

    #[test]
    fn ten_thousand_records_fit_one_item_and_what_does_not_fit_is_left_out() {
        let mark = DestinationOutcome {
            destination: 1,
            fate: Fate::Delivered,
            ordered: Some(1 << 31),
            is_again: false,
        };
        let record = |number: String| (number, u64::MAX, PriorOutcome::At(smallvec![mark]));
        // As Kinesis numbers the records of one shard: the first 27 digits are the shard's.
        let native = |at: u64| {
            format!(
                "495903382714902566085596925{:029}",
                u128::from(at) * 2_643_383_232_532_551_614
            )
        };
        let records: Vec<Known> = (0..10_000).map(|at| record(native(at))).collect();
        let bytes = encoded(&records);
        assert!(bytes.len() < 330_000, "{}", bytes.len());
        assert_eq!(decoded(&bytes), Some(records));

        let mut random = fastrand::Rng::with_seed(1);
        let mut strange = || {
            (0..129)
                .map(|_| char::from(b'1' + random.u8(..9)))
                .collect::<String>()
        };
        let records: Vec<Known> = (0..10_000).map(|_| record(strange())).collect();
        let bytes = encoded(&records);
        assert!(bytes.len() <= MOST_BYTES, "{}", bytes.len());
        let read = decoded(&bytes).expect("whole records");
        assert_eq!(read, records[..read.len()]);
        assert!(read.len() > 4_000, "{}", read.len());
    }
}
