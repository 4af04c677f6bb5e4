//! Tests of contract section 2, over random streams, batchings and schedules of faults. Once a
//! stream is drained, each system holds the result of the changes one by one, without the rejected
//! ones. Each rejected change has its dead letter, and no other change has one. No mock saw a
//! protocol violation.
//!
//! Thousands of schedules run in stopped time against systems in memory, some over real sockets
//! against the strict mocks of both systems, a few through the real binary. A failing schedule is
//! named, and runs alone: `SEED=n cargo test --test scenarios NAME`. `SOAK_MINUTES=n` runs new
//! seeds for that long (`make soak`).
//!
//! For each law, a broken variant of the tests' own parts shows that the law detects it.

mod binary;
mod falsified;
mod laws;
mod numbers;
mod sockets;
mod stopped_time;
pub(crate) mod streams;
