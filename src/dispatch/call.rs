//! One call of the adapter: waits until the call is allowed, makes it, and updates the
//! destination's state by the answer.

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

/// Pause after a rate-limit response without a time to wait.
const THROTTLED_PAUSE: Duration = Duration::from_secs(1);

/// Codes of calls that the deadline ended. These calls are no evidence about the destination.
const BY_DEADLINE: [&str; 3] = [
    codes::NOT_SENT_IN_TIME,
    codes::NO_PERMIT_IN_TIME,
    codes::CUT_BY_DEADLINE,
];

/// A finished call.
pub(super) struct Answered {
    pub(super) batch: Batch,
    /// The adapter's reply, or the reason why the call was not made.
    pub(super) reply: Result<Reply, Code>,
}

/// Makes a call, or returns the reason why it was not made. `to_come` is the number of calls that
/// follow, if it is known.
pub(super) async fn call(
    dispatcher: &ApiDispatcher,
    context: DispatchContext<'_>,
    limits: Limits,
    mut batch: Batch,
    to_come: Option<usize>,
) -> Answered {
    let requests = Requests::of(&batch, limits);
    let Some(dry_run) = &dispatcher.dry_run else {
        let reply = send_traced(dispatcher, context, requests.cost(to_come), &mut batch).await;
        return Answered { batch, reply };
    };
    let made = dry_run.requests_made(requests);
    let reply = if made.total() == 0 {
        Ok(Ok(DryRun::outcomes(&batch)))
    } else {
        send_traced(dispatcher, context, made.cost(to_come), &mut batch).await
    };
    if let Ok(reply) = &reply {
        dry_run.report(dispatcher.adapter.destination(), &batch, reply, requests);
    }
    Answered { batch, reply }
}

/// Makes a call within a span of its own, and counts it for its jobs.
async fn send_traced(
    dispatcher: &ApiDispatcher,
    context: DispatchContext<'_>,
    cost: RequestCost,
    batch: &mut Batch,
) -> Result<Reply, Code> {
    let attempt = 1 + batch.jobs.iter().map(|job| job.tries).max().unwrap_or(0);
    let span = traces::batch(
        dispatcher.adapter.destination(),
        batch.kind.name(),
        batch.jobs.len(),
        attempt,
    );
    let reply = send(dispatcher, context, cost, batch)
        .instrument(span.clone())
        .await;
    if let Some(code) = failure_code(&reply) {
        traces::failed(&span, code);
    }
    if reply.is_ok() {
        for job in &mut batch.jobs {
            job.calls += 1;
        }
    }
    reply
}

/// Returns the code of a call that failed or was not made.
fn failure_code(reply: &Result<Reply, Code>) -> Option<&Code> {
    match reply {
        Err(code) => Some(code),
        Ok(Err(error)) => Some(error.code()),
        Ok(Ok(_)) => None,
    }
}

