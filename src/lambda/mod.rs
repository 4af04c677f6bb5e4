//! The Lambda function: its runtime, the envelope of its events, and the handler of invocations.

mod handler;
mod kafka;
mod kinesis;
mod response;
mod runtime;
mod scheduled;

pub use self::handler::{Handler, HandlerError, PipelineSource};
pub use self::kinesis::envelope;
pub use self::response::{BatchResponse, ItemFailure, ItemIdentifier};
pub use self::runtime::run;
pub use self::scheduled::{ScheduledTask, handle_scheduled, run_scheduled};
