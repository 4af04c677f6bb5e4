//! The external systems: the trait that each implements, and the context of its calls.
//!
//! An adapter tries once and reports an outcome for each payload. Waiting, retrying and giving up
//! are `dispatch`'s. A new system is one folder beside `salesforce` and `hubspot`, with its section
//! of the settings, and one entry in [`REGISTRY`]; it starts by passing the adapter contract suite
//! (`tests/contract/adapters.rs`).

mod constant;
pub mod doctor;
mod errors;
mod folding;
pub mod http;
pub mod hubspot;
mod json_object;
mod mapping_check;
mod misconfigured;
mod normalise;
mod permits;
mod registry;
pub mod salesforce;
pub mod section_checks;
mod system;
mod text_fit;
mod version;

use std::time::Duration;

pub use constant::Constant;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
pub use normalise::{CountryForm, Normalise, PhoneForm, StateForm};
pub use permits::{Permit, Permits, Unlimited};
pub use registry::{DESTINATIONS, REGISTRY};
pub use system::{
    AdapterSpec, AnySettings, ParseError, Registry, Section, Sections, System, SystemSettings,
    parse_section, section_schema,
};
use tokio::time::Instant;

use self::doctor::Check;
use crate::model::codes;
use crate::model::limits::{Limits, Quota};
use crate::model::{
    CallError, Cause, Code, ContactChange, Destination, Held, Payload, RefusedValue, Reply, Stop,
    Transformed,
};
use crate::secrets::SecretError;
use crate::telemetry::{self, DestinationMetrics};

/// One external system.
pub trait Adapter: Send + Sync {
    /// Returns the name that routes use.
    fn destination(&self) -> Destination;

    /// Returns the largest batch of one call, and its number of API calls.
    fn limits(&self) -> Limits;

    /// Transforms the changes of one contact, in order and with no delete among them, into one
    /// record of this system. The record equals the result of writing the changes one by one. A
    /// change that can never be written is left out and named.
    fn transform(&self, changes: &[&ContactChange]) -> Transformed;

    /// Transforms the changes without the values that the system has refused. The record equals the
    /// result of writing the changes one by one, each without its refused values. A system without
    /// [`RetryMode::Without`](crate::model::RetryMode::Without) does not implement it.
    fn transform_without(
        &self,
        changes: &[&ContactChange],
        _refused: &[RefusedValue],
    ) -> Transformed {
        self.transform(changes)
    }

    /// Opens a connection and gets the credentials that the first call needs, before there are
    /// records. Writes nothing. A failure changes nothing: the first call meets it again. A system
    /// in memory does not implement it.
    fn prepare<'a>(&'a self, _call: Call<'a>) -> BoxFuture<'a, ()> {
        future::ready(()).boxed()
    }

    /// Looks up the records that the destination holds of a batch, by the payloads' ids and under
    /// the rules of [`Self::upsert`]: their versions, and the values of `fields`. The answer is in
    /// the payloads' order. A system without versions and policies, which gets no payload that is
    /// looked up, does not implement it.
    fn held<'a>(
        &'a self,
        batch: &'a [&'a Payload],
        _fields: &'a [&'a str],
        _call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        future::ready(Ok(vec![Held::Nowhere; batch.len()])).boxed()
    }

    /// Writes a batch, guarded or not: versions are compared before. The batch is not empty, not
    /// over [`Limits::upsert`], and names no contact twice. The answer holds one outcome per
    /// payload, in their order.
    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply>;

    /// Deletes a batch, under the same rules, with [`Limits::delete`]. Compares the versions of
    /// guarded payloads with those that its own look-up finds. A record that does not exist counts
    /// as delivered.
    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply>;

    /// Checks everything that a delivery needs, for the operator's command `doctor`. Writes
    /// nothing. A system without an account does not implement it.
    fn examine<'a>(&'a self, _call: Call<'a>) -> BoxFuture<'a, Vec<Check>> {
        future::ready(Vec::new()).boxed()
    }

    /// Compares the mapping in the settings with the fields of the account, for the operator's
    /// command `settings --check`. Writes nothing. A system that does not describe its fields does
    /// not implement it.
    ///
    /// # Errors
    /// Returns the failed check because of which the fields are not known.
    fn compare_mapping<'a>(&'a self, _call: Call<'a>) -> BoxFuture<'a, Result<Vec<Check>, Check>> {
        future::ready(Ok(Vec::new())).boxed()
    }
}

/// The shortest time that a request needs: with less left, none is sent.
pub const SHORTEST_CALL: Duration = Duration::from_millis(50);

/// The context of one call of an adapter: its time, permits and counters.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The call must have ended by then.
    pub give_up_at: Instant,
    /// Counts calls, errors and latencies, and takes the quota that the system reports.
    pub metrics: &'a DestinationMetrics,
    /// Each request waits for a permit of its own.
    pub permits: &'a dyn Permits,
    /// Do everything but the write: make the look-ups that precede it, and answer
    /// [`Outcome::dry_run`](crate::model::Outcome::dry_run) for every payload that would be in it.
    pub dry_run: bool,
}

impl Call<'_> {
    /// Takes note of the quota that an answer reports.
    pub(crate) fn note_quota(self, quota: Quota) {
        self.metrics.note_quota(quota);
        self.permits.learn(quota);
    }
}

/// Returns the error of a call that cannot be signed, because the destination's secret cannot be
/// read.
pub(crate) fn secret_unreadable(error: &SecretError) -> CallError {
    let remedy = format!("{}: {}", telemetry::chain(error), error.remedy());
    CallError::Stop(Stop {
        cause: Cause::Credential,
        code: Code::new(codes::SECRET_UNREADABLE),
        remedy,
        after: None,
    })
}
