//! One invocation's traffic with one destination: a loop that starts calls, takes their answers and waits for
//! retries, all at once.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::batch::{Backlog, Search, Unit};
use super::call::{Answered, SHORTEST_CALL, call};
use super::retry::RetryBudget;
use super::{ApiDispatcher, Errand, Job, Kind};
use crate::adapters::{Again, CallError, Code, Limits, Outcome, Rejection};
use crate::consume::Stage;
use crate::settle::Verdict;

pub(super) struct Session<'a> {
    dispatcher: &'a ApiDispatcher,
    errand: Errand<'a>,
    limits: Limits,
    backlog: Backlog,
    calls: FuturesUnordered<BoxFuture<'a, Answered>>,
    waits: FuturesUnordered<BoxFuture<'a, Waited>>,
    retries: RetryBudget,
}

/// What comes back from a wait.
enum Waited {
    /// To be batched with whatever else is there.
    Jobs(Vec<Job>),
    /// To keep their company.
    Units(Vec<Unit>),
}

impl<'a> Session<'a> {
    pub(super) fn new(dispatcher: &'a ApiDispatcher, errand: Errand<'a>) -> Self {
        Self {
            dispatcher,
            errand,
            limits: dispatcher.adapter.limits(),
            backlog: Backlog::default(),
            calls: FuturesUnordered::new(),
            waits: FuturesUnordered::new(),
            retries: RetryBudget::default(),
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut more_may_come = true;
        loop {
            let left = queue.is_closed().then(|| queue.len());
            self.start_calls(!more_may_come, left);
            let has_room = more_may_come && !self.backlog.has_full_batch(self.limits);
            tokio::select! {
                biased;
                Some(answered) = self.calls.next() => self.take_answer(answered),
                Some(waited) = self.waits.next() => match waited {
                    Waited::Jobs(jobs) => jobs.into_iter().for_each(|job| self.backlog.push(job)),
                    Waited::Units(units) => units.into_iter().for_each(|unit| self.backlog.push_unit(unit)),
                },
                job = queue.recv(), if has_room => match job {
                    Some(job) => self.backlog.push(job),
                    None => more_may_come = false,
                },
                else => break,
            }
        }
    }

    /// `left` jobs are still in the queue, where it is known that no more come into it.
    fn start_calls(&mut self, flush: bool, left: Option<usize>) {
        while self.calls.len() < self.dispatcher.concurrency.limit() {
            let Some(unit) = self.backlog.take(self.limits, flush) else {
                return;
            };
            self.retries.count_call();
            let to_come = left.map(|left| self.backlog.calls(self.limits) + left.div_ceil(self.limits.upsert));
            self.calls.push(call(self.dispatcher, self.errand, self.limits, unit, to_come).boxed());
        }
    }

    fn take_answer(&mut self, answered: Answered) {
        let Answered { mut unit, reply } = answered;
        match reply {
            Err(code) => self.give_up(unit, &code),
            Ok(Ok(outcomes)) => self.take_outcomes(unit, outcomes),
            Ok(Err(CallError::Retry { code, after, .. })) => {
                self.count_try(&mut unit.jobs, &code);
                if unit.jobs.is_empty() {
                    return self.go_on(unit.kind, unit.search);
                }
                match self.wait_until(&unit.jobs, after) {
                    Some(at) => self.waits.push(wait(at, Waited::Units(vec![unit]))),
                    None => self.give_up(unit, &code),
                }
            }
            Ok(Err(CallError::Refused { rejection, suspects })) => self.search(unit, &rejection, &suspects),
            Ok(Err(CallError::Stop(stop))) => self.give_up(unit, &stop.code),
        }
    }

    fn take_outcomes(&mut self, unit: Unit, outcomes: Vec<Outcome>) {
        let Unit { kind, jobs, search } = unit;
        let mut outcomes = outcomes.into_iter();
        let (mut same, mut halved) = (Vec::new(), Vec::new());
        let mut after: Option<Duration> = None;
        let mut reason = Code::new("NO_RESULT");
        for mut job in jobs {
            match outcomes.next() {
                Some(Outcome::Delivered(code)) => self.done(job, &Verdict::Delivered(code)),
                Some(Outcome::Skipped(code)) => self.done(job, &Verdict::Skipped(code)),
                Some(Outcome::Stale) => self.done(job, &Verdict::Superseded(Some(Code::new("STALE")))),
                Some(Outcome::Rejected(rejection)) => self.reject(job, rejection),
                Some(Outcome::Retry(retry)) => {
                    after = after.max(retry.after);
                    reason = retry.code;
                    match retry.how {
                        Again::Once(_, rejection) if job.second_chance_used => self.reject(job, rejection),
                        Again::Once(body, _) => {
                            job.second_chance_used = true;
                            job.payload.body = body.or(job.payload.body);
                            same.push(job);
                        }
                        Again::Same => same.push(job),
                        Again::Halved => halved.push(job),
                    }
                }
                None => same.push(job),
            }
        }
        self.again(kind, same, halved, after, &reason);
        self.go_on(kind, search);
    }

    /// Sends jobs again after a wait, if they have tries left and there is time.
    fn again(&mut self, kind: Kind, same: Vec<Job>, halved: Vec<Job>, after: Option<Duration>, reason: &Code) {
        for (mut jobs, is_halved) in [(same, false), (halved, true)] {
            self.count_try(&mut jobs, reason);
            if jobs.is_empty() {
                continue;
            }
            let Some(at) = self.wait_until(&jobs, after) else {
                jobs.iter().for_each(|job| self.fail(job, reason));
                continue;
            };
            let waited = if is_halved {
                let right = jobs.split_off(jobs.len().div_ceil(2));
                let parts = [jobs, right].into_iter().filter(|part| !part.is_empty());
                Waited::Units(parts.map(|part| Unit::new(kind, part)).collect())
            } else {
                Waited::Jobs(jobs)
            };
            self.waits.push(wait(at, waited));
        }
    }

    /// Counts a try that came to nothing. Jobs whose last it was have failed; the others are not held back by them.
    fn count_try(&self, jobs: &mut Vec<Job>, reason: &Code) {
        jobs.iter_mut().for_each(|job| job.tries += 1);
        let has_tries_left = |job: &Job| self.dispatcher.retry.allows_another(job.tries);
        jobs.iter().filter(|job| !has_tries_left(job)).for_each(|job| self.fail(job, reason));
        jobs.retain(has_tries_left);
    }

    /// When to try these jobs again, in one call; `None` where that is too late to be worth beginning, or one retry
    /// too many.
    fn wait_until(&mut self, jobs: &[Job], after: Option<Duration>) -> Option<Instant> {
        let tries = jobs.iter().map(|job| job.tries).max()?;
        let at = Instant::now() + self.dispatcher.retry.delay(tries, after, fastrand::f64())?;
        let is_in_time = at + SHORTEST_CALL < self.errand.deadline;
        let granted = is_in_time && self.retries.take();
        if granted {
            self.errand.meter.retry();
        }
        granted.then_some(at)
    }

    /// A whole batch was refused for something in it.
    fn search(&mut self, unit: Unit, rejection: &Rejection, suspects: &[usize]) {
        let Unit { kind, mut jobs, search } = unit;
        if jobs.len() == 1 {
            jobs.drain(..).for_each(|job| self.reject(job, rejection.clone()));
            return self.go_on(kind, search);
        }
        match (Unit { kind, jobs, search }).split(suspects) {
            Ok(unit) => self.backlog.push_unit(unit),
            Err((given_up, next)) => {
                given_up.iter().for_each(|job| self.fail(job, &rejection.code));
                next.into_iter().for_each(|unit| self.backlog.push_unit(unit));
            }
        }
    }

    fn go_on(&mut self, kind: Kind, search: Option<Search>) {
        if let Some(unit) = search.and_then(|search| Unit::next_of(kind, search)) {
            self.backlog.push_unit(unit);
        }
    }

    fn give_up(&mut self, unit: Unit, code: &Code) {
        let waiting = unit.search.map(|search| search.rest).unwrap_or_default();
        waiting.iter().flatten().chain(&unit.jobs).for_each(|job| self.fail(job, code));
    }

    /// Settled: the last of the records by what happened, those that it carried as superseded.
    fn done(&mut self, job: Job, verdict: &Verdict) {
        let carried = match verdict {
            Verdict::Delivered(_) => &Verdict::Superseded(None),
            other => other,
        };
        if let Some((last, earlier)) = job.sources.split_last() {
            earlier.iter().for_each(|position| self.errand.sink.record(*position, carried.clone(), job.calls));
            self.errand.sink.record(*last, verdict.clone(), job.calls);
        }
        self.follow(job);
    }

    /// Refused for good: folded changes go again one by one, a single one is rejected.
    fn reject(&mut self, job: Job, rejection: Rejection) {
        if job.sources.len() > 1 {
            let first = self.errand.transformer.one_by_one(&job.sources, job.then);
            first.into_iter().for_each(|job| self.backlog.push(job));
            return;
        }
        let verdict = Verdict::Rejected(Stage::Deliver, rejection);
        job.sources.iter().for_each(|position| self.errand.sink.record(*position, verdict.clone(), job.calls));
        self.follow(job);
    }

    fn follow(&mut self, job: Job) {
        Job::chain(job.then).into_iter().for_each(|next| self.backlog.push(next));
    }

    /// Not now: neither this job nor what has to follow it.
    fn fail(&self, job: &Job, code: &Code) {
        for job in std::iter::once(job).chain(&job.then) {
            let verdict = Verdict::Failed(code.clone());
            job.sources.iter().for_each(|position| self.errand.sink.record(*position, verdict.clone(), job.calls));
        }
    }
}

fn wait<'a>(at: Instant, then: Waited) -> BoxFuture<'a, Waited> {
    async move {
        sleep_until(at).await;
        then
    }
    .boxed()
}
