//! The shared vocabulary: contacts and their changes, records of the stream, payloads, outcomes,
//! codes and limits. This module imports no other module of the crate.
//!
//! All names are reached as `model::Name`, except those of [`limits`]: the settings of retries and
//! the retry of one payload share the name `Retry`.

mod call_error;
mod change;
pub mod codes;
mod conditions;
mod contact;
pub mod limits;
mod number;
mod outcome;
mod payload;
mod record;
mod redacted;
mod rejection;

pub use self::call_error::{CallError, Cause, FailureCause, Stop};
pub use self::change::{ContactChange, Operation, VersionSource};
pub use self::conditions::{Conditions, FieldPolicy, HeldRecord, MatchPolicy};
pub use self::contact::{Attribute, Attributes, Contact, ContactId, ContactType, Field, Text};
pub use self::number::Number;
pub use self::outcome::{Held, Outcome, Reply, Retry, RetryMode};
pub use self::payload::{
    Body, Destination, Payload, RefusedValue, Transformed, ValueCounts, WholePayload, WholeRow,
};
pub use self::record::{Data, KafkaOrigin, KinesisOrigin, Origin, Position, Positions, Record};
pub use self::rejection::{Code, Refusal, Rejection, Stage};