/// Waits until a call may be made.
///
/// # Errors
/// Returns the reason if the circuit breaker or the rate limit does not allow the call in time.
async fn admit<'a>(
    dispatcher: &'a ApiDispatcher,
    context: DispatchContext<'_>,
    cost: RequestCost,
) -> Result<(Reservation<'a>, CallPermit<'a>), Code> {
    let ApiDispatcher { breaker, .. } = dispatcher;
    let latest = latest(context)?;
    loop {
        if let Err(code) = breaker.wait_until_ready(latest).await {
            context.metrics.met_open_breaker();
            return Err(code);
        }
        let reservation = permit(dispatcher, cost, latest, context.metrics).await?;
        // The breaker may have opened while this call waited for the rate limit.
        match breaker.permit() {
            Permit::Given(permit) => return Ok((reservation, permit)),
            Permit::Wait => reservation.give_back(),
            Permit::Refused(code) => {
                reservation.give_back();
                context.metrics.met_open_breaker();
                return Err(code);
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

async fn send(
    dispatcher: &ApiDispatcher,
    context: DispatchContext<'_>,
    cost: RequestCost,
    batch: &mut Batch,
) -> Result<Reply, Code> {
    let ApiDispatcher {
        adapter, breaker, ..
    } = dispatcher;
    let (reservation, call_permit) = admit(dispatcher, context, cost).await?;
    batch.successes = breaker.successes(batch.kind);
    let started = Instant::now();
    let latest = latest(context)?;
    let permits = CallPermits::new(dispatcher, cost, Some(reservation), latest, context.metrics);
    let dry_run = dispatcher.dry_run.is_some();
    let call = Call {
        give_up_at: context.deadline,
        metrics: context.metrics,
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
    // A call without a permit for its last request is no evidence about the destination.
    if let (Some(code), Ok(Err(_))) = (permits.end(), &answer) {
        return Err(code);
    }
    // Nor is a call that the deadline cut short.
    if let Ok(Err(CallError::Retry { code, .. })) = &answer
        && BY_DEADLINE.contains(&code.as_str())
    {
        return Err(code.clone());
    }
    let reply = match answer {
        Ok(reply) => reply,
        // The adapter panicked.
        Err(_) => Err(CallError::failed(
            codes::INTERNAL_ERROR,
            FailureCause::Record,
        )),
    };
    if failure_of(&reply).is_some_and(|failure| failure.cause != FailureCause::Destination) {
        for job in &mut batch.jobs {
            job.suspected_at.get_or_insert(batch.successes);
        }
    }
    update_state(dispatcher, context, call_permit, started, batch, &reply);
    Ok(reply)
}

/// Requests that the adapter makes for a batch.
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
            // The look-up of a delete returns the version as well.
            WriteKind::Delete => Self {
                lookups: limits.delete_calls.saturating_sub(1),
                writes: 1,
            },
        }
    }

    pub(super) fn total(self) -> u32 {
        self.lookups + self.writes
    }

    /// Returns the cost of this call and of the calls that follow.
    fn cost(self, to_come: Option<usize>) -> RequestCost {
        let requests = self.total();
        let calls = to_come.and_then(|calls| u32::try_from(calls + 1).ok());
        RequestCost {
            requests,
            total: calls.map_or(u32::MAX, |calls| calls.saturating_mul(requests)),
        }
    }
}

/// A call that failed as a whole.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    /// The wait that the destination asks for.
    pub(super) after: Option<Duration>,
    /// Whether the destination is overloaded.
    pub(super) pressure: bool,
    pub(super) cause: FailureCause,
}

/// Returns the failure of a call as a whole: the call has no usable answer, or every row of the
/// answer reports an internal error of the destination.
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
            let mut after = None;
            for outcome in outcomes {
                let fault = internal_error(outcome)?;
                after = after.max(fault.after);
            }
            let first = internal_error(outcomes.first()?)?;
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

/// Returns the retry of a row that reports an internal error of the destination.
fn internal_error(outcome: &Outcome) -> Option<&Retry> {
    match outcome {
        Outcome::Retry(
            retry @ Retry {
                how: RetryMode::Isolate(_),
                ..
            },
        ) => Some(retry),
        _ => None,
    }
}

/// Updates the breaker, the concurrency and the rate limit of the destination by an answer.
fn update_state(
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
        // A destination that names a time to wait is overloaded, independent of the error.
        if failure.pressure || failure.after.is_some() {
            concurrency.cut(started);
        }
        if failure.pressure
            && let Some(after) = failure.after
        {
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
            context.metrics.rate_limited();
            permit.answered(batch.kind, Answer::Throttled, failed_before(batch));
            concurrency.cut(started);
            let pause = after.unwrap_or(THROTTLED_PAUSE.min(retry.longest()));
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

/// Returns the number of failed calls with exactly the jobs of an answered batch. None of its
/// records was the cause.
fn failed_before(batch: &Batch) -> u32 {
    match batch.jobs.as_slice() {
        [job] => job.failures_alone.max(batch.failures_unchanged),
        _ => batch.failures_unchanged,
    }
}

/// Classifies the failure of a batch as evidence about the destination.
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
    context.metrics.met_open_breaker();
    tracing::error!(
        %destination, %code,
        "destination unavailable: calls are suspended, its records fail and are redelivered"
    );
}

fn log_stop(dispatcher: &ApiDispatcher, context: DispatchContext<'_>, stop: &Stop) {
    let destination = dispatcher.adapter.destination();
    context.metrics.stopped(stop.cause);
    tracing::error!(
        %destination, code = %stop.code, cause = ?stop.cause, remedy = stop.remedy,
        "destination stopped: its records fail and are redelivered"
    );
}
