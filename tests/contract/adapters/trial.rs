//! A system, its adapter and its metrics during one case.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::{Adapter, Call, Unlimited};
use contact_sync::model::{CallError, Cause, ContactChange, ContactType, Outcome, Payload, Reply};
use contact_sync::telemetry::DestinationMetrics;
use testkit::system::{Fault, Setting, Start, System};
use testkit::words::{newcomer, payload_of};
use tokio::time::Instant;

/// Longer than any response over loopback takes.
const LONG: Duration = Duration::from_mins(1);

pub struct Trial {
    pub system: Box<dyn System>,
    pub adapter: Arc<dyn Adapter>,
    pub metrics: DestinationMetrics,
}

/// Runs a case on a fresh system, and checks that the adapter violated no protocol.
pub async fn run(start: Start, case: impl AsyncFnOnce(&Trial)) {
    let trial = Trial::new(start().await);
    case(&trial).await;
    assert_eq!(trial.system.violations(), Vec::<String>::new());
}

impl Trial {
    pub fn new(system: Box<dyn System>) -> Self {
        Self {
            adapter: system.adapter(),
            system,
            metrics: DestinationMetrics::default(),
        }
    }

    pub async fn upsert(&self, payloads: &[Payload]) -> Reply {
        self.upsert_by(&*self.adapter, payloads).await
    }

    pub async fn upsert_within(&self, payloads: &[Payload], time: Duration) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        self.adapter.upsert(&batch, self.call(time)).await
    }

    pub async fn delete(&self, payloads: &[Payload]) -> Reply {
        self.delete_by(&*self.adapter, payloads).await
    }

    /// Upserts by an adapter with [another setting](Self::set).
    pub async fn upsert_by(&self, adapter: &dyn Adapter, payloads: &[Payload]) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        adapter.upsert(&batch, self.call(LONG)).await
    }

    pub async fn delete_by(&self, adapter: &dyn Adapter, payloads: &[Payload]) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        adapter.delete(&batch, self.call(LONG)).await
    }

    /// Returns the adapter with another setting, where the system can have it.
    pub fn set(&self, setting: Setting) -> Option<Arc<dyn Adapter>> {
        self.system.with_setting(setting)
    }

    /// Upserts and deletes in a dry run.
    pub async fn dry_run(&self, written: &[Payload], deleted: &[Payload]) -> [Reply; 2] {
        let call = Call {
            dry_run: true,
            ..self.call(LONG)
        };
        let (written, deleted): (Vec<_>, Vec<_>) =
            (written.iter().collect(), deleted.iter().collect());
        [
            self.adapter.upsert(&written, call).await,
            self.adapter.delete(&deleted, call).await,
        ]
    }

    fn call(&self, time: Duration) -> Call<'_> {
        Call {
            give_up_at: Instant::now() + time,
            metrics: &self.metrics,
            permits: &Unlimited,
            dry_run: false,
        }
    }

    /// Returns payloads of the newcomers with these numbers.
    pub fn people(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Payload> {
        numbers
            .into_iter()
            .map(|number| self.payload(&[&person(number)]))
            .collect()
    }

    pub fn payload(&self, changes: &[&ContactChange]) -> Payload {
        payload_of(&*self.adapter, changes)
    }

    /// Returns the ids that the system holds.
    pub fn held(&self) -> Vec<String> {
        self.system.records().into_keys().collect()
    }

    pub fn inject(&self, fault: Fault) {
        assert!(
            self.system.inject(fault),
            "the system cannot have this fault"
        );
    }

    /// Returns the number of API calls that `work` takes.
    pub async fn calls_of<T>(&self, work: impl Future<Output = T>) -> (T, usize) {
        let before = self.system.calls();
        let result = work.await;
        (result, self.system.calls() - before)
    }
}

pub fn person(number: usize) -> ContactChange {
    newcomer(number, ContactType::Lead)
}

/// Returns whether no record is reported as written or rejected.
pub fn decides_nothing(reply: &Reply) -> bool {
    use CallError::{Retry, Stop, Throttled};
    match reply {
        Ok(outcomes) => outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Retry(_) | Outcome::Failed(_))),
        Err(error) => matches!(error, Retry { .. } | Throttled { .. } | Stop(_)),
    }
}

/// Returns whether the destination stops for this cause, with a remedy for the operator.
pub fn stops(reply: &Reply, cause: Cause) -> bool {
    matches!(reply, Err(CallError::Stop(stop)) if stop.cause == cause && !stop.remedy.is_empty())
}
