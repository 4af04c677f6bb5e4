//! One invocation's traffic with one destination: a loop that starts calls, takes their answers and waits for
//! retries, all at once.

mod again;

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use self::again::{Cost, Waited};
use super::batch::{Backlog, Search, Unit};
use super::call::{Answered, call};
use super::retry::RetryBudget;
use super::{ApiDispatcher, Errand, Job, Kind};
use crate::adapters::{CallError, Code, Limits, Outcome, Rejection, RetryMode};
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
        let Unit { kind, jobs, mut search } = unit;
        let mut outcomes = outcomes.into_iter();
        let sent = jobs.len();
        let were_alone = sent == 1;
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
                        RetryMode::OnceMore(_, rejection) if job.second_chances.contains(&retry.code) => {
                            self.reject(job, rejection);
                        }
                        RetryMode::OnceMore(body, _) => {
                            job.second_chances.push(retry.code.clone());
                            job.payload.body = body.or(job.payload.body);
                            once.push((job, retry.code));
                        }
                        RetryMode::Same | RetryMode::Isolate(_) | RetryMode::Last(_) => same.push((job, retry.code)),
                        RetryMode::SplitBatch if search.is_none() && job.was_searched && !were_alone => {
                            same.push((job, retry.code));
                        }
                        RetryMode::SplitBatch => halved.push((job, retry.code)),
                    }
                }
                None => same.push((job, Code::new("NO_RESULT"))),
            }
        }
        if same.len() + once.len() + halved.len() < sent {
            search.iter_mut().for_each(|search| search.pay(halved.len()));
        }
        self.again(same, Cost::ATry, after, Waited::Jobs);
        self.again(once, Cost::Nothing, after, Waited::Jobs);
        if halved.len() > 1 {
            return self.halve(kind, halved, search, after);
        }
        // In smaller company than alone it cannot be sent: that was its own try.
        let cost = if were_alone { Cost::ATry } else { Cost::Nothing };
        self.again(halved, cost, after, |jobs| Waited::Units(vec![Unit::new(kind, jobs)]));
        self.go_on(kind, search);
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
