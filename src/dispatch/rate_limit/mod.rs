//! The rate limiter: never more calls in any stretch of time than the budget says, start-up
//! included.
//!
//! Alone, an environment keeps to its share of the budget, by an exact log of its calls
//! ([`window`]). With the state table, all environments share the whole budget, by time slots
//! ([`lease`]); where the table does not answer, each goes on with its share. In both cases the
//! answers of the system may make it slower ([`budget`]). Without the table a process that takes
//! over from another one does not know of its calls, nor one that the table does not answer of the
//! others': the account may see a share more. Where the system reports the calls left in its
//! window, such a process makes none beyond them ([`reported`]). What the system refuses all the
//! same, some of the calls under way at once, is sent after the pause that its answer asks for.
//!
//! Each request takes a permit of its own, just before it is sent: look-ups, tokens and repeats
//! too.
//!
//! No leaky bucket, which is what the crate `governor` has (its GCRA is one): one of the size B
//! that fills with R lets B + R·T through in a stretch T, so that it either exceeds the budget
//! after a pause or leaves a part of it unused for ever. HubSpot counts exactly this, "100 in any
//! 10 seconds".

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
    /// Requests wait in the order in which they came.
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
    /// The system's own word: nothing before then.
    pause: Option<Pause>,
    alone: Alone,
}

/// The calls made without the table's word. As long as one is in the window, all of the window's
/// have to fit into the share: the others may just as well have been alone.
#[derive(Debug, Default)]
struct Alone {
    under_way: u32,
    until: Option<Instant>,
}

/// What a call needs. A permit is for one request; the others that are known to follow are leased
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCost {
    /// The requests that it is still to make.
    pub requests: u32,
    /// The requests of all calls that are still to come, this one's included, as far as that is
    /// known: no more slots are leased than these.
    pub in_all: u32,
}

impl RequestCost {
    /// The need after one request.
    #[must_use]
    pub fn after_one(self) -> Self {
        let Self { requests, in_all } = self;
        Self {
            requests: requests.saturating_sub(1).max(1),
            in_all: in_all.saturating_sub(1).max(1),
        }
    }
}

/// The place of a request; it comes free again a window's length after this is dropped, which the
/// answer does, or whatever ends the waiting for it.
#[derive(Debug)]
pub struct Reservation<'a> {
    limiter: &'a RateLimiter,
    permitted: Instant,
    is_alone: bool,
    is_given_back: bool,
}

