//! Compares sequence numbers: decimal numbers of any length. Those of Kinesis have 56 digits and
//! may have 129; emulators begin with 1.
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html>

/// A sequence number's digits, without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SequenceNumber<'a>(&'a str);

impl<'a> SequenceNumber<'a> {
    /// Bound of the digits.
    const LONGEST: usize = 255;

    /// Parses a number; `None` for a text that is not a decimal number.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let digits = text.trim_start_matches('0');
        (is_number && digits.len() <= Self::LONGEST).then_some(Self(digits))
    }

    pub(super) fn digits(self) -> &'a str {
        self.0
    }

    /// Returns a text that sorts as the number does: the length in three digits, then the digits.
    pub(super) fn sort_key(self) -> String {
        format!("{:03}{}", self.0.len(), self.0)
    }

    /// Returns the number of these digits. No digits are zero.
    pub(super) fn of_digits(digits: &'a str) -> Option<Self> {
        if digits.is_empty() {
            Some(Self(digits))
        } else {
            Self::parse(digits)
        }
    }
}

impl Ord for SequenceNumber<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.len(), self.0).cmp(&(other.0.len(), other.0))
    }
}

impl PartialOrd for SequenceNumber<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_decimal_numbers_are_parsed() {
        for (text, digits) in [
            ("1", Some("1")),
            ("007", Some("7")),
            ("0", Some("")),
            ("", None),
            ("-1", None),
            ("1e3", None),
        ] {
            assert_eq!(
                SequenceNumber::parse(text).map(SequenceNumber::digits),
                digits,
                "{text:?}"
            );
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
            prop_assert_eq!(SequenceNumber::of_digits(x.digits()), Some(x));
        }
    }
}
