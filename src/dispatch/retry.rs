//! Whether and when to try again. Pure.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::model::limits::Retry;

/// Retries that any invocation may make of a destination, beside its share of the calls: enough for
/// a hiccup.
const SPARE_RETRIES: u32 = 10;

/// One retry for so many calls: an outage adds a fifth to the calls and no more.
const CALLS_FOR_A_RETRY: u32 = 5;

/// How often a payload is tried, and how long it waits in between.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    max_attempts: u32,
    max_delay: Duration,
    /// The longest wait before each further try: doubling.
    caps: Vec<Duration>,
}

impl RetryPolicy {
    /// The policy of these settings.
    pub fn new(settings: Retry) -> Self {
        let max_delay = Duration::from_millis(settings.max_delay_ms);
        let caps = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(settings.base_delay_ms))
            .with_max_delay(max_delay)
            // One at least: a second chance is no further try, and waits like the first.
            .with_max_times(settings.max_attempts.saturating_sub(1).max(1) as usize)
            .build()
            .collect();
        Self {
            max_attempts: settings.max_attempts,
            max_delay,
            caps,
        }
    }

    /// Whether there may be another try after so many.
    pub fn allows_another(&self, tries: u32) -> bool {
        tries < self.max_attempts
    }

    /// The longest wait in one invocation.
    pub fn longest(&self) -> Duration {
        self.max_delay
    }

    /// Returns how many attempts settings allow.
    pub(super) fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// The wait after `tries` tries, the last of which failed; `None` where it was the last.
    /// `random`, from 0 to 1, spreads the wait over the whole of its cap (full jitter), so that
    /// what failed together does not come together again. The system's own word wins; `None` where
    /// it is more than our maximum, too, since a call before that time is one that we were asked
    /// not to make. <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
    pub fn delay(&self, tries: u32, hint: Option<Duration>, random: f64) -> Option<Duration> {
        if self.allows_another(tries) {
            self.wait(tries, hint, random)
        } else {
            None
        }
    }

    /// Returns the wait after so many failures, however many tries settings allow.
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

/// The retries of one invocation, so that an outage does not multiply the calls.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    calls: u32,
    retries: u32,
}

impl RetryBudget {
    pub(super) fn count_call(&mut self) {
        self.calls += 1;
    }

    /// Takes one retry, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let allowed = SPARE_RETRIES + self.calls / CALLS_FOR_A_RETRY;
        let there_is_one = self.retries < allowed;
        self.retries += u32::from(there_is_one);
        there_is_one
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
        let delays: Vec<_> = (1..=6)
            .map(|tries| policy.delay(tries, None, 1.0))
            .map(|d| d.map(|d| d.as_millis()))
            .collect();
        assert_eq!(
            delays,
            [Some(100), Some(200), Some(400), Some(400), None, None]
        );
        assert_eq!(policy.delay(1, None, 0.0), Some(Duration::ZERO));
    }

    #[test]
    fn the_systems_word_wins_within_our_maximum_and_ends_the_tries_beyond() {
        let policy = RetryPolicy::new(SETTINGS);
        let hint = |millis| Some(Duration::from_millis(millis));
        assert_eq!(policy.delay(1, hint(300), 0.5), hint(300));
        assert_eq!(policy.delay(1, hint(400), 0.5), hint(400));
        assert_eq!(Some(policy.longest()), hint(400));
        assert_eq!(
            policy.delay(1, hint(401), 0.5),
            None,
            "not before the system's time, and not so late"
        );
        assert_eq!(policy.delay(5, hint(1), 0.5), None);
    }

    #[test]
    fn the_presets_are_those_of_the_settings() {
        use crate::settings::{Preset, load};
        let of = |preset| load(preset, &[], &["salesforce", "hubspot"]).expect("good settings");
        for (preset, retry) in [
            (Preset::Local, Retry::standard()),
            (Preset::Test, Retry::quick()),
        ] {
            let settings = of(preset);
            assert_eq!(
                (settings.salesforce.retry, settings.hubspot.retry),
                (retry, retry),
                "{preset:?}"
            );
        }
        assert_eq!(RetryPolicy::new(Retry::none()).delay(1, None, 0.5), None);
    }

    #[test]
    fn an_outage_adds_a_fifth_and_ten() {
        let mut budget = RetryBudget::default();
        for _ in 0..100 {
            budget.count_call();
        }
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 30);
    }

    proptest! {
        #[test]
        fn no_wait_is_over_the_maximum_and_tries_are_bounded(
            attempts in 1_u32..=20, base in 1_u64..=1_000, extra in 0_u64..=900_000, tries in 0_u32..40,
            hint in proptest::option::of(0_u64..10_000_000), random in -1.0_f64..2.0,
        ) {
            let settings = Retry { max_attempts: attempts, base_delay_ms: base, max_delay_ms: base + extra };
            let delay = RetryPolicy::new(settings).delay(tries, hint.map(Duration::from_millis), random);
            let is_patient = hint.is_none_or(|hint| hint <= base + extra);
            prop_assert_eq!(delay.is_some(), tries < attempts && is_patient);
            // A `Duration` cannot be negative: that a random number out of bounds does not panic is
            // half of the law.
            prop_assert!(delay.is_none_or(|delay| delay <= Duration::from_millis(base + extra)));
        }
    }
}
