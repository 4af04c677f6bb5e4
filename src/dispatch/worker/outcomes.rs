//! Takes the outcomes of a call's payloads.

use std::time::Duration;

use super::Worker;
use super::requeue::{Cost, Waited};
use crate::dispatch::Job;
use crate::dispatch::batch::Batch;
use crate::dispatch::locks::LONGEST_LOCK;
use crate::model::codes;
use crate::model::{Code, Outcome, Position, Rejection, Retry, RetryMode, Stage};
use crate::settle::RecordOutcome;

/// What decides how a job of a call is sent again.
#[derive(Clone, Copy, Default)]
struct Call {
    /// It carried one payload.
    is_alone: bool,
    /// Its batch was split from another.
    is_part: bool,
    /// Successes of its kind before it.
    successes: u64,
}

/// Jobs of one call that are sent again, by how.
#[derive(Default)]
struct Requeued {
    same: Vec<(Job, Code)>,
    once_more: Vec<(Job, Code)>,
    split: Vec<(Job, Code)>,
    /// The longest wait that was asked for.
    after: Option<Duration>,
    /// How many of the call wait until everything else has settled.
    last: usize,
    /// The call.
    call: Call,
}

impl Worker<'_> {
    /// Takes one outcome for each payload of `batch`.
    pub(super) fn take_outcomes(&mut self, batch: Batch, outcomes: Vec<Outcome>) {
        let Batch {
            kind,
            jobs,
            mut bisection,
            successes,
            ..
        } = batch;
        let mut outcomes = outcomes.into_iter();
        let sent = jobs.len();
        let call = Call {
            is_alone: sent == 1,
            is_part: bisection.is_some(),
            successes,
        };
        let mut requeued = Requeued {
            call,
            ..Requeued::default()
        };
        for job in jobs {
            match outcomes.next() {
                Some(Outcome::Delivered(code)) => self.done(job, &RecordOutcome::Delivered(code)),
                Some(Outcome::Skipped(code)) => self.done(job, &RecordOutcome::Skipped(code)),
                Some(Outcome::Stale) => {
                    self.done(
                        job,
                        &RecordOutcome::Superseded(Some(Code::new(codes::STALE))),
                    );
                }
                Some(Outcome::Rejected(rejection)) => self.reject(job, rejection),
                Some(Outcome::Failed(code)) => self.fail(&job, &code),
                Some(Outcome::Retry(retry)) => self.sort(job, retry, &mut requeued),
                None => requeued.same.push((job, Code::new(codes::NO_RESULT))),
            }
        }
        let Requeued {
            same,
            once_more,
            split,
            after,
            last,
            ..
        } = requeued;
        if let Some(bisection) = &mut bisection {
            if same.len() + once_more.len() + split.len() + last < sent {
                bisection.renew(split.len());
            }
            if split.is_empty() {
                bisection.note_passed(sent);
            }
        }
        self.again(same, Cost::ATry, after, Waited::Jobs);
        self.again(once_more, Cost::Nothing, after, Waited::Jobs);
        if split.len() > 1 {
            return self.split_again(kind, split, bisection, after);
        }
        // It cannot be sent in a smaller batch than alone: that was its own try.
        let cost = if sent == 1 { Cost::ATry } else { Cost::Nothing };
        self.again(split, cost, after, |jobs| {
            Waited::Batch(Batch::new(kind, jobs))
        });
        self.go_on(kind, bisection, false);
    }

    /// Sorts a job that is sent again by how.
    fn sort(&mut self, mut job: Job, retry: Retry, requeued: &mut Requeued) {
        let Call {
            is_alone,
            is_part,
            successes,
        } = requeued.call;
        let Retry { code, after, how } = retry;
        requeued.after = requeued.after.max(after);
        let same = |code| Retry {
            code,
            after,
            how: RetryMode::Same,
        };
        match how {
            RetryMode::Same => requeued.same.push((job, code)),
            RetryMode::Isolate(rejection) if is_alone => {
                self.failed_alone(job, &same(code), rejection, true);
            }
            RetryMode::Isolate(_) => {
                job.suspected_at.get_or_insert(successes);
                requeued.split.push((job, code));
            }
            // One bisection for its own outcome is all that an invocation gives it.
            RetryMode::SplitBatch if is_alone && self.outlasts_locks(&mut job) => {
                self.reject(job, lock_rejection(&code));
            }
            RetryMode::SplitBatch if !is_part && job.was_bisected && !is_alone => {
                requeued.same.push((job, code));
            }
            RetryMode::SplitBatch => requeued.split.push((job, code)),
            RetryMode::OnceMore(_, rejection) if job.second_chances.contains(&code) => {
                self.reject(job, rejection);
            }
            RetryMode::OnceMore(body, _) => {
                job.second_chances.push(code.clone());
                job.payload.body = body.or(job.payload.body);
                requeued.once_more.push((job, code));
            }
            RetryMode::Last(rejection) => {
                requeued.last += 1;
                self.last.push((job, rejection));
            }
        }
    }

    /// Counts an answer that a job alone in its call is locked. Returns whether the lock is the
    /// record's own.
    fn outlasts_locks(&self, job: &mut Job) -> bool {
        job.was_locked = true;
        let key = job.payload.id.key();
        self.dispatcher.breaker.outlasts_locks(job.kind, key)
    }

    /// Settles a job: the last of its records by what happened, those that it carried as
    /// superseded, and those that are older than another one as stale.
    fn done(&mut self, job: Job, verdict: &RecordOutcome) {
        let is_written = |position: &Position| !job.outdated.contains(position);
        let last = job.sources.iter().copied().rfind(is_written);
        for position in &job.sources {
            let verdict = match verdict {
                RecordOutcome::Delivered(_) if !is_written(position) => {
                    RecordOutcome::Superseded(Some(Code::new(codes::STALE)))
                }
                RecordOutcome::Delivered(_) if last != Some(*position) => {
                    RecordOutcome::Superseded(None)
                }
                other => other.clone(),
            };
            self.context.sink.record(*position, verdict, job.calls);
        }
        self.settled += 1;
        self.follow(job);
    }

    /// Takes a refusal for good: folded changes go again one by one, a single one is rejected.
    pub(super) fn reject(&mut self, job: Job, rejection: Rejection) {
        if job.sources.len() > 1 {
            // What it failed for is known of all of them together, and of none.
            self.dispatcher
                .breaker
                .forget(job.kind, job.payload.id.key());
            let suspected_at = job.suspected_at;
            let first = self
                .context
                .transformer
                .one_by_one(&job.sources, job.calls, job.then);
            if let Some(mut first) = first {
                first.suspected_at = suspected_at;
                for next in &mut first.then {
                    next.suspected_at = next.suspected_at.or(suspected_at);
                }
                self.backlog.push(first);
            }
            return;
        }
        let verdict = RecordOutcome::Rejected(Stage::Deliver, rejection);
        for position in &job.sources {
            self.context
                .sink
                .record(*position, verdict.clone(), job.calls);
        }
        self.settled += 1;
        self.follow(job);
    }

    /// Sends what has to follow a job that has ended.
    fn follow(&mut self, job: Job) {
        if job.suspected_at.is_some() || job.was_locked {
            self.dispatcher
                .breaker
                .forget(job.kind, job.payload.id.key());
        }
        if let Some(next) = Job::chain(job.then) {
            self.backlog.push(next);
        }
    }

    /// Fails a job, and what has to follow it.
    pub(super) fn fail(&self, job: &Job, code: &Code) {
        for job in std::iter::once(job).chain(&job.then) {
            let verdict = RecordOutcome::Failed(code.clone());
            for position in &job.sources {
                self.context
                    .sink
                    .record(*position, verdict.clone(), job.calls);
            }
        }
    }
}

/// Returns the reason for which a record is rejected that stays locked.
fn lock_rejection(code: &Code) -> Rejection {
    let minutes = LONGEST_LOCK.as_secs() / 60;
    let message = format!(
        "the record is locked ({code}) for {minutes} minutes, alone in its call and while other \
         records succeed: end the approval or process that locks it, then replay it"
    );
    Rejection::new(code.clone(), message)
}
