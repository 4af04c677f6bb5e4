//! The rate limiter. In no time window, the first one included, are there more calls than the
//! budget allows.
//!
//! Without the state table, an environment keeps to its share of the budget, by an exact log of its
//! calls ([`window`]). With the table, all environments share the whole budget, by time slots that
//! they lease ([`lease`]). While the table does not answer, each environment keeps to its share. In
//! both cases the answers of the destination may lower the rate ([`budget`]).
//!
//! Without the table, a process does not know the calls of the process that it replaces. While the
//! table does not answer, a process does not know the calls of the others. In both cases the
//! account may receive one share more. If the destination reports the calls left in its window,
//! such a process does not exceed them, and processes with leases wait for its calls to leave the
//! window ([`reported`]). The destination may still refuse some of the calls in flight at once;
//! these are repeated after the pause that the answer asks for.
//!
//! Each request takes a permit of its own just before it is sent, also look-ups, token requests and
//! repetitions.
//!
//! The limiter is no leaky bucket, as the GCRA of the crate `governor` is. A bucket of the size B
//! that is refilled at the rate R admits B + R·T calls in a time T. So it either exceeds the budget
//! after a pause, or never uses a part of it. HubSpot counts exactly this way: "100 in any 10
//! seconds".

mod budget;
mod lease;
mod reported;
mod shared;
mod table;
mod window;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use self::budget::{Budget, spacing};
use self::reported::{Reported, later};
use self::shared::{Grant, Shared, Table};
pub use self::table::{LeaseError, LeaseTable};
use self::window::{Availability, Window};
use super::pause::Pause;
use crate::clock;
use crate::model::limits::{Quota, RateLimit};
use crate::telemetry::DestinationMetrics;

/// Limits the calls to one destination.
#[derive(Debug)]
pub struct RateLimiter {
    state: Mutex<State>,
    answered: Notify,
    paused: Notify,
    shared: OnceLock<Shared>,
    /// Makes requests wait in the order of their arrival.
    queue: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    whole: Budget,
    share: u32,
    has_table: bool,
    quota: Quota,
    window: Window,
    reported: Reported,
    last_start: Option<Instant>,
    /// Pause that the destination asked for.
    pause: Option<Pause>,
    unshared: Unshared,
}

/// Calls without a leased slot. While one of them is in the window, all calls of the window have to
/// fit into the share, because the other environments may have no leases either.
#[derive(Debug, Default)]
struct Unshared {
    in_flight: u32,
    until: Option<Instant>,
}

/// Cost of a call, in requests. A permit covers one request. The slots of the requests that are
/// known to follow are leased together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCost {
    /// Requests of this call that are not made yet.
    pub requests: u32,
    /// Requests of this call and of all later ones, if that is known: the upper bound of the slots
    /// that are leased.
    pub total: u32,
}

impl RequestCost {
    /// Returns the cost that remains after one request, at least one.
    #[must_use]
    pub fn after_one(self) -> Self {
        let Self { requests, total } = self;
        Self {
            requests: requests.saturating_sub(1).max(1),
            total: total.saturating_sub(1).max(1),
        }
    }
}

/// Reservation of one request in the window. It is dropped at the answer to the request, or when
/// the answer is no longer awaited, and ends a window's length later.
#[derive(Debug)]
pub struct Reservation<'a> {
    limiter: &'a RateLimiter,
    permitted: Instant,
    is_unshared: bool,
    is_given_back: bool,
}

impl RateLimiter {
    /// Creates a limiter of `budget`, which is divided among `share` environments.
    pub fn new(budget: RateLimit, share: u32) -> Self {
        let state = State {
            whole: budget.into(),
            share,
            has_table: false,
            quota: Quota::default(),
            window: Window::default(),
            reported: Reported::default(),
            last_start: None,
            pause: None,
            unshared: Unshared::default(),
        };
        Self {
            state: Mutex::new(state),
            answered: Notify::new(),
            paused: Notify::new(),
            shared: OnceLock::new(),
            queue: tokio::sync::Mutex::default(),
        }
    }

    /// Shares the whole budget with the other environments through `table`.
    pub fn share_through(&self, table: LeaseTable) {
        self.share(Table::Real(table));
    }

    fn share(&self, table: Table) {
        self.lock().has_table = true;
        self.shared.get_or_init(|| Shared::new(table));
    }

    /// Replaces the budget. Earlier calls stay in the window.
    pub fn set_budget(&self, budget: RateLimit, share: u32) {
        let mut state = self.lock();
        (state.whole, state.share) = (budget.into(), share);
    }

