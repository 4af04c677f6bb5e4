//! A pause by the clock on the wall. The clock that timers go by stands still while Lambda keeps an environment frozen:
//! by that one, a pause of five minutes lasts for hours in an environment that works for 50 ms a second.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A time in which nothing is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    until: Instant,
    /// Its begin by the clock that stands still and by the one that does not: what they differ by is what the timers'
    /// clock has missed. In tests, whose timers run in virtual time, it has missed nothing.
    begun: (std::time::Instant, SystemTime),
}

impl Pause {
    pub(super) fn of(length: Duration) -> Self {
        Self { until: Instant::now() + length, begun: (std::time::Instant::now(), SystemTime::now()) }
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Duration {
        let (steady, wall) = self.begun;
        let missed = wall.elapsed().unwrap_or_default().saturating_sub(steady.elapsed());
        // Less than this is the clock on the wall being set right.
        let missed = if missed < Duration::from_secs(1) { Duration::ZERO } else { missed };
        self.until.saturating_duration_since(Instant::now()).saturating_sub(missed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_by_either_clock() {
        let minutes = Duration::from_mins;
        let mut pause = Pause::of(minutes(5));
        tokio::time::advance(minutes(2)).await;
        assert_eq!(pause.left(), minutes(3));
        pause.begun.1 -= minutes(2);
        let left = pause.left();
        assert!(left.abs_diff(minutes(1)) < Duration::from_secs(1), "frozen for two minutes: {left:?}");
        pause.begun.1 -= minutes(2);
        assert!(pause.is_over());
        pause.begun.1 += minutes(60);
        assert_eq!(pause.left(), minutes(3), "a clock that was put back prolongs nothing");
        tokio::time::advance(minutes(3)).await;
        assert!(pause.is_over());
    }
}
