//! Compares the payloads of a batch with the destination before the write. Payloads that are older
//! than the destination's version are left out; defaults are added to records that do not exist
//! yet. One look-up serves the whole batch, in the same call as the write.

use std::borrow::Cow;

use super::{DispatchContext, Job};
use crate::adapters::{Adapter, Call};
use crate::model::codes;
use crate::model::{CallError, Code, Held, Outcome, Payload, Reply, Retry, RetryMode};

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
        return adapter.upsert(&batch, call).await;
    }
    let mut outcomes: Vec<Option<Outcome>> = vec![None; jobs.len()];
    let mut is_new = vec![false; jobs.len()];
    let held = look_up(adapter, jobs, &compared, call)
        .await
        .map_err(|error| error.of_part(&compared))?;
    let mut held = held.into_iter();
    for at in compared {
        outcomes[at] = match held.next() {
            Some(Held::Record(version)) => outdated(context, &mut jobs[at], version),
            Some(Held::Nowhere) => {
                is_new[at] = true;
                None
            }
            Some(Held::Unknown(outcome)) => Some(outcome),
            None => Some(unanswered()),
        };
    }
    let remaining: Vec<usize> = (0..jobs.len())
        .filter(|at| outcomes[*at].is_none())
        .collect();
    if !remaining.is_empty() {
        let payloads: Vec<Cow<'_, Payload>> = remaining
            .iter()
            .map(|at| with_defaults(&jobs[*at].payload, is_new[*at]))
            .collect();
        let batch: Vec<&Payload> = payloads.iter().map(AsRef::as_ref).collect();
        let written = adapter
            .upsert(&batch, call)
            .await
            .map_err(|error| error.of_part(&remaining))?;
        for (at, outcome) in remaining.into_iter().zip(written) {
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
    adapter.held(&batch, call).await
}

/// Removes the changes of a guarded job that are older than `version`. Returns the outcome of the
/// job if no change is left.
fn outdated(context: DispatchContext<'_>, job: &mut Job, version: Option<u64>) -> Option<Outcome> {
    let is_written = !job.payload.guarded || context.transformer.compare(job, version);
    if is_written {
        None
    } else {
        Some(Outcome::Stale)
    }
}

/// Adds the defaults of a new record. A record that is created between look-up and write gets them
/// too: no system has an upsert that distinguishes the two cases.
fn with_defaults(payload: &Payload, is_new: bool) -> Cow<'_, Payload> {
    match (&payload.body, &payload.if_new) {
        (Some(body), Some(defaults)) if is_new => Cow::Owned(Payload {
            body: Some(body.with_missing(defaults)),
            ..payload.clone()
        }),
        _ => Cow::Borrowed(payload),
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
