//! Sends again what may succeed later: when, and in what batch.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::Worker;
use crate::adapters::SHORTEST_CALL;
use crate::dispatch::batch::Batch;
use crate::dispatch::bisection::Bisection;
use crate::dispatch::{Job, WriteKind};
use crate::model::{Code, Rejection, Retry};

/// The fewest calls alone that a record has, whatever settings allow: once may be bad luck.
const FEWEST_CALLS_ALONE: u32 = 2;

/// The most calls alone that a record has in one invocation.
const MOST_CALLS_ALONE: u32 = 16;

/// What comes back from a wait.
pub(super) enum Waited {
    /// To be batched with whatever else is there.
    Jobs(Vec<Job>),
    /// To be sent as it is.
    Batch(Batch),
    /// To be sent alone, after the others.
    Alone(Job),
}

/// What it costs to send a job again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// One of its tries, and a retry of the invocation.
    ATry,
    /// Nothing: it cannot go on for ever. A bisection has so many calls, and each code has one
    /// second chance.
    Nothing,
}

impl Worker<'_> {
    /// Sends jobs again in smaller batches, with the calls of a bisection. Where none are left they
    /// go with whatever else is there, as one of their tries.
    pub(super) fn split_again(
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
                Some(at) => self.wait(at, Waited::Batch(batch)),
                None => self.give_up(batch, &code),
            },
            Err((too_many, next)) => {
                let too_many = too_many
                    .into_iter()
                    .map(|job| (job, code.clone()))
                    .collect();
                self.again(too_many, Cost::ATry, after, Waited::Jobs);
                self.backlog.extend(next);
            }
        }
    }

    /// Sends jobs again after a wait, if they have tries left and there is time. Each comes with
    /// the reason why it did not succeed.
    pub(super) fn again(
        &mut self,
        mut jobs: Vec<(Job, Code)>,
        cost: Cost,
        after: Option<Duration>,
        then: impl FnOnce(Vec<Job>) -> Waited,
    ) {
        if cost == Cost::ATry {
            self.count_try(&mut jobs);
        }
        let Some(tries) = jobs.iter().map(|(job, _)| job.tries).max() else {
            return;
        };
        let at = self
            .wait_until(tries, after)
            .filter(|_| cost == Cost::Nothing || self.retries.take());
        match at {
            Some(at) => self.wait(at, then(jobs.into_iter().map(|(job, _)| job).collect())),
            None => {
                for (job, code) in &jobs {
                    self.fail(job, code);
                }
            }
        }
    }

    /// Repeats a whole call, for which there was no outcome at all.
    pub(super) fn repeat(&mut self, batch: Batch, code: &Code, after: Option<Duration>) {
        let Batch {
            kind,
            jobs,
            failures,
            failures_unchanged,
            bisection,
            ..
        } = batch;
        let mut jobs = jobs.into_iter().map(|job| (job, code.clone())).collect();
        self.count_try(&mut jobs);
        let jobs: Vec<Job> = jobs.into_iter().map(|(job, _)| job).collect();
        let Some(tries) = jobs.iter().map(|job| job.tries).max() else {
            return self.go_on(kind, bisection, false);
        };
        let batch = Batch {
            failures,
            failures_unchanged,
            bisection,
            ..Batch::new(kind, jobs)
        };
        match self
            .wait_until(tries, after)
            .filter(|_| self.retries.take())
        {
            Some(at) => self.wait(at, Waited::Batch(batch)),
            None => self.give_up(batch, code),
        }
    }

    /// Takes a failure of a record that was alone in its call, with the rejection that it has once
    /// it is known to be the cause; `is_named` says that the answer names the record. While others
    /// succeed, it is sent again until that is known. Else it is sent again as often as settings
    /// allow, and then fails.
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
        let most = if breaker.is_proven(kind, key) {
            MOST_CALLS_ALONE
        } else {
            allowed
        };
        let at = if job.failures_alone < most {
            self.wait_alone(job.failures_alone, retry.after)
        } else {
            None
        };
        if let Some(at) = at {
            return self.wait(at, Waited::Alone(job));
        }
        breaker.hold(kind, key, retry.code.clone());
        self.fail(&job, &retry.code);
    }

    /// Returns when to send a record alone again that has failed alone so often.
    pub(super) fn wait_alone(&self, failures: u32, after: Option<Duration>) -> Option<Instant> {
        let delay = self
            .dispatcher
            .retry
            .wait(failures, after, fastrand::f64())?;
        self.in_time(delay)
    }

    /// Counts a try that came to nothing. Jobs whose last it was have failed; the others are not
    /// held back by them.
    fn count_try(&self, jobs: &mut Vec<(Job, Code)>) {
        for (job, code) in jobs.iter_mut() {
            job.tries += 1;
            if !self.dispatcher.retry.allows_another(job.tries) {
                self.fail(job, code);
            }
        }
        jobs.retain(|(job, _)| self.dispatcher.retry.allows_another(job.tries));
    }

    /// Returns when to send again, in one call, jobs that have had so many tries; `None` where that
    /// is too late to be worth beginning.
    pub(super) fn wait_until(&self, tries: u32, after: Option<Duration>) -> Option<Instant> {
        self.in_time(self.dispatcher.retry.delay(tries, after, fastrand::f64())?)
    }

    fn in_time(&self, delay: Duration) -> Option<Instant> {
        let at = Instant::now() + delay;
        (at + SHORTEST_CALL < self.context.deadline).then_some(at)
    }

    /// Waits until `at` with what is sent again then.
    fn wait(&mut self, at: Instant, then: Waited) {
        self.context.meter.retry();
        let wait = async move {
            sleep_until(at).await;
            then
        };
        self.waits.push(wait.boxed());
    }
}
