//! How many calls may be made, from the settings and from what the answers tell of the account. Pure.

use std::time::Duration;

use crate::dispatch::settings::RateLimit;
use crate::telemetry::Quota;

/// Calls in any stretch of time of the window's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) calls: u32,
    pub(super) window: Duration,
}

impl Budget {
    pub(super) fn new(calls: u32, window: Duration) -> Self {
        Self { calls: calls.max(1), window: window.max(Duration::from_nanos(1)) }
    }

    /// One part of `share` equal ones. Where that is less than one call, one call in a longer window.
    pub(super) fn divided(self, share: u32) -> Self {
        let share = share.max(1);
        Self::new(self.calls / share, self.window * share.div_ceil(self.calls))
    }

    /// The account's own limit, where the answers tell of one that is lower than ours.
    pub(super) fn lowered_by(self, quota: &Quota) -> Self {
        match quota.window {
            Some((calls, window)) if calls > 0 && !window.is_zero() => {
                let told = Self::new(calls, window);
                if told.interval() > self.interval() { told } else { self }
            }
            _ => self,
        }
    }

    /// The time from one call to the next, where they are spread evenly.
    pub(super) fn interval(self) -> Duration {
        self.window / self.calls
    }
}

impl From<RateLimit> for Budget {
    fn from(limit: RateLimit) -> Self {
        Self::new(limit.requests, Duration::from_millis(limit.per_ms))
    }
}

/// The least time between two calls of one environment, whose part of the budget is `own`: how it goes easy on an
/// account that is nearly used up.
///
/// | the answers tell | calls |
/// | --- | --- |
/// | a tenth of the window's calls left, or less | evenly spread instead of in bursts: others need the rest |
/// | nine tenths of the day's calls used | at half of the pace |
/// | 97 of 100 of the day's calls used | at a tenth of the pace: people work with the account, too |
///
/// The end of the day's calls is told by an error, and opens the breaker.
pub(super) fn spacing(own: Budget, quota: &Quota) -> Duration {
    let is_nearly_full = quota
        .window
        .zip(quota.window_remaining)
        .is_some_and(|((most, _), left)| u64::from(left) * 10 <= u64::from(most));
    match quota.daily_used_percent() {
        Some(97..) => own.interval() * 10,
        Some(90..97) => own.interval() * 2,
        _ if is_nearly_full => own.interval(),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn budget(calls: u32, millis: u64) -> Budget {
        Budget { calls, window: Duration::from_millis(millis) }
    }

    #[test]
    fn a_share_is_never_more_than_its_part() {
        for (whole, share, part) in [
            (budget(100, 10_000), 1, budget(100, 10_000)),
            (budget(100, 10_000), 4, budget(25, 10_000)),
            (budget(100, 10_000), 3, budget(33, 10_000)),
            (budget(5, 1000), 5, budget(1, 1000)),
            (budget(5, 1000), 6, budget(1, 2000)),
            (budget(5, 1000), 16, budget(1, 4000)),
            (budget(5, 1000), 0, budget(5, 1000)),
        ] {
            assert_eq!(whole.divided(share), part, "{whole:?} / {share}");
        }
    }

    #[test]
    fn the_lower_limit_holds() {
        let told = |calls, millis| Quota { window: Some((calls, Duration::from_millis(millis))), ..Quota::default() };
        let ours = budget(100, 10_000);
        for (quota, expected) in [
            (Quota::default(), ours),
            (told(190, 10_000), ours),
            (told(100, 10_000), ours),
            (told(50, 10_000), budget(50, 10_000)),
            (told(9, 1000), budget(9, 1000)),
            (told(0, 10_000), ours),
            (told(50, 0), ours),
        ] {
            assert_eq!(ours.lowered_by(&quota), expected, "{quota:?}");
        }
    }

    #[test]
    fn an_account_that_is_nearly_used_up_is_spared() {
        let own = budget(25, 10_000);
        let window = |left| Quota {
            window: Some((100, Duration::from_secs(10))),
            window_remaining: Some(left),
            ..Quota::default()
        };
        let day = |used| Quota { daily_used: Some(used), daily_max: Some(1000), ..window(50) };
        for (quota, millis) in [
            (Quota::default(), 0),
            (Quota { window_remaining: Some(0), ..Quota::default() }, 0),
            (window(100), 0),
            (window(11), 0),
            (window(10), 400),
            (window(0), 400),
            (day(899), 0),
            (day(900), 800),
            (day(969), 800),
            (day(970), 4000),
            (day(2000), 4000),
            (Quota { daily_used: Some(5), daily_max: Some(0), ..Quota::default() }, 0),
        ] {
            assert_eq!(spacing(own, &quota), Duration::from_millis(millis), "{quota:?}");
        }
    }
}
