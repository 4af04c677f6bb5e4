//! Schedules retries: the time, and the batch in which a job is sent again.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::Worker;
use crate::adapters::SHORTEST_CALL;
use crate::dispatch::batch::Batch;
use crate::dispatch::bisection::Bisection;
use crate::dispatch::{Job, WriteKind};
use crate::model::{Code, Rejection, Retry};

/// The fewest calls alone that a record gets, independent of settings: a single failure may be
/// transient.
const FEWEST_CALLS_ALONE: u32 = 2;

/// The most calls alone that a record gets in one invocation.
const MOST_CALLS_ALONE: u32 = 16;

/// Jobs that have waited for their retry.
pub(super) enum DueRetry {
    /// Jobs that are batched with any others.
    Jobs(Vec<Job>),
    /// A batch that is sent unchanged.
    Batch(Batch),
    /// A record that is sent alone, after the others.
    Alone(Box<Job>),
}

/// Cost of sending a job again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryCost {
    /// One attempt of the job, and one retry of the invocation.
    Attempt,
    /// Nothing. Other limits apply: a bisection has a number of calls, and each code allows one
    /// repetition.
    Free,
}

impl Worker<'_> {
    /// Sends jobs again in smaller batches, with the calls of a bisection. If no calls are left,
    /// the jobs are batched with any others, and this takes an attempt of each.
    pub(super) fn requeue_split(
        &mut self,
        kind: WriteKind,
        jobs: Vec<(Job, Code)>,
        bisection: Option<Bisection>,
        after: Option<Duration>,
    ) {
        let Some(code) = jobs.first().map(|(_, code)| code.clone()) else {
            return;
        };
        let jobs: Vec<Job> = jobs
            .into_iter()
            .map(|(job, _)| Job {
                was_bisected: true,
                ..job
            })
            .collect();
        let tries = jobs.iter().map(|job| job.tries).max().unwrap_or_default();
        let batch = Batch {
            bisection,
            ..Batch::new(kind, jobs)
        };
        match batch.split(&[]) {
            Ok(batch) => match self.wait_until(tries, after) {
                Some(at) => self.wait(at, DueRetry::Batch(batch)),
                None => self.give_up(batch, &code),
            },
            Err((unsplit, next)) => {
                let jobs = unsplit.into_iter().map(|job| (job, code.clone())).collect();
                self.requeue(jobs, RetryCost::Attempt, after, DueRetry::Jobs);
                self.backlog.extend(next);
            }
        }
    }

    /// Sends jobs again after a wait, if attempts and time are left; else fails them. Each job
    /// comes with the code of its last outcome.
    pub(super) fn requeue(
        &mut self,
        mut jobs: Vec<(Job, Code)>,
        cost: RetryCost,
        after: Option<Duration>,
        then: impl FnOnce(Vec<Job>) -> DueRetry,
    ) {
        if cost == RetryCost::Attempt {
            self.count_attempt(&mut jobs);
        }
        let Some(tries) = jobs.iter().map(|(job, _)| job.tries).max() else {
            return;
        };
        match self.wait_until(tries, after) {
            Some(at) if cost == RetryCost::Free || self.retries.take() => {
                self.wait(at, then(jobs.into_iter().map(|(job, _)| job).collect()));
            }
            _ => {
                for (job, code) in &jobs {
                    self.fail(job, code);
                }
            }
        }
    }

    /// Repeats a whole call that brought no outcomes.
    pub(super) fn repeat_call(&mut self, batch: Batch, code: &Code, after: Option<Duration>) {
        let Batch {
            kind,
            jobs,
            failures,
            failures_unchanged,
            bisection,
            ..
        } = batch;
        let mut jobs = jobs.into_iter().map(|job| (job, code.clone())).collect();
        self.count_attempt(&mut jobs);
        let jobs: Vec<Job> = jobs.into_iter().map(|(job, _)| job).collect();
        let Some(tries) = jobs.iter().map(|job| job.tries).max() else {
            return self.continue_bisection(kind, bisection, false);
        };
        let batch = Batch {
            failures,
            failures_unchanged,
            bisection,
            ..Batch::new(kind, jobs)
        };
        match self.wait_until(tries, after) {
            Some(at) if self.retries.take() => self.wait(at, DueRetry::Batch(batch)),
            _ => self.give_up(batch, code),
        }
    }

    /// Handles the failure of a record that was alone in its call. `is_named` is whether the answer
    /// names the record. While other records succeed, this one is sent again until its failures
    /// prove that it is the cause; then it gets `rejection`. Else it is sent again as often as
    /// settings allow, and then fails.
    pub(super) fn failed_alone(
        &mut self,
        mut job: Job,
        retry: &Retry,
        rejection: Rejection,
        is_named: bool,
    ) {
        let (breaker, kind, key) = (&self.dispatcher.breaker, job.kind, job.payload.id.key());
        let allowed = self.dispatcher.retry.max_attempts().max(FEWEST_CALLS_ALONE);
        if breaker.is_offending(kind, key, is_named.then_some(allowed)) {
            return self.reject(job, rejection);
        }
        job.failures_alone += 1;
        let limit = if breaker.is_proven(kind, key) {
            MOST_CALLS_ALONE
        } else {
            allowed
        };
        if job.failures_alone < limit
            && let Some(at) = self.wait_alone(job.failures_alone, retry.after)
        {
            return self.wait(at, DueRetry::Alone(job.into()));
        }
        breaker.hold(kind, key, retry.code.clone());
        self.fail(&job, &retry.code);
    }

    /// Returns the time of the next call of a record that has failed alone `failures` times; `None`
    /// if that is too late.
    pub(super) fn wait_alone(&self, failures: u32, after: Option<Duration>) -> Option<Instant> {
        let delay = self
            .dispatcher
            .retry
            .wait(failures, after, fastrand::f64())?;
        self.in_time(delay)
    }

    /// Counts an unsuccessful attempt of each job. Fails and removes the jobs without further
    /// attempts.
    fn count_attempt(&self, jobs: &mut Vec<(Job, Code)>) {
        for (job, code) in jobs.iter_mut() {
            job.tries += 1;
            if !self.dispatcher.retry.allows_another(job.tries) {
                self.fail(job, code);
            }
        }
        jobs.retain(|(job, _)| self.dispatcher.retry.allows_another(job.tries));
    }

    /// Returns the time of the next attempt after `tries` attempts; `None` if that is too late, or
    /// if no attempt is left.
    pub(super) fn wait_until(&self, tries: u32, after: Option<Duration>) -> Option<Instant> {
        self.in_time(self.dispatcher.retry.delay(tries, after, fastrand::f64())?)
    }

    fn in_time(&self, delay: Duration) -> Option<Instant> {
        let at = Instant::now() + delay;
        (at + SHORTEST_CALL < self.context.deadline).then_some(at)
    }

    /// Sends `then` again at the time `at`.
    fn wait(&mut self, at: Instant, then: DueRetry) {
        self.context.metrics.retry();
        let wait = async move {
            sleep_until(at).await;
            then
        };
        self.waits.push(wait.boxed());
    }
}
