//! One call of the adapter: whether it may be made, when, and what its answer tells about the
//! destination.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::batch::Batch;
use super::breaker::{Answer, CallPermit, Evidence, LONGEST_ASKED, Permit};
use super::permits::{CallPermits, permit};
use super::rate_limit::{RequestCost, Reservation};
use super::{ApiDispatcher, DispatchContext, DryRun, WriteKind, compare};
use crate::adapters::{Call, SHORTEST_CALL};
use crate::model::codes;
use crate::model::limits::Limits;
use crate::model::{
    CallError, Code, FailureCause, Outcome, Payload, Reply, Retry, RetryMode, Stop,
};
use crate::telemetry::traces;

/// The pause after an answer that asks for less and does not say for how long.
const PAUSE_OF_THE_THROTTLED: Duration = Duration::from_secs(1);

/// The codes of calls that the deadline ended. They say nothing of the destination.
const BY_DEADLINE: [&str; 3] = [
    codes::NOT_SENT_IN_TIME,
    codes::NO_PERMIT_IN_TIME,
    codes::CUT_BY_DEADLINE,
];

/// A call that has come to an end.
pub(super) struct Answered {
    pub(super) batch: Batch,
    /// `Err` where the call was not made.
    pub(super) reply: Result<Reply, Code>,
}

/// Makes the call, or says why not. `to_come` calls follow it, as far as is known.
pub(super) async fn call(
    dispatcher: &ApiDispatcher,
    context: DispatchContext<'_>,
    limits: Limits,
    mut batch: Batch,
    to_come: Option<usize>,
) -> Answered {
    let requests = Requests::of(&batch, limits);
    let made = dispatcher
        .dry_run
        .as_ref()
        .map_or(requests, |dry_run| dry_run.made(requests));
    let reply = if dispatcher.dry_run.is_some() && made.in_all() == 0 {
        Ok(Ok(DryRun::unasked(&batch)))
    } else {
        asked(dispatcher, context, made.need(to_come), &mut batch).await
    };
    if let (Some(dry_run), Ok(reply)) = (&dispatcher.dry_run, &reply) {
        dry_run.tell(dispatcher.adapter.destination(), &batch, reply, requests);
    }
    Answered { batch, reply }
}

async fn asked(
    dispatcher: &ApiDispatcher,
    context: DispatchContext<'_>,
    need: RequestCost,
    batch: &mut Batch,
) -> Result<Reply, Code> {
    let attempt = 1 + batch.jobs.iter().map(|job| job.tries).max().unwrap_or(0);
    let span = traces::batch(
        dispatcher.adapter.destination(),
        batch.kind.name(),
        batch.jobs.len(),
        attempt,
    );
    let reply = reply(dispatcher, context, need, batch)
        .instrument(span.clone())
        .await;
    if let Some(code) = code_of(&reply) {
        traces::failed(&span, code);
    }
    if reply.is_ok() {
        for job in &mut batch.jobs {
            job.calls += 1;
        }
    }
    reply
}

/// Why a call came to nothing, if it did.
fn code_of(reply: &Result<Reply, Code>) -> Option<&Code> {
    match reply {
        Err(code) => Some(code),
        Ok(Err(error)) => Some(error.code()),
        Ok(Ok(_)) => None,
    }
}

/// Waits until a call may be made, or says why it may not.
async fn admission<'a>(
    dispatcher: &'a ApiDispatcher,
    context: DispatchContext<'_>,
    need: RequestCost,
) -> Result<(Reservation<'a>, CallPermit<'a>), Code> {
    let ApiDispatcher { breaker, .. } = dispatcher;
    let refused = |code: Code| {
        context.meter.met_open_breaker();
        code
    };
    let latest = latest(context)?;
    loop {
        breaker.wait_until_ready(latest).await.map_err(refused)?;
        let places = permit(dispatcher, need, latest, context.meter).await?;
        // Only now: much may have been learnt while this call waited for its turn.
        match breaker.permit() {
            Permit::Given(pass) => return Ok((places, pass)),
            Permit::Wait => places.give_back(),
            Permit::Refused(code) => {
                places.give_back();
                return Err(refused(code));
            }
        }
    }
}

