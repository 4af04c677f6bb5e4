//! The calls that the system itself reports to be left in its window. Pure.
//!
//! A report of R calls left of N says that N - R are in the window. Those of them that this process
//! did not make are others', which may stay there for a whole window: N less these is left to this
//! process for so long. A request of which it is not sure that the report counts it is taken for
//! another's, besides being counted as its own: the bound errs on the low side only, by the few
//! requests that were under way at once. Where others are at work, a twentieth of the window is left
//! to them: their calls may become more between two reports, a leased slot may be spent late
//! ([`super::lease`]), and they may make these calls while a request is on its way.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::LONGEST_WINDOW;
use super::window::Availability;
use crate::dispatch::pause::Pause;
use crate::model::limits::Quota;

/// Where others are at work, one call of so many in the window is left to them.
const MARGIN: usize = 20;

/// The last report, and the own requests beside it.
#[derive(Debug, Default)]
pub(super) struct Reported {
    last: Option<Report>,
    under_way: usize,
    /// Own requests that may be in the system's window: when they had their permit, and their
    /// answer.
    answered: VecDeque<(Instant, Instant)>,
}

#[derive(Debug)]
struct Report {
    /// Own requests that fit into the system's window.
    own: usize,
    window: Duration,
    /// When the request was sent whose answer it is.
    sent: Instant,
    /// How long it holds: by then, all that it counts has left the window.
    holds: Pause,
}

impl Reported {
    /// Returns when one more request may be made; at once where no report holds.
    pub(super) fn room(&mut self, now: Instant) -> Availability {
        let Some(Report {
            own, window, holds, ..
        }) = self.last.as_ref().filter(|report| !report.holds.is_over())
        else {
            return Availability::Now;
        };
        while self
            .answered
            .front()
            .is_some_and(|(_, answered)| *answered + *window <= now)
        {
            self.answered.pop_front();
        }
        if self.under_way + self.answered.len() < *own {
            return Availability::Now;
        }
        let report_ends = now + holds.left();
        Availability::At(self.answered.front().map_or(report_ends, |(_, answered)| {
            report_ends.min(*answered + *window)
        }))
    }

    /// Counts a request that has its permit.
    pub(super) fn enter(&mut self) {
        self.under_way += 1;
    }

    /// Takes back a request that was not made.
    pub(super) fn take_back(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Counts the answer to a request that had its permit at `permitted`.
    pub(super) fn leave(&mut self, permitted: Instant, now: Instant) {
        self.take_back();
        // A system that reports nothing is not kept a log of.
        if let Some(report) = &self.last {
            while self
                .answered
                .front()
                .is_some_and(|(_, answered)| *answered + report.window <= now)
            {
                self.answered.pop_front();
            }
            self.answered.push_back((permitted, now));
        }
    }

    /// Takes note of the report in the answer to a request that was sent at `sent`.
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
        let is_counted = |(permitted, answered): &&(Instant, Instant)| {
            *answered <= sent && *permitted + window > now
        };
        let counted = 1 + self.answered.iter().filter(is_counted).count();
        let (most, left) = (most as usize, left as usize);
        let others = most.saturating_sub(left).saturating_sub(counted);
        let margin = if others > 0 { most.div_ceil(MARGIN) } else { 0 };
        let own = most.saturating_sub(others + margin);
        self.last = Some(Report {
            own,
            window,
            sent,
            holds: Pause::of(window),
        });
    }
}

/// Returns the later of the two.
pub(super) fn later(one: Availability, other: Availability) -> Availability {
    match (one, other) {
        (Availability::Now, room) | (room, Availability::Now) => room,
        (Availability::At(one), Availability::At(other)) => Availability::At(one.max(other)),
        (Availability::AfterAnAnswer, _) | (_, Availability::AfterAnAnswer) => {
            Availability::AfterAnAnswer
        }
    }
}
