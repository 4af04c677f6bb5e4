//! Computes the budget of calls from the settings and from the account's limits in the answers.
//! Pure.

use std::time::Duration;

use crate::model::limits::{Quota, RateLimit};

/// Bound of the calls in any time window of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) calls: u32,
    pub(super) window: Duration,
}

/// Longest window of an account that is accepted; HubSpot's has 10 s. A misread number must not
/// stop a destination for a day.
pub(super) const LONGEST_WINDOW: Duration = Duration::from_mins(1);

impl Budget {
    pub(super) fn new(calls: u32, window: Duration) -> Self {
        Self {
            calls: calls.max(1),
            window: window.max(Duration::from_nanos(1)),
        }
    }

    /// Returns one of `share` equal parts. A part of less than one call becomes one call in a
    /// longer window.
    pub(super) fn divided(self, share: u32) -> Self {
        let share = share.max(1);
        Self::new(self.calls / share, self.window * share.div_ceil(self.calls))
    }

    /// Returns the account's own limit, if the answers report one that is lower than this.
    pub(super) fn lowered_by(self, quota: &Quota) -> Self {
        match quota.window {
            Some((calls, window)) if calls > 0 && !window.is_zero() && window <= LONGEST_WINDOW => {
                let reported = Self::new(calls, window);
                if reported.interval() > self.interval() {
                    reported
                } else {
                    self
                }
            }
            _ => self,
        }
    }

    /// Returns the part that is used when the daily quota is nearly used up: half of the budget
    /// from 90 % on, a tenth from 97 % on. The account has human users as well. The end of the
    /// quota is reported by an error, which opens the breaker.
    pub(super) fn slowed_by(self, quota: &Quota) -> Self {
        match quota.daily_used_percent() {
            Some(97..) => self.divided(10),
            Some(90..97) => self.divided(2),
            _ => self,
        }
    }

    /// Returns the time between two calls that are spread evenly.
    pub(super) fn interval(self) -> Duration {
        self.window / self.calls
    }
}

impl From<RateLimit> for Budget {
    fn from(limit: RateLimit) -> Self {
        Self::new(limit.requests, Duration::from_millis(limit.per_ms))
    }
}

/// Returns the shortest time between two calls of an environment that keeps to its share `own` of
/// the budget and has made `made` calls in this window. Calls are spread evenly, instead of made in
/// bursts, if at most a tenth of the account's window is left and that is less than the rest of the
/// share: others use the account too. Else the time is zero. Calls in leased slots are spread by
/// their slots.
pub(super) fn spacing(own: Budget, made: usize, quota: &Quota) -> Duration {
    let (Some((most, _)), Some(left)) = (quota.window, quota.window_remaining) else {
        return Duration::ZERO;
    };
    let is_nearly_full = u64::from(left) * 10 <= u64::from(most);
    let is_others_use = (left as usize) < (own.calls as usize).saturating_sub(made);
    if is_nearly_full && is_others_use {
        own.interval()
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn budget(calls: u32, millis: u64) -> Budget {
        Budget {
            calls,
            window: Duration::from_millis(millis),
        }
    }

    #[test]
    fn a_share_never_exceeds_its_part_of_the_budget() {
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
    fn the_lower_of_two_limits_applies() {
        let reported = |calls, millis| Quota {
            window: Some((calls, Duration::from_millis(millis))),
            ..Quota::default()
        };
        let ours = budget(100, 10_000);
        for (quota, expected) in [
            (Quota::default(), ours),
            (reported(190, 10_000), ours),
            (reported(100, 10_000), ours),
            (reported(50, 10_000), budget(50, 10_000)),
            (reported(9, 1000), budget(9, 1000)),
            (reported(0, 10_000), ours),
            (reported(100, 60_000), budget(100, 60_000)),
            (reported(100, 86_400_000), ours),
            (reported(50, 0), ours),
        ] {
            assert_eq!(ours.lowered_by(&quota), expected, "{quota:?}");
        }
    }

    #[test]
    fn a_nearly_used_daily_quota_lowers_the_budget() {
        let ours = budget(100, 10_000);
        let day = |used, most| Quota {
            daily_used: Some(used),
            daily_max: Some(most),
            ..Quota::default()
        };
        for (quota, calls) in [
            (Quota::default(), 100),
            (day(899, 1000), 100),
            (day(900, 1000), 50),
            (day(969, 1000), 50),
            (day(970, 1000), 10),
            (day(2000, 1000), 10),
            (day(5, 0), 100),
        ] {
            assert_eq!(ours.slowed_by(&quota), budget(calls, 10_000), "{quota:?}");
        }
    }

    #[test]
    fn calls_are_spread_while_others_use_the_account() {
        let own = budget(25, 10_000);
        let left = |left| Quota {
            window: Some((100, Duration::from_secs(10))),
            window_remaining: Some(left),
            ..Quota::default()
        };
        for (quota, made, millis) in [
            (Quota::default(), 0, 0),
            (
                Quota {
                    window_remaining: Some(0),
                    ..Quota::default()
                },
                0,
                0,
            ),
            (left(100), 0, 0),
            (left(11), 0, 0),
            (left(10), 0, 400),
            (left(10), 14, 400),
            (left(10), 15, 0),
            (left(0), 24, 400),
            (left(0), 25, 0),
        ] {
            assert_eq!(
                spacing(own, made, &quota),
                Duration::from_millis(millis),
                "{quota:?} after {made} calls"
            );
        }
    }
}
