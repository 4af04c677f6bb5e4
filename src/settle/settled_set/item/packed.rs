//! Reads the items of the previous release, formats 2 and 3. To be removed with the next release.
//!
//! A number is stored as its difference from the number before it, two digits a byte. The
//! fingerprint and the outcome follow.

use super::{DestinationOutcome, PriorOutcome};
use crate::settle::Fate;
use crate::settle::settled_set::batch::ContactHash;
use crate::settle::settled_set::number::SequenceNumber;

/// Decodes an item and calls `each` with every record. Returns `None` for an unknown format and for
/// malformed content.
pub(super) fn decode(
    format: u8,
    mut rest: &[u8],
    mut each: impl FnMut(SequenceNumber<'_>, u64, PriorOutcome),
) -> Option<()> {
    // Format 2 lacks the flag `is_resent`. The destination takes the bits above the flags.
    let destination_shift = match format {
        3 => 4,
        2 => 3,
        _ => return None,
    };
    let mut digits = String::new();
    while !rest.is_empty() {
        take_number(&mut rest, &mut digits)?;
        let (fingerprint, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        let outcome = take_outcome(&mut rest, destination_shift)?;
        each(
            SequenceNumber::of_digits(&digits)?,
            u64::from_le_bytes(*fingerprint),
            outcome,
        );
    }
    Some(())
}

/// Reads a number: how many digits it shares with the number before it, how many follow, and these.
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

fn take_outcome(rest: &mut &[u8], destination_shift: u32) -> Option<PriorOutcome> {
    let head = take_varint(rest)?;
    if head <= 3 {
        return Some(PriorOutcome::Whole(fate(head)?));
    }
    let mut outcomes = Vec::new();
    for _ in 3..head {
        let word = take_varint(rest)?;
        let mut ordered = None;
        if word & 4 != 0 {
            let (contact, after) = rest.split_first_chunk()?;
            *rest = after;
            ordered = Some(ContactHash::from_le_bytes(*contact));
        }
        outcomes.push(DestinationOutcome {
            destination: usize::try_from(word >> destination_shift).ok()?,
            fate: fate(word & 3)?,
            ordered,
            is_resent: destination_shift == 4 && word & 8 != 0,
        });
    }
    Some(PriorOutcome::At(outcomes))
}

fn fate(code: u64) -> Option<Fate> {
    match code {
        0 => Some(Fate::Delivered),
        1 => Some(Fate::Filtered),
        2 => Some(Fate::Superseded),
        3 => Some(Fate::Rejected),
        _ => None,
    }
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
    use super::*;

    #[test]
    fn items_of_both_previous_formats_are_decoded() {
        let outcome = |destination, fate, ordered, is_resent| DestinationOutcome {
            destination,
            fate,
            ordered,
            is_resent,
        };
        for (format, shift, is_resent) in [(2, 3, false), (3, 4, true)] {
            let flag = if is_resent { 1 << 3 } else { 0 };
            let content = [
                // 123, 124: the second shares two digits with the first.
                &[0, 3, 0x12, 0x30][..],
                &9_u64.to_le_bytes(),
                &[5, 1 << shift | flag | 1 << 2 | 2],
                &7_u32.to_le_bytes(),
                &[3, 2, 1, 0x40],
                &8_u64.to_le_bytes(),
                &[1],
            ];
            let mut read = Vec::new();
            let done = decode(format, &content.concat(), |number, fingerprint, outcome| {
                let digits = serde_json::to_value(number).expect("a text");
                read.push((digits, fingerprint, outcome));
            });
            assert_eq!(done, Some(()));
            let at = vec![
                outcome(1, Fate::Superseded, Some(7), is_resent),
                outcome(0, Fate::Rejected, None, false),
            ];
            let expected = [
                ("123".into(), 9, PriorOutcome::At(at)),
                ("124".into(), 8, PriorOutcome::Whole(Fate::Filtered)),
            ];
            assert_eq!(read, expected, "format {format}");
        }
    }
}
