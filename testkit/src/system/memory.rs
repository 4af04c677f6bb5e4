//! The in-memory system: it has no HTTP, and no faults of connections, hosts and credentials.

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use contact_sync::model::{CallError, Cause, Code, Outcome, Rejection, Retry, RetryMode, Stop};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::memory::{Faults, Memory, Next};
use super::{Fault, Records, Setting, System};

pub fn memory() -> BoxFuture<'static, Box<dyn System>> {
    async { Box::new(Memory::new(7, Faults::default())) as _ }.boxed()
}

impl System for Arc<Memory> {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::clone(self) as _
    }

    fn with_setting(&self, _: Setting) -> Option<Arc<dyn Adapter>> {
        None
    }

    fn rival(&self, _: &'static str) -> Option<String> {
        None
    }

    fn records(&self) -> Records {
        let text = |value: serde_json::Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        let held = |fields: serde_json::Map<_, serde_json::Value>| {
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, text(value)))
                .collect()
        };
        Memory::records(self)
            .into_iter()
            .map(|(id, fields)| (id, held(fields)))
            .collect()
    }

    fn inject(&self, fault: Fault) -> bool {
        let stop = |cause, code| {
            let remedy = "wait".to_owned();
            Next::Error(CallError::Stop(Stop {
                cause,
                code: Code::new(code),
                remedy,
                after: None,
            }))
        };
        let busy = || Retry {
            code: Code::new("BUSY"),
            after: None,
            how: RetryMode::Same,
        };
        self.next(match fault {
            Fault::Lost => Next::Lost,
            Fault::OffendingRecord(id) => Next::OffendingRecord(id),
            Fault::Rejected(id) => Next::Row(
                id.to_owned(),
                Outcome::Rejected(Rejection::new(Code::new("WRONG"), "refused")),
            ),
            Fault::Delayed(id) => Next::Row(id.to_owned(), Outcome::Retry(busy())),
            Fault::Exhausted => stop(Cause::Quota, "FULL"),
            Fault::Forbidden => stop(Cause::Configuration, "FORBIDDEN"),
            Fault::Throttled => Next::Error(CallError::Throttled {
                code: Code::new("TOO_MANY"),
                after: Some(Duration::from_secs(1)),
            }),
            Fault::Paused(pause) => Next::Error(CallError::Throttled {
                code: Code::new("BUSY"),
                after: Some(pause),
            }),
            Fault::Reply(_)
            | Fault::Mangled(_)
            | Fault::Short
            | Fault::Long
            | Fault::Mute
            | Fault::Sparse
            | Fault::QuotaReported { .. }
            | Fault::QuotaOmitted
            | Fault::Expired
            | Fault::Revoked => return false,
        });
        true
    }

    fn calls(&self) -> usize {
        Memory::calls(self)
    }

    fn violations(&self) -> Vec<String> {
        Memory::violations(self)
    }
}
