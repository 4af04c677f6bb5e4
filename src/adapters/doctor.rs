//! What an operator's look at a system finds. Each adapter has its own checks, in its `doctor.rs`;
//! nothing is written.

use crate::model::CallError;

/// One check of a system: what was looked at, and what was found, or what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found; where it is not as it should be, what to do.
    pub finding: Result<String, String>,
}

impl Check {
    /// All is well.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            finding: Ok(found.into()),
        }
    }

    /// Something is to be done.
    pub fn fail(name: &'static str, remedy: impl Into<String>) -> Self {
        Self {
            name,
            finding: Err(remedy.into()),
        }
    }

    /// Well, unless something is wrong.
    pub(super) fn of(name: &'static str, found: impl Into<String>, wrong: &[String]) -> Self {
        if wrong.is_empty() {
            Self::ok(name, found)
        } else {
            Self::fail(name, wrong.join("; "))
        }
    }
}

/// What to do about a call that came to nothing.
pub(super) fn remedy(error: &CallError) -> String {
    match error {
        CallError::Stop(stop) => format!("{}: {}", stop.code, stop.remedy),
        CallError::Refused { rejection, .. } => {
            format!("{}: {}", rejection.code, rejection.message)
        }
        CallError::Retry { code, .. } | CallError::Throttled { code, .. } => {
            format!("{code}: no usable answer; see that the system can be reached, try again")
        }
    }
}
