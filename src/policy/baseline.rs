//! The baseline: hashes of the values that were written last, kept in a field of the record. Pure.
//!
//! `1 Phone=Q2xhc3NpY2Fs;Title=…`: the form's number, then for each field its name and 64 bits of a
//! hash in base64. The hash is salted with the contact and the field, so that equal values of two
//! records differ, and holds no content. Entries that cannot be read do not count: the field then
//! counts as ours only while it is empty.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64_simd::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::model::ContactId;

/// Beginning of a baseline in the form in use.
const FORM: &str = "1 ";

/// Length of a hash, in bytes.
const HASH_LENGTH: usize = 8;

/// Length of an entry without its name: the hash in base64, and two separators.
const ENTRY_LENGTH: usize = 13;

type Hash = [u8; HASH_LENGTH];

/// The hashes of the values that were written last, by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline(BTreeMap<String, Hash>);

impl Baseline {
    /// Parses the text of a baseline field.
    pub(super) fn parse(text: &str) -> Self {
        let entries = text.strip_prefix(FORM).unwrap_or_default().split(';');
        let entry = |entry: &str| {
            let (name, hash) = entry.split_once('=')?;
            let hash = URL_SAFE_NO_PAD.decode_to_vec(hash).ok()?;
            Some((name.to_owned(), Hash::try_from(hash).ok()?))
        };
        Self(entries.filter_map(entry).collect())
    }

    /// Formats the text of the baseline field.
    pub(super) fn text(&self) -> String {
        let mut text = FORM.to_owned();
        for (at, (name, hash)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ";" };
            let hash = URL_SAFE_NO_PAD.encode_to_string(hash);
            // Writing into memory cannot fail.
            let _ = write!(text, "{separator}{name}={hash}");
        }
        text
    }

    /// Returns whether `value` was written last to the field `name`. A field without an entry
    /// counts only while it is empty.
    pub(super) fn is_ours(&self, id: &ContactId, name: &str, value: &str) -> bool {
        match self.0.get(name) {
            Some(written) => *written == hash(id, name, value),
            None => value.is_empty(),
        }
    }

    /// Records that `value` is written to the field `name`.
    pub(super) fn set(&mut self, id: &ContactId, name: &str, value: &str) {
        self.0.insert(name.to_owned(), hash(id, name, value));
    }
}

/// Returns the longest baseline of these fields, in characters.
pub(crate) fn longest<'a>(fields: impl Iterator<Item = &'a str>) -> usize {
    FORM.len() + fields.map(|name| name.len() + ENTRY_LENGTH).sum::<usize>()
}

/// Hashes a value with the contact and the field, each with its length, so that no two triples
/// have the same input.
fn hash(id: &ContactId, name: &str, value: &str) -> Hash {
    let mut hasher = Sha256::new();
    for part in [id.key(), name, value] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut hash = Hash::default();
    hash.copy_from_slice(&hasher.finalize()[..HASH_LENGTH]);
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> ContactId {
        ContactId::new(text).expect("valid")
    }

    #[test]
    fn a_baseline_has_one_form_for_all_time() {
        let mut baseline = Baseline::default();
        baseline.set(&id("C-1"), "Phone", "+44 20 7946 0000");
        baseline.set(&id("C-1"), "Title", "");
        insta::assert_snapshot!(baseline.text());
    }

    #[test]
    fn a_value_is_ours_while_it_is_the_one_written_last() {
        let (one, other) = (id("c-1"), id("c-2"));
        let mut baseline = Baseline::default();
        baseline.set(&one, "Title", "Engineer");
        baseline.set(&one, "Phone", "");
        let baseline = Baseline::parse(&baseline.text());
        for (id, name, value, expected) in [
            (&one, "Title", "Engineer", true),
            (&id("C-1"), "Title", "Engineer", true),
            (&one, "Title", "engineer", false),
            (&one, "Title", "", false),
            (&one, "Phone", "", true),
            (&one, "Phone", "1", false),
            (&one, "City", "", true),
            (&one, "City", "London", false),
            // The salt: the text of another record is of no use.
            (&other, "Title", "Engineer", false),
        ] {
            assert_eq!(
                baseline.is_ours(id, name, value),
                expected,
                "{name} {value}"
            );
        }
    }

    #[test]
    fn entries_that_cannot_be_read_do_not_count() {
        let mut baseline = Baseline::default();
        baseline.set(&id("c"), "Title", "x");
        let text = baseline.text();
        for odd in [
            "",
            "1 ",
            "2 Title=AAAAAAAAAAA",
            "1 Title",
            "1 Title=",
            "1 Title=!",
            "1 =;;=",
        ] {
            assert!(
                !Baseline::parse(odd).is_ours(&id("c"), "Title", "x"),
                "{odd}"
            );
        }
        let edited = format!("{text};Phone;=;Fax=AA");
        assert_eq!(Baseline::parse(&edited), baseline);
        assert_eq!(
            Baseline::parse(&text[..text.len() - 1]),
            Baseline::default()
        );
    }

    proptest! {
        #[test]
        fn a_baseline_is_read_as_it_was_written_and_is_no_longer_than_promised(
            values in proptest::collection::btree_map("[A-Za-z][A-Za-z0-9_]{0,39}", ".*", 0..40)
        ) {
            let mut baseline = Baseline::default();
            for (name, value) in &values {
                baseline.set(&id("c"), name, value);
            }
            let text = baseline.text();
            prop_assert!(text.len() <= longest(values.keys().map(String::as_str)));
            prop_assert_eq!(Baseline::parse(&text), baseline);
        }
    }
}
