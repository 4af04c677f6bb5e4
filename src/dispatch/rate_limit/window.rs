//! An exact rolling window of this process's calls. Pure.
//!
//! A system counts a call when it arrives: at some time between the call's start and its answer. So
//! a call keeps its place from its start until a window's length after its answer. Of any N + 1
//! calls the last is then started a whole window after the first arrived, whatever the network
//! does; and all but the answers' own time is used.
//!
//! Its instants are those of [`crate::clock::now`]: a window also passes while the environment is
//! frozen.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::budget::Budget;

/// When there is room for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    Now,
    At(Instant),
    /// Not before one of the calls under way has its answer.
    AfterAnAnswer,
}

/// The calls of the last window.
#[derive(Debug, Default)]
pub(super) struct Window {
    under_way: u32,
    /// When calls had their answers, for as long as they keep their places.
    answered: VecDeque<Instant>,
}

impl Window {
    /// When `calls` more may be made together. More than the whole budget are let through where
    /// nothing else is in the window.
    pub(super) fn room(&mut self, calls: u32, budget: Budget, now: Instant) -> Availability {
        while self
            .answered
            .front()
            .is_some_and(|answered| *answered + budget.window <= now)
        {
            self.answered.pop_front();
        }
        let taken = self.taken();
        let missing = (taken + calls as usize)
            .saturating_sub(budget.calls as usize)
            .min(taken);
        match missing.checked_sub(1) {
            None => Availability::Now,
            Some(last) => self
                .answered
                .get(last)
                .map_or(Availability::AfterAnAnswer, |answered| {
                    Availability::At(*answered + budget.window)
                }),
        }
    }

    /// The places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.under_way as usize + self.answered.len()
    }

    /// Calls are started.
    pub(super) fn enter(&mut self, calls: u32) {
        self.under_way += calls;
    }

    /// Calls are not under way any more.
    pub(super) fn leave(&mut self, calls: u32) {
        self.under_way = self.under_way.saturating_sub(calls);
    }

    /// Calls have their answers, or nobody waits for them any more: they keep their places from
    /// `now` on. What goes beyond the budget counts in the windows after this one.
    pub(super) fn keep(&mut self, calls: u32, budget: Budget, now: Instant) {
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
        window.leave(calls);
        window.keep(calls, budget, at);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_again_a_window_after_the_answer() {
        let (budget, start) = (
            Budget {
                calls: 2,
                window: MILLI * 100,
            },
            Instant::now(),
        );
        let mut window = Window::default();
        window.enter(1);
        window.enter(1);
        assert_eq!(window.room(1, budget, start), Availability::AfterAnAnswer);
        answer(&mut window, 1, budget, start + MILLI * 30);
        assert_eq!(
            window.room(1, budget, start + MILLI * 30),
            Availability::At(start + MILLI * 130)
        );
        assert_eq!(
            window.room(2, budget, start + MILLI * 130),
            Availability::AfterAnAnswer
        );
        answer(&mut window, 1, budget, start + MILLI * 150);
        assert_eq!(
            window.room(2, budget, start + MILLI * 150),
            Availability::At(start + MILLI * 250)
        );
        assert_eq!(
            window.room(2, budget, start + MILLI * 250),
            Availability::Now
        );
    }

    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_whole_budget_go_alone_and_are_paid_for_afterwards() {
        let (budget, start) = (
            Budget {
                calls: 1,
                window: MILLI * 100,
            },
            Instant::now(),
        );
        let mut window = Window::default();
        assert_eq!(window.room(2, budget, start), Availability::Now);
        window.enter(2);
        answer(&mut window, 2, budget, start);
        assert_eq!(
            window.room(1, budget, start),
            Availability::At(start + MILLI * 200)
        );
    }

    proptest! {
        /// Whenever calls arrive between their start and their answer, no stretch of the window's
        /// length sees more than the budget.
        #[test]
        fn no_stretch_has_more_arrivals_than_the_budget(
            calls in 1_u32..20, length in 1_u32..2000,
            each in prop::collection::vec((0_u32..3000, 0_u32..600, 0.0_f64..1.0), 1..200),
        ) {
            let budget = Budget { calls, window: MILLI * length };
            let mut window = Window::default();
            let (start, mut now) = (Instant::now(), Duration::ZERO);
            let mut arrivals = Vec::new();
            let mut under_way: Vec<Duration> = Vec::new();
            for (pause, latency, part) in each {
                now += MILLI * (pause % length);
                loop {
                    under_way.sort_unstable();
                    while under_way.first().is_some_and(|answer| *answer <= now) {
                        answer(&mut window, 1, budget, start + under_way.remove(0));
                    }
                    match window.room(1, budget, start + now) {
                        Availability::Now => break,
                        Availability::At(at) => now = (at - start).min(under_way.first().copied().unwrap_or(Duration::MAX)),
                        Availability::AfterAnAnswer => now = *under_way.first().expect("one is under way"),
                    }
                }
                window.enter(1);
                under_way.push(now + MILLI * latency);
                arrivals.push(now + (MILLI * latency).mul_f64(part));
            }
            arrivals.sort_unstable();
            for (first, last) in arrivals.iter().zip(arrivals.iter().skip(calls as usize)) {
                prop_assert!(last.checked_sub(*first) >= Some(MILLI * length), "{first:?} {last:?}");
            }
        }
    }
}
