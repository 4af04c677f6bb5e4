//! Parses the numbers of version fields. Pure.

/// Parses a whole number, in plain form (`41`, `41.0`) or in exponent form (`4.1E1`), exactly up to
/// 2^53. `None` where the text is no such number.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    // Parses the digits: a cast would turn a text that is no number, or a number that is too large,
    // into another number.
    format!("{:.0}", text.parse::<f64>().ok()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_parsed_in_every_form() {
        for (text, expected) in [
            ("41", Some(41)),
            (" 41 ", Some(41)),
            ("41.0", Some(41)),
            ("4.1E1", Some(41)),
            ("4.1e+1", Some(41)),
            ("1.763633702123E12", Some(1_763_633_702_123)),
            ("1.0E18", Some(1_000_000_000_000_000_000)),
            ("0", Some(0)),
            ("", None),
            ("soon", None),
            ("-1", None),
            ("-1.0", None),
            ("NaN", None),
            ("inf", None),
            ("1E300", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_version_up_to_2_to_the_53_is_parsed_exactly(version in 0_u64..1 << 53) {
            prop_assert_eq!(parse(&version.to_string()), Some(version));
            #[expect(clippy::cast_precision_loss, reason = "a double holds it")]
            let double = version as f64;
            prop_assert_eq!(parse(&format!("{double:e}")), Some(version));
            prop_assert_eq!(parse(&format!("{double:.1}")), Some(version));
        }
    }
}
