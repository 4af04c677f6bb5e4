//! A Kinesis stream, and the event source mapping that brings it to Lambda, as both were observed
//! on AWS: shards, batches, the checkpoint, retries, bisecting, age, and what goes to the
//! on-failure destination. It drives whatever takes an invocation: the handler in this process, or
//! the real binary behind a Runtime API. Its clock is tokio's, so that hours pass in a moment where
//! a test stops the clock.
//!
//! `tests/scenarios/kinesis.rs` holds it to the sequences that were observed. It does not know:
//! resharding, filters, tumbling windows, and that a shard is polled once a second only.

mod batch;
mod lane;
mod mapping;
mod on_failure;
#[cfg(feature = "aws")]
mod poll;
mod stream;

pub use batch::Ended;
pub use mapping::{Broken, Delivery, Invocation, Mapping, Report};
pub use on_failure::{Condition, Discarded, OnFailure, Payload};
pub use stream::{Record, Stream};
