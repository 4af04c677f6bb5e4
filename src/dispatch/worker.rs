//! One invocation's traffic with one destination: a loop that starts calls, takes their answers and
//! waits for retries, all at once.

mod outcomes;
mod requeue;

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::requeue::Waited;
use super::batch::{Backlog, Batch};
use super::bisection::Bisection;
use super::call::{Answered, Failure, call, failure_of};
use super::failure::{FailedCall, Response, respond};
use super::retry::RetryBudget;
use super::suspects::Suspicion;
use super::{ApiDispatcher, DispatchContext, Job, WriteKind};
use crate::model::limits::Limits;
use crate::model::{CallError, Code, FailureCause, Rejection, Retry, RetryMode};

pub(super) struct Worker<'a> {
    dispatcher: &'a ApiDispatcher,
    context: DispatchContext<'a>,
    limits: Limits,
    backlog: Backlog,
    calls: FuturesUnordered<BoxFuture<'a, Answered>>,
    waits: FuturesUnordered<BoxFuture<'a, Waited>>,
    retries: RetryBudget,
    /// While it is in doubt whether the destination is available: when the next probe may be sent.
    next_probe: Option<Instant>,
    /// Calls that failed in this doubt.
    probes: u32,
    /// What is sent once everything else has settled, with the rejection that it would have
    /// otherwise.
    last: Vec<(Job, Rejection)>,
    /// Jobs that have settled.
    settled: u64,
}

