//! Values of columns, decoded from the encoding of their feed.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::columns::{Column, trimmed};
use super::row::{Row, member};
use super::{connect, dynamodb};
use crate::json::{self, Str};
use crate::model::{Attribute, Field, Number};

/// The value of a column in an image of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    /// The image does not have the column.
    Absent,
    /// The source does not send the value, because the change leaves it as it is.
    Unavailable,
    /// The column is null.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(Cow<'a, str>),
    /// A text.
    Text(Cow<'a, str>),
}

/// The value of a column cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The encoding of the values of a row.
#[derive(Clone, Debug)]
pub(super) enum Encoding {
    /// Kafka Connect's JSON, with the type of each column where the record has its schema.
    Connect(Arc<[connect::ColumnType]>),
    /// JSON without further types.
    Plain,
    /// DynamoDB's tagged values.
    Tagged,
}

impl Encoding {
    /// Decodes the value of `column` in an image.
    pub(super) fn cell<'a>(&self, row: &Row<'a>, column: &Column) -> Result<Cell<'a>, Unreadable> {
        let Some(raw) = row.get(column.index) else {
            return Ok(Cell::Absent);
        };
        let cell = match self {
            Self::Tagged => dynamodb::cell(raw, &column.path),
            Self::Plain => plain(raw, &column.path),
            Self::Connect(_) if connect::is_unavailable(raw) => Ok(Cell::Unavailable),
            Self::Connect(types) => {
                let kind = types.get(column.index).copied().unwrap_or_default();
                connect::cell(raw, kind, &column.path)
            }
        }?;
        if column.is_boolean {
            cell.into_bool()
        } else if column.is_number {
            cell.into_number()
        } else {
            Ok(cell)
        }
    }
}

/// Decodes JSON without further types. A path reaches into an object, or into the JSON of a text.
pub(super) fn plain<'a>(raw: &'a RawValue, path: &[Box<str>]) -> Result<Cell<'a>, Unreadable> {
    let Some((key, rest)) = path.split_first() else {
        return scalar(raw);
    };
    match raw.get().as_bytes() {
        b"null" => Ok(Cell::Null),
        [b'{', ..] => match member(raw.get(), key).map_err(|_| Unreadable)? {
            Some(inner) => plain(inner, rest),
            None => Ok(Cell::Null),
        },
        [b'"', ..] => {
            let text = json::text(raw).ok_or(Unreadable)?;
            in_text(&text, path).map(Cell::into_owned)
        }
        _ => Err(Unreadable),
    }
}

/// Decodes the value at `path` in `text`, which is JSON.
pub(super) fn in_text<'a>(text: &'a str, path: &[Box<str>]) -> Result<Cell<'a>, Unreadable> {
    if text.trim().is_empty() {
        return Ok(Cell::Null);
    }
    let inner: &RawValue = serde_json::from_str(text).map_err(|_| Unreadable)?;
    match inner.get().as_bytes() {
        [b'{', ..] | b"null" => plain(inner, path),
        _ => Err(Unreadable),
    }
}

fn scalar(raw: &RawValue) -> Result<Cell<'_>, Unreadable> {
    Ok(match raw.get().as_bytes() {
        b"null" => Cell::Null,
        b"true" => Cell::Bool(true),
        b"false" => Cell::Bool(false),
        [b'"', ..] => Cell::Text(json::text(raw).ok_or(Unreadable)?),
        [b'-' | b'0'..=b'9', ..] => Cell::Number(Cow::Borrowed(raw.get())),
        _ => return Err(Unreadable),
    })
}

