//! Checks of a system for the operator's command `doctor`. Each adapter has its own, in its
//! `doctor.rs`. No check writes.

use crate::model::CallError;

/// Result of one check of a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Subject of the check.
    pub name: &'static str,
    /// State that was found; the remedy where the check failed.
    pub finding: Result<String, String>,
}

impl Check {
    /// Builds a check that passed.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            finding: Ok(found.into()),
        }
    }

    /// Builds a check that failed.
    pub fn fail(name: &'static str, remedy: impl Into<String>) -> Self {
        Self {
            name,
            finding: Err(remedy.into()),
        }
    }

    /// Builds a check that passed where `wrong` is empty, else one that failed with every entry of
    /// `wrong`.
    pub(super) fn of(name: &'static str, found: impl Into<String>, wrong: &[String]) -> Self {
        if wrong.is_empty() {
            Self::ok(name, found)
        } else {
            Self::fail(name, wrong.join("; "))
        }
    }
}

/// Returns the remedy for a call that failed.
pub(super) fn remedy(error: &CallError) -> String {
    match error {
        CallError::Stop(stop) => format!("{}: {}", stop.code, stop.remedy),
        CallError::Refused { rejection, .. } => {
            format!("{}: {}", rejection.code, rejection.message)
        }
        CallError::Retry { code, .. } | CallError::Throttled { code, .. } => {
            format!(
                "{code}: no usable response: check that the system can be reached, then try again"
            )
        }
    }
}
