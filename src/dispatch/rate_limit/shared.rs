//! The part of one environment in the shared budget.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until, timeout};

use super::RequestCost;
use super::budget::Budget;
use super::lease::{LeaseRequest, Leased, Leases, Micros, Schedule, Step, micros};
use super::table::{LeaseError, LeaseTable};
use crate::clock;
use crate::telemetry::DestinationMetrics;

/// Timeout of a lease: several times the table's usual latency including the connection, and a
/// small part of an invocation.
const LEASE_TIMEOUT: Duration = Duration::from_millis(300);

/// Timeout of the second attempt. It is worth an attempt: an environment without leases exceeds the
/// budget by its share while the others still lease.
const RETRY_TIMEOUT: Duration = Duration::from_millis(150);

/// Time after which a table that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// Longest plausible queue, but at least six windows. A next free slot further ahead is an error:
/// the clock of an environment was wrong.
const LONGEST_QUEUE: Duration = Duration::from_mins(1);

/// Table in which the slots are leased.
#[derive(Debug)]
pub(super) enum Table {
    Real(LeaseTable),
    /// A table in memory, for tests in virtual time.
    #[cfg(test)]
    Memory(super::tests::MemoryTable),
}

#[derive(Debug)]
pub(super) struct Shared {
    table: Table,
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leases: Leases,
    /// Expected latency of the table, by its last answers.
    round_trip: Micros,
    /// Time of the next attempt after the table did not answer.
    unavailable_until: Option<Instant>,
}

/// Result of the wait for a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// The time of the slot has come.
    Slot,
    TooLate,
    /// The table does not answer: the environment keeps to its share.
    Unshared,
}

enum Slot {
    At(Micros),
    No(Grant),
}

impl Table {
    async fn lease(&self, request: LeaseRequest) -> Result<Leased, LeaseError> {
        match self {
            Self::Real(table) => table.lease(request).await,
            #[cfg(test)]
            Self::Memory(table) => table.lease(request).await,
        }
    }

    fn now(&self) -> Micros {
        match self {
            // The clock of `Instant` stops while Lambda keeps the environment frozen.
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
            state: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for the slot of a request.
    pub(super) async fn grant(
        &self,
        cost: RequestCost,
        budget: Budget,
        until: Instant,
        metrics: &DestinationMetrics,
    ) -> Grant {
        let schedule = Schedule::of(budget);
        loop {
            let at = match self.slot(cost, budget, until, metrics).await {
                Slot::At(at) => at,
                Slot::No(grant) => return grant,
            };
            sleep_until(
                Instant::now() + Duration::from_micros(at.saturating_sub(self.table.now())),
            )
            .await;
            // A slot expires if the process wakes too late.
            if self.table.now() <= at + schedule.grace {
                return Grant::Slot;
            }
        }
    }

    async fn lease(&self, request: LeaseRequest, limit: Duration) -> Result<Leased, LeaseError> {
        timeout(limit, self.table.lease(request))
            .await
            .unwrap_or(Err(LeaseError::TimedOut))
    }

    /// Takes a leased slot, or leases a new block first. One call makes the lease; the others wait
    /// for the lock and then find its slots.
    async fn slot(
        &self,
        cost: RequestCost,
        budget: Budget,
        until: Instant,
        metrics: &DestinationMetrics,
    ) -> Slot {
        let schedule = Schedule::of(budget);
        let mut state = self.state.lock().await;
        loop {
            if state.is_unavailable() {
                return Slot::No(Grant::Unshared);
            }
            let now = self.table.now();
            let latest = now + micros(until.saturating_duration_since(Instant::now()));
            let slots = match state.leases.take(cost.requests, schedule, now, latest) {
                Step::At(at) => return Slot::At(at),
                Step::TooLate => return Slot::No(Grant::TooLate),
                Step::Lease(slots) => slots.min(cost.total.max(cost.requests)),
            };
            let answered = now + state.round_trip;
            if answered > latest {
                return Slot::No(Grant::TooLate);
            }
            let request = schedule.lease(slots, answered, latest);
            let mut answer = self.lease(request, LEASE_TIMEOUT).await;
            if answer.is_err() && state.unavailable_until.is_none() {
                let request = schedule.lease(slots, self.table.now(), latest);
                answer = self.lease(request, RETRY_TIMEOUT).await;
            }
            state.round_trip = self
                .table
                .now()
                .saturating_sub(now)
                .max(state.round_trip / 4 * 3);
            let longest_queue = micros(LONGEST_QUEUE.max(budget.window * 6));
            match answer {
                Ok(Leased::From(first)) => {
                    state.note_available();
                    state.leases.add(first, slots, schedule.period, now);
                }
                Ok(Leased::TooLate(next)) if next <= now + longest_queue => {
                    return Slot::No(Grant::TooLate);
                }
                Ok(Leased::TooLate(_)) => state.note_unavailable(&LeaseError::Implausible, metrics),
                Err(error) => state.note_unavailable(&error, metrics),
            }
        }
    }
}

impl State {
    fn is_unavailable(&self) -> bool {
        self.unavailable_until
            .is_some_and(|until| until > clock::now())
    }

    fn note_unavailable(&mut self, error: &LeaseError, metrics: &DestinationMetrics) {
        metrics.lease_failed();
        if self.unavailable_until.is_none() {
            let error: &dyn std::error::Error = error;
            tracing::warn!(
                error,
                "rate limit not shared: this environment keeps to its share until the table answers"
            );
        }
        self.unavailable_until = Some(clock::now() + PAUSE);
    }

    fn note_available(&mut self) {
        if self.unavailable_until.take().is_some() {
            tracing::info!("rate limit shared again: the table answers");
        }
    }
}
