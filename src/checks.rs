//! Checks of values of the settings: the error that names a key, and the checks that several
//! sections need. A section's own checks are beside its type.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// The range of each number of a section, by the number's key.
pub type Ranges = [(&'static str, RangeInclusive<u64>)];

/// The result of a check.
pub type CheckResult = Result<(), InvalidValue>;

/// An invalid value: its key, and a message with the error and the allowed values.
#[derive(Clone, Debug)]
pub struct InvalidValue {
    /// The key of the value.
    pub key: Cow<'static, str>,
    /// The key whose value contradicts this one.
    pub other: Option<Cow<'static, str>>,
    /// The error and the allowed values.
    pub message: String,
}

impl InvalidValue {
    /// Builds the error of the value of `key`.
    pub fn new(key: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            other: None,
            message: message.into(),
        }
    }

    /// Adds `other` as a second key whose change would fix the error.
    #[must_use]
    pub fn with_other(self, other: impl Into<Cow<'static, str>>) -> Self {
        Self {
            other: Some(other.into()),
            ..self
        }
    }

    /// Adds `other` as the key that sets the exceeded limit, and their relation to the message.
    #[must_use]
    pub fn limited_by(self, other: &'static str, relation: &str) -> Self {
        let message = format!("{} (because of `{other}`, {relation})", self.message);
        Self {
            message,
            ..self.with_other(other)
        }
    }

    /// Returns every key whose change would fix the error.
    pub fn keys(&self) -> Vec<&str> {
        std::iter::once(&*self.key)
            .chain(self.other.as_deref())
            .collect()
    }
}

/// Fails with the value of `key` and `message` unless `condition` is true.
///
/// # Errors
/// Where the condition is false.
pub fn ensure(
    key: impl Into<Cow<'static, str>>,
    condition: bool,
    message: impl FnOnce() -> String,
) -> CheckResult {
    if condition {
        Ok(())
    } else {
        Err(InvalidValue::new(key, message()))
    }
}

/// Returns the range of the number at `key`; `None` where `ranges` has none.
pub fn range<'a>(ranges: &'a Ranges, key: &str) -> Option<&'a RangeInclusive<u64>> {
    ranges
        .iter()
        .find(|(known, _)| *known == key)
        .map(|(_, range)| range)
}

/// Formats a range for error messages.
pub fn shown(range: &RangeInclusive<u64>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// Validates a number by its key's range in `ranges`.
///
/// # Errors
/// Where the number is outside of its range.
pub fn within<T: TryInto<u64>>(ranges: &Ranges, key: &'static str, value: T) -> CheckResult {
    inside(
        key,
        value.try_into().unwrap_or(u64::MAX),
        range(ranges, key).unwrap_or(&(0..=u64::MAX)),
    )
}

/// Validates a number by a range.
///
/// # Errors
/// Where the number is outside of the range.
pub fn inside(key: &'static str, value: u64, range: &RangeInclusive<u64>) -> CheckResult {
    ensure(key, range.contains(&value), || {
        format!("is {value}; allowed: {}", shown(range))
    })
}

/// Validates the name or ARN of an AWS resource: letters, digits and some `others`.
///
/// # Errors
/// Where the text has another character, unless `is_free`.
pub fn aws_name(
    key: &'static str,
    text: &str,
    is_free: bool,
    others: &str,
    kind: &str,
) -> CheckResult {
    let is_name = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte));
    ensure(key, is_free || is_name, || {
        format!("is `{text}`; allowed: {kind}, of letters, digits and {others}")
    })
}
