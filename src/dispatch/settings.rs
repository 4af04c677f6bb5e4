//! How fast and how often a destination is called.

use serde::{Deserialize, Serialize};

/// A budget of calls: this many in each stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls in each stretch.
    pub requests: u32,
    /// The length of a stretch.
    pub per_ms: u64,
}

/// How often, and how far apart, a call is tried within one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Tries in all, the first one included.
    pub max_attempts: u32,
    /// The wait before the second try; it doubles from try to try, with jitter.
    pub base_delay_ms: u64,
    /// The longest wait. Where a system asks for a longer one, no call is made until it is over,
    /// and what would have waited fails and comes again with the stream.
    pub max_delay_ms: u64,
}

impl Retry {
    /// What the settings have by default: a hiccup of a few seconds is waited out.
    pub const fn standard() -> Self {
        Self {
            max_attempts: 4,
            base_delay_ms: 200,
            max_delay_ms: 10_000,
        }
    }

    /// As often, with waits too short to be felt: against mocks. What a mock asks for itself is
    /// obeyed.
    pub const fn quick() -> Self {
        Self {
            base_delay_ms: 1,
            ..Self::standard()
        }
    }

    /// One try and no more: what did not succeed comes again with the stream.
    pub const fn none() -> Self {
        Self {
            max_attempts: 1,
            ..Self::standard()
        }
    }
}
