//! Limit of the calls in flight to one destination. It grows by one for each round of successful
//! calls, and is halved when the destination is overloaded.

use std::sync::Mutex;

use tokio::time::Instant;

/// Adapts the limit by additive increase and multiplicative decrease, up to the setting.
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
    /// Starts at the maximum: the account is known to support the setting.
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

    /// Returns the number of calls that may be in flight, at least one.
    pub fn limit(&self) -> usize {
        let limit = self.lock().limit;
        let whole = (1..=self.max)
            .take_while(|count| f64::from(*count) <= limit)
            .last()
            .unwrap_or(1);
        whole as usize
    }

    /// Raises the limit after a successful call.
    pub fn grow(&self) {
        let mut state = self.lock();
        state.limit = (state.limit + 1.0 / state.limit).min(f64::from(self.max));
    }

    /// Halves the limit after a call from `started` that met an overloaded destination. Calls that
    /// were in flight together halve it once.
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
    async fn the_limit_is_halved_once_for_calls_in_flight_together_and_grows_by_one_a_round() {
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
