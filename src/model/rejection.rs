//! Reasons: machine-readable codes, and the rejections that carry them.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::{Operation, codes};

/// A machine-readable reason, `LIKE_THIS`: one of ours, or a system's own. Never holds contact
/// data.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// The longest code, in bytes: longer than any that the systems publish.
    pub const LONGEST: usize = 80;

    /// Makes a code of our own.
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// Makes a code of one that a system sent. A text that does not look like a code becomes
    /// `UNREADABLE_CODE`: codes are logged, and nothing else of an answer may be.
    pub fn from_system(code: &str) -> Self {
        let looks_like_one = !code.is_empty()
            && code.len() <= Self::LONGEST
            && code
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if looks_like_one {
            Self(Cow::Owned(code.to_owned()))
        } else {
            Self::new(codes::UNREADABLE_CODE)
        }
    }

    /// Returns the text of the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Code {
    fn from(code: &'static str) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason why a change or payload can never succeed.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The machine-readable reason.
    pub code: Code,
    /// The reason in words. It may quote contact data, as the systems' messages do: dead letters
    /// carry it, logs never do.
    pub message: String,
    /// The destination's names of the fields concerned.
    pub fields: Vec<String>,
}

impl Rejection {
    /// Makes a rejection that names no field.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// Adds `field` to the fields concerned.
    #[must_use]
    pub fn of_field(mut self, field: impl Into<String>) -> Self {
        self.fields.push(field.into());
        self
    }
}

/// The stage at which a record was rejected, as dead letters name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The record's data is not a JSON object of the right shape.
    Decode,
    /// The change holds values that are not allowed.
    Validate,
    /// No destination takes the change.
    Route,
    /// A destination rejected the payload.
    Deliver,
}

/// The rejection of a record before any destination was called.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The stage that refused the record.
    pub stage: Stage,
    /// The reason.
    pub rejection: Rejection,
    /// The contact's id, where it can be read.
    pub contact_id: Option<Box<str>>,
    /// The event's id, where it can be read.
    pub event_id: Option<Box<str>>,
    /// The operation, where it can be read.
    pub operation: Option<Operation>,
}

impl Refusal {
    /// Makes a refusal of which neither contact, event nor operation is known.
    pub(crate) fn new(stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        let rejection = Rejection::new(Code::new(code), message);
        Self {
            stage,
            rejection,
            contact_id: None,
            event_id: None,
            operation: None,
        }
    }

    /// Adds `field` to the fields concerned.
    pub(crate) fn of_field(mut self, field: impl Into<String>) -> Self {
        self.rejection = self.rejection.of_field(field);
        self
    }
}
