//! Measures time limits that outlive an invocation.
//!
//! Lambda freezes an environment between two invocations. The timers' clock stops during a freeze,
//! the wall clock does not: in an environment that works for 50 ms a second, five minutes of the
//! timers' clock last more than an hour. [`now`] is the timers' clock plus the time that it missed,
//! so that a limit ends once either clock has passed it. A wall clock that is set back prolongs no
//! limit. A step of less than a second counts as a correction of the clock, not as a freeze.
//!
//! | time limit | clock |
//! | --- | --- |
//! | `refresh_secs`, after which the settings document is read again | [`now`] |
//! | lifetime of a secret | [`now`] |
//! | pause between two reads of a refused or unreadable secret | [`now`] |
//! | pause between two token requests while the instance does not respond [^1] | [`now`] |
//! | rate limits: window, interval between calls, pause of an unavailable state table | [`now`] |
//! | pauses of the circuit breaker, and those that a destination asks for | [`now`] |
//! | leased slots | wall clock: all environments share them |
//! | `expires_at` in the state table, `exp` of a signed assertion | wall clock: others read them |
//! | deadline of an invocation | wall clock at its start, as Lambda sends it; then the timers' |
//! | timeouts of calls, waits between attempts | timers': they start and end in an invocation |
//! | duration of a reduced concurrency | timers': it starts and ends in an invocation |
//! | idle connections | timers': see [`crate::http_client::client`] |
//!
//! [^1]: A token has no lifetime. It ends with its secret, with its instance, or with a 401.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Least difference of the clocks that counts as a freeze. A smaller one is a correction of the
/// wall clock.
const SHORTEST_FREEZE: Duration = Duration::from_secs(1);

static FREEZES: Mutex<Option<Freezes>> = Mutex::new(None);

/// Returns the timers' time plus the time that they missed. Never decreases. Comparable only with
/// other results of this function.
pub(crate) fn now() -> Instant {
    let (steady, wall) = (std::time::Instant::now(), SystemTime::now());
    let mut freezes = FREEZES.lock().unwrap_or_else(PoisonError::into_inner);
    let missed = freezes
        .get_or_insert_with(|| Freezes::new(steady, wall))
        .observe(steady, wall);
    drop(freezes);
    #[cfg(test)]
    let missed = missed + tests::FROZEN.get();
    Instant::now() + missed
}

/// Returns the time since `then`, an earlier result of [`now`].
pub(crate) fn elapsed(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// Simulates a freeze of `length` for the test on this thread.
#[cfg(test)]
pub(crate) fn freeze(length: Duration) {
    tests::FROZEN.set(tests::FROZEN.get() + length);
}

/// Sum of the time that the steady clock missed. Pure.
#[derive(Debug)]
struct Freezes {
    missed: Duration,
    steady: std::time::Instant,
    wall: SystemTime,
}

impl Freezes {
    fn new(steady: std::time::Instant, wall: SystemTime) -> Self {
        Self {
            missed: Duration::ZERO,
            steady,
            wall,
        }
    }

    /// Compares both clocks. Returns the time missed so far. Short freezes add up: the comparison
    /// restarts only after a freeze that counts, or after the wall clock was set back.
    fn observe(&mut self, steady: std::time::Instant, wall: SystemTime) -> Duration {
        let by_steady = steady.saturating_duration_since(self.steady);
        let by_wall = wall.duration_since(self.wall).unwrap_or_default();
        match by_wall.checked_sub(by_steady) {
            Some(ahead) if ahead < SHORTEST_FREEZE => return self.missed,
            Some(ahead) => self.missed += ahead,
            None => {}
        }
        (self.steady, self.wall) = (steady, wall);
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        pub(super) static FROZEN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    #[test]
    fn missed_time_adds_up_and_a_wall_clock_that_is_set_back_subtracts_nothing() {
        // Each step in milliseconds: of the steady clock, of the wall clock, and the time missed so
        // far.
        let tables: &[&[(u64, i64, u64)]] = &[
            &[(1_000, 1_000, 0), (60_000, 60_000, 0)],
            &[
                (50, 3_600_050, 3_600_000),
                (50, 50, 3_600_000),
                (50, 3_600_050, 7_200_000),
            ],
            &[(50, 1_049, 0), (0, 1, 1_000)],
            &[
                (50, 950, 0),
                (50, 950, 1_800),
                (50, 950, 1_800),
                (50, 950, 3_600),
            ],
            &[(1_000, -3_600_000, 0), (50, 60_050, 60_000)],
            &[
                (50, 60_050, 60_000),
                (50, -60_000, 60_000),
                (50, 50, 60_000),
                (50, 2_050, 62_000),
            ],
            &[(60_000, 0, 0), (1_000, 1_000, 0)],
        ];
        for steps in tables {
            let (mut steady, mut wall) = (std::time::Instant::now(), SystemTime::now());
            let mut freezes = Freezes::new(steady, wall);
            for (by_steady, by_wall, missed) in *steps {
                steady += Duration::from_millis(*by_steady);
                let step = Duration::from_millis(by_wall.unsigned_abs());
                wall = if *by_wall < 0 {
                    wall - step
                } else {
                    wall + step
                };
                assert_eq!(
                    freezes.observe(steady, wall),
                    Duration::from_millis(*missed),
                    "{steps:?}"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_ends_once_either_clock_has_passed_it() {
        let start = now();
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!(elapsed(start), Duration::from_mins(2));
        freeze(Duration::from_mins(3));
        assert_eq!(elapsed(start), Duration::from_mins(5));
    }
}
