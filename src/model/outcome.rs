//! The outcomes of the payloads of a call.

use std::time::Duration;

use super::{Body, CallError, Code, HeldRecord, Rejection, WholePayload, codes};

/// The answer of one call: an outcome per payload, or one error for the whole call.
pub type Reply = Result<Vec<Outcome>, CallError>;

/// The outcome of one payload at its destination.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The destination has the record. The code names a peculiarity, where there is one.
    Delivered(Option<Code>),
    /// Settings exclude this record from being written (for example a converted lead).
    Skipped(Code),
    /// The destination holds a newer version already.
    Stale,
    /// The payload can never succeed.
    Rejected(Rejection),
    /// The payload may succeed later.
    Retry(Retry),
    /// Our settings or the account are misconfigured for this payload: it fails, and its record
    /// comes again from the stream. A retry within the invocation would fail alike. The adapter has
    /// reported the remedy to the operator.
    Failed(Code),
}

impl Outcome {
    const DRY_RUN: Code = Code::new(codes::DRY_RUN);
    const ALREADY_GONE: Code = Code::new(codes::ALREADY_GONE);
    const NO_CHANGE: Code = Code::new(codes::NO_CHANGE);

    /// Returns the outcome of a payload that a dry run would have written.
    pub const fn dry_run() -> Self {
        Self::Delivered(Some(Self::DRY_RUN))
    }

    /// Returns whether the destination accepted a write of the payload; in a dry run, whether one
    /// would have been sent.
    pub fn is_written(&self) -> bool {
        match self {
            Self::Delivered(None) => true,
            Self::Delivered(Some(code)) => ![Self::ALREADY_GONE, Self::NO_CHANGE].contains(code),
            _ => false,
        }
    }

    /// Returns the outcome of a payload whose write would change nothing.
    pub const fn unchanged() -> Self {
        Self::Delivered(Some(Self::NO_CHANGE))
    }

    /// Returns whether the outcome is that of a write that would [change nothing](Self::unchanged).
    pub fn is_unchanged(&self) -> bool {
        matches!(self, Self::Delivered(Some(code)) if *code == Self::NO_CHANGE)
    }

    /// Returns the outcome of a delete whose record does not exist.
    pub const fn already_gone() -> Self {
        Self::Delivered(Some(Self::ALREADY_GONE))
    }

    /// Returns whether the destination answered that it has the change.
    pub fn is_answered_write(&self) -> bool {
        matches!(self, Self::Delivered(_)) && !self.is_dry_run()
    }

    /// Returns whether the outcome is that of a [dry run](Self::dry_run).
    pub fn is_dry_run(&self) -> bool {
        matches!(self, Self::Delivered(Some(code)) if *code == Self::DRY_RUN)
    }
}

/// The retry of one payload.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Why the payload did not succeed.
    pub code: Code,
    /// The wait that the system asks for.
    pub after: Option<Duration>,
    /// How to send the payload again.
    pub how: RetryMode,
}

/// How to send a payload again.
#[derive(Clone, Debug)]
pub enum RetryMode {
    /// In the same way.
    Same,
    /// In a smaller batch: alone in the end, as long as smaller batches settle some payloads.
    SplitBatch,
    /// Alone, since this record may be the cause. If it fails alone more than once while other
    /// records succeed, it is rejected for this reason.
    Isolate(Rejection),
    /// Once more, after every other record of the destination in the invocation has settled:
    /// another record may hold the value that this one wants. If it fails in such a way a second
    /// time, it is rejected for this reason.
    Last(Rejection),
    /// Once more and not again, with this body where one is given. If it fails in such a way a
    /// second time, it is rejected for this reason.
    OnceMore(Option<Body>, Rejection),
    /// Once more with this payload of the whole row: the write created the record from a part.
    Whole(Box<WholePayload>),
    /// Once more without these fields, which settings allow to leave out. If it cannot be sent
    /// without them, or was sent without fields twice before, it is rejected for this reason.
    Without(Vec<String>, Rejection),
}

/// The record that a destination holds of a contact, as a look-up finds it.
#[derive(Clone, Debug)]
pub enum Held {
    /// A record.
    Record(HeldRecord),
    /// No record.
    Nowhere,
    /// The look-up has no answer for the contact; the payload gets this outcome.
    Unknown(Outcome),
}
