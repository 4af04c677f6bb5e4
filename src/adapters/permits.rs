//! Permits for requests, as the adapters use them. Each request waits for one of its own.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::model::Code;
use crate::model::limits::Quota;

/// Permits of one call's requests. A call sends one request at a time.
pub trait Permits: Send + Sync {
    /// Waits for the permit of the next request.
    ///
    /// # Errors
    /// Returns the reason where no permit is available in time.
    fn next(&self) -> BoxFuture<'_, Result<Permit<'_>, Code>>;

    /// Returns a permit that no request has used. Called before a wait for another call, which may
    /// need it.
    fn give_back(&self);

    /// Records the quota that the last response reports.
    fn learn(&self, quota: Quota);
}

/// Permission to send one request. It is dropped when the request has its response or is given up.
pub struct Permit<'a> {
    _reservation: Option<Box<dyn Send + 'a>>,
}

impl<'a> Permit<'a> {
    /// Builds a permit that holds a reservation of the rate limit.
    pub fn holding(reservation: impl Send + 'a) -> Self {
        Self {
            _reservation: Some(Box::new(reservation)),
        }
    }
}

/// Permits without a limit: for the operator's tool, and for tests of an adapter without a
/// dispatcher.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Permits for Unlimited {
    fn next(&self) -> BoxFuture<'_, Result<Permit<'_>, Code>> {
        ready(Ok(Permit { _reservation: None })).boxed()
    }

    fn give_back(&self) {}

    fn learn(&self, _: Quota) {}
}
