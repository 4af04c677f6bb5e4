//! Constructors of the adapters' outcomes and call errors.

use std::time::Duration;

use crate::model::{CallError, Cause, Code, Outcome, Rejection, Retry, RetryMode, Stop};

impl Stop {
    /// Builds a stop for which the system asks no pause.
    pub(super) fn new(cause: Cause, code: impl Into<Code>, remedy: impl Into<String>) -> Self {
        Self {
            cause,
            code: code.into(),
            remedy: remedy.into(),
            after: None,
        }
    }

    /// Sets the pause that the system asks for.
    #[must_use]
    pub(super) fn with_pause(self, after: Option<Duration>) -> Self {
        Self { after, ..self }
    }
}

impl From<Stop> for CallError {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl CallError {
    /// Builds the refusal of a whole batch that names no suspects.
    pub(super) fn refused(rejection: Rejection) -> Self {
        Self::Refused {
            rejection,
            suspects: Vec::new(),
        }
    }
}

impl Outcome {
    /// Builds the outcome of a payload that may succeed when it is sent again as `how` requires, at
    /// no given time.
    pub(super) fn retry(code: Code, how: RetryMode) -> Self {
        Self::Retry(Retry {
            code,
            after: None,
            how,
        })
    }
}
