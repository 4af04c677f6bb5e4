//! Systems with an adapter that breaks the contract, each in one way: a suite that does not notice
//! is none.

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

/// One way to break the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Leaves the last payload without an outcome.
    DropsOne,
    /// Takes a 2xx for a success of every payload, whatever it says.
    NeverReads,
    /// Takes whatever happened for a success.
    AlwaysDelivered,
    /// Blames the records for what happened to the call.
    BlamesRecords,
    /// Tries again by itself.
    TriesAgain,
    /// Keeps to itself how long the system wants to be left alone.
    HidesPauses,
    /// Writes in a dry run, and says that it did not.
    WritesAnyway,
    /// Says that it takes more than the system does.
    TakesTooMuch,
    /// Lets the first change win.
    FoldsBackwards,
    /// Keeps to itself who owns a value.
    HidesOwners,
    /// Takes a stop for a hiccup.
    GoesOn,
    /// Stops for all what concerns a few.
    StopsForAFew,
    /// Rejects records for what settings lack.
    BlamesForSettings,
    /// Keeps to itself what the system tells of its quota.
    HidesTheQuota,
    /// Logs what it sends.
    Gossips,
}

/// `start`'s system, behind a liar.
pub async fn lying(start: Start, lie: Lie) -> Box<dyn System> {
    Box::new(Lying {
        system: start().await,
        lie,
    })
}

struct Lying {
    system: Box<dyn System>,
    lie: Lie,
}

struct Liar {
    adapter: Arc<dyn Adapter>,
    lie: Lie,
}

impl System for Lying {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::new(Liar {
            adapter: self.system.adapter(),
            lie: self.lie,
        })
    }

    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>> {
        Some(Arc::new(Liar {
            adapter: self.system.with_setting(setting)?,
            lie: self.lie,
        }))
    }

    fn rival(&self, id: &'static str) -> Option<String> {
        self.system.rival(id)
    }

    fn records(&self) -> Records {
        self.system.records()
    }

    fn strike(&self, fault: Fault) -> bool {
        self.system.strike(fault)
    }

    fn calls(&self) -> usize {
        self.system.calls()
    }

    fn mistakes(&self) -> Vec<String> {
        self.system.mistakes()
    }
}

impl Liar {
    fn twist(&self, count: usize, reply: Reply) -> Reply {
        let all = |outcome: fn() -> Outcome| Ok((0..count).map(|_| outcome()).collect());
        match self.lie {
            Lie::DropsOne => reply.map(|mut outcomes| {
                outcomes.pop();
                outcomes
            }),
            Lie::NeverReads if reply.is_ok() => all(|| Outcome::Delivered(None)),
            Lie::AlwaysDelivered => all(|| Outcome::Delivered(None)),
            Lie::BlamesRecords if reply.is_err() => {
                all(|| Outcome::Rejected(Rejection::new(Code::new("BLAMED"), "whatever happened")))
            }
            Lie::StopsForAFew => match reply
                .iter()
                .flatten()
                .find(|outcome| matches!(outcome, Outcome::Failed(_)))
            {
                Some(Outcome::Failed(code)) => Err(CallError::Stop(Stop {
                    cause: Cause::Configuration,
                    code: code.clone(),
                    remedy: "mend it".to_owned(),
                    after: None,
                })),
                _ => reply,
            },
            _ => reply
                .map(|outcomes| {
                    outcomes
                        .into_iter()
                        .map(|outcome| self.twist_outcome(outcome))
                        .collect()
                })
                .map_err(|error| self.twist_error(error)),
        }
    }

    fn twist_outcome(&self, outcome: Outcome) -> Outcome {
        match (self.lie, outcome) {
            (Lie::HidesOwners, Outcome::Rejected(rejection)) => {
                Outcome::Rejected(without_owner(rejection))
            }
            (
                Lie::HidesOwners,
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
            (Lie::BlamesForSettings, Outcome::Failed(code)) => {
                Outcome::Rejected(Rejection::new(code, "no such field"))
            }
            (_, outcome) => outcome,
        }
    }

    fn twist_error(&self, error: CallError) -> CallError {
        match (self.lie, error) {
            (
                Lie::HidesPauses,
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
            (Lie::HidesPauses, CallError::Throttled { code, .. }) => {
                CallError::Throttled { code, after: None }
            }
            (Lie::GoesOn, CallError::Stop(stop)) => CallError::Retry {
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
        message: "somebody has it".to_owned(),
        ..rejection
    }
}

impl Adapter for Liar {
    fn destination(&self) -> Destination {
        self.adapter.destination()
    }

    fn limits(&self) -> Limits {
        let limits = self.adapter.limits();
        let more = usize::from(self.lie == Lie::TakesTooMuch);
        Limits {
            upsert: limits.upsert + more,
            delete: limits.delete + more,
            ..limits
        }
    }

    fn transform(&self, changes: &[&ContactChange]) -> Transformed {
        let mut changes = changes.to_vec();
        if self.lie == Lie::FoldsBackwards {
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
            if call.dry_run && self.lie == Lie::WritesAnyway {
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
            let deaf = DestinationMetrics::default();
            let call = if self.lie == Lie::HidesTheQuota {
                Call {
                    meter: &deaf,
                    ..call
                }
            } else {
                call
            };
            if self.lie == Lie::Gossips {
                batch.iter().for_each(|payload| {
                    tracing::debug!(body = payload.body.as_ref().map(Body::get), "sent");
                });
            }
            let mut reply = self.adapter.upsert(batch, call).await;
            if self.lie == Lie::TriesAgain
                && matches!(
                    reply,
                    Err(CallError::Retry { .. } | CallError::Throttled { .. })
                )
            {
                reply = self.adapter.upsert(batch, call).await;
            }
            self.twist(batch.len(), reply)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        async move { self.twist(batch.len(), self.adapter.delete(batch, call).await) }.boxed()
    }
}
