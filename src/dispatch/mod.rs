//! The API dispatcher. It batches payloads, calls the adapter within the rate limit, and retries
//! payloads that may succeed, as long as there is time. No other module waits. Each destination has
//! a dispatcher of its own, so that an outage of one does not delay the other.

mod batch;
mod batch_size;
mod bisection;
mod breaker;
mod call;
mod compare;
mod concurrency;
mod dry_run;
mod job;
mod locks;
mod memory;
mod pause;
mod permits;
mod rate_limit;
mod repeat_or_bisect;
mod retry;
mod salvage;
mod suspects;
mod worker;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

pub use batch_size::BatchSizes;
pub use breaker::{Breaker, CallPermit, Evidence, Permit};
pub use concurrency::Concurrency;
pub use dry_run::{DryRun, Planned};
pub use job::{Content, Job, WriteKind};
pub use rate_limit::{LeaseError, LeaseTable, RateLimiter, RequestCost, Reservation};
pub use retry::RetryPolicy;
pub use salvage::Salvage;

use self::permits::{CallPermits, permit};
use crate::adapters::{Adapter, Call, Permits as _};
use crate::model::{ContactChange, Position, RefusedValue};
use crate::settle::OutcomeRecorder;
use crate::telemetry::DestinationMetrics;

/// Cost of a preparation: a token and a connection at most.
const PREPARATION: RequestCost = RequestCost {
    requests: 1,
    total: 2,
};

/// Sends to one destination. It lives as long as the process, and keeps the destination's state
/// between invocations.
#[derive(Clone)]
pub struct ApiDispatcher {
    /// The destination.
    pub adapter: Arc<dyn Adapter>,
    /// Decides whether and when to retry.
    pub retry: RetryPolicy,
    /// Keeps the calls within the destination's rate limit.
    pub rate_limiter: Arc<RateLimiter>,
    /// Stops the calls while the destination is unavailable.
    pub breaker: Arc<Breaker>,
    /// Bounds the calls in flight.
    pub concurrency: Arc<Concurrency>,
    /// Batch sizes that the destination handles in time.
    pub batch_sizes: Arc<BatchSizes>,
    /// Replaces the writes by reports, in a dry run.
    pub dry_run: Option<DryRun>,
}

/// Makes new payloads of the changes of a folded one.
pub trait Unfold: Sync {
    /// Returns the change at `position`, where the record there is a valid one.
    fn change(&self, position: Position) -> Option<&ContactChange>;

    /// Returns the jobs of the changes of `folded` one by one, in order, and then the jobs that
    /// follow it: for a folded payload that was rejected, so that only the offending change is
    /// rejected. Each lacks the values that the destination has refused.
    fn one_by_one(&self, folded: Job) -> Option<Job>;

    /// Returns the job of the changes of `job` without the `refused` values: its payload, and the
    /// fields that each change lacks.
    fn without(&self, job: &Job, refused: &[RefusedValue]) -> Option<Job>;

    /// Takes the changes out of `job` that are older than `version`, which the destination holds.
    /// Returns `false` where none is left.
    fn compare(&self, job: &mut Job, version: Option<u64>) -> bool;
}

/// The part of one invocation.
#[derive(Clone, Copy)]
pub struct DispatchContext<'a> {
    /// Time after which no call is in flight.
    pub deadline: Instant,
    /// Makes new payloads where a folded one was refused.
    pub transformer: &'a dyn Unfold,
    /// Takes every outcome as soon as it is known.
    pub recorder: OutcomeRecorder<'a>,
    /// The destination's metrics.
    pub metrics: &'a DestinationMetrics,
}

impl ApiDispatcher {
    /// Prepares the destination for the first call, until `end`. Each request takes a permit. A
    /// failure is no evidence about the destination. The first permit is leased at once, also where
    /// the request needs a secret first: destinations that prepare together open as many
    /// connections to the state table as they use together later.
    pub async fn prepare(&self, end: Instant) {
        let metrics = DestinationMetrics::default();
        let Ok(first) = permit(self, PREPARATION, end, &metrics).await else {
            return;
        };
        let permits = CallPermits::new(self, PREPARATION, Some(first), end, &metrics);
        let call = Call {
            give_up_at: end,
            metrics: &metrics,
            permits: &permits,
            dry_run: false,
        };
        self.adapter.prepare(call).await;
        permits.give_back();
    }

    /// Sends the jobs of `queue` until it is closed and empty. Records the outcome of every job
    /// before it returns.
    pub async fn run(&self, queue: mpsc::Receiver<Job>, context: DispatchContext<'_>) {
        worker::Worker::new(self, context).run(queue).await;
    }
}
