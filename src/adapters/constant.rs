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
}