impl<'a> Cell<'a> {
    /// Returns the value with texts of its own.
    pub(super) fn into_owned(self) -> Cell<'static> {
        match self {
            Self::Absent => Cell::Absent,
            Self::Unavailable => Cell::Unavailable,
            Self::Null => Cell::Null,
            Self::Bool(value) => Cell::Bool(value),
            Self::Number(digits) => Cell::Number(Cow::Owned(digits.into_owned())),
            Self::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
        }
    }

    /// Returns whether the image holds the value, or null.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self, Self::Absent | Self::Unavailable)
    }

    /// Returns the value as the text of a contact's field.
    pub(super) fn into_text(self) -> Result<Field<Str<'a>>, Unreadable> {
        Ok(match self {
            Self::Absent | Self::Unavailable => Field::Absent,
            Self::Null => Field::Null,
            Self::Bool(value) => Field::Value(Str(Cow::Borrowed(name(value)))),
            Self::Number(digits) => Field::Value(Str(without_exponent(digits)?)),
            Self::Text(text) => Field::Value(Str(text)),
        })
    }

    /// Returns the value as a contact's attribute; `None` where it is not known.
    pub(super) fn into_attribute(self) -> Result<Option<Attribute>, Unreadable> {
        Ok(Some(match self {
            Self::Absent | Self::Unavailable => return Ok(None),
            Self::Null => Attribute::Null,
            Self::Bool(value) => Attribute::Bool(value),
            Self::Number(digits) => Attribute::Number(Number::new(&digits).ok_or(Unreadable)?),
            Self::Text(text) => Attribute::Text(text.into()),
        }))
    }

    /// Returns the value of a column that is declared as a boolean.
    fn into_bool(self) -> Result<Self, Unreadable> {
        let text = match &self {
            Self::Absent | Self::Unavailable | Self::Null | Self::Bool(_) => return Ok(self),
            Self::Number(text) | Self::Text(text) => text.trim(),
        };
        match text.to_ascii_lowercase().as_str() {
            "" => Ok(Self::Null),
            "1" | "t" | "true" | "y" | "yes" => Ok(Self::Bool(true)),
            "0" | "f" | "false" | "n" | "no" => Ok(Self::Bool(false)),
            _ => Err(Unreadable),
        }
    }

    /// Returns the value of a column that is declared as a number. The digits of a text are kept.
    fn into_number(self) -> Result<Self, Unreadable> {
        let text = match self {
            Self::Text(text) => trimmed(text),
            Self::Bool(_) => return Err(Unreadable),
            Self::Absent | Self::Unavailable | Self::Null | Self::Number(_) => return Ok(self),
        };
        if text.is_empty() {
            return Ok(Self::Null);
        }
        match Number::new(&text) {
            Some(_) => Ok(Self::Number(text)),
            None => Err(Unreadable),
        }
    }

    /// Returns whether the value of the column of soft deletes marks a deleted row.
    pub(super) fn is_deleted(&self) -> bool {
        match self {
            Self::Absent | Self::Unavailable | Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(text) | Self::Text(text) => {
                let text = text.trim().to_ascii_lowercase();
                let is_zero = text.parse::<f64>().is_ok_and(|number| number == 0.0);
                !is_zero && !matches!(text.as_str(), "" | "f" | "n" | "no" | "false")
            }
        }
    }
}

