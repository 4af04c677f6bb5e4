//! Decides whether and when to retry. Pure.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::model::limits::Retry;

/// Retries that an invocation may make for a destination, besides its share of the calls: enough
/// for a transient failure.
const SPARE_RETRIES: u32 = 10;

/// Calls that allow one more retry: an outage increases the calls by at most a fifth.
const CALLS_FOR_A_RETRY: u32 = 5;

/// Attempts of a payload, and the waits between them.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    max_attempts: u32,
    max_delay: Duration,
    /// The longest wait before each further attempt, doubling.
    caps: Vec<Duration>,
}

impl RetryPolicy {
    /// Builds the policy from its settings.
    pub fn new(settings: Retry) -> Self {
        let max_delay = Duration::from_millis(settings.max_delay_ms);
        let caps = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(settings.base_delay_ms))
            .with_max_delay(max_delay)
            // At least one: a payload that is sent once more waits like after its first attempt.
            .with_max_times(settings.max_attempts.saturating_sub(1).max(1) as usize)
            .build()
            .collect();
        Self {
            max_attempts: settings.max_attempts,
            max_delay,
            caps,
        }
    }

    /// Returns whether another attempt is allowed after `tries` attempts.
    pub fn allows_another(&self, tries: u32) -> bool {
        tries < self.max_attempts
    }

    /// Returns the longest wait in one invocation.
    pub fn longest(&self) -> Duration {
        self.max_delay
    }

    /// Returns the number of attempts that settings allow.
    pub(super) fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// Returns the wait after `tries` failed attempts. `random`, from 0 to 1, spreads the wait over
    /// the whole of its cap (full jitter), so that calls that failed together are not repeated
    /// together. `hint`, the wait that the destination asks for, takes precedence. Returns `None`
    /// if no attempt is left, or if `hint` exceeds our maximum: a call before that time would
    /// disregard the destination's request.
    /// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
    pub fn delay(&self, tries: u32, hint: Option<Duration>, random: f64) -> Option<Duration> {
        if self.allows_another(tries) {
            self.wait(tries, hint, random)
        } else {
            None
        }
    }

    /// Returns the wait after `tries` failures, independent of the attempts that settings allow.
    pub(super) fn wait(&self, tries: u32, hint: Option<Duration>, random: f64) -> Option<Duration> {
        if hint.is_some_and(|hint| hint > self.max_delay) {
            return None;
        }
        let cap = self
            .caps
            .get(tries.saturating_sub(1) as usize)
            .copied()
            .unwrap_or(self.max_delay);
        let jittered = cap.min(self.max_delay).mul_f64(random.clamp(0.0, 1.0));
        Some(hint.unwrap_or(jittered))
    }
}

/// Limits the retries of one invocation, so that an outage does not multiply the calls.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    calls: u32,
    retries: u32,
}

impl RetryBudget {
    pub(super) fn count_call(&mut self) {
        self.calls += 1;
    }

    /// Takes one retry. Returns whether one was left.
    pub(super) fn take(&mut self) -> bool {
        let allowed = SPARE_RETRIES + self.calls / CALLS_FOR_A_RETRY;
        let is_allowed = self.retries < allowed;
        self.retries += u32::from(is_allowed);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: Retry = Retry {
        max_attempts: 5,
        base_delay_ms: 100,
        max_delay_ms: 400,
    };

    #[test]
    fn waits_double_up_to_the_maximum_and_end_with_the_attempts() {
        let policy = RetryPolicy::new(SETTINGS);
        for (tries, expected) in [
            (1, Some(100)),
            (2, Some(200)),
            (3, Some(400)),
            (4, Some(400)),
            (5, None),
            (6, None),
        ] {
            let delay = policy.delay(tries, None, 1.0);
            let millis = delay.map(|delay| delay.as_millis());
            assert_eq!(millis, expected, "{tries} attempts");
        }
        assert_eq!(policy.delay(1, None, 0.0), Some(Duration::ZERO));
    }

    #[test]
    fn a_wait_up_to_the_maximum_is_obeyed_and_a_longer_one_ends_the_attempts() {
        let policy = RetryPolicy::new(SETTINGS);
        let hint = |millis| Some(Duration::from_millis(millis));
        assert_eq!(policy.delay(1, hint(300), 0.5), hint(300));
        assert_eq!(policy.delay(1, hint(400), 0.5), hint(400));
        assert_eq!(Some(policy.longest()), hint(400));
        assert_eq!(
            policy.delay(1, hint(401), 0.5),
            None,
            "the destination asks for more than the maximum"
        );
        assert_eq!(policy.delay(5, hint(1), 0.5), None);
    }

    #[test]
    fn the_presets_are_those_of_the_settings() {
        use crate::adapters::DESTINATIONS;
        use crate::settings::{Preset, load};
        for (preset, expected) in [
            (Preset::Local, Retry::standard()),
            (Preset::Test, Retry::quick()),
        ] {
            let settings = load(preset, &[], &DESTINATIONS).expect("good settings");
            let settings = toml::Table::try_from(settings).expect("TOML");
            for name in DESTINATIONS {
                let retry: Retry = settings[name]["retry"]
                    .clone()
                    .try_into()
                    .expect("a policy");
                assert_eq!(retry, expected, "{preset:?} {name}");
            }
        }
        assert_eq!(RetryPolicy::new(Retry::none()).delay(1, None, 0.5), None);
    }

    #[test]
    fn retries_are_limited_to_ten_and_a_fifth_of_the_calls() {
        let mut budget = RetryBudget::default();
        for _ in 0..100 {
            budget.count_call();
        }
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 30);
    }

    proptest! {
        #[test]
        fn waits_never_exceed_the_maximum_and_attempts_are_bounded(
            max_attempts in 1_u32..=20, base_delay_ms in 1_u64..=1_000, extra in 0_u64..=900_000,
            tries in 0_u32..40, hint in proptest::option::of(0_u64..10_000_000),
            random in -1.0_f64..2.0,
        ) {
            let max_delay_ms = base_delay_ms + extra;
            let settings = Retry { max_attempts, base_delay_ms, max_delay_ms };
            let asked = hint.map(Duration::from_millis);
            let delay = RetryPolicy::new(settings).delay(tries, asked, random);
            let is_patient = hint.is_none_or(|hint| hint <= max_delay_ms);
            prop_assert_eq!(delay.is_some(), tries < max_attempts && is_patient);
            // A random number out of bounds does not panic: a `Duration` cannot be negative.
            prop_assert!(delay.is_none_or(|delay| delay <= Duration::from_millis(max_delay_ms)));
        }
    }
}