    /// Waits until a request may be sent. Returns `None` as soon as it is known that this is after
    /// `until`.
    pub async fn acquire(
        &self,
        cost: RequestCost,
        until: Instant,
        metrics: &DestinationMetrics,
    ) -> Option<Reservation<'_>> {
        let shared = self.shared.get();
        let mut is_unshared = shared.is_none();
        let _first = timeout_at(until, self.queue.lock()).await.ok()?;
        loop {
            self.wait_until_available(is_unshared, until).await?;
            if let Some(shared) = shared {
                let budget = self.lock().account_budget();
                is_unshared = match shared.grant(cost, budget, until, metrics).await {
                    Grant::Slot => false,
                    Grant::TooLate => return None,
                    Grant::Unshared => true,
                };
            }
            // A pause or an answer may have come during the wait for the slot. The slot is lost
            // then.
            if self.lock().try_start(is_unshared) {
                return Some(Reservation {
                    limiter: self,
                    permitted: clock::now(),
                    is_unshared,
                    is_given_back: false,
                });
            }
        }
    }

    /// Stops all requests for `pause`, as the destination asks. A longer pause stays in force.
    pub fn pause(&self, pause: Duration) {
        let mut state = self.lock();
        if pause > state.pause_left() {
            state.pause = Some(Pause::of(pause));
            self.paused.notify_waiters();
        }
    }

    /// Returns as soon as the remaining pause is longer than `longest`.
    pub async fn paused_beyond(&self, longest: Duration) {
        loop {
            let paused = self.paused.notified();
            if self.lock().pause_left() > longest {
                return;
            }
            paused.await;
        }
    }

    /// Records the account's limits from the answer to a request that was sent at `sent`, if the
    /// answer reports them.
    pub fn learn(&self, quota: Quota, sent: Instant) {
        if quota != Quota::default() {
            let mut state = self.lock();
            state.quota = quota;
            state.reported.learn(&quota, sent, clock::now());
        }
    }

    async fn wait_until_available(&self, is_unshared: bool, until: Instant) -> Option<()> {
        loop {
            let answered = self.answered.notified();
            let availability = self.lock().availability(is_unshared);
            match availability {
                Availability::Now => return (Instant::now() <= until).then_some(()),
                Availability::At(at) => {
                    let at = Instant::now() + at.saturating_duration_since(clock::now());
                    if at > until {
                        return None;
                    }
                    // An answer may make a request available sooner.
                    drop(timeout_at(at, answered).await);
                }
                Availability::AfterAnAnswer => timeout_at(until, answered).await.ok()?,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause_left(&self) -> Duration {
        self.pause.map_or(Duration::ZERO, |pause| pause.left())
    }

    /// Returns the whole budget, lowered to the account's limits.
    fn account_budget(&self) -> Budget {
        self.whole.lowered_by(&self.quota).slowed_by(&self.quota)
    }

    /// Returns this environment's share of the budget.
    fn own_budget(&self) -> Budget {
        self.account_budget().divided(self.share)
    }

    fn availability(&mut self, is_unshared: bool) -> Availability {
        let now = clock::now();
        let interval = if is_unshared {
            self.min_interval()
        } else {
            Duration::ZERO
        };
        let mut at = now + self.pause_left();
        if let Some(start) = self.last_start {
            at = at.max(start + interval);
        }
        if at > now {
            return Availability::At(at);
        }
        let keeps_to_share = is_unshared
            || self.unshared.in_flight > 0
            || self.unshared.until.is_some_and(|until| until > now);
        let budget = if keeps_to_share {
            self.own_budget()
        } else {
            self.account_budget()
        };
        later(
            self.window.availability(1, budget, now),
            self.reported.availability(is_unshared, now),
        )
    }

    /// Returns the shortest time between two calls without leased slots.
    fn min_interval(&self) -> Duration {
        let own = self.own_budget();
        // Calls in leased slots were spread evenly, and leave the window as evenly. Calls without
        // slots replace them at the same rate, not all at once.
        if self.has_table {
            own.interval()
        } else {
            spacing(own, self.window.occupied(), &self.quota)
        }
    }

    /// Starts a request if one is available. Returns whether it was started.
    fn try_start(&mut self, is_unshared: bool) -> bool {
        let is_available = self.availability(is_unshared) == Availability::Now;
        if is_available {
            self.window.start(1);
            self.reported.start();
            self.last_start = Some(clock::now());
            self.unshared.in_flight += u32::from(is_unshared);
        }
        is_available
    }

    fn finish(&mut self, permitted: Instant, is_unshared: bool) {
        let budget = if is_unshared {
            self.own_budget()
        } else {
            self.account_budget()
        };
        let now = clock::now();
        self.window.remove(1);
        self.window.retain(1, budget, now);
        self.reported.finish(permitted, now);
        self.unshared.in_flight -= u32::from(is_unshared);
        if is_unshared {
            self.unshared.until = Some(now + budget.window);
        }
    }

    fn cancel(&mut self, is_unshared: bool) {
        self.window.remove(1);
        self.reported.cancel();
        self.unshared.in_flight -= u32::from(is_unshared);
    }
}

impl Reservation<'_> {
    /// Gives the reservation back: the request was not sent.
    pub fn give_back(mut self) {
        self.is_given_back = true;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        if self.is_given_back {
            state.cancel(self.is_unshared);
        } else {
            state.finish(self.permitted, self.is_unshared);
        }
        drop(state);
        self.limiter.answered.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
