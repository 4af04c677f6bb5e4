//! The common budget of all environments, as time slots that they lease in blocks. Pure.
//!
//! The slots are one [`Schedule::period`] apart. The state table has a single number, the time of
//! the next free slot. A lease advances it by a block; it never moves back. A slot is valid at its
//! time and up to [`Schedule::grace`] later, and expires then. So neither an unused lease does
//! harm, nor an environment that Lambda freezes with leased slots and resumes much later.
//!
//! After a pause a block begins before the time of its lease: its first slots are past, and still
//! valid. The calls after the pause need not wait a period each for them.
//!
//! Proof that no window has more than its budget of N calls: a window of the length T has the calls
//! of the slots in T + L, where L is the longest delay between a slot and the arrival of its call.
//! The period is (T + T/20) / (N - 1), so that T + T/20 has N - 1 slots. Two thirds of this
//! twentieth are the grace. One third, 167 ms of HubSpot's 10 s, covers the differences of the
//! network's delays and of the environments' clocks (AWS keeps them within milliseconds). The
//! remaining one of the N calls is a reserve for a request that a slow network or a stall of the
//! machine delays longer. The cost is 6 % of a budget of 100, and more of a smaller one: the share
//! (N - 1) / N / 1.05 is used, which is 86 % of 10 calls and 76 % of 5.

use std::time::Duration;

use super::budget::Budget;

/// Microseconds since the Unix epoch.
pub(super) type Micros = u64;

/// Time between two leases of a busy environment.
const BLOCK_TIME: Micros = 1_000_000;

/// Part of the grace that slots have left at the expected answer of their lease.
const LEFT_AFTER_LEASE: Micros = 100_000;

/// Calls of the budget that get no slot.
const SPARE: u32 = 1;

/// Schedule of the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Time between two slots.
    pub(super) period: Micros,
    /// Time after a slot in which it may still be spent.
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

    /// Returns the request of a block whose answer is expected at `answered`.
    pub(super) fn lease(self, slots: u32, answered: Micros, latest: Micros) -> LeaseRequest {
        let Self { period, grace } = self;
        LeaseRequest {
            start_after_pause: answered.saturating_sub(grace.saturating_sub(LEFT_AFTER_LEASE)),
            oldest: answered.saturating_sub(grace),
            latest,
            slots,
            period,
        }
    }
}

/// Request of an environment for a block of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseRequest {
    /// Start of a block that does not continue another one. It is after `oldest`, before which the
    /// last leased slot has expired.
    pub(super) start_after_pause: Micros,
    /// Slots before this will have expired at the time of the answer.
    pub(super) oldest: Micros,
    /// Latest useful start of the block.
    pub(super) latest: Micros,
    pub(super) slots: u32,
    pub(super) period: Micros,
}

impl LeaseRequest {
    /// Returns the length of the block.
    pub(super) fn length(&self) -> Micros {
        u64::from(self.slots) * self.period
    }
}

/// Answer of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leased {
    /// The first slot of the leased block.
    From(Micros),
    /// No lease: the next free slot, given here, is too late.
    TooLate(Micros),
}

/// Leased slots that are not spent.
#[derive(Debug, Default)]
pub(super) struct Leases {
    next: Micros,
    left: u32,
    period: Micros,
    leased_at: Option<Micros>,
    spent: u32,
}

/// Next step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the request at this time, or up to the grace later. Its slot is spent.
    At(Micros),
    /// The next leased slot is too late.
    TooLate,
    /// Lease a block of this number of slots first.
    Lease(u32),
}

impl Leases {
    /// Takes the slot of one request that is useful until `latest`. `requests` is the number of
    /// remaining requests of its call, including this one. If the call takes longer than its slots
    /// are valid, its last requests need new ones. Slots that were leased before the wall clock was
    /// set back are too far ahead: they are dropped.
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
        let expired = overdue.div_ceil(self.period.max(1)).min(self.left.into());
        self.skip(u32::try_from(expired).unwrap_or(self.left));
        if self.left == 0 {
            return Step::Lease(self.block_size(requests, schedule, now));
        }
        let at = self.next;
        if at > latest {
            return Step::TooLate;
        }
        self.skip(1);
        self.spent += 1;
        Step::At(at)
    }

    /// Adds a leased block. The rest of the last block is kept if the new one continues it.
    pub(super) fn add(&mut self, first: Micros, slots: u32, period: Micros, now: Micros) {
        let is_continued =
            self.period == period && self.next + u64::from(self.left) * period == first;
        if is_continued {
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

    /// Returns the number of slots that this environment is expected to spend until the next lease,
    /// by its use of the last block. It is at most twice that use.
    fn block_size(&self, calls: u32, schedule: Schedule, now: Micros) -> u32 {
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
