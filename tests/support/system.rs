//! Systems under test, as the adapter contract suite drives them. A new system implements
//! [`System`] and gets every case (`tests/adapter_contract.rs`).

mod faulty;
mod http;
mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use futures_util::future::BoxFuture;

pub use self::faulty::{Violation, faulty};
pub use self::http::{hubspot, salesforce};
pub use self::memory::memory;
use super::server::{Mangle, Reply};

/// What a system holds: the fields with a value of each contact, by our id in lower case.
pub type Records = BTreeMap<String, BTreeMap<String, String>>;

/// Starts a fresh system.
pub type Start = fn() -> BoxFuture<'static, Box<dyn System>>;

/// An external system and the adapter in front of it.
pub trait System: Send + Sync {
    fn adapter(&self) -> Arc<dyn Adapter>;

    /// Returns the adapter with another setting; `None` where the system has no such setting.
    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>>;

    /// Gives another record a unique value of this newcomer. Returns the system's own id of that
    /// record; `None` where no value is unique.
    fn rival(&self, id: &'static str) -> Option<String>;

    fn records(&self) -> Records;

    /// Injects `fault` into the next call. Returns whether the system can have it.
    fn inject(&self, fault: Fault) -> bool;

    /// Returns how many API calls reached it. A token request does not count.
    fn calls(&self) -> usize;

    /// Returns the protocol violations of the adapter, which no client may commit.
    fn violations(&self) -> Vec<String>;
}

/// Another setting.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    /// It leads to a host that settings do not allow.
    OtherHost,
    /// The attribute `plan` goes to a field that the system does not have.
    UnknownField,
    /// One of the versions of the API that the system has, by its place among them.
    Version(usize),
    /// A version that it does not have.
    UnknownVersion,
}

/// A fault of a system.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This reply instead of the system's response.
    Reply(Reply),
    /// The call is carried out, and its response never arrives.
    Lost,
    /// The call is carried out, and its response changed on the way.
    Mangled(Mangle),
    /// The response leaves out one payload.
    Short,
    /// The response names one payload too many.
    Long,
    /// The call is carried out, and its response names no payload.
    Mute,
    /// The response leaves out every optional part, or holds `null` in its place.
    Sparse,
    /// The response reports that so many of the day's calls are used.
    Quota { used: u64, max: u64 },
    /// The response reports no quota.
    NoQuota,
    /// The write or delete of this contact is refused for good, with a success for the call.
    Rejected(&'static str),
    /// The write or delete of this contact fails for a reason that passes, with a success for the
    /// call.
    Delayed(&'static str),
    /// A batch with this contact in it is refused as a whole, each time.
    Poison(String),
    /// The credential ends, and the secret has another one.
    Expired,
    /// The credential ends, and there is no other.
    Revoked,
    /// The credential lacks a right.
    Forbidden,
    /// Today's calls are used up.
    Exhausted,
    /// Too many calls at a time.
    Throttled,
    /// It wants to be left alone for so long.
    Paused(Duration),
}
