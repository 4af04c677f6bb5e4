//! The external systems: what each must be able to do, and the words in which it answers.
//!
//! An adapter tries once and tells the truth about each payload. Waiting, retrying and giving up
//! are `dispatch`'s. A new system is one folder beside `salesforce` and `hubspot`, one line in
//! `factory`, one section in the settings; it starts by passing the adapter contract suite
//! (`tests/contract/adapters.rs`).

pub mod doctor;
pub mod http;
pub mod hubspot;
mod json_object;
mod misconfigured;
mod permits;
pub mod salesforce;
mod spec;
mod version;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
pub use json_object::Body;
pub use permits::{Permit, Permits, Unlimited};
pub use spec::{AdapterDeps, AdapterSpec};
use tokio::time::Instant;

use crate::contact::{ContactChange, ContactId};
use crate::secrets::SecretError;
use crate::telemetry::{self, DestinationMetrics, Quota};

/// An external system's name, as settings, logs, metrics and dead letters call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(pub &'static str);

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One external system.
pub trait Adapter: Send + Sync {
    /// The name that routes use.
    fn destination(&self) -> Destination;

    /// How much one call may carry, and what it costs.
    fn limits(&self) -> Limits;

    /// The changes of one contact, in order and with no delete among them, as one record of this
    /// system. The record equals what writing the changes one after the other would leave. A change
    /// that can never be written is left out and named.
    fn transform(&self, changes: &[&ContactChange]) -> Transformed;

    /// Looks up the versions that the destination holds of a batch of guarded payloads, under the
    /// rules of [`Self::upsert`]. The answer is in their order. A system that keeps no versions,
    /// and so gets no guarded payloads, does not implement it.
    fn held<'a>(
        &'a self,
        batch: &'a [&'a Payload],
        _call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        future::ready(Ok(vec![Held::Nowhere; batch.len()])).boxed()
    }

    /// Writes a batch, guarded or not: versions are compared before. The batch is not empty, not
    /// over [`Limits::upsert`], and names no contact twice. The answer holds one outcome per
    /// payload, in their order.
    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply>;

    /// Deletes a batch, under the same rules, with [`Limits::delete`]. Compares the versions of
    /// guarded payloads with what its own look-up finds. What does not exist counts as delivered.
    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply>;
}

/// How much one call of an adapter may carry, and how many API calls it makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Payloads in one [`Adapter::upsert`].
    pub upsert: usize,
    /// API calls of one upsert; one more where a payload [is looked up](Payload::is_looked_up).
    pub upsert_calls: u32,
    /// Payloads in one [`Adapter::delete`].
    pub delete: usize,
    /// API calls of one delete, guarded or not; all but the last are look-ups.
    pub delete_calls: u32,
    /// The look-up of a delete, and of an upsert with payloads that are looked up.
    pub lookup: Lookup,
}

/// How many contacts fit into one look-up.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// How much room it has.
    pub room: usize,
    /// How much of it a contact takes.
    pub length: fn(&ContactId) -> usize,
}

impl Lookup {
    /// Whatever fits into a batch fits into its look-up.
    pub const UNBOUNDED: Self = Self {
        room: usize::MAX,
        length: |_| 0,
    };
}

/// What a change became in [`Adapter::transform`].
#[derive(Debug, Default)]
pub struct Transformed {
    /// The record's own JSON; `None` where every change was rejected.
    pub body: Option<Body>,
    /// Becomes [`Payload::if_new`].
    pub if_new: Option<Body>,
    /// The changes left out, by their index, each with the reason.
    pub rejected: Vec<(usize, Rejection)>,
    /// Values that were cut to fit their field.
    pub cut: u32,
}

/// One contact's write, ready for its destination.
#[derive(Clone)]
pub struct Payload {
    /// Whose record it is.
    pub id: ContactId,
    /// The record's own JSON; `None` for a delete.
    pub body: Option<Body>,
    /// Fields to add where the record does not exist yet and `body` does not mention them: defaults
    /// that must not overwrite a person's work. The record is looked up before it is written.
    pub if_new: Option<Body>,
    /// The version that the record gets, or for a delete its own, for destinations that keep one.
    pub version: u64,
    /// Compare `version` with the destination's first, and leave newer data alone. Set only where
    /// the adapter's settings name a version field.
    pub guarded: bool,
}

impl Payload {
    /// Reports whether an upsert of it looks its record up first. One look-up serves all payloads
    /// of a batch.
    pub fn is_looked_up(&self) -> bool {
        self.guarded || self.if_new.is_some()
    }
}

