//! Pauses that also elapse while the environment is frozen: see [`crate::clock`].

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

/// A time span that has begun, and ends by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    until: Instant,
}

impl Pause {
    /// Starts a pause of `length`.
    pub(super) fn of(length: Duration) -> Self {
        Self {
            until: clock::now() + length,
        }
    }

    /// Returns the time until it ends.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(clock::now())
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_while_the_environment_runs_or_is_frozen() {
        let minutes = Duration::from_mins;
        let pause = Pause::of(minutes(5));
        tokio::time::advance(minutes(2)).await;
        assert_eq!(pause.left(), minutes(3));
        clock::freeze(minutes(2));
        assert_eq!(pause.left(), minutes(1), "frozen for two minutes");
        clock::freeze(minutes(2));
        assert!(pause.is_over());
        let pause = Pause::of(minutes(5));
        tokio::time::advance(minutes(5)).await;
        assert!(pause.is_over());
    }
}
