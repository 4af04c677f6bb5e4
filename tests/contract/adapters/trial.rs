//! One adapter on trial.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::{Adapter, Call, CallError, Cause, Outcome, Payload, Reply, Unlimited};
use contact_sync::contact::{ContactChange, ContactType};
use contact_sync::telemetry::DestinationMetrics;
use testkit::system::{Fault, Setting, Start, System};
use testkit::words::{newcomer, payload_of};
use tokio::time::Instant;

/// Longer than any answer of loopback takes, and no wait where one never comes.
const LONG: Duration = Duration::from_mins(1);

pub struct Trial {
    pub system: Box<dyn System>,
    pub adapter: Arc<dyn Adapter>,
    pub meter: DestinationMetrics,
}

/// Tries a case on a fresh system, which must find no fault with us either.
pub async fn run(start: Start, case: impl AsyncFnOnce(&Trial)) {
    let trial = Trial::new(start().await);
    case(&trial).await;
    assert_eq!(trial.system.mistakes(), Vec::<String>::new());
}

impl Trial {
    pub fn new(system: Box<dyn System>) -> Self {
        Self {
            adapter: system.adapter(),
            system,
            meter: DestinationMetrics::default(),
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

    /// The same by an adapter with [other settings](Self::set).
    pub async fn upsert_by(&self, adapter: &dyn Adapter, payloads: &[Payload]) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        adapter.upsert(&batch, self.call(LONG)).await
    }

    pub async fn delete_by(&self, adapter: &dyn Adapter, payloads: &[Payload]) -> Reply {
        let batch: Vec<_> = payloads.iter().collect();
        adapter.delete(&batch, self.call(LONG)).await
    }

    /// The adapter with another setting, where the system can have it.
    pub fn set(&self, setting: Setting) -> Option<Arc<dyn Adapter>> {
        self.system.with_setting(setting)
    }

    /// What a dry run would write and delete.
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
            meter: &self.meter,
            permits: &Unlimited,
            dry_run: false,
        }
    }

    /// Payloads of the newcomers with these numbers.
    pub fn people(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Payload> {
        numbers
            .into_iter()
            .map(|number| self.payload(&[&person(number)]))
            .collect()
    }

    pub fn payload(&self, changes: &[&ContactChange]) -> Payload {
        payload_of(&*self.adapter, changes)
    }

    /// The ids that the system holds.
    pub fn held(&self) -> Vec<String> {
        self.system.records().into_keys().collect()
    }

    pub fn strike(&self, fault: Fault) {
        assert!(self.system.strike(fault), "the system cannot fail so");
    }

    /// How many API calls `work` takes.
    pub async fn calls_of<T>(&self, work: impl Future<Output = T>) -> (T, usize) {
        let before = self.system.calls();
        let result = work.await;
        (result, self.system.calls() - before)
    }
}

pub fn person(number: usize) -> ContactChange {
    newcomer(number, ContactType::Lead)
}

/// Whether nobody is told to have been written or refused for good.
pub fn decides_nothing(reply: &Reply) -> bool {
    use CallError::{Retry, Stop, Throttled};
    match reply {
        Ok(outcomes) => outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Retry(_) | Outcome::Failed(_))),
        Err(error) => matches!(error, Retry { .. } | Throttled { .. } | Stop(_)),
    }
}

/// Whether the destination stops for this cause, and the operator is told what to do.
pub fn stops(reply: &Reply, cause: Cause) -> bool {
    matches!(reply, Err(CallError::Stop(stop)) if stop.cause == cause && !stop.remedy.is_empty())
}
