//! The permits of one call. The first is there before the call begins; each further request waits
//! for its own.

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

/// Waits for a permit, until `latest`. `Err` with the reason where there is none in time.
pub(super) async fn permit<'a>(
    dispatcher: &'a ApiDispatcher,
    need: RequestCost,
    latest: Instant,
    meter: &DestinationMetrics,
) -> Result<Reservation<'a>, Code> {
    let ApiDispatcher {
        rate_limiter,
        retry,
        ..
    } = dispatcher;
    tokio::select! {
        biased;
        () = rate_limiter.paused_beyond(retry.longest()) => Err(Code::new(codes::ASKED_TO_WAIT)),
        places = rate_limiter.acquire(need, latest, meter) => {
            places.ok_or(Code::new(codes::NO_PERMIT_IN_TIME))
        }
    }
}

/// The permits of one call.
pub(super) struct CallPermits<'a> {
    dispatcher: &'a ApiDispatcher,
    meter: &'a DestinationMetrics,
    latest: Instant,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    /// The requests still to come.
    need: RequestCost,
    at_hand: Option<Reservation<'a>>,
    /// When the last request was sent.
    sent: Instant,
    refusal: Option<Code>,
}

impl<'a> CallPermits<'a> {
    /// The permits of a call with this need, the first of which is `at_hand`.
    pub(super) fn new(
        dispatcher: &'a ApiDispatcher,
        need: RequestCost,
        at_hand: Reservation<'a>,
        latest: Instant,
        meter: &'a DestinationMetrics,
    ) -> Self {
        let state = State {
            need,
            at_hand: Some(at_hand),
            sent: clock::now(),
            refusal: None,
        };
        Self {
            dispatcher,
            meter,
            latest,
            state: Mutex::new(state),
        }
    }

    /// Ends the call, and returns why a request was not sent where the rate limit had no permit for
    /// it in time.
    pub(super) fn end(self) -> Option<Code> {
        self.state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .refusal
    }

    async fn take(&self) -> Result<Permit<'_>, Code> {
        let (at_hand, need) = {
            let mut state = self.lock();
            (state.at_hand.take(), state.need)
        };
        let places = match at_hand {
            Some(places) => Ok(places),
            None => permit(self.dispatcher, need, self.latest, self.meter).await,
        };
        let mut state = self.lock();
        match places {
            Ok(places) => {
                state.need = need.after_one();
                state.sent = clock::now();
                Ok(Permit::holding(places))
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
        if let Some(places) = self.lock().at_hand.take() {
            places.give_back();
        }
    }

    fn learn(&self, quota: Quota) {
        let sent = self.lock().sent;
        self.dispatcher.rate_limiter.learn(quota, sent);
    }
}
