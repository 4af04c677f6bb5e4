//! Limits of calls: how much one carries, how many are made, and how often one is tried.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ContactId;

/// How much one call of an adapter may carry, and how many API calls it makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Payloads in one upsert.
    pub upsert: usize,
    /// API calls of one upsert; one more where a payload
    /// [is looked up](super::Payload::is_looked_up).
    pub upsert_calls: u32,
    /// Payloads in one delete.
    pub delete: usize,
    /// API calls of one delete, guarded or not; all but the last are look-ups.
    pub delete_calls: u32,
    /// The look-up of a delete, and of an upsert with payloads that are looked up.
    pub lookup: Lookup,
}

/// How many contacts fit into one look-up.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// The length of all contacts together.
    pub capacity: usize,
    /// Returns the length of one contact.
    pub length: fn(&ContactId) -> usize,
}

impl Lookup {
    /// A look-up that takes every contact of a batch.
    pub const UNBOUNDED: Self = Self {
        capacity: usize::MAX,
        length: |_| 0,
    };
}

/// The quota of calls that a system reports in its answers. Every part may be missing, and none is
/// exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quota {
    /// Calls allowed in a rolling window, and its length.
    pub window: Option<(u32, Duration)>,
    /// Calls left in the window.
    pub window_remaining: Option<u32>,
    /// Calls used today.
    pub daily_used: Option<u64>,
    /// Calls allowed a day.
    pub daily_max: Option<u64>,
}

impl Quota {
    /// Returns the used share of the day's calls in percent, where both numbers are known.
    pub fn daily_used_percent(&self) -> Option<u64> {
        let (used, max) = (self.daily_used?, self.daily_max?);
        used.saturating_mul(100).checked_div(max)
    }
}

/// A budget of calls: this many in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls in each period.
    pub requests: u32,
    /// The length of a period, in milliseconds.
    pub per_ms: u64,
}

/// The retry policy of a call within one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// The wait before the second attempt. It doubles from attempt to attempt, with jitter.
    pub base_delay_ms: u64,
    /// The longest wait. Where a system asks for a longer one, no call is made until it is over;
    /// the records that would have waited fail and come again from the stream.
    pub max_delay_ms: u64,
}

impl Retry {
    /// Returns the policy of the defaults, which bridges outages of a few seconds.
    pub const fn standard() -> Self {
        Self {
            max_attempts: 4,
            base_delay_ms: 200,
            max_delay_ms: 10_000,
        }
    }

    /// Returns the standard policy with waits of milliseconds, for mocks. A wait that a mock asks
    /// for is obeyed.
    pub const fn quick() -> Self {
        Self {
            base_delay_ms: 1,
            ..Self::standard()
        }
    }

    /// Returns a policy of one attempt: a record that did not succeed comes again from the stream.
    pub const fn none() -> Self {
        Self {
            max_attempts: 1,
            ..Self::standard()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_share_needs_both_numbers() {
        let quota = |daily_used, daily_max| Quota {
            daily_used,
            daily_max,
            ..Quota::default()
        };
        assert_eq!(quota(Some(50), Some(200)).daily_used_percent(), Some(25));
        assert_eq!(quota(Some(50), None).daily_used_percent(), None);
        assert_eq!(quota(Some(50), Some(0)).daily_used_percent(), None);
    }
}