/// What a destination holds of a contact.
#[derive(Clone, Debug)]
pub enum Held {
    /// A record, with the version that was written last, where it has one.
    Record(Option<u64>),
    /// No record.
    Nowhere,
    /// The destination does not say; this is what that means for the payload.
    Unknown(Outcome),
}

impl fmt::Debug for Payload {
    /// The identity only: the body is somebody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A request needs at least this long: less is not worth beginning.
pub const SHORTEST_CALL: Duration = Duration::from_millis(50);

/// What a call of an adapter may use: time, permits, and a place to count.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The call must have ended by then.
    pub give_up_at: Instant,
    /// Counts calls, errors and latencies, and takes what the system tells of its quota.
    pub meter: &'a DestinationMetrics,
    /// Each request waits for a permit of its own.
    pub permits: &'a dyn Permits,
    /// Do everything but the write: look up what has to be looked up before it, and answer
    /// [`Outcome::dry_run`] for every payload that would be in it.
    pub dry_run: bool,
}

impl Call<'_> {
    /// Takes note of the quota that an answer reports.
    pub(crate) fn note_quota(self, quota: Quota) {
        self.meter.note_quota(quota);
        self.permits.learn(quota);
    }
}

/// The answer of one call: an outcome per payload, or one sentence about the whole call.
pub type Reply = Result<Vec<Outcome>, CallError>;

/// A machine-readable reason, `LIKE_THIS`: ours, or a system's own. Never holds a contact's data.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// The longest code: longer than any that the systems publish.
    pub const LONGEST: usize = 80;

    /// Too little time was left to send a request, or to wait for its answer.
    pub const OUT_OF_TIME: Self = Self::new("OUT_OF_TIME");

    /// A code of our own.
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// A code that a system sent. What does not look like one becomes `UNREADABLE_CODE`: it goes to
    /// logs, where nothing else of an answer may go.
    pub fn from_system(code: &str) -> Self {
        let looks_like_one = !code.is_empty()
            && code.len() <= Self::LONGEST
            && code
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if looks_like_one {
            Self(Cow::Owned(code.to_owned()))
        } else {
            Self::new("UNREADABLE_CODE")
        }
    }

    /// The code itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Code {
    fn from(code: &'static str) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why something can never succeed.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub code: Code,
    /// The reason in words. May quote a contact's data, as the systems' messages do: dead letters
    /// carry it, logs never do.
    pub message: String,
    /// The destination's names of the fields concerned.
    pub fields: Vec<String>,
}

impl Rejection {
    /// A rejection that names no field.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// The same, about `field`.
    #[must_use]
    pub fn of_field(mut self, field: impl Into<String>) -> Self {
        self.fields.push(field.into());
        self
    }
}

impl fmt::Debug for Rejection {
    /// Without the message, which may quote a contact's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("code", &self.code)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// What became of one payload.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The destination has it. The code says what was special about it, if anything was.
    Delivered(Option<Code>),
    /// Settings say that this record is not to be written (a converted lead, say).
    Skipped(Code),
    /// The destination holds a newer version already.
    Stale,
    /// It can never succeed.
    Rejected(Rejection),
    /// It may succeed later.
    Retry(Retry),
    /// Our settings or the account do not fit it: it fails, and comes again from the stream.
    /// Another try in between would come to the same. The adapter has told the operator.
    Failed(Code),
}

impl Outcome {
    const DRY_RUN: Code = Code::new("DRY_RUN");
    const ALREADY_GONE: Code = Code::new("ALREADY_GONE");

    /// It would be written, were this not a dry run.
    pub const fn dry_run() -> Self {
        Self::Delivered(Some(Self::DRY_RUN))
    }

    /// Whether the destination took a write for it; in a dry run, whether it would have been asked
    /// for one.
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Delivered(code) if *code != Some(Self::ALREADY_GONE))
    }

    /// It is not there to be deleted.
    pub const fn already_gone() -> Self {
        Self::Delivered(Some(Self::ALREADY_GONE))
    }

    /// Whether it is [`Self::dry_run`].
    pub fn is_dry_run(&self) -> bool {
        matches!(self, Self::Delivered(Some(code)) if *code == Self::DRY_RUN)
    }
}

/// How a payload may succeed later.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Why it did not succeed now.
    pub code: Code,
    /// The system's own word on how long to wait.
    pub after: Option<Duration>,
    /// What to do differently.
    pub how: RetryMode,
}

