//! Runs an adapter with the real dispatcher, and returns the fate of each record.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use contact_sync::dispatch::{
    ApiDispatcher, Breaker, Concurrency, DispatchContext, RateLimiter, RetryPolicy,
};
use contact_sync::fold::Step;
use contact_sync::model::limits::{RateLimit, Retry};
use contact_sync::model::{ContactChange, Operation};
use contact_sync::settle::{Ledger, OutcomeRecorder, RecordOutcome};
use contact_sync::telemetry::DestinationMetrics;
use contact_sync::transform::{DestinationGuard, SchemaTransformer};
use smallvec::smallvec;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Dispatches changes of distinct contacts. Returns the fate of each, in order.
pub async fn fates_of(
    adapter: &Arc<dyn Adapter>,
    metrics: &DestinationMetrics,
    changes: &[ContactChange],
) -> Vec<String> {
    fates_by(
        &dispatcher_of(adapter),
        metrics,
        changes,
        Duration::from_mins(1),
    )
    .await
}

/// Builds a dispatcher whose rate limit delays no call.
pub fn dispatcher_of(adapter: &Arc<dyn Adapter>) -> ApiDispatcher {
    ApiDispatcher {
        adapter: Arc::clone(adapter),
        retry: RetryPolicy::new(Retry {
            base_delay_ms: 1,
            ..Retry::standard()
        }),
        rate_limiter: Arc::new(RateLimiter::new(
            RateLimit {
                requests: 1_000_000,
                per_ms: 1_000,
            },
            1,
        )),
        breaker: Arc::new(Breaker::default()),
        concurrency: Arc::new(Concurrency::new(4)),
        batch_sizes: Arc::default(),
        dry_run: None,
    }
}

/// Dispatches changes in one invocation of this duration, by a dispatcher that may have state of
/// earlier invocations. Returns the fate of each.
pub async fn fates_by(
    dispatcher: &ApiDispatcher,
    metrics: &DestinationMetrics,
    changes: &[ContactChange],
    time: Duration,
) -> Vec<String> {
    let steps: Vec<_> = changes
        .iter()
        .enumerate()
        .map(|(at, change)| step(at, change.operation))
        .collect();
    let changes: Vec<_> = changes
        .iter()
        .cloned()
        .map(|change| Some(Box::new(change)))
        .collect();
    let ledger = Ledger::new(changes.len());
    for position in 0..changes.len() {
        ledger.expect(position, &[0]);
    }
    let recorder = OutcomeRecorder {
        ledger: &ledger,
        destination: 0,
        metrics,
    };
    let (adapter, compared) = (&*dispatcher.adapter, HashSet::new());
    let transformer = SchemaTransformer {
        adapter,
        guard: DestinationGuard::NoVersions,
        compared: &compared,
        changes: &changes,
        sink: recorder,
    };
    let deadline = Instant::now() + time;
    let context = DispatchContext {
        deadline,
        transformer: &transformer,
        recorder,
        metrics,
    };
    let (sender, queue) = mpsc::channel(512);
    tokio::join!(
        transformer.run(&steps, 64, sender),
        dispatcher.run(queue, context)
    );
    ledger
        .close()
        .iter()
        .map(|entry| fate(entry.rows[0].outcome.as_ref()))
        .collect()
}

/// Counts the records by fate.
pub fn count(fates: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for fate in fates {
        *counts.entry(fate.clone()).or_default() += 1;
    }
    counts
}

fn step(at: usize, operation: Operation) -> Step {
    match operation {
        Operation::Delete => Step {
            delete: smallvec![at],
            upsert: smallvec![],
        },
        Operation::Create | Operation::Update => Step {
            delete: smallvec![],
            upsert: smallvec![at],
        },
    }
}

fn fate(outcome: Option<&RecordOutcome>) -> String {
    match outcome {
        Some(RecordOutcome::Delivered(_)) => "delivered".to_owned(),
        Some(RecordOutcome::Rejected(_, rejection)) => format!("rejected {}", rejection.code),
        Some(RecordOutcome::Failed(code)) => format!("failed {code}"),
        other => format!("{other:?}"),
    }
}

/// Builds expected counts by fate.
pub fn fates<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected
        .into_iter()
        .map(|(fate, count)| (fate.to_owned(), count))
        .collect()
}
