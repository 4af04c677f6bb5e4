//! The calls that the destination reports as left in its window. Pure.
//!
//! A report of R calls left of N means that N - R calls are in the window. Those that this process
//! did not make are calls of others, which may stay there for a whole window. The rest of N is left
//! to this process for this time. An own request that the report may or may not count is treated as
//! a call of others as well as an own one. So the bound can only be too low, by the few requests
//! that were in flight at once.
//!
//! While others use the account, an environment without leases leaves a thirtieth of their calls
//! to them: a leased slot may be spent so late ([`super::lease`]), and they may make these calls
//! while a request is sent. An environment with leases leaves a fiftieth of the window, for calls
//! that others make without leases between two of its reports. Of an own request that a report may
//! count, it assumes that the report does: its slots already limit it, and it waits only for calls
//! that have none.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::LONGEST_WINDOW;
use super::window::Availability;
use crate::dispatch::pause::Pause;
use crate::model::limits::Quota;

/// Calls of others for each one that may come late.
const LATE: usize = 30;

/// Calls of the window for each one that an environment with leases leaves free.
const UNREPORTED: usize = 50;

/// Last report, and the own requests since.
#[derive(Debug, Default)]
pub(super) struct Reported {
    last: Option<Report>,
    in_flight: usize,
    /// Own requests that may be in the destination's window: the times of their permit and of their
    /// answer.
    answered: VecDeque<(Instant, Instant)>,
}

#[derive(Debug)]
struct Report {
    /// Own requests without leases that fit into the destination's window.
    unshared: usize,
    /// Own requests with leases that fit into it.
    leased: usize,
    window: Duration,
    /// Time at which its request was sent.
    sent: Instant,
    /// Time until all calls that it counts have left the window.
    holds: Pause,
}

impl Reported {
    /// Returns when one more request may be made: at once if no report is valid.
    pub(super) fn availability(&mut self, is_unshared: bool, now: Instant) -> Availability {
        let Some(Report {
            unshared,
            leased,
            window,
            holds,
            ..
        }) = self.last.as_ref().filter(|report| !report.holds.is_over())
        else {
            return Availability::Now;
        };
        let own = if is_unshared { *unshared } else { *leased };
        expire(&mut self.answered, *window, now);
        if self.in_flight + self.answered.len() < own {
            return Availability::Now;
        }
        let report_ends = now + holds.left();
        let at = match self.answered.front() {
            Some((_, answered)) => report_ends.min(*answered + *window),
            None => report_ends,
        };
        Availability::At(at)
    }

    /// Counts a request that has its permit.
    pub(super) fn start(&mut self) {
        self.in_flight += 1;
    }

    /// Removes a request that was not made.
    pub(super) fn cancel(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Counts the answer to a request that had its permit at `permitted`.
    pub(super) fn finish(&mut self, permitted: Instant, now: Instant) {
        self.cancel();
        // Without reports, no log is needed.
        if let Some(report) = &self.last {
            expire(&mut self.answered, report.window, now);
            self.answered.push_back((permitted, now));
        }
    }

    /// Records the report in the answer to a request that was sent at `sent`.
    pub(super) fn learn(&mut self, quota: &Quota, sent: Instant, now: Instant) {
        let (Some((most, window)), Some(left)) = (quota.window, quota.window_remaining) else {
            return;
        };
        if most == 0 || window.is_zero() || window > LONGEST_WINDOW {
            return;
        }
        // Answers may overtake each other.
        if self
            .last
            .as_ref()
            .is_some_and(|last| last.sent > sent && !last.holds.is_over())
        {
            return;
        }
        // The request of the report itself, and earlier ones that are still in the window.
        let mut counted = 1;
        for (permitted, answered) in &self.answered {
            counted += usize::from(*answered <= sent && *permitted + window > now);
        }
        expire(&mut self.answered, window, now);
        let possibly_counted = self.in_flight + self.answered.len();
        let (most, left) = (most as usize, left as usize);
        let made = most.saturating_sub(left);
        let others = made.saturating_sub(counted);
        let fewest_others = made.saturating_sub(possibly_counted);
        self.last = Some(Report {
            unshared: most.saturating_sub(others + others.div_ceil(LATE)),
            leased: most.saturating_sub(fewest_others + most / UNREPORTED),
            window,
            sent,
            holds: Pause::of(window),
        });
    }
}

/// Removes the requests that have left the window of the destination.
fn expire(answered: &mut VecDeque<(Instant, Instant)>, window: Duration, now: Instant) {
    while answered.front().is_some_and(|(_, at)| *at + window <= now) {
        answered.pop_front();
    }
}

/// Returns the later of two availabilities.
pub(super) fn later(one: Availability, other: Availability) -> Availability {
    match (one, other) {
        (Availability::Now, other) | (other, Availability::Now) => other,
        (Availability::At(one), Availability::At(other)) => Availability::At(one.max(other)),
        (Availability::AfterAnAnswer, _) | (_, Availability::AfterAnAnswer) => {
            Availability::AfterAnAnswer
        }
    }
}