impl RateLimiter {
    /// A limiter of `budget`, divided among `share` environments.
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
            alone: Alone::default(),
        };
        Self {
            state: Mutex::new(state),
            answered: Notify::new(),
            paused: Notify::new(),
            shared: OnceLock::new(),
            queue: tokio::sync::Mutex::default(),
        }
    }

    /// From now on the whole budget is shared through `table`.
    pub fn share_through(&self, table: LeaseTable) {
        self.share(Table::Real(table));
    }

    fn share(&self, table: Table) {
        self.lock().has_table = true;
        self.shared.get_or_init(|| Shared::new(table));
    }

    /// Takes another budget. The calls made so far stay in the window.
    pub fn set_budget(&self, budget: RateLimit, share: u32) {
        let mut state = self.lock();
        (state.whole, state.share) = (budget.into(), share);
    }

    /// Waits until a request may be sent; `None`, as soon as that is known, where it would be after
    /// `until`.
    pub async fn acquire(
        &self,
        need: RequestCost,
        until: Instant,
        meter: &DestinationMetrics,
    ) -> Option<Reservation<'_>> {
        let shared = self.shared.get();
        let mut is_alone = shared.is_none();
        let _first = timeout_at(until, self.queue.lock()).await.ok()?;
        loop {
            self.wait_for_room(is_alone, until).await?;
            if let Some(shared) = shared {
                let account = self.lock().account();
                is_alone = match shared.turn(need, account, until, meter).await {
                    Grant::Come => false,
                    Grant::NotInTime => return None,
                    Grant::Alone => true,
                };
            }
            // While one waited for its turn, the room may have gone: the turn is then lost, and no
            // harm done.
            if self.lock().enter(is_alone) {
                return Some(Reservation {
                    limiter: self,
                    permitted: clock::now(),
                    is_alone,
                    is_given_back: false,
                });
            }
        }
    }

    /// Takes the system's word that nothing may be sent for `pause`.
    pub fn pause(&self, pause: Duration) {
        let mut state = self.lock();
        if pause > state.pause_left() {
            state.pause = Some(Pause::of(pause));
            self.paused.notify_waiters();
        }
    }

    /// Ends as soon as the system's word is that nothing may be sent for longer than `longest`.
    pub async fn paused_beyond(&self, longest: Duration) {
        loop {
            let paused = self.paused.notified();
            if self.lock().pause_left() > longest {
                return;
            }
            paused.await;
        }
    }

    /// Takes note of what the system tells of the account, if it tells anything, in its answer to a
    /// request that was sent at `sent`.
    pub fn learn(&self, quota: Quota, sent: Instant) {
        if quota != Quota::default() {
            let mut state = self.lock();
            state.quota = quota;
            state.reported.learn(&quota, sent, clock::now());
        }
    }

    async fn wait_for_room(&self, is_alone: bool, until: Instant) -> Option<()> {
        loop {
            let answered = self.answered.notified();
            let room = self.lock().room(is_alone);
            match room {
                Availability::Now => return (Instant::now() <= until).then_some(()),
                Availability::At(at) => {
                    let at = Instant::now() + at.saturating_duration_since(clock::now());
                    if at > until {
                        return None;
                    }
                    // An answer may report that there is room sooner.
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

    /// The whole budget, as far as the account allows it.
    fn account(&self) -> Budget {
        self.whole.lowered_by(&self.quota).braked_by(&self.quota)
    }

    fn own(&self) -> Budget {
        self.account().divided(self.share)
    }

    fn room(&mut self, is_alone: bool) -> Availability {
        let now = clock::now();
        let space = if is_alone {
            self.space()
        } else {
            Duration::ZERO
        };
        let spaced = self.last_start.map_or(now, |start| start + space);
        let at = spaced.max(now + self.pause_left());
        if at > now {
            return Availability::At(at);
        }
        let keeps_to_share = is_alone
            || self.alone.under_way > 0
            || self.alone.until.is_some_and(|until| until > now);
        let room = self.window.room(
            1,
            if keeps_to_share {
                self.own()
            } else {
                self.account()
            },
            now,
        );
        if is_alone {
            later(room, self.reported.room(now))
        } else {
            room
        }
    }

    /// The least time between two calls that are made alone.
    fn space(&self) -> Duration {
        let own = self.own();
        // The calls that all made by slots were spread evenly, and as evenly leave the window:
        // those that each makes alone may take their places as evenly, and not at once.
        if self.has_table {
            own.interval()
        } else {
            spacing(own, self.window.taken(), &self.quota)
        }
    }

    fn enter(&mut self, is_alone: bool) -> bool {
        let is_free = self.room(is_alone) == Availability::Now;
        if is_free {
            self.window.enter(1);
            self.reported.enter();
            self.last_start = Some(clock::now());
            self.alone.under_way += u32::from(is_alone);
        }
        is_free
    }

    fn leave(&mut self, permitted: Instant, is_alone: bool) {
        let budget = if is_alone { self.own() } else { self.account() };
        let now = clock::now();
        self.window.leave(1);
        self.window.keep(1, budget, now);
        self.reported.leave(permitted, now);
        self.alone.under_way -= u32::from(is_alone);
        if is_alone {
            self.alone.until = Some(now + budget.window);
        }
    }

    fn take_back(&mut self, is_alone: bool) {
        self.window.leave(1);
        self.reported.take_back();
        self.alone.under_way -= u32::from(is_alone);
    }
}

impl Reservation<'_> {
    /// The request was not sent after all.
    pub fn give_back(mut self) {
        self.is_given_back = true;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        if self.is_given_back {
            state.take_back(self.is_alone);
        } else {
            state.leave(self.permitted, self.is_alone);
        }
        drop(state);
        self.limiter.answered.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
