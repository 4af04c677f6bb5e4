//! A system under test: what the adapter contract suite has to know of an external system to try its adapter. A new
//! system implements it and gets every case (`tests/adapter_contract.rs`).

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

    /// The same adapter with settings that lead to a host which they do not allow; `None` where there are no hosts.
    fn astray(&self) -> Option<Arc<dyn Adapter>>;

    fn records(&self) -> Records;

    /// Makes the next call meet `fault`; tells whether the system can have it at all.
    fn strike(&self, fault: Fault) -> bool;

    /// How many API calls reached it. Asking for a token is none.
    fn calls(&self) -> usize;

    /// What no client should do, and the adapter did.
    fn mistakes(&self) -> Vec<String>;
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
    /// The write or delete of this contact is refused for good, with a success for the call.
    Rejected(&'static str),
    /// The write or delete of this contact fails for a reason that passes, with a success for the call.
    Delayed(&'static str),
    /// A batch with this contact in it is refused as a whole, each time.
    Poison(String),
    /// The credential ends, and the secret has another one.
    Expired,
    /// The credential ends, and there is no other.
    Revoked,
    /// Today's calls are used up.
    Exhausted,
    /// Too many calls at a time.
    Throttled,
    /// It wants to be left alone for so long.
    Paused(Duration),
}
