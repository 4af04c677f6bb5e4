//! Decimals of Kafka Connect: the unscaled value as bytes in two's complement, most significant
//! first, and the number of digits behind the point.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::cell::{Cell, Unreadable};

/// The longest unscaled value, in bytes: of some 600 digits, a tenth of which databases allow
/// without being asked.
const LONGEST: usize = 256;

/// The farthest that a scale moves the point.
const FARTHEST: usize = 1_000;

/// Decodes a decimal from its base64 text.
pub(super) fn cell(base64: &str, scale: i32) -> Result<Cell<'static>, Unreadable> {
    let bytes = base64_simd::STANDARD.decode_to_vec(base64);
    let bytes = bytes.map_err(|_| Unreadable)?;
    let text = text(&bytes, scale).ok_or(Unreadable)?;
    Ok(Cell::Number(Cow::Owned(text)))
}

/// Writes a decimal. `None` where it has no digits, or more than any column.
fn text(bytes: &[u8], scale: i32) -> Option<String> {
    let is_negative = *bytes.first()? & 0x80 != 0;
    if bytes.len() > LONGEST {
        return None;
    }
    let digits = digits(magnitude(bytes, is_negative));
    let zeros = usize::try_from(scale.unsigned_abs()).ok()?;
    if zeros > FARTHEST {
        return None;
    }
    let placed = if digits == "0" && scale <= 0 {
        digits
    } else if scale <= 0 {
        digits + &"0".repeat(zeros)
    } else {
        let padded = format!("{digits:0>width$}", width = zeros + 1);
        let (whole, fraction) = padded.split_at(padded.len() - zeros);
        format!("{whole}.{fraction}")
    };
    Some(if is_negative {
        format!("-{placed}")
    } else {
        placed
    })
}

/// Returns the absolute value of a number in two's complement.
fn magnitude(bytes: &[u8], is_negative: bool) -> Vec<u8> {
    if !is_negative {
        return bytes.to_vec();
    }
    let mut inverted: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    for byte in inverted.iter_mut().rev() {
        let (sum, carries) = byte.overflowing_add(1);
        *byte = sum;
        if !carries {
            return inverted;
        }
    }
    // The value was the least of its length: its absolute value needs one bit more.
    inverted.insert(0, 1);
    inverted
}

/// Writes an unsigned number, most significant byte first, in decimal digits.
fn digits(mut number: Vec<u8>) -> String {
    const GROUP: u32 = 1_000_000_000;
    let mut groups = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u64;
        for byte in &mut number {
            let part = (rest << 8) | u64::from(*byte);
            *byte = u8::try_from(part / u64::from(GROUP)).unwrap_or_default();
            rest = part % u64::from(GROUP);
        }
        groups.push(rest);
    }
    let mut text = match groups.pop() {
        Some(first) => first.to_string(),
        None => "0".to_owned(),
    };
    for group in groups.iter().rev() {
        // A `String` takes everything.
        let _ = write!(text, "{group:09}");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_decimal_is_written_with_each_of_its_digits() {
        for (bytes, scale, expected) in [
            (&[0x04, 0xe2][..], 2, Some("12.50")),
            (&[0xfb], 0, Some("-5")),
            (&[0xfb], 2, Some("-0.05")),
            (&[0], 2, Some("0.00")),
            (&[0], -2, Some("0")),
            (&[5], -2, Some("500")),
            (&[0x80], 0, Some("-128")),
            (&[0x80, 0], 1, Some("-3276.8")),
            (&[0, 0, 1], 0, Some("1")),
            (&[], 0, None),
            (&[1], 1_001, None),
            (&[1], -1_001, None),
            (&[1], i32::MIN, None),
            (&[1; 257], 0, None),
        ] {
            assert_eq!(
                text(bytes, scale).as_deref(),
                expected,
                "{bytes:?} at {scale}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_the_integer_of_its_bytes_and_its_scale(value: i128, scale in 0_i32..40) {
            let written = text(&value.to_be_bytes(), scale).expect("short");
            let digits = written.replace('.', "");
            prop_assert_eq!(digits.parse::<i128>().expect("digits"), value);
            let fraction = written.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            prop_assert_eq!(i32::try_from(fraction).expect("short"), scale);
        }

        #[test]
        fn no_bytes_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), scale: i32
        ) {
            let _ = text(&bytes, scale);
        }
    }
}
