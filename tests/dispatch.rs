//! Tests of the dispatcher: deadlines, retries, isolation of offending records, the circuit
//! breaker, independence of the destinations, order, and rate limits across processes.

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
