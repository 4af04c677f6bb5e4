//! Compares the payloads of a batch with the destination before the write. Payloads that are older
//! than the destination's version are left out; defaults are added to records that do not exist
//! yet; policies select the fields that are written. One look-up serves the whole batch, in the
//! same call as the write.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{DispatchContext, Job};
use crate::adapters::{Adapter, Call};
use crate::model::codes;
use crate::model::{
    Body, CallError, Code, Held, HeldRecord, Outcome, Payload, Reply, Retry, RetryMode,
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
    if compared.is_empty() {
        let batch: Vec<&Payload> = jobs.iter().map(|job| &job.payload).collect();
        let written = adapter.upsert(&batch, call).await?;
        let outcomes = jobs.iter_mut().zip(written);
        return Ok(outcomes
            .map(|(job, outcome)| leave_out(job, None, None, outcome))
            .collect());
    }
    let mut outcomes: Vec<Option<Outcome>> = vec![None; jobs.len()];
    let mut bodies: Vec<Option<Body>> = vec![None; jobs.len()];
    let mut records: Vec<Option<HeldRecord>> = vec![None; jobs.len()];
    let held = look_up(adapter, jobs, &compared, call)
        .await
        .map_err(|error| error.of_part(&compared))?;
    let mut held = held.into_iter();
    for at in compared {
        let decision = match held.next() {
            Some(Held::Unknown(outcome)) => Err(outcome),
            Some(Held::Nowhere) => decide(context, &mut jobs[at], None),
            Some(Held::Record(record)) => {
                let record = records[at].insert(record);
                decide(context, &mut jobs[at], Some(record))
            }
            None => Err(unanswered()),
        };
        match decision {
            Ok(body) => bodies[at] = body,
            Err(outcome) => outcomes[at] = Some(outcome),
        }
    }
    let remaining: Vec<usize> = (0..jobs.len())
        .filter(|at| outcomes[*at].is_none())
        .collect();
    if !remaining.is_empty() {
        let payloads: Vec<Cow<'_, Payload>> = remaining
            .iter()
            .map(|at| with_body(&jobs[*at].payload, bodies[*at].take()))
            .collect();
        let batch: Vec<&Payload> = payloads.iter().map(AsRef::as_ref).collect();
        let written = adapter
            .upsert(&batch, call)
            .await
            .map_err(|error| error.of_part(&remaining))?;
        let sent: Vec<Option<Body>> = payloads.into_iter().map(own_body).collect();
        for ((at, outcome), sent) in remaining.into_iter().zip(written).zip(sent) {
            let outcome = leave_out(&mut jobs[at], sent, records[at].as_ref(), outcome);
            outcomes[at] = Some(outcome);
        }
    }
    Ok(outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(unanswered))
        .collect())
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

/// Returns the body to write where it differs from the job's own.
///
/// # Errors
/// Returns the outcome of a job that is not written.
fn decide(
    context: DispatchContext<'_>,
    job: &mut Job,
    record: Option<&HeldRecord>,
) -> Result<Option<Body>, Outcome> {
    if let Some(record) = record
        && job.payload.guarded
        && !context.transformer.compare(job, record.version)
    {
        return Err(Outcome::Stale);
    }
    let payload = &job.payload;
    let Some(conditions) = &payload.conditions else {
        return Ok(with_defaults(payload, record.is_none()));
    };
    match policy::decide(payload, conditions, record) {
        Decision::Write(body) => Ok(Some(body)),
        Decision::NoChange => Err(Outcome::unchanged()),
        Decision::NoMatch => Err(Outcome::Skipped(Code::new(codes::NO_MATCH))),
        Decision::Exists => Err(Outcome::Skipped(Code::new(codes::EXISTS))),
    }
}

/// Returns the body with the defaults of a new record. A record that is created between look-up and
/// write gets them too: no system has an upsert that distinguishes the two cases.
fn with_defaults(payload: &Payload, is_new: bool) -> Option<Body> {
    match (&payload.body, &payload.if_new) {
        (Some(body), Some(defaults)) if is_new => Some(body.with_missing(defaults)),
        _ => None,
    }
}

/// Returns the payload with `body`, where one is given.
fn with_body(payload: &Payload, body: Option<Body>) -> Cow<'_, Payload> {
    match body {
        Some(body) => Cow::Owned(Payload {
            body: Some(body),
            ..payload.clone()
        }),
        None => Cow::Borrowed(payload),
    }
}

/// Returns the body that was made for the write.
fn own_body(payload: Cow<'_, Payload>) -> Option<Body> {
    match payload {
        Cow::Owned(payload) => payload.body,
        Cow::Borrowed(_) => None,
    }
}

/// Leaves the fields out of a job that is to be sent again without them: the payload becomes the
/// record to write, so that no second look-up is made. Rejects a job that does not have them.
/// `sent` is the body that was sent, and `held` the record that the look-up found.
fn leave_out(
    job: &mut Job,
    sent: Option<Body>,
    held: Option<&HeldRecord>,
    outcome: Outcome,
) -> Outcome {
    let Outcome::Retry(Retry {
        how: RetryMode::Without(fields, rejection),
        ..
    }) = &outcome
    else {
        return outcome;
    };
    let Some(sent) = sent.or_else(|| job.payload.body.clone()) else {
        return outcome;
    };
    let rest = sent.without(fields);
    if rest == sent {
        return Outcome::Rejected(rejection.clone());
    }
    let payload = job.payload.without(fields);
    let body = match &payload.conditions {
        None => Some(rest),
        // The hashes of the values have to be those of the fields that are left.
        Some(conditions) => match policy::decide(&payload, conditions, held) {
            Decision::Write(body) => Some(body),
            Decision::NoChange | Decision::NoMatch | Decision::Exists => payload.body.clone(),
        },
    };
    job.payload = Payload {
        body,
        if_new: None,
        conditions: None,
        guarded: false,
        ..payload
    };
    outcome
}

/// Returns the outcome of a payload for which the answer has no row.
fn unanswered() -> Outcome {
    Outcome::Retry(Retry {
        code: Code::new(codes::NO_RESULT),
        after: None,
        how: RetryMode::Same,
    })
}
