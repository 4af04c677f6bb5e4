//! Systems under test: the interface of an external system for the adapter contract suite. A new
//! system implements it, and the suite runs every case (`tests/contract/adapters.rs`).

mod faulty;
mod http;
mod memory;
mod third;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use futures_util::future::BoxFuture;

pub use self::faulty::{Defect, with_defect};
pub use self::http::{hubspot, salesforce, salesforce_collections, salesforce_contact};
pub use self::memory::memory;
pub use self::third::tinycrm;
use super::server::{Mangle, Reply};

/// Records of a system: the fields with a value of each contact, by key in lower case.
pub type Records = BTreeMap<String, BTreeMap<String, String>>;

/// Function that starts a new system.
pub type Start = fn() -> BoxFuture<'static, Box<dyn System>>;

/// External system with its adapter.
pub trait System: Send + Sync {
    fn adapter(&self) -> Arc<dyn Adapter>;

    /// Returns the adapter with another setting; `None` if the system has no such setting.
    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>>;

    /// Gives another record a unique value of this new contact. Returns the system's id of that
    /// record; `None` if the system has no unique values.
    fn rival(&self, id: &'static str) -> Option<String>;

    fn records(&self) -> Records;

    /// Injects a fault into the next call. Returns whether the system supports the fault.
    fn inject(&self, fault: Fault) -> bool;

    /// Returns the number of API calls, without requests for tokens.
    fn calls(&self) -> usize;

    /// Returns the protocol violations of the adapter.
    fn violations(&self) -> Vec<String>;
}

/// Setting that differs from the default.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    /// The system's host is not one of the allowed hosts.
    OtherHost,
    /// The attribute `plan` is mapped to a field that the system does not have.
    UnknownField,
    /// A version of the API that the system supports, by its index among them.
    Version(usize),
    /// A version of the API that the system does not support.
    UnknownVersion,
}

/// Fault of a system.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call gets this reply.
    Reply(Reply),
    /// The call is carried out, and its response is lost.
    Lost,
    /// The call is carried out, and its response is modified.
    Mangled(Mangle),
    /// The response lacks the result of one payload.
    Short,
    /// The response has one result too many.
    Long,
    /// The call is carried out, and its response has no results.
    Mute,
    /// The response omits all optional values, or has `null` instead.
    Sparse,
    /// The response reports this usage of the daily quota.
    QuotaReported { used: u64, max: u64 },
    /// The response reports no usage of the quota.
    QuotaOmitted,
    /// The call succeeds, and the row of this contact is rejected.
    Rejected(&'static str),
    /// The call succeeds, and the row of this contact fails with a retryable error.
    Delayed(&'static str),
    /// Each batch with this contact is rejected.
    OffendingRecord(String),
    /// The credential expires, and the secret has a new one.
    Expired,
    /// The credential is revoked, and there is no new one.
    Revoked,
    /// The credential lacks a permission.
    Forbidden,
    /// The daily quota is used up.
    Exhausted,
    /// The call is throttled.
    Throttled,
    /// The system asks for a pause.
    Paused(Duration),
}