/// What to do differently when a payload is sent again.
#[derive(Clone, Debug)]
pub enum RetryMode {
    /// Nothing.
    Same,
    /// Send it in smaller company: alone in the end, as long as some company settles something.
    SplitBatch,
    /// This record may be the cause: isolate it. Alone and more than once, while other records
    /// succeed, it is rejected for this reason.
    Isolate(Rejection),
    /// Once more, after every other record of the destination in the invocation has settled:
    /// another record may hold the value that this one wants. If it fails in such a way a second
    /// time, it is rejected for this reason.
    Last(Rejection),
    /// Once more and not again, with this body where one is given. If it fails in such a way a
    /// second time, it is rejected for this reason.
    OnceMore(Option<Body>, Rejection),
}

/// Why a whole call came to nothing. None of its payloads has an outcome.
#[derive(Clone, Debug)]
pub enum CallError {
    /// Not answered, or not now. Send the call again after a while; repeating is harmless, though
    /// it may have been carried out.
    Retry {
        /// What happened.
        code: Code,
        /// The system's own word on how long to wait.
        after: Option<Duration>,
        /// The system is short of breath (503, a timeout): send less at a time.
        pressure: bool,
        /// What may be the cause.
        cause: FailureCause,
    },
    /// The system is there, and wants less (429, 423, too many calls at once). Send the call again
    /// after a while, and less at a time.
    Throttled {
        /// Which limit was met.
        code: Code,
        /// The system's own word on how long to wait.
        after: Option<Duration>,
    },
    /// Something in the batch made the system refuse all of it, and nothing of it was written. Sent
    /// alone, the culprit is refused in the same way, or gets an outcome of its own; the others
    /// succeed.
    Refused {
        /// The reason; what a payload that is refused alone is rejected for.
        rejection: Rejection,
        /// The indexes of the payloads that the answer names, if it names any.
        suspects: Vec<usize>,
    },
    /// Nothing will succeed for now, whatever is sent: stop calling this destination.
    Stop(Stop),
}

/// What may be the cause of a call without a usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// The destination, or the way to it: no record's content reached it (no connection, no token,
    /// no secret, no time).
    Destination,
    /// The destination, or one record of the batch.
    Record,
    /// The destination, one record of the batch, or the number of its records: a smaller batch may
    /// pass at once.
    Size,
}

impl CallError {
    /// A call without a usable answer, for which no pause is asked.
    pub(crate) fn failed(code: impl Into<Code>, cause: FailureCause) -> Self {
        Self::Retry {
            code: code.into(),
            after: None,
            pressure: false,
            cause,
        }
    }

    /// The same error of a call that carried no record.
    pub(crate) fn without_records(self) -> Self {
        match self {
            Self::Retry {
                code,
                after,
                pressure,
                ..
            } => Self::Retry {
                code,
                after,
                pressure,
                cause: FailureCause::Destination,
            },
            other => other,
        }
    }

    /// Returns the same error of a part of a batch as an error of the whole; `part` holds the
    /// part's indexes in it.
    pub(crate) fn of_part(self, part: &[usize]) -> Self {
        match self {
            Self::Refused {
                rejection,
                suspects,
            } => {
                let suspects = suspects
                    .into_iter()
                    .filter_map(|index| part.get(index).copied())
                    .collect();
                Self::Refused {
                    rejection,
                    suspects,
                }
            }
            other => other,
        }
    }

    /// The destination's secret cannot be read, so that no call can be signed.
    pub(crate) fn secret_unreadable(error: &SecretError) -> Self {
        let remedy = format!("{}: {}", telemetry::chain(error), error.remedy());
        Self::Stop(Stop {
            cause: Cause::Credential,
            code: Code::new("SECRET_UNREADABLE"),
            remedy,
            after: None,
        })
    }

    /// What happened, in a word.
    pub fn code(&self) -> &Code {
        match self {
            Self::Retry { code, .. } | Self::Throttled { code, .. } => code,
            Self::Refused { rejection, .. } => &rejection.code,
            Self::Stop(stop) => &stop.code,
        }
    }
}

/// Why calls to a destination have to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    /// What kind of trouble it is.
    pub cause: Cause,
    /// What happened.
    pub code: Code,
    /// What the operator is to do about it, in a sentence without a contact's data.
    pub remedy: String,
    /// The system's own word on how long to wait.
    pub after: Option<Duration>,
}

/// What kind of trouble stops a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The day's calls, or the storage, are used up.
    Quota,
    /// The secret is refused, or cannot be read.
    Credential,
    /// The account, its permissions or our settings do not fit.
    Configuration,
    /// The system says that it is away for long.
    Unavailable,
}
