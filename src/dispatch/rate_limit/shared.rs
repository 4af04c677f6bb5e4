//! One environment's part in the budget that all share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until, timeout};

use super::RequestCost;
use super::budget::Budget;
use super::lease::{LeaseRequest, Leased, Leases, Micros, Schedule, Step, micros};
use super::table::{LeaseError, LeaseTable};
use crate::clock;
use crate::telemetry::DestinationMetrics;

/// The table has so long to answer: several times what it needs, connecting included, and little of
/// an invocation.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long it has for the second try. An environment that goes alone while others still lease is
/// one too many, by its share of the budget: that is worth a second try.
const PATIENCE_AGAIN: Duration = Duration::from_millis(150);

/// A table that did not answer is left alone for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// A next free slot this far ahead, or six windows, is no queue but a mistake: somebody's clock was
/// wrong.
const LONGEST_QUEUE: Duration = Duration::from_mins(1);

/// Where the slots are leased.
#[derive(Debug)]
pub(super) enum Table {
    Real(LeaseTable),
    /// In memory, so that time can be virtual.
    #[cfg(test)]
    Memory(super::tests::MemoryTable),
}

#[derive(Debug)]
pub(super) struct Shared {
    table: Table,
    held: tokio::sync::Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    leases: Leases,
    /// How long the table takes to answer, going by the last times.
    round_trip: Micros,
    /// The table did not answer, and is asked again after this.
    away_until: Option<Instant>,
}

/// Whether it is a call's turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Grant {
    Come,
    NotInTime,
    /// The table does not answer.
    Alone,
}

enum Slot {
    At(Micros),
    No(Grant),
}

impl Table {
    async fn lease(&self, ask: LeaseRequest) -> Result<Leased, LeaseError> {
        match self {
            Self::Real(table) => table.lease(ask).await,
            #[cfg(test)]
            Self::Memory(table) => table.lease(ask).await,
        }
    }

    fn now(&self) -> Micros {
        match self {
            // Not the clock of `Instant`, which stands still while Lambda keeps the environment
            // frozen.
            Self::Real(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, micros),
            #[cfg(test)]
            Self::Memory(table) => table.now(),
        }
    }
}

impl Shared {
    pub(super) fn new(table: Table) -> Self {
        Self {
            table,
            held: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for a call's turn.
    pub(super) async fn turn(
        &self,
        need: RequestCost,
        budget: Budget,
        until: Instant,
        meter: &DestinationMetrics,
    ) -> Grant {
        let schedule = Schedule::of(budget);
        loop {
            let at = match self.slot(need, budget, until, meter).await {
                Slot::At(at) => at,
                Slot::No(turn) => return turn,
            };
            sleep_until(
                Instant::now() + Duration::from_micros(at.saturating_sub(self.table.now())),
            )
            .await;
            // Whoever oversleeps has lost the slot.
            if self.table.now() <= at + schedule.grace {
                return Grant::Come;
            }
        }
    }

    async fn ask(&self, ask: LeaseRequest, patience: Duration) -> Result<Leased, LeaseError> {
        timeout(patience, self.table.lease(ask))
            .await
            .unwrap_or(Err(LeaseError::Silent))
    }

    /// A slot in hand, or of a new block. One call asks; those that wait for the lock find what it
    /// got.
    async fn slot(
        &self,
        need: RequestCost,
        budget: Budget,
        until: Instant,
        meter: &DestinationMetrics,
    ) -> Slot {
        let schedule = Schedule::of(budget);
        let mut held = self.held.lock().await;
        loop {
            if held.away_until.is_some_and(|away| away > clock::now()) {
                return Slot::No(Grant::Alone);
            }
            let now = self.table.now();
            let latest = now + micros(until.saturating_duration_since(Instant::now()));
            let slots = match held.leases.take(need.requests, schedule, now, latest) {
                Step::At(at) => return Slot::At(at),
                Step::TooLate => return Slot::No(Grant::NotInTime),
                Step::Lease(slots) => slots.min(need.in_all.max(need.requests)),
            };
            let earliest = now + held.round_trip;
            if earliest > latest {
                return Slot::No(Grant::NotInTime);
            }
            let ask = LeaseRequest {
                oldest: earliest.saturating_sub(schedule.grace),
                earliest,
                latest,
                slots,
                period: schedule.period,
            };
            let mut answer = self.ask(ask, PATIENCE).await;
            if answer.is_err() && held.away_until.is_none() {
                answer = self.ask(ask, PATIENCE_AGAIN).await;
            }
            held.round_trip = self
                .table
                .now()
                .saturating_sub(now)
                .max(held.round_trip / 4 * 3);
            let longest_queue = micros(LONGEST_QUEUE.max(budget.window * 6));
            match answer {
                Ok(Leased::From(first)) => {
                    held.is_back();
                    held.leases.put(first, slots, schedule.period, now);
                }
                Ok(Leased::TooLate(next)) if next <= now + longest_queue => {
                    return Slot::No(Grant::NotInTime);
                }
                Ok(Leased::TooLate(_)) => held.is_away(&LeaseError::Implausible, meter),
                Err(error) => held.is_away(&error, meter),
            }
        }
    }
}

impl Held {
    fn is_away(&mut self, error: &LeaseError, meter: &DestinationMetrics) {
        meter.lease_failed();
        if self.away_until.is_none() {
            let error: &dyn std::error::Error = error;
            tracing::warn!(
                error,
                "rate limit not shared: this environment keeps to its share until the table answers"
            );
        }
        self.away_until = Some(clock::now() + PAUSE);
    }

    fn is_back(&mut self) {
        if self.away_until.take().is_some() {
            tracing::info!("rate limit shared again: the table answers");
        }
    }
}
