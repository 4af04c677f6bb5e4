//! Permits for requests, as the adapters see them: each request waits for its own.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::model::Code;
use crate::model::limits::Quota;

/// Gives out the permits of one call's requests. A call sends one request at a time.
pub trait Permits: Send + Sync {
    /// Waits for the permit of the next request. `Err` with the reason where there is none in time.
    fn next(&self) -> BoxFuture<'_, Result<Permit<'_>, Code>>;

    /// Gives a permit back that no request has used. Called before a wait for another call, which
    /// may need it.
    fn give_back(&self);

    /// Takes note of the quota that the last request's answer reports.
    fn learn(&self, quota: Quota);
}

/// Leave to send one request. It is dropped once the request is answered or given up.
pub struct Permit<'a> {
    _place: Option<Box<dyn Send + 'a>>,
}

impl<'a> Permit<'a> {
    /// A permit that holds a place in the rate limit.
    pub fn holding(place: impl Send + 'a) -> Self {
        Self {
            _place: Some(Box::new(place)),
        }
    }
}

/// Permits without a limit: for the operator's tool, and for tests of an adapter alone.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Permits for Unlimited {
    fn next(&self) -> BoxFuture<'_, Result<Permit<'_>, Code>> {
        ready(Ok(Permit { _place: None })).boxed()
    }

    fn give_back(&self) {}

    fn learn(&self, _: Quota) {}
}
