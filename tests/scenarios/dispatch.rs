//! Dispatch: deadlines, retries, isolation of offending records, the breaker, one system's outage
//! beside the other, order, and rate limits that hold across processes.

mod chances;
mod isolation;
mod offending;
mod outage;
mod policy;
mod scripted;
mod sockets;