impl<'a> Worker<'a> {
    pub(super) fn new(dispatcher: &'a ApiDispatcher, context: DispatchContext<'a>) -> Self {
        Self {
            dispatcher,
            context,
            limits: dispatcher.batch_sizes.bound(dispatcher.adapter.limits()),
            backlog: Backlog::default(),
            calls: FuturesUnordered::new(),
            waits: FuturesUnordered::new(),
            retries: RetryBudget::default(),
            next_probe: None,
            probes: 0,
            last: Vec::new(),
            settled: 0,
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut more_may_come = true;
        loop {
            let left = queue.is_closed().then(|| queue.len());
            self.start_calls(!more_may_come, left);
            let has_room = more_may_come && !self.backlog.has_full_batch(self.limits);
            let is_idle = self.calls.is_empty() && !self.backlog.is_empty();
            let probe = self.next_probe.filter(|at| is_idle && *at > Instant::now());
            tokio::select! {
                biased;
                Some(answered) = self.calls.next() => self.take_answer(answered),
                Some(waited) = self.waits.next() => match waited {
                    Waited::Jobs(jobs) => jobs.into_iter().for_each(|job| self.backlog.push(job)),
                    Waited::Batch(batch) => self.backlog.push_batch(batch),
                    Waited::Alone(job) => self.backlog.push_alone(job),
                },
                job = queue.recv(), if has_room => match job {
                    Some(job) => self.admit(job),
                    None => more_may_come = false,
                },
                () = sleep_until(probe.unwrap_or_else(Instant::now)), if probe.is_some() => {}
                else => if !self.send_last() { break },
            }
        }
    }

    /// Takes a new job. A record that failed alone in an earlier invocation stays alone.
    fn admit(&mut self, mut job: Job) {
        match self
            .dispatcher
            .breaker
            .suspicion(job.kind, job.payload.id.key())
        {
            Suspicion::None => self.backlog.push(job),
            Suspicion::Alone => {
                job.suspected_at = Some(self.dispatcher.breaker.successes(job.kind));
                self.backlog.push_alone(job);
            }
            Suspicion::Held(code) => self.fail(&job, &code),
        }
    }

    /// Starts as many calls as there may be. `left` jobs are still in the queue, where it is known
    /// that no more come into it.
    fn start_calls(&mut self, flush: bool, left: Option<usize>) {
        loop {
            let in_doubt = self.dispatcher.breaker.is_in_doubt();
            let most = if in_doubt {
                1
            } else {
                self.dispatcher.concurrency.limit()
            };
            if self.calls.len() >= most {
                return;
            }
            if !in_doubt {
                (self.next_probe, self.probes) = (None, 0);
            } else if self.next_probe.is_some_and(|at| at > Instant::now()) {
                return;
            }
            let batch = if in_doubt {
                self.backlog
                    .take_probe(flush, |count| fastrand::usize(..count))
            } else {
                self.backlog.take(self.limits, flush)
            };
            let Some(batch) = batch else { return };
            if batch.to_split && batch.jobs.len() > 1 {
                self.backlog.extend(batch.split_failed());
                continue;
            }
            self.retries.count_call();
            let to_come = left
                .map(|left| self.backlog.calls(self.limits) + left.div_ceil(self.limits.upsert));
            self.calls
                .push(call(self.dispatcher, self.context, self.limits, batch, to_come).boxed());
        }
    }

    fn take_answer(&mut self, answered: Answered) {
        let Answered { batch, reply } = answered;
        let reply = match reply {
            Ok(reply) => reply,
            Err(code) => return self.give_up(batch, &code),
        };
        let is_one = batch.jobs.len() == 1;
        if let Some(failure) = failure_of(&reply).filter(|_| reply.is_err() || !is_one) {
            return self.take_failure(batch, failure);
        }
        match reply {
            Ok(outcomes) => self.take_outcomes(batch, outcomes),
            Err(CallError::Refused {
                rejection,
                suspects,
            }) => self.take_refusal(batch, &rejection, &suspects),
            Err(CallError::Stop(stop)) => self.give_up(batch, &stop.code),
            Err(CallError::Throttled { code, after } | CallError::Retry { code, after, .. }) => {
                self.repeat(batch, &code, after);
            }
        }
    }

    /// Takes the failure of a whole call.
    fn take_failure(&mut self, mut batch: Batch, failure: Failure) {
        batch.failures += 1;
        batch.failures_unchanged += 1;
        let call = FailedCall {
            cause: failure.cause,
            payloads: batch.jobs.len(),
            failures: batch.failures,
            is_part: batch.bisection.is_some(),
            in_doubt: self.dispatcher.breaker.is_in_doubt(),
        };
        match respond(call, self.dispatcher.retry.allows_another(1)) {
            Response::Repeat => self.repeat(batch, &failure.code, failure.after),
            Response::Probe => self.put_back(batch, &failure),
            Response::Bisect => {
                if failure.cause == FailureCause::Size && batch.bisection.is_none() {
                    batch.bisection = Some(Bisection::for_size(batch.jobs.len()));
                }
                self.backlog.extend(batch.split_failed());
            }
            Response::CountAlone => {
                if call.in_doubt {
                    self.delay_probe(failure.after);
                }
                let Batch {
                    kind,
                    jobs,
                    bisection,
                    ..
                } = batch;
                let Failure { code, after, .. } = failure;
                for job in jobs {
                    let retry = Retry {
                        code: code.clone(),
                        after,
                        how: RetryMode::Same,
                    };
                    self.failed_alone(job, &retry, alone_rejection(&code), false);
                }
                self.go_on(kind, bisection, true);
            }
        }
    }

    /// Puts a batch back until a probe has succeeded. One that failed twice is split then.
    fn put_back(&mut self, mut batch: Batch, failure: &Failure) {
        batch.to_split = batch.failures > 1 || batch.bisection.is_some();
        if failure.cause == FailureCause::Size && batch.bisection.is_none() {
            batch.bisection = Some(Bisection::for_size(batch.jobs.len()));
        }
        if self.delay_probe(failure.after) {
            self.backlog.push_batch(batch);
        } else {
            self.give_up(batch, &failure.code);
        }
    }

    /// Delays the next probe after another call that failed. Says whether there is time for it.
    fn delay_probe(&mut self, after: Option<Duration>) -> bool {
        self.probes += 1;
        let at = self.wait_alone(self.probes, after);
        self.next_probe = self.next_probe.max(at);
        at.is_some()
    }

    /// Takes the refusal of a whole batch for something in it.
    fn take_refusal(&mut self, batch: Batch, rejection: &Rejection, suspects: &[usize]) {
        if batch.jobs.len() > 1 {
            return self.take_split(batch.split(suspects), &rejection.code);
        }
        let Batch {
            kind,
            jobs,
            bisection,
            ..
        } = batch;
        for job in jobs {
            self.reject(job, rejection.clone());
        }
        self.go_on(kind, bisection, true);
    }

    /// Goes on with a batch that was split, or gives up the jobs that could not be.
    fn take_split(&mut self, split: Result<Batch, (Vec<Job>, Option<Batch>)>, code: &Code) {
        match split {
            Ok(batch) => self.backlog.push_batch(batch),
            Err((given_up, next)) => {
                for job in &given_up {
                    self.fail(job, code);
                }
                self.backlog.extend(next);
            }
        }
    }

    /// Goes on with a bisection. `found` says that its last part was an offending record.
    fn go_on(&mut self, kind: WriteKind, bisection: Option<Bisection>, found: bool) {
        let Some(mut bisection) = bisection else {
            return;
        };
        if found {
            bisection.note_offender();
            bisection.renew(0);
        }
        if let Some(size) = bisection.size_that_passes() {
            self.remember_size(kind, size);
        }
        self.backlog.extend(Batch::next_of(kind, bisection));
    }

    fn remember_size(&mut self, kind: WriteKind, size: usize) {
        let destination = self.dispatcher.adapter.destination();
        if self.dispatcher.batch_sizes.remember(kind, size) {
            tracing::warn!(
                %destination, operation = kind.name(), batch_size = size,
                remedy = format!("set `{destination}.batch_size` to this, or raise `{destination}.request_timeout_ms`"),
                "batches too large for their time: smaller ones are sent for an hour"
            );
        }
        self.limits = self.dispatcher.batch_sizes.bound(self.limits);
    }

    /// Sends what waited for everything else to settle. Rejects a record once nothing has settled
    /// since it was last sent. Says whether there was something.
    fn send_last(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.last);
        let (any, settled) = (!waiting.is_empty(), self.settled);
        for (mut job, rejection) in waiting {
            if job.settled_before.replace(settled) == Some(settled) {
                self.reject(job, rejection);
            } else {
                self.backlog.push(job);
            }
        }
        any
    }

    fn give_up(&mut self, batch: Batch, code: &Code) {
        let waiting = batch
            .bisection
            .map(Bisection::into_rest)
            .unwrap_or_default();
        for job in waiting.iter().flatten().chain(&batch.jobs) {
            self.fail(job, code);
        }
    }
}

/// Returns the reason for which a record is rejected that makes its call fail as a whole.
fn alone_rejection(code: &Code) -> Rejection {
    Rejection::new(
        code.clone(),
        format!("a call with this record alone fails with {code}, while other records succeed"),
    )
}
