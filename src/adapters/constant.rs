//! Constants that settings write with every upsert.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The value of a constant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Constant {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text, also of a number with a fraction.
    Text(String),
}

impl Constant {
    /// Returns the value as a text.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Bool(value) => value.to_string().into(),
            Self::Integer(number) => number.to_string().into(),
            Self::Text(text) => text.as_str().into(),
        }
    }

    /// Returns whether the value has the form of a number.
    pub(super) fn is_number(&self) -> bool {
        self.text().parse::<f64>().is_ok_and(f64::is_finite)
    }

    /// Returns whether the value begins like a date, as in `2026-11-20`.
    pub(super) fn is_date(&self) -> bool {
        let text = self.text();
        let Some(date) = text.as_bytes().first_chunk::<10>() else {
            return false;
        };
        let is_part = |(at, byte): (usize, &u8)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        };
        date.iter().enumerate().all(is_part)
    }
}