/// Returns the latest time at which a request is worth sending.
fn latest(context: DispatchContext<'_>) -> Result<Instant, Code> {
    context
        .deadline
        .checked_sub(SHORTEST_CALL)
        .ok_or(Code::new(codes::NOT_SENT_IN_TIME))
}

async fn reply(
    dispatcher: &ApiDispatcher,
    context: DispatchContext<'_>,
    need: RequestCost,
    batch: &mut Batch,
) -> Result<Reply, Code> {
    let ApiDispatcher {
        adapter, breaker, ..
    } = dispatcher;
    let (places, pass) = admission(dispatcher, context, need).await?;
    batch.successes = breaker.successes(batch.kind);
    let started = Instant::now();
    let permits = CallPermits::new(dispatcher, need, places, latest(context)?, context.meter);
    let dry_run = dispatcher.dry_run.is_some();
    let call = Call {
        give_up_at: context.deadline,
        meter: context.meter,
        permits: &permits,
        dry_run,
    };
    let answer = async {
        match batch.kind {
            WriteKind::Upsert => compare::upsert(&**adapter, context, &mut batch.jobs, call).await,
            WriteKind::Delete => {
                let payloads: Vec<&Payload> = batch.jobs.iter().map(|job| &job.payload).collect();
                adapter.delete(&payloads, call).await
            }
        }
    };
    let answer = AssertUnwindSafe(answer).catch_unwind().await;
    // A call without a permit for its last request tells nothing of the destination.
    if let (Some(code), Ok(Err(_))) = (permits.end(), &answer) {
        return Err(code);
    }
    // The call was cut short: that says nothing of the destination either.
    if let Ok(Err(CallError::Retry { code, .. })) = &answer
        && BY_DEADLINE.contains(&code.as_str())
    {
        return Err(code.clone());
    }
    let internal = || {
        Err(CallError::failed(
            codes::INTERNAL_ERROR,
            FailureCause::Record,
        ))
    };
    let reply = answer.unwrap_or_else(|_| internal());
    if failure_of(&reply).is_some_and(|failure| failure.cause != FailureCause::Destination) {
        for job in &mut batch.jobs {
            job.suspected_at.get_or_insert(batch.successes);
        }
    }
    learn(dispatcher, context, pass, started, batch, &reply);
    Ok(reply)
}

/// The requests that the adapter makes of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests {
    pub(super) lookups: u32,
    pub(super) writes: u32,
}

impl Requests {
    fn of(batch: &Batch, limits: Limits) -> Self {
        match batch.kind {
            WriteKind::Upsert => {
                let lookups = u32::from(batch.jobs.iter().any(|job| job.payload.is_looked_up()));
                Self {
                    lookups,
                    writes: limits.upsert_calls,
                }
            }
            // Its look-up brings the version along.
            WriteKind::Delete => Self {
                lookups: limits.delete_calls.saturating_sub(1),
                writes: 1,
            },
        }
    }

    pub(super) fn in_all(self) -> u32 {
        self.lookups + self.writes
    }

    /// The same, and those of the calls after it.
    fn need(self, to_come: Option<usize>) -> RequestCost {
        let requests = self.in_all();
        let calls = to_come.and_then(|calls| u32::try_from(calls + 1).ok());
        RequestCost {
            requests,
            in_all: calls.map_or(u32::MAX, |calls| calls.saturating_mul(requests)),
        }
    }
}

/// A call that failed as a whole.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    /// The system's own word on how long to wait.
    pub(super) after: Option<Duration>,
    /// The system wants less at a time.
    pub(super) pressure: bool,
    pub(super) cause: FailureCause,
}

