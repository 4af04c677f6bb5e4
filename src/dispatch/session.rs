//! One invocation's traffic with one destination: a loop that starts calls, takes their answers and waits for
//! retries, all at once.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::batch::{Backlog, Search, Unit};
use super::call::{Answered, call};
use super::retry::RetryBudget;
use super::{ApiDispatcher, Errand, Job, Kind};
use crate::adapters::{Again, CallError, Code, Limits, Outcome, Rejection, SHORTEST_CALL};
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

/// What it costs to send a job again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// One of its tries, and a retry of the invocation.
    ATry,
    /// Nothing: it cannot go on for ever. Halves of halves end with one job alone, and each code has one second chance.
    Nothing,
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
        let Answered { unit, reply } = answered;
        match reply {
            Err(code) => self.give_up(unit, &code),
            Ok(Ok(outcomes)) => self.take_outcomes(unit, outcomes),
            Ok(Err(CallError::Retry { code, after, .. } | CallError::Throttled { code, after })) => {
                self.call_again(unit, &code, after);
            }
            Ok(Err(CallError::Refused { rejection, suspects })) => self.search(unit, &rejection, &suspects),
            Ok(Err(CallError::Stop(stop))) => self.give_up(unit, &stop.code),
        }
    }

    fn take_outcomes(&mut self, unit: Unit, outcomes: Vec<Outcome>) {
        let Unit { kind, jobs, search } = unit;
        let mut outcomes = outcomes.into_iter();
        // What was sent alone cannot be sent in smaller company: it is that job's own try.
        let halving = if jobs.len() > 1 { Cost::Nothing } else { Cost::ATry };
        let (mut same, mut once, mut halved) = (Vec::new(), Vec::new(), Vec::new());
        let mut after: Option<Duration> = None;
        for mut job in jobs {
            match outcomes.next() {
                Some(Outcome::Delivered(code)) => self.done(job, &Verdict::Delivered(code)),
                Some(Outcome::Skipped(code)) => self.done(job, &Verdict::Skipped(code)),
                Some(Outcome::Stale) => self.done(job, &Verdict::Superseded(Some(Code::new("STALE")))),
                Some(Outcome::Rejected(rejection)) => self.reject(job, rejection),
                Some(Outcome::Failed(code)) => self.fail(&job, &code),
                Some(Outcome::Retry(retry)) => {
                    after = after.max(retry.after);
                    match retry.how {
                        Again::Once(_, rejection) if job.second_chances.contains(&retry.code) => {
                            self.reject(job, rejection);
                        }
                        Again::Once(body, _) => {
                            job.second_chances.push(retry.code.clone());
                            job.payload.body = body.or(job.payload.body);
                            once.push((job, retry.code));
                        }
                        Again::Same => same.push((job, retry.code)),
                        Again::Halved => halved.push((job, retry.code)),
                    }
                }
                None => same.push((job, Code::new("NO_RESULT"))),
            }
        }
        self.again(same, Cost::ATry, after, Waited::Jobs);
        self.again(once, Cost::Nothing, after, Waited::Jobs);
        self.again(halved, halving, after, |jobs| Waited::Units(Unit::halves(kind, jobs)));
        self.go_on(kind, search);
    }

    /// Sends jobs again after a wait, if they have tries left and there is time. Each comes with the reason why it did
    /// not succeed now.
    fn again(
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
        match self.wait_until(tries, cost, after) {
            Some(at) => self.waits.push(wait(at, then(jobs.into_iter().map(|(job, _)| job).collect()))),
            None => jobs.iter().for_each(|(job, code)| self.fail(job, code)),
        }
    }

    /// Sends a whole call again, for which there was no outcome at all.
    fn call_again(&mut self, unit: Unit, code: &Code, after: Option<Duration>) {
        let Unit { kind, jobs, search } = unit;
        let mut jobs = jobs.into_iter().map(|job| (job, code.clone())).collect();
        self.count_try(&mut jobs);
        let jobs: Vec<Job> = jobs.into_iter().map(|(job, _)| job).collect();
        let Some(tries) = jobs.iter().map(|job| job.tries).max() else {
            return self.go_on(kind, search);
        };
        let unit = Unit { kind, jobs, search };
        match self.wait_until(tries, Cost::ATry, after) {
            Some(at) => self.waits.push(wait(at, Waited::Units(vec![unit]))),
            None => self.give_up(unit, code),
        }
    }

    /// Counts a try that came to nothing. Jobs whose last it was have failed; the others are not held back by them.
    fn count_try(&self, jobs: &mut Vec<(Job, Code)>) {
        jobs.iter_mut().for_each(|(job, _)| job.tries += 1);
        let has_tries_left = |(job, _): &(Job, Code)| self.dispatcher.retry.allows_another(job.tries);
        jobs.iter().filter(|job| !has_tries_left(job)).for_each(|(job, code)| self.fail(job, code));
        jobs.retain(has_tries_left);
    }

    /// When to try again, in one call, jobs that have had so many tries; `None` where that is too late to be worth
    /// beginning, or one retry too many.
    fn wait_until(&mut self, tries: u32, cost: Cost, after: Option<Duration>) -> Option<Instant> {
        let at = Instant::now() + self.dispatcher.retry.delay(tries, after, fastrand::f64())?;
        let is_in_time = at + SHORTEST_CALL < self.errand.deadline;
        let granted = is_in_time && (cost == Cost::Nothing || self.retries.take());
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
            let first = self.errand.transformer.one_by_one(&job.sources, job.calls, job.then);
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
