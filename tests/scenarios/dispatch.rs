//! Dispatch: deadlines, retries, isolation of offending records, the breaker, one system's outage
//! beside the other, order, and rate limits that hold across processes.

mod support;

#[path = "dispatch/chances.rs"]
mod chances;
#[path = "dispatch/fleet.rs"]
mod fleet;
#[path = "dispatch/hanging.rs"]
mod hanging;
#[path = "dispatch/isolation.rs"]
mod isolation;
#[path = "dispatch/offending.rs"]
mod offending;
#[path = "dispatch/outage.rs"]
mod outage;
#[path = "dispatch/policy.rs"]
mod policy;
#[path = "dispatch/scripted.rs"]
mod scripted;
#[path = "dispatch/sockets.rs"]
mod sockets;
