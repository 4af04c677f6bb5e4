//! The budget of all environments together, as time slots that they lease in blocks. Pure.
//!
//! The slots lie one [`Schedule::period`] apart. One number, in the state table, says when the next
//! free one is; a lease moves it on by a block, and never back. A slot is spent when its time has
//! come, or up to [`Schedule::grace`] later, and is worth nothing after that: so it does no harm
//! that a lease is not used up, or that Lambda freezes an environment with slots in hand and wakes
//! it much later.
//!
//! Why no window sees more than its budget N: a window of the length T sees the calls of the slots
//! in T + L, where L is the most by which a call may come after its slot. The period is (T + T/20)
//! / (N - 1), so T + T/20 has N - 1 slots. Two thirds of the twentieth are the grace; one third,
//! 167 ms of HubSpot's 10 s, is for the differences of the network and of the environments' clocks
//! (AWS keeps them within milliseconds). The one call that is left of N is a spare, for a request
//! that a slow network or a stall of the machine brings later than that. What it costs is 6 % of a
//! budget of 100, and more of a smaller one: (N - 1) / N / 1.05 of it is used, 86 % of 10 and 76 %
//! of 5.

use std::time::Duration;

use super::budget::Budget;

/// Microseconds of the Unix epoch.
pub(super) type Micros = u64;

/// A busy environment asks for a block so often.
const BLOCK_TIME: Micros = 1_000_000;

/// Calls of the budget without a slot.
const SPARE: u32 = 1;

/// How the slots lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// From slot to slot.
    pub(super) period: Micros,
    /// How long after its time a slot may be spent.
    pub(super) grace: Micros,
}

impl Schedule {
    pub(super) fn of(budget: Budget) -> Self {
        let window = micros(budget.window);
        let slots = u64::from(budget.calls.saturating_sub(SPARE).max(1));
        Self {
            period: (window + window / 20).div_ceil(slots).max(1),
            grace: window / 30,
        }
    }
}

/// What an environment asks of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseRequest {
    /// When the answer may be expected: a block that leads on from nothing begins here.
    pub(super) earliest: Micros,
    /// Slots before this will have died by then.
    pub(super) oldest: Micros,
    /// The block is of no use where it begins after this.
    pub(super) latest: Micros,
    pub(super) slots: u32,
    pub(super) period: Micros,
}

impl LeaseRequest {
    /// The length of the block.
    pub(super) fn length(&self) -> Micros {
        u64::from(self.slots) * self.period
    }
}

/// What the table answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leased {
    /// The block's first slot.
    From(Micros),
    /// Nothing was leased: the next free slot is too late.
    TooLate(Micros),
}

/// Slots in hand.
#[derive(Debug, Default)]
pub(super) struct Leases {
    next: Micros,
    left: u32,
    period: Micros,
    leased_at: Option<Micros>,
    spent: u32,
}

/// What to do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make it at this time, or up to the grace later. Its slot is spent.
    At(Micros),
    /// Not in time, with the slots in hand.
    TooLate,
    /// Lease a block of so many first.
    Lease(u32),
}

impl Leases {
    /// Takes the slot of one request that is to be sent at `latest`; `requests` are still to come
    /// of its call, this one included. Where the call takes longer than its slots live, its last
    /// requests need new ones. Slots that were leased before the wall clock was put back lie too
    /// far ahead: they are dropped.
    pub(super) fn take(
        &mut self,
        requests: u32,
        schedule: Schedule,
        now: Micros,
        latest: Micros,
    ) -> Step {
        if self
            .leased_at
            .is_some_and(|leased_at| now + schedule.grace < leased_at)
        {
            *self = Self::default();
        }
        let overdue = now.saturating_sub(schedule.grace).saturating_sub(self.next);
        let dead = overdue.div_ceil(self.period.max(1)).min(self.left.into());
        self.skip(u32::try_from(dead).unwrap_or(self.left));
        if self.left == 0 {
            return Step::Lease(self.wanted(requests, schedule, now));
        }
        let at = self.next;
        if at > latest {
            return Step::TooLate;
        }
        self.skip(1);
        self.spent += 1;
        Step::At(at)
    }

    /// Puts a new block into hand. What is left of the one before is kept where it leads on to the
    /// new one.
    pub(super) fn put(&mut self, first: Micros, slots: u32, period: Micros, now: Micros) {
        let leads_on = self.period == period && self.next + u64::from(self.left) * period == first;
        if leads_on {
            self.left += slots;
        } else {
            (self.next, self.left, self.period) = (first, slots, period);
        }
        (self.leased_at, self.spent) = (Some(now), 0);
    }

    fn skip(&mut self, slots: u32) {
        self.left -= slots;
        self.next += self.period * u64::from(slots);
    }

    /// As many as this environment would spend until the next block is due, going by the last one;
    /// at most twice as many as it spent of that.
    fn wanted(&self, calls: u32, schedule: Schedule, now: Micros) -> u32 {
        let most = u32::try_from(BLOCK_TIME / schedule.period)
            .unwrap_or(u32::MAX)
            .max(calls);
        let Some(leased_at) = self.leased_at else {
            return calls;
        };
        let elapsed = now.saturating_sub(leased_at).max(1);
        let expected = (u64::from(self.spent) * BLOCK_TIME).div_ceil(elapsed);
        u32::try_from(expected)
            .unwrap_or(u32::MAX)
            .min(self.spent.saturating_mul(2))
            .clamp(calls, most)
    }
}

pub(super) fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
