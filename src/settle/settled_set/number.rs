//! Compares sequence numbers: decimal numbers of any length. Those of Kinesis have 56 digits and
//! may have 129; emulators begin with 1. The offsets of Kafka have 64 bits.
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html>

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde::{Serialize, Serializer};

/// A sequence number.
#[derive(Clone, Copy, Debug)]
pub(super) enum SequenceNumber<'a> {
    /// The digits, without leading zeros.
    Digits(&'a str),
    /// An offset of Kafka.
    Offset(u64),
}

impl<'a> SequenceNumber<'a> {
    /// Bound of the digits.
    const LONGEST: usize = 255;

    /// Parses a number; `None` for a text that is not a decimal number.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let digits = text.trim_start_matches('0');
        (is_number && digits.len() <= Self::LONGEST).then_some(Self::Digits(digits))
    }

    /// Calls `with` with the digits. Zero has none.
    fn digits<T>(self, with: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Digits(digits) => with(digits),
            Self::Offset(0) => with(""),
            Self::Offset(offset) => with(&offset.to_string()),
        }
    }

    /// Returns a text that sorts as the number does: the length in three digits, then the digits.
    pub(super) fn sort_key(self) -> String {
        self.digits(|digits| format!("{:03}{digits}", digits.len()))
    }

    /// Returns the number of these digits. No digits are zero.
    pub(super) fn of_digits(digits: &'a str) -> Option<Self> {
        if digits.is_empty() {
            Some(Self::Digits(digits))
        } else {
            Self::parse(digits)
        }
    }
}

impl Serialize for SequenceNumber<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.digits(|digits| serializer.serialize_str(digits))
    }
}

impl Ord for SequenceNumber<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Self::Offset(own), Self::Offset(other)) = (self, other) {
            return own.cmp(other);
        }
        self.digits(|own| other.digits(|other| (own.len(), own).cmp(&(other.len(), other))))
    }
}

impl PartialOrd for SequenceNumber<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SequenceNumber<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for SequenceNumber<'_> {}

impl Hash for SequenceNumber<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digits(|digits| digits.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn digits(number: SequenceNumber<'_>) -> String {
        number.digits(str::to_owned)
    }

    #[test]
    fn only_decimal_numbers_are_parsed() {
        for (text, expected) in [
            ("1", Some("1")),
            ("007", Some("7")),
            ("0", Some("")),
            ("", None),
            ("-1", None),
            ("1e3", None),
        ] {
            let number = SequenceNumber::parse(text);
            assert_eq!(number.map(digits).as_deref(), expected, "{text:?}");
        }
        assert!(SequenceNumber::parse(&"9".repeat(256)).is_none());
    }

    proptest! {
        #[test]
        fn numbers_and_their_sort_keys_are_ordered_as_numbers(
            a: u128,
            b: u128,
            shift in 0_u32..120,
        ) {
            let (a, b) = (a >> shift, b);
            let texts = [a.to_string(), format!("00{b}")];
            let [x, y] = [0, 1].map(|at| SequenceNumber::parse(&texts[at]).expect("a number"));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.sort_key().cmp(&y.sort_key()), a.cmp(&b));
            let read = digits(x);
            prop_assert_eq!(SequenceNumber::of_digits(&read), Some(x));
        }

        #[test]
        fn an_offset_equals_the_number_of_its_digits(a: u64, shift in 0_u32..64, b: u64) {
            let a = a >> shift;
            let text = a.to_string();
            let (number, offset) = (
                SequenceNumber::parse(&text).expect("a number"),
                SequenceNumber::Offset(a),
            );
            prop_assert_eq!(number, offset);
            prop_assert!(HashSet::from([number]).contains(&offset));
            prop_assert_eq!(number.sort_key(), offset.sort_key());
            prop_assert_eq!(number.cmp(&SequenceNumber::Offset(b)), a.cmp(&b));
            prop_assert_eq!(offset.cmp(&SequenceNumber::Offset(b)), a.cmp(&b));
        }
    }
}
