//! Applies the outcomes of a call to its jobs.

use std::time::Duration;

use super::Worker;
use super::requeue::{DueRetry, RetryCost};
use crate::dispatch::batch::Batch;
use crate::dispatch::job::Content;
use crate::dispatch::locks::LONGEST_LOCK;
use crate::dispatch::salvage::body_of_new;
use crate::dispatch::{Job, Salvage};
use crate::model::codes;
use crate::model::{Code, Outcome, Payload, Rejection, Retry, RetryMode, Stage};
use crate::settle::RecordOutcome;

/// Properties of a call that decide how its jobs are sent again.
#[derive(Clone, Copy, Default)]
struct CallProperties {
    /// Whether the call carried a single payload.
    is_alone: bool,
    /// Whether its batch is a part of another one.
    is_part: bool,
    /// Successes of its kind before the call.
    successes: u64,
}

/// Jobs of one call that are sent again, by retry mode.
#[derive(Default)]
struct Requeued {
    same: Vec<(Job, Code)>,
    once_more: Vec<(Job, Code)>,
    split: Vec<(Job, Code)>,
    /// The longest wait that the destination asked for.
    after: Option<Duration>,
    /// Number of jobs that wait until all others have settled.
    last: usize,
    call: CallProperties,
}

impl Worker<'_> {
    /// Applies one outcome to each payload of `batch`.
    pub(super) fn handle_outcomes(&mut self, batch: Batch, outcomes: Vec<Outcome>) {
        let Batch {
            kind,
            jobs,
            mut bisection,
            successes,
            ..
        } = batch;
        let mut outcomes = outcomes.into_iter();
        let sent = jobs.len();
        let call = CallProperties {
            is_alone: sent == 1,
            is_part: bisection.is_some(),
            successes,
        };
        let mut requeued = Requeued {
            call,
            ..Requeued::default()
        };
        for job in jobs {
            let outcome = outcomes.next();
            if outcome.as_ref().is_some_and(Outcome::is_answered_write) {
                self.measure_lag(&job);
            }
            if outcome.as_ref().is_some_and(Outcome::is_unchanged) {
                self.context.metrics.unchanged();
            }
            match outcome {
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
                Some(Outcome::Retry(retry)) => self.sort_retry(job, retry, &mut requeued),
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
                bisection.note_accepted(sent);
            }
        }
        self.requeue(same, RetryCost::Attempt, after, DueRetry::Jobs);
        self.requeue(once_more, RetryCost::Free, after, DueRetry::Jobs);
        if split.len() > 1 {
            return self.requeue_split(kind, split, bisection, after);
        }
        // A job that was alone in its call cannot be sent in a smaller batch: it takes an attempt.
        let cost = if sent == 1 {
            RetryCost::Attempt
        } else {
            RetryCost::Free
        };
        self.requeue(split, cost, after, |jobs| {
            DueRetry::Batch(Batch::new(kind, jobs))
        });
        self.continue_bisection(kind, bisection, false);
    }

    /// Sorts a job that is sent again by its retry mode.
    fn sort_retry(&mut self, mut job: Job, retry: Retry, requeued: &mut Requeued) {
        let CallProperties {
            is_alone,
            is_part,
            successes,
        } = requeued.call;
        let Retry { code, after, how } = retry;
        requeued.after = requeued.after.max(after);
        match how {
            RetryMode::Same => requeued.same.push((job, code)),
            RetryMode::Isolate(rejection) if is_alone => {
                let retry = Retry {
                    code,
                    after,
                    how: RetryMode::Same,
                };
                self.failed_alone(job, &retry, rejection, true);
            }
            RetryMode::Isolate(_) => {
                job.suspected_at.get_or_insert(successes);
                requeued.split.push((job, code));
            }
            // An invocation splits the batch of a job once for the job's own outcome.
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
                if body.is_some() && job.content == Content::Changes {
                    job.content = Content::Repetition;
                }
                job.payload.body = body.or(job.payload.body);
                requeued.once_more.push((job, code));
            }
            RetryMode::Whole(whole) => {
                // Until the whole row is written, the record's dead letter says that it is missing.
                self.record_rejection(&job, created_in_part());
                job.content = Content::WholeRow;
                job.left_out = whole.left_out;
                // Compared again, the record would be one of these changes' own.
                job.payload = Payload {
                    body: body_of_new(&whole.payload),
                    is_compared: true,
                    ..whole.payload
                };
                requeued.once_more.push((job, code));
            }
            RetryMode::Without(_, rejection) => {
                if Salvage::allows_another(job.salvage.as_deref()) {
                    requeued.once_more.push((job, code));
                } else {
                    self.reject(job, rejection);
                }
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

    /// Settles a job: the last of its records with `outcome`, the carried ones as superseded, and
    /// those that are older than another one as stale.
    fn done(&mut self, job: Job, outcome: &RecordOutcome) {
        let last = job.last_written();
        for position in &job.sources {
            let partial = job.fields_left_out(*position);
            let outcome = match outcome {
                RecordOutcome::Delivered(_) if !job.is_written(*position) => {
                    RecordOutcome::Superseded(Some(Code::new(codes::STALE)))
                }
                RecordOutcome::Delivered(_) if job.is_create_only() && last != Some(*position) => {
                    RecordOutcome::Skipped(Code::new(codes::EXISTS))
                }
                RecordOutcome::Delivered(code)
                    if !partial.is_empty() && !is_dry_run(code.as_ref()) =>
                {
                    self.context.metrics.partial();
                    RecordOutcome::Partial(partial)
                }
                RecordOutcome::Delivered(_) if last != Some(*position) => {
                    RecordOutcome::Superseded(None)
                }
                other => other.clone(),
            };
            self.context.recorder.record(*position, outcome, job.calls);
        }
        self.settled += 1;
        self.send_next(job);
    }

    /// Measures the age of a written job's last change. A replayed change is not measured: its age
    /// is no delay of the delivery.
    fn measure_lag(&self, job: &Job) {
        let Some(last) = job.last_written() else {
            return;
        };
        match self.context.transformer.change(last) {
            Some(change) if !change.replay => self.context.metrics.delivered(change.occurred_at),
            _ => {}
        }
    }

    /// Rejects a job. The changes of a folded one are sent one by one instead, so that only the
    /// offending change is rejected.
    pub(super) fn reject(&mut self, job: Job, rejection: Rejection) {
        // The changes of a record that was created in part would be written as parts.
        if job.sources.len() > 1 && job.content != Content::WholeRow {
            // The failures are those of the folded payload, not of a single change.
            self.dispatcher
                .breaker
                .forget(job.kind, job.payload.id.key());
            let suspected_at = job.suspected_at;
            let first = self.context.transformer.one_by_one(job);
            if let Some(mut first) = first {
                first.suspected_at = suspected_at;
                for next in &mut first.then {
                    next.suspected_at = next.suspected_at.or(suspected_at);
                }
                self.backlog.push(first);
            }
            return;
        }
        self.record_rejection(&job, rejection);
        self.settled += 1;
        self.send_next(job);
    }

    fn record_rejection(&self, job: &Job, rejection: Rejection) {
        let outcome = RecordOutcome::Rejected(Stage::Deliver, rejection);
        for position in &job.sources {
            self.context
                .recorder
                .record(*position, outcome.clone(), job.calls);
        }
    }

    /// Sends the next write of the contact after a job that has ended.
    fn send_next(&mut self, job: Job) {
        if job.suspected_at.is_some() || job.was_locked {
            self.dispatcher
                .breaker
                .forget(job.kind, job.payload.id.key());
        }
        if let Some(next) = Job::chain(job.then) {
            self.backlog.push(next);
        }
    }

    /// Fails a job and the writes that follow it. One that created its record from a part of the
    /// row stays rejected: the redelivered change would find the record, and leave the rest out.
    pub(super) fn fail(&self, job: &Job, code: &Code) {
        for job in std::iter::once(job).chain(&job.then) {
            if job.content == Content::WholeRow {
                continue;
            }
            let outcome = RecordOutcome::Failed(code.clone());
            for position in &job.sources {
                self.context
                    .recorder
                    .record(*position, outcome.clone(), job.calls);
            }
        }
    }
}

/// Builds the rejection of a record whose whole row is not written.
fn created_in_part() -> Rejection {
    Rejection::new(
        Code::new(codes::CREATED_IN_PART),
        "the destination's record was deleted just before this write, which created it from the \
         columns that changed; the others were not written before the invocation ended: change \
         the row once more with its type, or send a snapshot of it",
    )
}

/// Returns whether the code is that of a dry run, in which no field was left out.
fn is_dry_run(code: Option<&Code>) -> bool {
    code.is_some_and(|code| code.as_str() == codes::DRY_RUN)
}

/// Builds the rejection of a record that stays locked.
fn lock_rejection(code: &Code) -> Rejection {
    let minutes = LONGEST_LOCK.as_secs() / 60;
    let message = format!(
        "the record is locked ({code}) for {minutes} minutes, alone in its call and while other \
         records succeed: end the approval or process that locks it, then replay it"
    );
    Rejection::new(code.clone(), message)
}
