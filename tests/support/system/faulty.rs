//! Faulty adapters: each violates the adapter contract in one way. The contract suite has to detect
//! every one.

use std::sync::Arc;

use contact_sync::adapters::{
    Adapter, Body, Call, CallError, Cause, Code, Destination, FailureCause, Held, Limits, Outcome,
    Payload, Rejection, Reply, Retry, RetryMode, Stop, Transformed,
};
use contact_sync::contact::ContactChange;
use contact_sync::telemetry::DestinationMetrics;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Fault, Records, Setting, Start, System};

/// A violation of the adapter contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Returns no outcome for the last payload.
    DropsOne,
    /// Counts every payload of a 2xx as delivered, without reading its rows.
    IgnoresRows,
    /// Counts every payload as delivered, without regard to the response.
    AlwaysDelivered,
    /// Rejects the records of a call that failed.
    RejectsForCalls,
    /// Repeats a failed call by itself.
    Retries,
    /// Drops the pause that the system asks for.
    HidesPauses,
    /// Writes in a dry run, and reports that it did not.
    WritesInDryRun,
    /// Reports larger limits than the system has.
    ExceedsLimits,
    /// Folds the changes in reverse order.
    FoldsInReverse,
    /// Drops the owner of a unique value.
    HidesOwners,
    /// Reports a stop as a passing failure.
    IgnoresStops,
    /// Stops the destination for a misconfiguration of some records.
    StopsForSomeRecords,
    /// Rejects the records that meet a misconfiguration.
    RejectsForSettings,
    /// Does not record the quota that a response reports.
    HidesQuota,
    /// Logs the bodies of the payloads.
    LogsBodies,
}

/// Starts a system whose adapter commits `violation`.
pub async fn faulty(start: Start, violation: Violation) -> Box<dyn System> {
    Box::new(FaultySystem {
        system: start().await,
        violation,
    })
}

struct FaultySystem {
    system: Box<dyn System>,
    violation: Violation,
}

struct FaultyAdapter {
    adapter: Arc<dyn Adapter>,
    violation: Violation,
}

impl System for FaultySystem {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::new(FaultyAdapter {
            adapter: self.system.adapter(),
            violation: self.violation,
        })
    }

    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>> {
        Some(Arc::new(FaultyAdapter {
            adapter: self.system.with_setting(setting)?,
            violation: self.violation,
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
        match self.violation {
            Violation::DropsOne => reply.map(|mut outcomes| {
                outcomes.pop();
                outcomes
            }),
            Violation::IgnoresRows if reply.is_ok() => all(|| Outcome::Delivered(None)),
            Violation::AlwaysDelivered => all(|| Outcome::Delivered(None)),
            Violation::RejectsForCalls if reply.is_err() => {
                all(|| Outcome::Rejected(Rejection::new(Code::new("BLAMED"), "the call failed")))
            }
            Violation::StopsForSomeRecords => match reply
                .iter()
                .flatten()
                .find(|outcome| matches!(outcome, Outcome::Failed(_)))
            {
                Some(Outcome::Failed(code)) => Err(CallError::Stop(Stop {
                    cause: Cause::Configuration,
                    code: code.clone(),
                    remedy: "correct the setting".to_owned(),
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
        match (self.violation, outcome) {
            (Violation::HidesOwners, Outcome::Rejected(rejection)) => {
                Outcome::Rejected(without_owner(rejection))
            }
            (
                Violation::HidesOwners,
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
            (Violation::RejectsForSettings, Outcome::Failed(code)) => {
                Outcome::Rejected(Rejection::new(code, "no such field"))
            }
            (_, outcome) => outcome,
        }
    }

    fn corrupt_error(&self, error: CallError) -> CallError {
        match (self.violation, error) {
            (
                Violation::HidesPauses,
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
            (Violation::HidesPauses, CallError::Throttled { code, .. }) => {
                CallError::Throttled { code, after: None }
            }
            (Violation::IgnoresStops, CallError::Stop(stop)) => CallError::Retry {
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
        message: "another record has this value".to_owned(),
        ..rejection
    }
}

impl Adapter for FaultyAdapter {
    fn destination(&self) -> Destination {
        self.adapter.destination()
    }

    fn limits(&self) -> Limits {
        let limits = self.adapter.limits();
        let more = usize::from(self.violation == Violation::ExceedsLimits);
        Limits {
            upsert: limits.upsert + more,
            delete: limits.delete + more,
            ..limits
        }
    }

    fn transform(&self, changes: &[&ContactChange]) -> Transformed {
        let mut changes = changes.to_vec();
        if self.violation == Violation::FoldsInReverse {
            changes.reverse();
        }
        self.adapter.transform(&changes)
    }

    fn held<'a>(
        &'a self,
        batch: &'a [&'a Payload],
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        self.adapter.held(batch, call)
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        async move {
            if call.dry_run && self.violation == Violation::WritesInDryRun {
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
            let unread = DestinationMetrics::default();
            let call = if self.violation == Violation::HidesQuota {
                Call {
                    meter: &unread,
                    ..call
                }
            } else {
                call
            };
            if self.violation == Violation::LogsBodies {
                batch.iter().for_each(|payload| {
                    tracing::debug!(body = payload.body.as_ref().map(Body::get), "sent");
                });
            }
            let mut reply = self.adapter.upsert(batch, call).await;
            if self.violation == Violation::Retries
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