fn name(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn without_exponent(digits: Cow<'_, str>) -> Result<Cow<'_, str>, Unreadable> {
    if !digits.contains(['e', 'E']) {
        return Ok(digits);
    }
    let number = Number::new(&digits).ok_or(Unreadable)?;
    let plain = number.without_exponent().ok_or(Unreadable)?;
    Ok(Cow::Owned(plain.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(keys: &[&str]) -> Vec<Box<str>> {
        keys.iter().map(|key| (*key).into()).collect()
    }

    fn at<'a>(json: &'a str, keys: &[&str]) -> Result<Cell<'a>, Unreadable> {
        plain(serde_json::from_str(json).expect("JSON"), &path(keys))
    }

    #[test]
    fn a_path_reaches_into_an_object_or_the_json_of_a_text() {
        let text = |text: &'static str| Ok(Cell::Text(text.into()));
        for (json, keys, expected) in [
            (r#"{"city":"London"}"#, vec!["city"], text("London")),
            (
                r#""{\"city\":\"L\\u00f6ndon\"}""#,
                vec!["city"],
                text("Löndon"),
            ),
            (r#"{"a":"{\"b\":[1]}"}"#, vec!["a", "b"], Err(Unreadable)),
            (
                r#"{"a":{"b":1.50}}"#,
                vec!["a", "b"],
                Ok(Cell::Number("1.50".into())),
            ),
            (r#"{"a":{"b":1}}"#, vec!["a"], Err(Unreadable)),
            (r#"{"a":1}"#, vec!["b"], Ok(Cell::Null)),
            (r#"{"a":null}"#, vec!["a", "b"], Ok(Cell::Null)),
            ("null", vec!["a"], Ok(Cell::Null)),
            (r#""null""#, vec!["a"], Ok(Cell::Null)),
            (r#"" ""#, vec!["a"], Ok(Cell::Null)),
            (r#""{\"a\":1}x""#, vec!["a"], Err(Unreadable)),
            (r#""no json""#, vec!["a"], Err(Unreadable)),
            ("[1]", vec!["a"], Err(Unreadable)),
            ("7", vec!["a"], Err(Unreadable)),
            ("7", vec![], Ok(Cell::Number("7".into()))),
            ("true", vec![], Ok(Cell::Bool(true))),
            (r#""\ud800""#, vec![], Err(Unreadable)),
            ("[1]", vec![], Err(Unreadable)),
        ] {
            assert_eq!(at(json, &keys), expected, "{json} at {keys:?}");
        }
    }

    #[test]
    fn a_number_reaches_a_text_with_its_digits_and_without_an_exponent() {
        for (digits, expected) in [("007.50", "007.50"), ("1e3", "1000"), ("12.5E-1", "1.25")] {
            let field = Cell::Number(digits.into()).into_text().expect("readable");
            assert_eq!(field.value().map(|text| &*text.0), Some(expected));
        }
        assert!(Cell::Number("1e99999".into()).into_text().is_err());
        assert!(Cell::Number("1e400".into()).into_attribute().is_err());
    }

    #[test]
    fn a_declared_boolean_is_read_from_each_of_its_spellings() {
        for (texts, expected) in [
            (["1", "t", "TRUE", "Y", " yes "], Ok(Cell::Bool(true))),
            (["0", "f", "False", "N", "no"], Ok(Cell::Bool(false))),
            (["", " ", "\t", "\n", "  "], Ok(Cell::Null)),
            (["2", "x", "on", "tru", "-1"], Err(Unreadable)),
        ] {
            for text in texts {
                assert_eq!(Cell::Text(text.into()).into_bool(), expected, "{text:?}");
            }
        }
        assert_eq!(Cell::Number("1".into()).into_bool(), Ok(Cell::Bool(true)));
        assert_eq!(Cell::Unavailable.into_bool(), Ok(Cell::Unavailable));
    }

    #[test]
    fn a_row_is_deleted_by_any_value_but_those_that_deny_it() {
        for text in [
            "", " ", "0", "f", "F", "n", "N", "no", "No", "false", "FALSE", "0.0",
        ] {
            assert!(!Cell::Text(text.into()).is_deleted(), "{text:?}");
        }
        for text in [
            "1",
            "t",
            "yes",
            "2026-01-01T00:00:00Z",
            "null",
            "deleted",
            "00x",
        ] {
            assert!(Cell::Text(text.into()).is_deleted(), "{text:?}");
        }
        assert!(!Cell::Number("0".into()).is_deleted() && Cell::Number("7".into()).is_deleted());
        assert!(Cell::Bool(true).is_deleted() && !Cell::Bool(false).is_deleted());
        assert!(!Cell::Null.is_deleted() && !Cell::Unavailable.is_deleted());
    }
}
