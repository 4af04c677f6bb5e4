//! Compares the payloads of a batch with the destination before the write. Payloads that are older
//! than the destination's version are left out; defaults are added to records that do not exist
//! yet, and the columns that did not change; policies select the fields that are written. One
//! look-up serves the whole batch, in the same call as the write.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{DispatchContext, Job, salvage};
use crate::adapters::{Adapter, Call};
use crate::model::codes;
use crate::model::{
    Body, CallError, Code, Held, HeldRecord, MatchPolicy, Outcome, Payload, Reply, Retry,
    RetryMode, WholeRow,
};
use crate::policy::{self, Decision};

/// Writes the jobs that are not older than the destination's version. Returns an outcome for each
/// job.
pub(super) async fn upsert(
    adapter: &dyn Adapter,
    context: DispatchContext<'_>,
    jobs: &mut [Job],
    call: Call<'_>,
) -> Reply {
    let compared: Vec<usize> = (0..jobs.len())
        .filter(|at| jobs[*at].payload.is_looked_up())
        .collect();
    let mut comparison = Comparison::new(jobs.len());
    if !compared.is_empty() {
        let held = look_up(adapter, jobs, &compared, call)
            .await
            .map_err(|error| error.of_part(&compared))?;
        let mut held = held.into_iter();
        for at in compared {
            comparison.decide(at, context, &mut jobs[at], held.next());
        }
    }
    comparison.write(adapter, context, jobs, call).await
}

/// The state of a batch between its look-up and its write, by job.
struct Comparison {
    outcomes: Vec<Option<Outcome>>,
    /// Bodies to write where they differ from the jobs' own.
    bodies: Vec<Option<Body>>,
    /// Records that the look-up found.
    records: Vec<Option<HeldRecord>>,
}

impl Comparison {
    fn new(jobs: usize) -> Self {
        Self {
            outcomes: vec![None; jobs],
            bodies: vec![None; jobs],
            records: vec![None; jobs],
        }
    }

    /// Decides on the job at `at` by the answer of the look-up.
    fn decide(
        &mut self,
        at: usize,
        context: DispatchContext<'_>,
        job: &mut Job,
        held: Option<Held>,
    ) {
        let decision = match held {
            Some(Held::Unknown(outcome)) => Decided::Settle(outcome),
            Some(Held::Nowhere) => decide(context, job, None),
            Some(Held::Record(record)) => {
                decide(context, job, Some(self.records[at].insert(record)))
            }
            None => Decided::Settle(unanswered()),
        };
        match decision {
            Decided::Write(body) => self.bodies[at] = body,
            Decided::Settle(outcome) => self.outcomes[at] = Some(outcome),
        }
    }

    /// Writes the jobs without an outcome. Returns an outcome for each job.
    async fn write(
        mut self,
        adapter: &dyn Adapter,
        context: DispatchContext<'_>,
        jobs: &mut [Job],
        call: Call<'_>,
    ) -> Reply {
        let remaining: Vec<usize> = (0..jobs.len())
            .filter(|at| self.outcomes[*at].is_none())
            .collect();
        if !remaining.is_empty() {
            let payloads: Vec<Cow<'_, Payload>> = remaining
                .iter()
                .map(|at| {
                    let is_new = self.records[*at].is_none();
                    with_body(&jobs[*at].payload, self.bodies[*at].take(), is_new)
                })
                .collect();
            let batch: Vec<&Payload> = payloads.iter().map(AsRef::as_ref).collect();
            let written = adapter
                .upsert(&batch, call)
                .await
                .map_err(|error| error.of_part(&remaining))?;
            let sent: Vec<Option<Body>> = payloads.into_iter().map(own_body).collect();
            for ((at, outcome), sent) in remaining.into_iter().zip(written).zip(sent) {
                let record = self.records[at].as_ref();
                let outcome = salvage::leave_out(context, &mut jobs[at], sent, record, outcome);
                self.outcomes[at] = Some(outcome);
            }
        }
        let outcomes = self.outcomes.into_iter();
        Ok(outcomes
            .map(|outcome| outcome.unwrap_or_else(unanswered))
            .collect())
    }
}

