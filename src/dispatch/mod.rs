//! The API dispatcher: the only room that waits. It makes batches of payloads, calls the adapter
//! within the rate limit, and tries again what may succeed, as long as there is time. Each
//! destination has a dispatcher of its own, so that one system's outage is not the other's.

mod batch;
mod batch_size;
mod bisection;
mod breaker;
mod call;
mod compare;
mod concurrency;
mod dry_run;
mod failure;
mod job;
mod locks;
mod pause;
mod permits;
mod rate_limit;
mod retry;
mod suspects;
mod worker;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

pub use batch_size::BatchSizes;
pub use breaker::{Breaker, CallPermit, Evidence, Permit};
pub use concurrency::Concurrency;
pub use dry_run::{DryRun, Planned};
pub use job::{Job, WriteKind};
pub use rate_limit::{LeaseError, LeaseTable, RateLimiter, RequestCost, Reservation};
pub use retry::RetryPolicy;

use crate::adapters::Adapter;
use crate::model::Position;
use crate::settle::OutcomeRecorder;
use crate::telemetry::DestinationMetrics;

/// Sends to one destination; lives as long as the process, and remembers how the destination is.
#[derive(Clone)]
pub struct ApiDispatcher {
    /// The destination.
    pub adapter: Arc<dyn Adapter>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// The budget of calls.
    pub rate_limiter: Arc<RateLimiter>,
    /// Whether to call at all.
    pub breaker: Arc<Breaker>,
    /// How many calls at once.
    pub concurrency: Arc<Concurrency>,
    /// How many payloads in one call are known to pass.
    pub batch_sizes: Arc<BatchSizes>,
    /// Do everything but the writes, which it is told of instead.
    pub dry_run: Option<DryRun>,
}

/// Makes new payloads of the changes of a folded one.
pub trait Unfold: Sync {
    /// Returns the jobs of the changes at `positions` one by one, in order, and then `next`: for a
    /// folded payload that was refused after so many calls, so that only the offending change is
    /// rejected.
    fn one_by_one(&self, positions: &[Position], calls: u32, next: VecDeque<Job>) -> Option<Job>;

    /// Takes the changes out of `job` that are older than `version`, which the destination holds.
    /// Returns `false` where none is left.
    fn compare(&self, job: &mut Job, version: Option<u64>) -> bool;
}

/// What one invocation brings.
#[derive(Clone, Copy)]
pub struct DispatchContext<'a> {
    /// No call is under way after this.
    pub deadline: Instant,
    /// Makes new payloads where a folded one was refused.
    pub transformer: &'a dyn Unfold,
    /// Takes every outcome as soon as it is known.
    pub sink: OutcomeRecorder<'a>,
    /// Counts.
    pub meter: &'a DestinationMetrics,
}

impl ApiDispatcher {
    /// Sends what comes out of `queue`, to its end. Every job's outcome is in the sink then.
    pub async fn run(&self, queue: mpsc::Receiver<Job>, context: DispatchContext<'_>) {
        worker::Worker::new(self, context).run(queue).await;
    }
}
