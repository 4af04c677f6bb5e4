//! Systems with a faulty adapter, which breaks the contract in one way: the suite has to fail.

use std::sync::Arc;

use contact_sync::adapters::{Adapter, Call};
use contact_sync::model::limits::Limits;
use contact_sync::model::{
    Body, CallError, Cause, Code, ContactChange, Destination, FailureCause, Held, Outcome, Payload,
    RefusedValue, Rejection, Reply, Retry, RetryMode, Stop, Transformed,
};
use contact_sync::telemetry::DestinationMetrics;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Fault, Records, Setting, Start, System};

/// Defect of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Returns no outcome for the last payload.
    OmitsOutcome,
    /// Classifies every payload of a 2xx response as delivered.
    IgnoresRows,
    /// Classifies every payload of every call as delivered.
    AlwaysDelivered,
    /// Rejects the records if the call fails.
    RejectsRecords,
    /// Retries by itself.
    RetriesItself,
    /// Does not report the pause that the system asks for.
    OmitsPauses,
    /// Writes in a dry run, and reports a dry run.
    WritesInDryRun,
    /// Reports limits above those of the system.
    ExceedsLimits,
    /// Folds changes in reverse order.
    FoldsInReverse,
    /// Does not report the owner of a unique value.
    OmitsOwners,
    /// Reports a stop as a retryable error.
    RetriesStops,
    /// Stops the destination if single records fail.
    StopsForRecords,
    /// Rejects records because of invalid settings.
    RejectsForSettings,
    /// Does not report the usage of the quota.
    OmitsQuota,
    /// Logs the payloads.
    LogsPayloads,
}

/// Starts a system with a faulty adapter.
pub async fn with_defect(start: Start, defect: Defect) -> Box<dyn System> {
    Box::new(FaultySystem {
        system: start().await,
        defect,
    })
}

struct FaultySystem {
    system: Box<dyn System>,
    defect: Defect,
}

struct FaultyAdapter {
    adapter: Arc<dyn Adapter>,
    defect: Defect,
}

impl System for FaultySystem {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::new(FaultyAdapter {
            adapter: self.system.adapter(),
            defect: self.defect,
        })
    }

    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>> {
        Some(Arc::new(FaultyAdapter {
            adapter: self.system.with_setting(setting)?,
            defect: self.defect,
        }))
    }

    fn rival(&self, id: &'static str) -> Option<String> {
        self.system.rival(id)
    }

    fn records(&self) -> Records {
        self.system.records()
    }

    fn inject(&self, fault: Fault) -> bool {
        self.system.inject(fault)
    }

    fn calls(&self) -> usize {
        self.system.calls()
    }

    fn violations(&self) -> Vec<String> {
        self.system.violations()
    }
}

impl FaultyAdapter {
    fn corrupt(&self, count: usize, reply: Reply) -> Reply {
        let all = |outcome: fn() -> Outcome| Ok((0..count).map(|_| outcome()).collect());
        match self.defect {
            Defect::OmitsOutcome => reply.map(|mut outcomes| {
                outcomes.pop();
                outcomes
            }),
            Defect::IgnoresRows if reply.is_ok() => all(|| Outcome::Delivered(None)),
            Defect::AlwaysDelivered => all(|| Outcome::Delivered(None)),
            Defect::RejectsRecords if reply.is_err() => {
                all(|| Outcome::Rejected(Rejection::new(Code::new("BLAMED"), "the call failed")))
            }
            Defect::StopsForRecords => match reply
                .iter()
                .flatten()
                .find(|outcome| matches!(outcome, Outcome::Failed(_)))
            {
                Some(Outcome::Failed(code)) => Err(CallError::Stop(Stop {
                    cause: Cause::Configuration,
                    code: code.clone(),
                    remedy: "fix it".to_owned(),
                    after: None,
                })),
                _ => reply,
            },
            _ => reply
                .map(|outcomes| {
                    outcomes
                        .into_iter()
                        .map(|outcome| self.corrupt_outcome(outcome))
                        .collect()
                })
                .map_err(|error| self.corrupt_error(error)),
        }
    }

