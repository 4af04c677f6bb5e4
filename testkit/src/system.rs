//! A system under test: what the adapter contract suite has to know of an external system to try
//! its adapter. A new system implements it and gets every case (`tests/contract/adapters.rs`).

mod http;
mod liar;
mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use futures_util::future::BoxFuture;

pub use self::http::{hubspot, salesforce};
pub use self::liar::{Lie, lying};
pub use self::memory::memory;
use super::server::{Mangle, Reply};

/// What a system holds: the fields with a value of each contact, by our id in lower case.
pub type Records = BTreeMap<String, BTreeMap<String, String>>;

/// Starts a fresh system.
pub type Start = fn() -> BoxFuture<'static, Box<dyn System>>;

/// An external system and the adapter in front of it.
pub trait System: Send + Sync {
    fn adapter(&self) -> Arc<dyn Adapter>;

    /// The same adapter with another setting; `None` where the system has nothing of the kind.
    fn with_setting(&self, setting: Setting) -> Option<Arc<dyn Adapter>>;

    /// Gives another record a value of this newcomer's that only one may have. Tells the system's
    /// own id of that record; `None` where any two may have any value.
    fn rival(&self, id: &'static str) -> Option<String>;

    fn records(&self) -> Records;

    /// Makes the next call meet `fault`; tells whether the system can have it at all.
    fn strike(&self, fault: Fault) -> bool;

    /// How many API calls reached it. Asking for a token is none.
    fn calls(&self) -> usize;

    /// What no client should do, and the adapter did.
    fn mistakes(&self) -> Vec<String>;
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

/// What can go wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This, instead of an answer.
    Reply(Reply),
    /// The call is carried out, and its answer never arrives.
    Lost,
    /// The call is carried out, and its answer changed on the way.
    Mangled(Mangle),
    /// The answer tells of one payload less than it was asked about.
    Short,
    /// The answer tells of one payload more.
    Long,
    /// The call is carried out, and its answer tells of nobody.
    Mute,
    /// The answer leaves out, or says `null` of, whatever it may.
    Sparse,
    /// The answer tells that so many of the day's calls are used.
    Told { used: u64, max: u64 },
    /// The answer tells nothing of the quota.
    Untold,
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
