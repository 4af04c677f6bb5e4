//! How many calls to a destination are under way at once: one more for each round that goes well,
//! half when the system is short of breath.

use std::sync::Mutex;

use tokio::time::Instant;

/// Additive growth, multiplicative cut, never above the setting.
#[derive(Debug)]
pub struct Concurrency {
    max: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    last_cut: Option<Instant>,
}

impl Concurrency {
    /// Starts at the maximum: what is set is what the account is known to bear.
    pub fn new(max_in_flight: usize) -> Self {
        let max = u32::try_from(max_in_flight).unwrap_or(u32::MAX).max(1);
        Self {
            max,
            state: Mutex::new(State {
                limit: f64::from(max),
                last_cut: None,
            }),
        }
    }

    /// Calls that may be under way now; at least one.
    pub fn limit(&self) -> usize {
        let limit = self.lock().limit;
        let whole = (1..=self.max)
            .take_while(|count| f64::from(*count) <= limit)
            .last()
            .unwrap_or(1);
        whole as usize
    }

    /// A call went well.
    pub fn grow(&self) {
        let mut state = self.lock();
        state.limit = (state.limit + 1.0 / state.limit).min(f64::from(self.max));
    }

    /// A call that was started at `started` met a system short of breath. Calls that were under way
    /// together are one reason, not many.
    pub fn cut(&self, started: Instant) {
        let mut state = self.lock();
        if state.last_cut.is_none_or(|cut| started >= cut) {
            state.limit = (state.limit / 2.0).max(1.0);
            state.last_cut = Some(Instant::now());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn halves_once_for_calls_that_were_under_way_together_and_grows_back_by_one_a_round() {
        let concurrency = Concurrency::new(8);
        let started = Instant::now();
        tokio::time::advance(Duration::from_millis(10)).await;
        concurrency.cut(started);
        concurrency.cut(started);
        assert_eq!(concurrency.limit(), 4);
        for _ in 0..5 {
            concurrency.grow();
        }
        assert_eq!(concurrency.limit(), 5);
        for _ in 0..1000 {
            concurrency.grow();
        }
        assert_eq!(concurrency.limit(), 8);
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(10)).await;
            concurrency.cut(Instant::now());
        }
        assert_eq!(concurrency.limit(), 1);
    }
}
