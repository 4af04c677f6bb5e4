//! Tests of the dispatcher: deadlines, retries, isolation of offending records, the circuit
//! breaker, independence of the destinations, order, and rate limits across processes.

mod chances;
mod isolation;
mod offending;
mod outage;
mod policy;
mod scripted;
mod sockets;
