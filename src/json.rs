//! Adds to serde: borrowed texts, raw fields, and objects that accept no arrays.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// A text, borrowed where it has no escapes.
pub(crate) struct Str<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    // A record has some thirty texts, and serde's derive makes two calls of each.
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            #[inline]
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Borrowed(text)))
            }

            #[inline]
            fn visit_str<E>(self, text: &str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Returns the text of `raw`; `None` for other values. Borrows a text without escapes.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Returns the raw fields of an object; `None` for other values. Of a duplicate key, the last value
/// counts.
pub(crate) fn fields(json: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(json).ok()
}

/// Appends `text` as a JSON string. Copies a text without characters to escape, which nearly every
/// text is.
pub(crate) fn push_text(json: &mut String, text: &str) {
    if has_escapes(text.as_bytes()) {
        json.push_str(&Value::from(text).to_string());
    } else {
        json.push('"');
        json.push_str(text);
        json.push('"');
    }
}

/// Returns whether a byte of `text` has to be escaped. Most texts of a contact have ten to thirty
/// bytes, of which eight at a time are compared; the last eight overlap those before them.
fn has_escapes(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return text
            .iter()
            .any(|byte| matches!(byte, ..b' ' | b'"' | b'\\'));
    };
    let (chunks, _) = text.as_chunks();
    let mut marks = escaped(*last);
    for chunk in chunks {
        marks |= escaped(*chunk);
    }
    marks != 0
}

/// Marks the bytes that have to be escaped. Bytes above a marked one may be marked as well.
fn escaped(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(bytes);
    // Subtracting from a byte that is less borrows from the one above, and sets the highest bit.
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGH;
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    below(word, b' ') | quote | backslash
}

/// A JSON object. A struct with serde's derive would also accept an array of its fields' values.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMaps<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMaps<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(OnlyMaps(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_writes_it(
            text in "[a-zé\\PC\"\\\\/\\x00-\\x20\\x7f\u{2028}]{0,40}"
        ) {
            let mut json = String::from("[");
            push_text(&mut json, &text);
            prop_assert_eq!(json, format!("[{}", serde_json::to_string(&text).expect("JSON")));
        }
    }
}
