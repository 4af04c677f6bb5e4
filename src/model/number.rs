//! A JSON number as it was written. A double would keep 15 to 17 of its digits.

use std::borrow::Cow;
use std::fmt;

/// The longest number without an exponent, in characters: the longest text of either system.
const LONGEST: usize = 65_536;

/// A number with the digits that it was written with.
#[derive(Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// Takes a JSON number's text. `None` where no double comes near the number: neither system
    /// holds it.
    pub fn new(json: &str) -> Option<Self> {
        let is_number = serde_json::from_str::<serde_json::Number>(json).is_ok();
        is_number.then(|| Self(json.trim().into()))
    }

    /// Returns the number as it was written: JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the same number without an exponent, its digits kept; `None` where that is longer
    /// than any text.
    pub fn without_exponent(&self) -> Option<Cow<'_, str>> {
        let Some((mantissa, exponent)) = self.0.split_once(['e', 'E']) else {
            return Some(Cow::Borrowed(&self.0));
        };
        let (sign, mantissa) = match mantissa.strip_prefix('-') {
            Some(mantissa) => ("-", mantissa),
            None => ("", mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        if digits.bytes().all(|digit| digit == b'0') {
            return Some(Cow::Owned(format!("{sign}0")));
        }
        let shift: i64 = exponent.parse().ok()?;
        let point = i64::try_from(whole.len()).ok()?.checked_add(shift)?;
        let moved = moved(&digits, point)?;
        Some(Cow::Owned(format!("{sign}{moved}")))
    }
}

/// Writes `digits` with a decimal point after the first `point` of them; zeros fill the gap.
fn moved(digits: &str, point: i64) -> Option<String> {
    let zeros = |count: u64| {
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= LONGEST)
            .map(|count| "0".repeat(count))
    };
    let Ok(point) = usize::try_from(point) else {
        return Some(format!("0.{}{digits}", zeros(point.unsigned_abs())?));
    };
    let (whole, fraction) = match digits.split_at_checked(point) {
        Some((whole, fraction)) => (whole.to_owned(), fraction),
        None => (
            format!("{digits}{}", zeros((point - digits.len()) as u64)?),
            "",
        ),
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    Some(if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    })
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(json: &str) -> Option<String> {
        Number::new(json)?.without_exponent().map(Cow::into_owned)
    }

    #[test]
    fn an_exponent_moves_the_point_and_keeps_the_digits() {
        for (json, expected) in [
            ("25", "25"),
            ("-0", "-0"),
            ("-0.0", "-0.0"),
            ("1.10", "1.10"),
            ("18446744073709551616", "18446744073709551616"),
            (
                "0.1000000000000000055511151231257827",
                "0.1000000000000000055511151231257827",
            ),
            ("1e21", "1000000000000000000000"),
            ("1.50e1", "15.0"),
            ("-1.5E+3", "-1500"),
            ("0.5e3", "500"),
            ("12.5e-1", "1.25"),
            ("1e-3", "0.001"),
            ("0e5", "0"),
            ("-0.00e-99999999999999999999", "-0"),
        ] {
            assert_eq!(plain(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn a_number_that_no_double_comes_near_or_no_text_holds_is_refused() {
        assert!(Number::new("1e400").is_none() && Number::new("-1e400").is_none());
        for text in [
            "", "x", "01", "1.", "+1", "0x1", "NaN", "1 2", "\"1\"", "null",
        ] {
            assert!(Number::new(text).is_none(), "{text}");
        }
        assert_eq!(plain("1e-999999999"), None);
        assert_eq!(plain("1e-99999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn without_its_exponent_a_number_is_the_same_number(
            text in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?"
        ) {
            let plain = plain(&text).expect("short");
            let is_plain = plain.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-'));
            prop_assert!(is_plain, "{}", plain);
            let is_json = serde_json::from_str::<serde_json::Value>(&plain).is_ok();
            prop_assert!(is_json, "{}", plain);
            let value = |text: &str| text.parse::<f64>().expect("a number").to_bits();
            prop_assert_eq!(value(&plain), value(&text));
            let digits = |text: &str| {
                let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
                let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
                digits.trim_matches('0').to_owned()
            };
            prop_assert_eq!(digits(&plain), digits(&text), "each digit is kept");
        }
    }
}
