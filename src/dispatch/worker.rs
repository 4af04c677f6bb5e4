//! The worker of one invocation and one destination: an event loop that starts calls, handles their
//! answers and waits for retries concurrently.

mod outcomes;
mod requeue;

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::requeue::DueRetry;
use super::batch::{Backlog, Batch};
use super::bisection::Bisection;
use super::call::{Answered, Failure, call, failure_of};
use super::repeat_or_bisect::{FailedCall, Response, respond};
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
    waits: FuturesUnordered<BoxFuture<'a, DueRetry>>,
    retries: RetryBudget,
    /// Time of the next probe, while the destination's availability is in doubt.
    next_probe: Option<Instant>,
    /// Calls that failed while the availability is in doubt.
    probes: u32,
    /// Jobs that are sent after all others have settled, with the rejection that each gets if it
    /// is refused again.
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
            let may_receive = more_may_come && !self.backlog.has_full_batch(self.limits);
            let is_idle = self.calls.is_empty() && !self.backlog.is_empty();
            let probe = self.next_probe.filter(|at| is_idle && *at > Instant::now());
            tokio::select! {
                biased;
                Some(answered) = self.calls.next() => self.handle_answer(answered),
                Some(due) = self.waits.next() => self.enqueue(due),
                job = queue.recv(), if may_receive => match job {
                    Some(job) => self.admit(job),
                    None => more_may_come = false,
                },
                () = sleep_until(probe.unwrap_or_else(Instant::now)), if probe.is_some() => {}
                else => if !self.send_last() { break },
            }
        }
    }

    fn enqueue(&mut self, due: DueRetry) {
        match due {
            DueRetry::Jobs(jobs) => {
                for job in jobs {
                    self.backlog.push(job);
                }
            }
            DueRetry::Batch(batch) => self.backlog.push_batch(batch),
            DueRetry::Alone(job) => self.backlog.push_alone(*job),
        }
    }

    /// Adds a new job to the backlog. A record that failed alone in an earlier invocation is sent
    /// alone.
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

    /// Starts as many calls as the limits allow. `left` is the number of jobs in the queue, if the
    /// queue is closed.
    fn start_calls(&mut self, flush: bool, left: Option<usize>) {
        loop {
            let in_doubt = self.dispatcher.breaker.is_in_doubt();
            let limit = if in_doubt {
                1
            } else {
                self.dispatcher.concurrency.limit()
            };
            if self.calls.len() >= limit {
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

    fn handle_answer(&mut self, answered: Answered) {
        let Answered { batch, reply } = answered;
        let reply = match reply {
            Ok(reply) => reply,
            Err(code) => return self.give_up(batch, &code),
        };
        let is_alone = batch.jobs.len() == 1;
        // The outcome of a record that was alone in its call is an outcome of this record.
        if (reply.is_err() || !is_alone)
            && let Some(failure) = failure_of(&reply)
        {
            return self.handle_failure(batch, failure);
        }
        match reply {
            Ok(outcomes) => self.handle_outcomes(batch, outcomes),
            Err(CallError::Refused {
                rejection,
                suspects,
            }) => self.handle_refusal(batch, &rejection, &suspects),
            Err(CallError::Stop(stop)) => self.give_up(batch, &stop.code),
            Err(CallError::Throttled { code, after } | CallError::Retry { code, after, .. }) => {
                self.repeat_call(batch, &code, after);
            }
        }
    }

    /// Responds to the failure of a whole call.
    fn handle_failure(&mut self, mut batch: Batch, failure: Failure) {
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
            Response::Repeat => self.repeat_call(batch, &failure.code, failure.after),
            Response::Probe => self.postpone(batch, &failure),
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
                self.continue_bisection(kind, bisection, true);
            }
        }
    }

    /// Returns a batch to the backlog until a probe has succeeded. A batch that failed twice is
    /// split then.
    fn postpone(&mut self, mut batch: Batch, failure: &Failure) {
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

    /// Delays the next probe after another failed call. Returns whether there is time for it.
    fn delay_probe(&mut self, after: Option<Duration>) -> bool {
        self.probes += 1;
        let at = self.wait_alone(self.probes, after);
        self.next_probe = self.next_probe.max(at);
        at.is_some()
    }

    /// Handles the refusal of a whole batch because of its content.
    fn handle_refusal(&mut self, batch: Batch, rejection: &Rejection, suspects: &[usize]) {
        if batch.jobs.len() > 1 {
            return self.handle_split(batch.split(suspects), &rejection.code);
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
        self.continue_bisection(kind, bisection, true);
    }

    /// Enqueues the next part of a split batch, and fails the jobs that were given up.
    fn handle_split(&mut self, split: Result<Batch, (Vec<Job>, Option<Batch>)>, code: &Code) {
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

    /// Enqueues the next part of a bisection. `is_isolated` is whether its last part was an
    /// offending record.
    fn continue_bisection(
        &mut self,
        kind: WriteKind,
        bisection: Option<Bisection>,
        is_isolated: bool,
    ) {
        let Some(mut bisection) = bisection else {
            return;
        };
        if is_isolated {
            bisection.note_offending_record();
            bisection.renew(0);
        }
        if let Some(size) = bisection.accepted_size() {
            self.remember_size(kind, size);
        }
        self.backlog.extend(Batch::next_of(kind, bisection));
    }

    fn remember_size(&mut self, kind: WriteKind, size: usize) {
        let destination = self.dispatcher.adapter.destination();
        if self.dispatcher.batch_sizes.remember(kind, size) {
            tracing::warn!(
                %destination, operation = kind.name(), batch_size = size,
                remedy = format!(
                    "let a call carry no more records (`{destination}.batch_size`), or raise \
                     `{destination}.request_timeout_ms`"
                ),
                "batches too large for their time: smaller ones are sent for an hour"
            );
        }
        self.limits = self.dispatcher.batch_sizes.bound(self.limits);
    }

    /// Sends the jobs that waited until all others had settled. Rejects a record if no job has
    /// settled since it was last sent. Returns whether there were any such jobs.
    fn send_last(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.last);
        let (had_jobs, settled) = (!waiting.is_empty(), self.settled);
        for (mut job, rejection) in waiting {
            if job.settled_before.replace(settled) == Some(settled) {
                self.reject(job, rejection);
            } else {
                self.backlog.push(job);
            }
        }
        had_jobs
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

/// Builds the rejection of a record that makes its call fail as a whole.
fn alone_rejection(code: &Code) -> Rejection {
    Rejection::new(
        code.clone(),
        format!("a call with this record alone fails with {code}, while other records succeed"),
    )
}
