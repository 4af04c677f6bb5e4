//! Simulation of a Kinesis stream and of the event source mapping that delivers it to Lambda, as
//! observed on AWS: shards, batches, the checkpoint, retries, bisecting, the maximum age, and the
//! on-failure destination. It invokes a function: the handler in this process, or the real binary
//! behind a Runtime API. It uses tokio's clock: with a paused clock, hours pass in a moment.
//!
//! `tests/scenarios/kinesis.rs` compares it with the observed sequences. It does not simulate
//! resharding, filters, tumbling windows, and the limit of one poll per second and shard.

mod batch;
mod lane;
mod mapping;
mod on_failure;
#[cfg(feature = "aws")]
mod poll;
mod stream;

pub use batch::InvocationOutcome;
pub use mapping::{Broken, Delivery, Invocation, Mapping, Report};
pub use on_failure::{Condition, Discarded, OnFailure, Payload};
pub use stream::{Record, Stream};
