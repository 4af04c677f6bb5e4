//! The rate-limit permits of one call. The first one is reserved before the call starts. Each
//! further request waits for its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::ApiDispatcher;
use super::rate_limit::{RequestCost, Reservation};
use crate::adapters::{Permit, Permits};
use crate::clock;
use crate::model::Code;
use crate::model::codes;
use crate::model::limits::Quota;
use crate::telemetry::DestinationMetrics;

/// Waits for a permit, until `latest`.
///
/// # Errors
/// Returns the reason if there is no permit in time.
pub(super) async fn permit<'a>(
    dispatcher: &'a ApiDispatcher,
    cost: RequestCost,
    latest: Instant,
    metrics: &DestinationMetrics,
) -> Result<Reservation<'a>, Code> {
    let ApiDispatcher {
        rate_limiter,
        retry,
        ..
    } = dispatcher;
    tokio::select! {
        biased;
        () = rate_limiter.paused_beyond(retry.longest()) => Err(Code::new(codes::ASKED_TO_WAIT)),
        reservation = rate_limiter.acquire(cost, latest, metrics) => {
            reservation.ok_or(Code::new(codes::NO_PERMIT_IN_TIME))
        }
    }
}

/// Gives each request of one call its permit.
pub(super) struct CallPermits<'a> {
    dispatcher: &'a ApiDispatcher,
    metrics: &'a DestinationMetrics,
    latest: Instant,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    /// Cost of the requests that remain.
    cost: RequestCost,
    /// The first permit, until it is used.
    reserved: Option<Reservation<'a>>,
    /// Time at which the last request was sent.
    sent: Instant,
    refusal: Option<Code>,
}

impl<'a> CallPermits<'a> {
    /// Creates the permits of a call with this cost. `reserved` is the first one, where the call
    /// waits for it before it starts.
    pub(super) fn new(
        dispatcher: &'a ApiDispatcher,
        cost: RequestCost,
        reserved: Option<Reservation<'a>>,
        latest: Instant,
        metrics: &'a DestinationMetrics,
    ) -> Self {
        let state = State {
            cost,
            reserved,
            sent: clock::now(),
            refusal: None,
        };
        Self {
            dispatcher,
            metrics,
            latest,
            state: Mutex::new(state),
        }
    }

    /// Ends the call. Returns the reason if the rate limit had no permit for a request in time.
    pub(super) fn end(self) -> Option<Code> {
        self.state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .refusal
    }

    async fn take(&self) -> Result<Permit<'_>, Code> {
        let (reserved, cost) = {
            let mut state = self.lock();
            (state.reserved.take(), state.cost)
        };
        let reservation = match reserved {
            Some(reservation) => Ok(reservation),
            None => permit(self.dispatcher, cost, self.latest, self.metrics).await,
        };
        let mut state = self.lock();
        match reservation {
            Ok(reservation) => {
                state.cost = cost.after_one();
                state.sent = clock::now();
                Ok(Permit::holding(reservation))
            }
            Err(code) => {
                state.refusal = Some(code.clone());
                Err(code)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permits for CallPermits<'_> {
    fn next(&self) -> BoxFuture<'_, Result<Permit<'_>, Code>> {
        self.take().boxed()
    }

    fn give_back(&self) {
        if let Some(reservation) = self.lock().reserved.take() {
            reservation.give_back();
        }
    }

    fn learn(&self, quota: Quota) {
        let sent = self.lock().sent;
        self.dispatcher.rate_limiter.learn(quota, sent);
    }
}
