//! Fits texts into fields of limited length. Pure.

use std::borrow::Cow;

/// Treatment of a text that is longer than its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It is cut: the beginning of a name is still of use.
    Cut,
    /// It is rejected: half a phone number or address of a site is a wrong one.
    Reject,
}

impl Excess {
    /// Returns the part of `text` that a field of `longest` characters takes; `None` where the text
    /// is longer and must not be cut.
    #[inline]
    pub(super) fn fit(self, text: &str, longest: usize) -> Option<&str> {
        // No text has more units than bytes: nearly every text is short enough for this.
        if text.len() <= longest {
            return Some(text);
        }
        let fitting = prefix(text, longest);
        match self {
            Self::Reject if fitting.len() < text.len() => None,
            Self::Cut | Self::Reject => Some(fitting),
        }
    }
}

/// Returns the first `length` bytes of a text.
pub(super) fn shortened(text: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..length]),
        Cow::Owned(mut text) => {
            text.truncate(length);
            Cow::Owned(text)
        }
    }
}

/// Returns the longest prefix of `text` with at most `longest` UTF-16 units. A text never has fewer
/// units than characters, so that the prefix fits a field whose length is given in either.
fn prefix(text: &str, longest: usize) -> &str {
    let mut units = 0;
    for (at, character) in text.char_indices() {
        units += character.len_utf16();
        if units > longest {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_or_rejected() {
        for (text, longest, expected) in [
            ("", 0, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("éé", 2, "éé"),
            ("ééé", 2, "éé"),
            ("a🦀", 2, "a"),
            ("a🦀", 3, "a🦀"),
        ] {
            assert_eq!(Excess::Cut.fit(text, longest), Some(expected), "{text}");
            let whole = Some(text).filter(|text| *text == expected);
            assert_eq!(Excess::Reject.fit(text, longest), whole, "{text}");
        }
    }
}
