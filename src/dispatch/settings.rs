//! Settings of the rate limit and of the retries of one destination.

use serde::{Deserialize, Serialize};

/// Budget of calls in any time window of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls in each window.
    pub requests: u32,
    /// Length of the window, in milliseconds.
    pub per_ms: u64,
}

/// Attempts of a call within one invocation, and the waits between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Number of attempts, including the first one.
    pub max_attempts: u32,
    /// Wait before the second attempt, in milliseconds. It doubles with each attempt, with jitter.
    pub base_delay_ms: u64,
    /// Longest wait, in milliseconds. If a destination asks for a longer one, no call is made until
    /// it is over, and the waiting records fail and are redelivered by the stream.
    pub max_delay_ms: u64,
}

impl Retry {
    /// Returns the default: retries bridge a transient failure of a few seconds.
    pub const fn standard() -> Self {
        Self {
            max_attempts: 4,
            base_delay_ms: 200,
            max_delay_ms: 10_000,
        }
    }

    /// Returns the default with minimal waits, for mocks. The wait that a mock asks for is obeyed.
    pub const fn quick() -> Self {
        Self {
            base_delay_ms: 1,
            ..Self::standard()
        }
    }

    /// Returns a policy without retries: records that failed are redelivered by the stream.
    pub const fn none() -> Self {
        Self {
            max_attempts: 1,
            ..Self::standard()
        }
    }
}
