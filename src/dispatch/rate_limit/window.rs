//! An exact rolling window of this process's calls. Pure.
//!
//! A destination counts a call when it arrives, between the call's start and its answer. So a call
//! stays in the window from its start until a window's length after its answer. Of any N + 1 calls,
//! the last one is then started a whole window after the arrival of the first, independent of the
//! network's delays. Only the latency of the answers is lost.
//!
//! All instants are those of [`crate::clock::now`]: a window also elapses while the environment is
//! frozen.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::budget::Budget;

/// Time at which a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    Now,
    At(Instant),
    /// Not before one of the calls in flight has its answer.
    AfterAnAnswer,
}

/// Calls of the last window.
#[derive(Debug, Default)]
pub(super) struct Window {
    in_flight: u32,
    /// Times of the answers of calls that are still in the window.
    answered: VecDeque<Instant>,
}

impl Window {
    /// Returns when `calls` more may be made together. More calls than the whole budget may be made
    /// if the window is empty.
    pub(super) fn availability(
        &mut self,
        calls: u32,
        budget: Budget,
        now: Instant,
    ) -> Availability {
        while self
            .answered
            .front()
            .is_some_and(|answered| *answered + budget.window <= now)
        {
            self.answered.pop_front();
        }
        let occupied = self.occupied();
        let missing = (occupied + calls as usize)
            .saturating_sub(budget.calls as usize)
            .min(occupied);
        let Some(last) = missing.checked_sub(1) else {
            return Availability::Now;
        };
        match self.answered.get(last) {
            Some(answered) => Availability::At(*answered + budget.window),
            None => Availability::AfterAnAnswer,
        }
    }

    /// Returns the number of calls in the window.
    pub(super) fn occupied(&self) -> usize {
        self.in_flight as usize + self.answered.len()
    }

    /// Adds calls that are started.
    pub(super) fn start(&mut self, calls: u32) {
        self.in_flight += calls;
    }

    /// Removes calls from those in flight.
    pub(super) fn remove(&mut self, calls: u32) {
        self.in_flight = self.in_flight.saturating_sub(calls);
    }

    /// Keeps calls in the window after their answer came, or was given up, at `now`. Calls beyond
    /// the budget count in the windows after this one.
    pub(super) fn retain(&mut self, calls: u32, budget: Budget, now: Instant) {
        self.answered
            .extend((0..calls).map(|at| now + budget.window * (at / budget.calls)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn answer(window: &mut Window, calls: u32, budget: Budget, at: Instant) {
        window.remove(calls);
        window.retain(calls, budget, at);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_leaves_the_window_a_window_length_after_its_answer() {
        let (budget, start) = (
            Budget {
                calls: 2,
                window: MILLI * 100,
            },
            Instant::now(),
        );
        let mut window = Window::default();
        window.start(1);
        window.start(1);
        assert_eq!(
            window.availability(1, budget, start),
            Availability::AfterAnAnswer
        );
        answer(&mut window, 1, budget, start + MILLI * 30);
        assert_eq!(
            window.availability(1, budget, start + MILLI * 30),
            Availability::At(start + MILLI * 130)
        );
        assert_eq!(
            window.availability(2, budget, start + MILLI * 130),
            Availability::AfterAnAnswer
        );
        answer(&mut window, 1, budget, start + MILLI * 150);
        assert_eq!(
            window.availability(2, budget, start + MILLI * 150),
            Availability::At(start + MILLI * 250)
        );
        assert_eq!(
            window.availability(2, budget, start + MILLI * 250),
            Availability::Now
        );
    }

    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_whole_budget_need_an_empty_window_and_count_in_later_ones() {
        let (budget, start) = (
            Budget {
                calls: 1,
                window: MILLI * 100,
            },
            Instant::now(),
        );
        let mut window = Window::default();
        assert_eq!(window.availability(2, budget, start), Availability::Now);
        window.start(2);
        answer(&mut window, 2, budget, start);
        assert_eq!(
            window.availability(1, budget, start),
            Availability::At(start + MILLI * 200)
        );
    }

    proptest! {
        /// Holds for calls that arrive at any time between their start and their answer.
        #[test]
        fn no_time_window_has_more_arrivals_than_the_budget(
            calls in 1_u32..20, length in 1_u32..2000,
            each in prop::collection::vec((0_u32..3000, 0_u32..600, 0.0_f64..1.0), 1..200),
        ) {
            let budget = Budget { calls, window: MILLI * length };
            let mut window = Window::default();
            let (start, mut now) = (Instant::now(), Duration::ZERO);
            let mut arrivals = Vec::new();
            let mut in_flight: Vec<Duration> = Vec::new();
            for (pause, latency, part) in each {
                now += MILLI * (pause % length);
                loop {
                    in_flight.sort_unstable();
                    while in_flight.first().is_some_and(|answer| *answer <= now) {
                        answer(&mut window, 1, budget, start + in_flight.remove(0));
                    }
                    match window.availability(1, budget, start + now) {
                        Availability::Now => break,
                        Availability::At(at) => {
                            let answer = in_flight.first().copied().unwrap_or(Duration::MAX);
                            now = (at - start).min(answer);
                        }
                        Availability::AfterAnAnswer => {
                            now = *in_flight.first().expect("one is in flight");
                        }
                    }
                }
                window.start(1);
                in_flight.push(now + MILLI * latency);
                arrivals.push(now + (MILLI * latency).mul_f64(part));
            }
            arrivals.sort_unstable();
            for (first, last) in arrivals.iter().zip(arrivals.iter().skip(calls as usize)) {
                let apart = last.checked_sub(*first);
                prop_assert!(apart >= Some(MILLI * length), "{first:?} {last:?}");
            }
        }
    }
}
