//! The images of a row: the raw values of its declared columns. Other columns are skipped without
//! an allocation.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::Columns;
use crate::json::Str;
use crate::model::codes;
use crate::model::{Refusal, Stage};

/// The raw values of a row's declared columns, by their index in [`Columns::names`].
#[derive(Clone, Debug, Default)]
pub(super) struct Row<'a> {
    values: Vec<Option<&'a RawValue>>,
}

impl<'a> Row<'a> {
    /// Returns the column's value as the image holds it.
    pub(super) fn get(&self, index: usize) -> Option<&'a RawValue> {
        self.values.get(index).copied().flatten()
    }

    /// Sets the columns that are missing, and for which `is_null` returns true, to null.
    pub(super) fn fill_nulls(&mut self, is_null: impl Fn(usize) -> bool) {
        for (index, value) in self.values.iter_mut().enumerate() {
            if value.is_none() && is_null(index) {
                *value = Some(RawValue::NULL);
            }
        }
    }
}

/// Reads an image of a row from the JSON object in `json`, which stands at the field `name` of the
/// record.
pub(super) fn row<'a>(
    json: &'a str,
    name: &str,
    columns: &Columns,
) -> Result<Row<'a>, Box<Refusal>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    RowSeed(columns)
        .deserialize(&mut deserializer)
        .map_err(|error| refusal(&error, name))
}

fn refusal(error: &serde_json::Error, name: &str) -> Box<Refusal> {
    let (code, message) = if !error.is_data() {
        (codes::INVALID_JSON, "the row is not JSON")
    } else if error.to_string().starts_with(TWICE) {
        (codes::DUPLICATE_KEY, "a column stands twice in the row")
    } else {
        (codes::WRONG_TYPE, "the row is not a JSON object")
    };
    Box::new(Refusal::new(Stage::Decode, code, message).of_field(name))
}

/// The error for a column that stands twice.
const TWICE: &str = "duplicate field";

struct RowSeed<'c>(&'c Columns);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
        let mut values = vec![None; self.0.names.len()];
        while let Some(Str(name)) = map.next_key()? {
            let Some(value) = self.0.index(&name).and_then(|index| values.get_mut(index)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if value.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Row { values })
    }
}

/// Returns the value of `key` in the JSON object `json`. `Ok(None)` where the object lacks the key,
/// `Err` where `json` is no object.
pub(super) fn member<'a>(json: &'a str, key: &str) -> Result<Option<&'a RawValue>, NoObject> {
    struct Member<'k>(&'k str);
    impl<'de> Visitor<'de> for Member<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(Str(name)) = map.next_key()? {
                if name == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = deserializer.deserialize_map(Member(key));
    let found = found.and_then(|found| deserializer.end().map(|()| found));
    found.map_err(|_| NoObject)
}

/// A JSON object was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoObject;

/// Returns the only entry of the JSON object `json`, such as a tagged value.
pub(super) fn only_entry(json: &RawValue) -> Option<(Str<'_>, &RawValue)> {
    struct Only;
    impl<'de> Visitor<'de> for Only {
        type Value = Option<(Str<'de>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of one entry")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let first = map.next_entry()?;
            match map.next_key::<IgnoredAny>()? {
                None => Ok(first),
                Some(_) => Err(A::Error::custom("more than one entry")),
            }
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json.get());
    deserializer.deserialize_map(Only).ok().flatten()
}
