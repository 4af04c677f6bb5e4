//! The rate limiter: never more calls in any stretch of time than the budget says, start-up included.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter as Governor};
use tokio::time::{Instant, sleep_until};

use super::settings::RateLimit;

/// The part of the budget that may be spent at once. A leaky bucket of the size B that fills with R lets B + R·T
/// through in a stretch T: so that it never exceeds the budget N, R·T is what B leaves of N.
const BURST_SHARE: u32 = 10;

/// Limits the calls to one destination.
#[derive(Debug)]
pub struct RateLimiter {
    bucket: Governor<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    started: Instant,
    /// The system's own word: nothing before then.
    paused_until: Mutex<Option<Instant>>,
}

/// tokio's clock, which tests can stop.
#[derive(Clone, Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl RateLimiter {
    /// A limiter of `budget`, divided among `share` invocations that may run at once.
    pub fn new(budget: RateLimit, share: u32) -> Self {
        let started = Instant::now();
        let bucket = Governor::direct_with_clock(quota(budget, share), TokioClock(started));
        Self { bucket, started, paused_until: Mutex::default() }
    }

    /// Waits until `calls` more may be made; `false`, at once, where that would be after `until`.
    pub async fn acquire(&self, calls: u32, until: Instant) -> bool {
        for _ in 0..calls {
            loop {
                let now = Instant::now();
                let free_at = match self.paused_until().filter(|paused| *paused > now) {
                    Some(paused) => paused,
                    None => match self.bucket.check() {
                        Ok(()) => break,
                        Err(wait) => self.started + wait.earliest_possible(),
                    },
                };
                if free_at > until {
                    return false;
                }
                sleep_until(free_at).await;
            }
        }
        true
    }

    /// Takes the system's word that nothing may be sent for `pause`.
    pub fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut paused = self.paused_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *paused = Some(paused.map_or(until, |earlier| earlier.max(until)));
    }

    fn paused_until(&self) -> Option<Instant> {
        *self.paused_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn quota(budget: RateLimit, share: u32) -> Quota {
    let share = share.max(1);
    let requests = (budget.requests / share).max(1);
    // Where the share is less than one call, one call in a longer stretch.
    let window = Duration::from_millis(budget.per_ms) * share.div_ceil(budget.requests.max(1)).max(1);
    let burst = (requests / BURST_SHARE).max(1);
    let steady = (requests - burst).max(1);
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let period = (window / steady).max(Duration::from_nanos(1));
    Quota::with_period(period).map_or_else(|| Quota::per_second(burst), |quota| quota.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The times, in milliseconds, at which `count` calls pass.
    fn passes(budget: RateLimit, share: u32, count: usize) -> Vec<u128> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let limiter = RateLimiter::new(budget, share);
            let start = Instant::now();
            let mut times = Vec::new();
            for _ in 0..count {
                assert!(limiter.acquire(1, start + Duration::from_hours(24)).await);
                times.push(start.elapsed().as_millis());
            }
            times
        })
    }

    #[test]
    fn nine_tenths_of_the_budget_are_used() {
        let times = passes(RateLimit { requests: 100, per_ms: 10_000 }, 1, 1000);
        let took = times.last().expect("some");
        assert!((100_000..=111_200).contains(took), "{took} ms for 1000 calls");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_would_end_too_late_is_not_begun() {
        let limiter = RateLimiter::new(RateLimit { requests: 1, per_ms: 1000 }, 1);
        let start = Instant::now();
        assert!(limiter.acquire(1, start).await);
        assert!(!limiter.acquire(1, start + Duration::from_millis(500)).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        limiter.pause(Duration::from_secs(7));
        assert!(limiter.acquire(1, start + Duration::from_mins(1)).await);
        assert!(start.elapsed() >= Duration::from_secs(7));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_window_has_more_calls_than_its_share(requests in 2_u32..60, per_ms in 100_u64..20_000, share in 1_u32..6) {
            let times = passes(RateLimit { requests, per_ms }, share, 150);
            let window = u128::from(per_ms) * u128::from(share.div_ceil(requests));
            let allowed = (requests / share).max(1) as usize + 1;
            for (at, start) in times.iter().enumerate() {
                // Times are cut to milliseconds: a call at the very end of the window may count as the next one's.
                let inside = times[at..].iter().take_while(|time| **time < start + window - 1).count();
                prop_assert!(inside <= allowed, "{inside} calls in {window} ms, allowed {allowed}");
            }
        }
    }
}
