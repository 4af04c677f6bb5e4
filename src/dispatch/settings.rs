//! How fast and how often a destination is called.

use serde::{Deserialize, Serialize};

/// A budget of calls: this many in each stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls in each stretch.
    pub requests: u32,
    /// The length of a stretch.
    pub per_ms: u64,
}

/// How often, and how far apart, a call is tried within one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Tries in all, the first one included.
    pub max_attempts: u32,
    /// The wait before the second try; it doubles from try to try, with jitter.
    pub base_delay_ms: u64,
    /// The longest wait.
    pub max_delay_ms: u64,
}