    fn corrupt_outcome(&self, outcome: Outcome) -> Outcome {
        match (self.defect, outcome) {
            (Defect::OmitsOwners, Outcome::Rejected(rejection)) => {
                Outcome::Rejected(without_owner(rejection))
            }
            (
                Defect::OmitsOwners,
                Outcome::Retry(Retry {
                    how: RetryMode::Last(rejection),
                    code,
                    after,
                }),
            ) => Outcome::Retry(Retry {
                how: RetryMode::Last(without_owner(rejection)),
                code,
                after,
            }),
            (Defect::RejectsForSettings, Outcome::Failed(code)) => {
                Outcome::Rejected(Rejection::new(code, "no such field"))
            }
            (_, outcome) => outcome,
        }
    }

    fn corrupt_error(&self, error: CallError) -> CallError {
        match (self.defect, error) {
            (
                Defect::OmitsPauses,
                CallError::Retry {
                    code,
                    pressure,
                    cause,
                    ..
                },
            ) => CallError::Retry {
                code,
                after: None,
                pressure,
                cause,
            },
            (Defect::OmitsPauses, CallError::Throttled { code, .. }) => {
                CallError::Throttled { code, after: None }
            }
            (Defect::RetriesStops, CallError::Stop(stop)) => CallError::Retry {
                code: stop.code,
                after: None,
                pressure: false,
                cause: FailureCause::Destination,
            },
            (_, error) => error,
        }
    }
}

fn without_owner(rejection: Rejection) -> Rejection {
    Rejection {
        message: "another record has it".to_owned(),
        ..rejection
    }
}

impl Adapter for FaultyAdapter {
    fn destination(&self) -> Destination {
        self.adapter.destination()
    }

    fn limits(&self) -> Limits {
        let limits = self.adapter.limits();
        let more = usize::from(self.defect == Defect::ExceedsLimits);
        Limits {
            upsert: limits.upsert + more,
            delete: limits.delete + more,
            ..limits
        }
    }

    fn transform(&self, changes: &[&ContactChange]) -> Transformed {
        let mut changes = changes.to_vec();
        if self.defect == Defect::FoldsInReverse {
            changes.reverse();
        }
        self.adapter.transform(&changes)
    }

    fn transform_without(
        &self,
        changes: &[&ContactChange],
        refused: &[RefusedValue],
    ) -> Transformed {
        self.adapter.transform_without(changes, refused)
    }

    fn held<'a>(
        &'a self,
        batch: &'a [&'a Payload],
        fields: &'a [&'a str],
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        self.adapter.held(batch, fields, call)
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        async move {
            if call.dry_run && self.defect == Defect::WritesInDryRun {
                let call = Call {
                    dry_run: false,
                    ..call
                };
                return self
                    .adapter
                    .upsert(batch, call)
                    .await
                    .map(|outcomes| vec![Outcome::dry_run(); outcomes.len()]);
            }
            let discarded = DestinationMetrics::default();
            let call = if self.defect == Defect::OmitsQuota {
                Call {
                    metrics: &discarded,
                    ..call
                }
            } else {
                call
            };
            if self.defect == Defect::LogsPayloads {
                for payload in batch {
                    tracing::debug!(body = payload.body.as_ref().map(Body::get), "sent");
                }
            }
            let mut reply = self.adapter.upsert(batch, call).await;
            if self.defect == Defect::RetriesItself
                && matches!(
                    reply,
                    Err(CallError::Retry { .. } | CallError::Throttled { .. })
                )
            {
                reply = self.adapter.upsert(batch, call).await;
            }
            self.corrupt(batch.len(), reply)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        async move { self.corrupt(batch.len(), self.adapter.delete(batch, call).await) }.boxed()
    }
}
