//! Systems with an adapter that breaks the contract, each in one way: a suite that does not notice is none.

use std::sync::Arc;

use contact_sync::adapters::{
    Adapter, Call, CallError, Code, Destination, Limits, Outcome, Payload, Rejection, Reply, Transformed,
};
use contact_sync::contact::ContactChange;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Fault, Records, Start, System};

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
}

/// `start`'s system, behind a liar.
pub async fn lying(start: Start, lie: Lie) -> Box<dyn System> {
    Box::new(Lying { system: start().await, lie })
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
        Arc::new(Liar { adapter: self.system.adapter(), lie: self.lie })
    }

    fn astray(&self) -> Option<Arc<dyn Adapter>> {
        self.system.astray()
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
            Lie::HidesPauses => reply.map_err(|error| match error {
                CallError::Retry { code, pressure, .. } => CallError::Retry { code, after: None, pressure },
                CallError::Throttled { code, .. } => CallError::Throttled { code, after: None },
                error => error,
            }),
            _ => reply,
        }
    }
}

impl Adapter for Liar {
    fn destination(&self) -> Destination {
        self.adapter.destination()
    }

    fn limits(&self) -> Limits {
        let limits = self.adapter.limits();
        let more = usize::from(self.lie == Lie::TakesTooMuch);
        Limits { upsert: limits.upsert + more, delete: limits.delete + more, ..limits }
    }

    fn transform(&self, changes: &[&ContactChange]) -> Transformed {
        let mut changes = changes.to_vec();
        if self.lie == Lie::FoldsBackwards {
            changes.reverse();
        }
        self.adapter.transform(&changes)
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        async move {
            if call.dry_run && self.lie == Lie::WritesAnyway {
                let call = Call { dry_run: false, ..call };
                return self.adapter.upsert(batch, call).await.map(|outcomes| vec![Outcome::dry_run(); outcomes.len()]);
            }
            let mut reply = self.adapter.upsert(batch, call).await;
            if self.lie == Lie::TriesAgain
                && matches!(reply, Err(CallError::Retry { .. } | CallError::Throttled { .. }))
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