/// Returns the failure of a call as a whole: it has no usable answer, or an answer in which every
/// row met a fault of the system's own.
pub(super) fn failure_of(reply: &Reply) -> Option<Failure> {
    match reply {
        Err(CallError::Retry {
            code,
            after,
            pressure,
            cause,
        }) => Some(Failure {
            code: code.clone(),
            after: *after,
            pressure: *pressure,
            cause: *cause,
        }),
        Ok(outcomes) => {
            let faults = outcomes.iter().map_while(|outcome| match outcome {
                Outcome::Retry(
                    retry @ Retry {
                        how: RetryMode::Isolate(_),
                        ..
                    },
                ) => Some(retry),
                _ => None,
            });
            let faults: Vec<&Retry> = faults.collect();
            let first = faults.first().filter(|_| faults.len() == outcomes.len())?;
            let after = faults.iter().filter_map(|fault| fault.after).max();
            Some(Failure {
                code: first.code.clone(),
                after,
                pressure: false,
                cause: FailureCause::Record,
            })
        }
        Err(_) => None,
    }
}

/// Takes over what an answer says about the destination, whichever records it was about.
fn learn(
    dispatcher: &ApiDispatcher,
    context: DispatchContext<'_>,
    permit: CallPermit<'_>,
    started: Instant,
    batch: &Batch,
    reply: &Reply,
) {
    let ApiDispatcher {
        concurrency,
        rate_limiter,
        retry,
        ..
    } = dispatcher;
    if let Some(failure) = failure_of(reply) {
        // A system that names a time to wait has too much to do, whatever the reason.
        if failure.pressure || failure.after.is_some() {
            concurrency.cut(started);
        }
        if let Some(after) = failure.after.filter(|_| failure.pressure) {
            rate_limiter.pause(after.min(LONGEST_ASKED));
        }
        if permit.failed(batch.kind, &failure.code, evidence(batch, failure.cause)) {
            log_unavailable(dispatcher, context, &failure.code);
        }
        return;
    }
    match reply {
        Err(CallError::Stop(stop)) => {
            if permit.stop(stop) {
                log_stop(dispatcher, context, stop);
            }
        }
        Err(CallError::Throttled { after, .. }) => {
            context.meter.rate_limited();
            permit.answered(batch.kind, Answer::Throttled, failed_before(batch));
            concurrency.cut(started);
            let pause = after.unwrap_or(PAUSE_OF_THE_THROTTLED.min(retry.longest()));
            rate_limiter.pause(pause.min(LONGEST_ASKED));
        }
        Ok(_) | Err(CallError::Refused { .. } | CallError::Retry { .. }) => {
            let is_written = reply
                .as_ref()
                .is_ok_and(|outcomes| outcomes.iter().any(Outcome::is_written));
            let answer = if is_written {
                Answer::Written
            } else {
                Answer::Unwritten
            };
            permit.answered(batch.kind, answer, failed_before(batch));
            concurrency.grow();
        }
    }
}

/// Returns how many calls of this very batch failed: none of its records was the cause.
fn failed_before(batch: &Batch) -> u32 {
    match batch.jobs.as_slice() {
        [job] => job.failures_alone.max(batch.failures_unchanged),
        _ => batch.failures_unchanged,
    }
}

/// Returns what the failure of a batch says about the destination.
fn evidence(batch: &Batch, cause: FailureCause) -> Evidence<'_> {
    match batch.jobs.as_slice() {
        _ if cause == FailureCause::Destination => Evidence::Unsent,
        [job] => Evidence::Record {
            key: job.payload.id.key(),
            since: job.suspected_at.unwrap_or(0),
        },
        _ => Evidence::Batch,
    }
}

fn log_unavailable(dispatcher: &ApiDispatcher, context: DispatchContext<'_>, code: &Code) {
    let destination = dispatcher.adapter.destination();
    context.meter.met_open_breaker();
    tracing::error!(
        %destination, %code,
        "destination unavailable: no calls for a while, its records fail and come again"
    );
}

fn log_stop(dispatcher: &ApiDispatcher, context: DispatchContext<'_>, stop: &Stop) {
    let destination = dispatcher.adapter.destination();
    context.meter.stopped(stop.cause);
    tracing::error!(
        %destination, code = %stop.code, cause = ?stop.cause, remedy = stop.remedy,
        "destination stopped: its records fail and come again"
    );
}
