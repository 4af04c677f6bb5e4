//! Errors of whole calls. The type of an error decides the next step.

use std::time::Duration;

use super::{Code, Rejection};

/// Why a whole call failed. None of its payloads has an outcome.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The call was not answered, or is not accepted for the moment. Send it again after a while;
    /// repeating is harmless, though the call may have been carried out.
    Retry {
        /// The reason.
        code: Code,
        /// The wait that the system asks for.
        after: Option<Duration>,
        /// The system is overloaded (503, a timeout): send less at a time.
        pressure: bool,
        /// The possible cause.
        cause: FailureCause,
    },
    /// The system answers, and limits the calls (429, 423, too many calls at once). Send the call
    /// again after a while, and less at a time.
    Throttled {
        /// The limit that was met.
        code: Code,
        /// The wait that the system asks for.
        after: Option<Duration>,
    },
    /// One payload made the system refuse the whole batch, and nothing of the batch was written.
    /// Sent alone, the offending payload is refused in the same way, or gets an outcome of its own;
    /// the others succeed.
    Refused {
        /// The reason for which a payload that is refused alone is rejected.
        rejection: Rejection,
        /// The indexes of the payloads that the answer names, if it names any.
        suspects: Vec<usize>,
    },
    /// No call will succeed for the moment, with any payloads: stop calling the destination.
    Stop(Stop),
}

/// The possible cause of a call without a usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// The destination, or the way to it: no record's content reached it (no connection, no token,
    /// no secret, no time).
    Destination,
    /// The destination, or one record of the batch.
    Record,
    /// The destination, one record of the batch, or the number of its records: a smaller batch may
    /// pass at once.
    Size,
}

impl CallError {
    /// Makes the error of a call without a usable answer, for which no pause is asked.
    pub(crate) fn failed(code: impl Into<Code>, cause: FailureCause) -> Self {
        Self::Retry {
            code: code.into(),
            after: None,
            pressure: false,
            cause,
        }
    }

    /// Returns the same error of a call that carried no record.
    pub(crate) fn without_records(self) -> Self {
        match self {
            Self::Retry {
                code,
                after,
                pressure,
                ..
            } => Self::Retry {
                code,
                after,
                pressure,
                cause: FailureCause::Destination,
            },
            other => other,
        }
    }

    /// Returns the same error of a part of a batch as an error of the whole; `part` holds the
    /// part's indexes in it.
    pub(crate) fn of_part(self, part: &[usize]) -> Self {
        match self {
            Self::Refused {
                rejection,
                suspects,
            } => {
                let suspects = suspects
                    .into_iter()
                    .filter_map(|index| part.get(index).copied())
                    .collect();
                Self::Refused {
                    rejection,
                    suspects,
                }
            }
            other => other,
        }
    }

    /// Returns the reason.
    pub fn code(&self) -> &Code {
        match self {
            Self::Retry { code, .. } | Self::Throttled { code, .. } => code,
            Self::Refused { rejection, .. } => &rejection.code,
            Self::Stop(stop) => &stop.code,
        }
    }
}

/// Why calls to a destination have to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The kind of trouble.
    pub cause: Cause,
    /// The reason.
    pub code: Code,
    /// The remedy for the operator, in a sentence without contact data.
    pub remedy: String,
    /// The wait that the system asks for.
    pub after: Option<Duration>,
}

/// The kind of trouble that stops a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The day's calls, or the storage, are used up.
    Quota,
    /// The secret is refused, or cannot be read.
    Credential,
    /// The account, its permissions or our settings are misconfigured.
    Configuration,
    /// The system announces a long outage.
    Unavailable,
}