async fn look_up(
    adapter: &dyn Adapter,
    jobs: &[Job],
    compared: &[usize],
    call: Call<'_>,
) -> Result<Vec<Held>, CallError> {
    let batch: Vec<&Payload> = compared.iter().map(|at| &jobs[*at].payload).collect();
    let fields: BTreeSet<String> = batch
        .iter()
        .flat_map(|payload| policy::fields_read(payload))
        .collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    adapter.held(&batch, &fields, call).await
}

/// The decision on one job.
enum Decided {
    /// It is written, with this body where it differs from the job's own.
    Write(Option<Body>),
    /// It is not written, and has this outcome.
    Settle(Outcome),
}

/// Decides on a job by the record that the look-up found; `None` where there is none.
fn decide(context: DispatchContext<'_>, job: &mut Job, record: Option<&HeldRecord>) -> Decided {
    if let Some(record) = record
        && job.payload.guarded
        && !context.transformer.compare(job, record.version)
    {
        return Decided::Settle(Outcome::Stale);
    }
    let is_new = record.is_none();
    let payload = match &job.payload.whole {
        Some(WholeRow::Payload(whole)) if is_new => {
            job.left_out.clone_from(&whole.left_out);
            &whole.payload
        }
        Some(WholeRow::Rejected(rejection)) if is_new && !is_update_only(&job.payload) => {
            return Decided::Settle(Outcome::Rejected((**rejection).clone()));
        }
        _ => &job.payload,
    };
    let Some(conditions) = &payload.conditions else {
        return Decided::Write(if is_new { of_new(payload) } else { None });
    };
    match policy::decide(payload, conditions, record) {
        Decision::Write(body) => {
            if conditions.matching == MatchPolicy::UpdateOnly {
                job.payload.record = record.and_then(|record| record.id.clone());
            }
            Decided::Write(Some(body))
        }
        Decision::NoChange => Decided::Settle(Outcome::unchanged()),
        Decision::NoMatch => Decided::Settle(Outcome::Skipped(Code::new(codes::NO_MATCH))),
        Decision::Exists => Decided::Settle(Outcome::Skipped(Code::new(codes::EXISTS))),
    }
}

fn is_update_only(payload: &Payload) -> bool {
    match &payload.conditions {
        Some(conditions) => conditions.matching == MatchPolicy::UpdateOnly,
        None => false,
    }
}

/// Returns the body of a new record, with its defaults. A record that is created between look-up
/// and write gets them too: no system has an upsert that distinguishes the two cases.
pub(super) fn of_new(payload: &Payload) -> Option<Body> {
    let body = payload.body.as_ref()?;
    Some(match &payload.if_new {
        Some(defaults) => body.with_missing(defaults),
        None => body.clone(),
    })
}

/// Returns the payload with `body`, where one is given. That of a new record is whole.
fn with_body(payload: &Payload, body: Option<Body>, is_new: bool) -> Cow<'_, Payload> {
    let Some(body) = body else {
        return Cow::Borrowed(payload);
    };
    let mut payload = payload.clone();
    payload.body = Some(body);
    if is_new {
        payload.whole = None;
    }
    Cow::Owned(payload)
}

/// Returns the body that was made for the write.
fn own_body(payload: Cow<'_, Payload>) -> Option<Body> {
    match payload {
        Cow::Owned(payload) => payload.body,
        Cow::Borrowed(_) => None,
    }
}

/// Returns the outcome of a payload for which the answer has no row.
fn unanswered() -> Outcome {
    Outcome::Retry(Retry {
        code: Code::new(codes::NO_RESULT),
        after: None,
        how: RetryMode::Same,
    })
}
