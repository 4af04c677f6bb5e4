//! The promise of contract section 2, over random streams, batchings and schedules of faults: once
//! a stream is drained, each system holds what applying the changes one by one would leave, without
//! those that were rejected; each rejected change has its dead letter and no other has one; and
//! nobody saw a mistake in a conversation.
//!
//! Thousands of schedules run in stopped time against systems in memory, some over real sockets
//! against the strict mocks of both systems, a few through the real binary. A failing schedule is
//! named, and runs alone: `SEED=n cargo test --test scenarios NAME`. `SOAK_MINUTES=n` takes new
//! seeds for so long (`make soak`).
//!
//! For each law there is a broken variant of what the tests themselves are made of, and it is shown
//! to be found out.

mod binary;
mod falsified;
mod laws;
mod numbers;
mod sockets;
mod stopped_time;
mod streams;
