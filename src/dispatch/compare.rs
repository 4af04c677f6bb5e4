//! Looks up the payloads of a batch that have to be looked up, and decides by the answer what is
//! written: what is older than the destination's version is left out, and defaults are added where
//! the record does not exist yet. One look-up a batch, in the same call as the write.

use std::borrow::Cow;

use super::{DispatchContext, Job};
use crate::adapters::{Adapter, Call};
use crate::model::codes;
use crate::model::{CallError, Code, Held, Outcome, Payload, Reply, Retry, RetryMode};

/// Writes the jobs that are not older than what the destination holds. Returns an outcome for each.
pub(super) async fn upsert(
    adapter: &dyn Adapter,
    context: DispatchContext<'_>,
    jobs: &mut [Job],
    call: Call<'_>,
) -> Reply {
    let asked: Vec<usize> = (0..jobs.len())
        .filter(|at| jobs[*at].payload.is_looked_up())
        .collect();
    if asked.is_empty() {
        let batch: Vec<&Payload> = jobs.iter().map(|job| &job.payload).collect();
        return adapter.upsert(&batch, call).await;
    }
    let mut outcomes: Vec<Option<Outcome>> = vec![None; jobs.len()];
    let mut is_new = vec![false; jobs.len()];
    let held = held(adapter, jobs, &asked, call)
        .await
        .map_err(|error| error.of_part(&asked))?;
    let mut held = held.into_iter();
    for at in asked {
        outcomes[at] = match held.next() {
            Some(Held::Record(version)) => stale(context, &mut jobs[at], version),
            Some(Held::Nowhere) => {
                is_new[at] = true;
                None
            }
            Some(Held::Unknown(outcome)) => Some(outcome),
            None => Some(unanswered()),
        };
    }
    let open: Vec<usize> = (0..jobs.len())
        .filter(|at| outcomes[*at].is_none())
        .collect();
    if !open.is_empty() {
        let whole: Vec<Cow<'_, Payload>> = open
            .iter()
            .map(|at| whole(&jobs[*at].payload, is_new[*at]))
            .collect();
        let batch: Vec<&Payload> = whole.iter().map(AsRef::as_ref).collect();
        let written = adapter
            .upsert(&batch, call)
            .await
            .map_err(|error| error.of_part(&open))?;
        for (at, outcome) in open.into_iter().zip(written) {
            outcomes[at] = Some(outcome);
        }
    }
    Ok(outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(unanswered))
        .collect())
}

async fn held(
    adapter: &dyn Adapter,
    jobs: &[Job],
    asked: &[usize],
    call: Call<'_>,
) -> Result<Vec<Held>, CallError> {
    let batch: Vec<&Payload> = asked.iter().map(|at| &jobs[*at].payload).collect();
    adapter.held(&batch, call).await
}

/// Takes out of a guarded job what is older than `version`. Returns its outcome where nothing is
/// left.
fn stale(context: DispatchContext<'_>, job: &mut Job, version: Option<u64>) -> Option<Outcome> {
    let is_written = !job.payload.guarded || context.transformer.compare(job, version);
    if is_written {
        None
    } else {
        Some(Outcome::Stale)
    }
}

/// Adds the defaults of a new record. A record that someone makes between look-up and write gets
/// them, too: no system has an upsert that tells the two apart.
fn whole(payload: &Payload, is_new: bool) -> Cow<'_, Payload> {
    match (&payload.body, &payload.if_new) {
        (Some(body), Some(defaults)) if is_new => Cow::Owned(Payload {
            body: Some(body.with_missing(defaults)),
            ..payload.clone()
        }),
        _ => Cow::Borrowed(payload),
    }
}

/// An answer with fewer parts than payloads says nothing of the others.
fn unanswered() -> Outcome {
    Outcome::Retry(Retry {
        code: Code::new(codes::NO_RESULT),
        after: None,
        how: RetryMode::Same,
    })
}
