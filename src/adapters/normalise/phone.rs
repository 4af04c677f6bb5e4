//! Brings phone numbers into the form of E.164. Pure.

use phonelib::PhoneNumber;

/// Returns whether `code` is the code of a country, in capital letters.
pub(super) fn is_region(code: &str) -> bool {
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code && phonelib::country_by_code(code).is_some()
}

/// Returns a phone number in the form of E.164; `None` where the text is no possible number.
/// Without a region, a number needs a country code.
///
/// A text with letters is no number here: a letter may be a word beside the number, stand for a
/// digit, or begin an extension, for which E.164 has no place.
pub(super) fn e164(text: &str, region: &str) -> Option<String> {
    if text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let number = if region.is_empty() {
        let start = text.trim_start_matches([' ', '(']);
        let is_international = ["+", "\u{ff0b}", "00"]
            .iter()
            .any(|prefix| start.starts_with(prefix));
        if !is_international {
            return None;
        }
        PhoneNumber::parse(text)?
    } else {
        PhoneNumber::parse_with_country(text, region)?
    };
    if number.extension().is_some() {
        return None;
    }
    Some(number.e164().to_owned())
}

#[cfg(test)]
mod tests;
