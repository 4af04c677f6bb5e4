//! One call of the adapter: whether it may be made, when, and what its answer tells about the destination.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::batch::Unit;
use super::breaker::{LONGEST_ASKED, Pass, Permit};
use super::rate_limit::{Need, Places};
use super::{ApiDispatcher, DryRun, Errand, Kind};
use crate::adapters::{Call, CallError, Code, FailureCause, Limits, Payload, Reply, SHORTEST_CALL, Stop};
use crate::telemetry::traces;

/// The pause after an answer that asks for less and does not say for how long.
const PAUSE_OF_THE_THROTTLED: Duration = Duration::from_secs(1);

/// A call that has come to an end.
pub(super) struct Answered {
    pub(super) unit: Unit,
    /// `Err` where the call was not made.
    pub(super) reply: Result<Reply, Code>,
}

/// Makes the call, or says why not. `to_come` calls follow it, as far as is known.
pub(super) async fn call(
    dispatcher: &ApiDispatcher,
    errand: Errand<'_>,
    limits: Limits,
    mut unit: Unit,
    to_come: Option<usize>,
) -> Answered {
    let requests = Requests::of(&unit, limits);
    let made = dispatcher.dry_run.as_ref().map_or(requests, |dry_run| dry_run.made(requests));
    let reply = if dispatcher.dry_run.is_some() && made.in_all() == 0 {
        Ok(Ok(DryRun::unasked(&unit)))
    } else {
        asked(dispatcher, errand, made.need(to_come), &mut unit).await
    };
    if let (Some(dry_run), Ok(reply)) = (&dispatcher.dry_run, &reply) {
        dry_run.tell(dispatcher.adapter.destination(), &unit, reply, requests);
    }
    Answered { unit, reply }
}

async fn asked(dispatcher: &ApiDispatcher, errand: Errand<'_>, need: Need, unit: &mut Unit) -> Result<Reply, Code> {
    let attempt = 1 + unit.jobs.iter().map(|job| job.tries).max().unwrap_or(0);
    let span = traces::batch(dispatcher.adapter.destination(), unit.kind.name(), unit.jobs.len(), attempt);
    let reply = reply(dispatcher, errand, need, unit).instrument(span.clone()).await;
    if let Some(code) = code_of(&reply) {
        traces::failed(&span, code);
    }
    if reply.is_ok() {
        unit.jobs.iter_mut().for_each(|job| job.calls += 1);
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
    errand: Errand<'_>,
    need: Need,
) -> Result<(Places<'a>, Pass<'a>), Code> {
    let ApiDispatcher { breaker, rate_limiter, retry, .. } = dispatcher;
    let refused = |code: Code| {
        errand.meter.met_open_breaker();
        code
    };
    let out_of_time = || Code::new("OUT_OF_TIME");
    let latest = errand.deadline.checked_sub(SHORTEST_CALL).ok_or_else(out_of_time)?;
    loop {
        breaker.hope(latest).await.map_err(refused)?;
        let places = tokio::select! {
            biased;
            () = rate_limiter.paused_beyond(retry.longest()) => return Err(Code::new("ASKED_TO_WAIT")),
            places = rate_limiter.acquire(need, latest, errand.meter) => places.ok_or_else(out_of_time)?,
        };
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

async fn reply(dispatcher: &ApiDispatcher, errand: Errand<'_>, need: Need, unit: &Unit) -> Result<Reply, Code> {
    let ApiDispatcher { adapter, rate_limiter, .. } = dispatcher;
    let batch: Vec<&Payload> = unit.jobs.iter().map(|job| &job.payload).collect();
    let (places, pass) = admission(dispatcher, errand, need).await?;
    errand.meter.allow_calls(need.requests);
    let started = Instant::now();
    let call = Call { give_up_at: errand.deadline, meter: errand.meter, dry_run: dispatcher.dry_run.is_some() };
    let answer = match unit.kind {
        Kind::Upsert => adapter.upsert(&batch, call),
        Kind::Delete => adapter.delete(&batch, call),
    };
    let answer = AssertUnwindSafe(answer).catch_unwind().await;
    drop(places);
    rate_limiter.note_extra(errand.meter.calls_beyond_allowed());
    let internal = || Err(CallError::failed("INTERNAL_ERROR", FailureCause::Record));
    let reply = answer.unwrap_or_else(|_| internal());
    learn(dispatcher, errand, pass, started, &reply);
    Ok(reply)
}

/// The requests that the adapter makes of a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests {
    pub(super) lookups: u32,
    pub(super) writes: u32,
}

impl Requests {
    fn of(unit: &Unit, limits: Limits) -> Self {
        match unit.kind {
            Kind::Upsert => {
                let lookups = u32::from(unit.jobs.iter().any(|job| job.payload.guarded));
                Self { lookups, writes: limits.upsert_calls }
            }
            // Its look-up brings the version along.
            Kind::Delete => Self { lookups: limits.delete_calls.saturating_sub(1), writes: 1 },
        }
    }

    pub(super) fn in_all(self) -> u32 {
        self.lookups + self.writes
    }

    /// The same, and those of the calls after it.
    fn need(self, to_come: Option<usize>) -> Need {
        let requests = self.in_all();
        let calls = to_come.and_then(|calls| u32::try_from(calls + 1).ok());
        Need { requests, in_all: calls.map_or(u32::MAX, |calls| calls.saturating_mul(requests)) }
    }
}

/// What an answer tells about the destination, whomever it was about.
fn learn(dispatcher: &ApiDispatcher, errand: Errand<'_>, pass: Pass<'_>, started: Instant, reply: &Reply) {
    let ApiDispatcher { concurrency, rate_limiter, retry, .. } = dispatcher;
    rate_limiter.learn(errand.meter.quota());
    match reply {
        Ok(_) | Err(CallError::Refused { .. }) => {
            pass.answered();
            concurrency.grow();
        }
        // A system that asks for less is there.
        Err(CallError::Throttled { after, .. }) => {
            errand.meter.rate_limited();
            pass.answered();
            concurrency.cut(started);
            let pause = after.unwrap_or(PAUSE_OF_THE_THROTTLED.min(retry.longest()));
            rate_limiter.pause(pause.min(LONGEST_ASKED));
        }
        Err(CallError::Retry { code, after, pressure, .. }) => {
            // Whoever names a time to wait has too much to do, whatever the reason.
            if *pressure || after.is_some() {
                concurrency.cut(started);
            }
            if let Some(after) = after.filter(|_| *pressure) {
                rate_limiter.pause(after.min(LONGEST_ASKED));
            }
            if pass.failed(code) {
                tell_silence(dispatcher, errand, code);
            }
        }
        Err(CallError::Stop(stop)) => {
            if pass.stop(stop) {
                tell_stop(dispatcher, errand, stop);
            }
        }
    }
}

fn tell_silence(dispatcher: &ApiDispatcher, errand: Errand<'_>, code: &Code) {
    let destination = dispatcher.adapter.destination();
    errand.meter.met_open_breaker();
    tracing::error!(
        %destination, %code,
        "destination does not answer: no calls for a while, its records fail and come again"
    );
}

fn tell_stop(dispatcher: &ApiDispatcher, errand: Errand<'_>, stop: &Stop) {
    let destination = dispatcher.adapter.destination();
    errand.meter.stopped(stop.cause);
    tracing::error!(
        %destination, code = %stop.code, cause = ?stop.cause, remedy = stop.remedy,
        "destination stopped: its records fail and come again"
    );
}
