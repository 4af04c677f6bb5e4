//! Sending again: what may succeed later, when, and in what company.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use super::Session;
use crate::adapters::{Code, SHORTEST_CALL};
use crate::dispatch::batch::{Search, Unit};
use crate::dispatch::{Job, Kind};

/// What comes back from a wait.
pub(super) enum Waited {
    /// To be batched with whatever else is there.
    Jobs(Vec<Job>),
    /// To keep their company.
    Units(Vec<Unit>),
}

/// What it costs to send a job again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// One of its tries, and a retry of the invocation.
    ATry,
    /// Nothing: it cannot go on for ever. A search has so many calls, and each code has one second chance.
    Nothing,
}

impl Session<'_> {
    /// Sends jobs again in smaller company, as in the search for a culprit and with its calls. Where it has none left they
    /// go with whatever else is there, as one of their tries: one search is all that an invocation gives them.
    pub(super) fn halve(
        &mut self,
        kind: Kind,
        halved: Vec<(Job, Code)>,
        search: Option<Search>,
        after: Option<Duration>,
    ) {
        let Some(code) = halved.first().map(|(_, code)| code.clone()) else { return };
        let searched = |(job, _)| Job { was_searched: true, ..job };
        let jobs: Vec<Job> = halved.into_iter().map(searched).collect();
        let tries = jobs.iter().map(|job| job.tries).max().unwrap_or_default();
        match Unit::by_row(kind, jobs, search).split(&[]) {
            Ok(unit) => match self.wait_until(tries, Cost::Nothing, after) {
                Some(at) => self.waits.push(wait(at, Waited::Units(vec![unit]))),
                None => self.give_up(unit, &code),
            },
            Err((too_many, next)) => {
                let too_many = too_many.into_iter().map(|job| (job, code.clone())).collect();
                self.again(too_many, Cost::ATry, after, Waited::Jobs);
                next.into_iter().for_each(|unit| self.backlog.push_unit(unit));
            }
        }
    }

    /// Sends jobs again after a wait, if they have tries left and there is time. Each comes with the reason why it did
    /// not succeed now.
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
        match self.wait_until(tries, cost, after) {
            Some(at) => self.waits.push(wait(at, then(jobs.into_iter().map(|(job, _)| job).collect()))),
            None => jobs.iter().for_each(|(job, code)| self.fail(job, code)),
        }
    }

    /// Sends a whole call again, for which there was no outcome at all.
    pub(super) fn call_again(&mut self, unit: Unit, code: &Code, after: Option<Duration>) {
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
}

fn wait<'a>(at: Instant, then: Waited) -> BoxFuture<'a, Waited> {
    async move {
        sleep_until(at).await;
        then
    }
    .boxed()
}
