//! The schema transformer: steps to payloads in the destination's own schema, each on its own, so
//! that what is wrong with one hurts no other.

mod blocks;
mod guard;

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc};

use self::blocks::{Block, Ordered, Survey, blocks, survey};
pub use self::guard::{DestinationGuard, Guard, GuardMode};
use crate::adapters::{Adapter, Body, Code, Payload, Rejection, Transformed};
use crate::codes;
use crate::consume::Stage;
use crate::contact::{ContactChange, Operation};
use crate::dispatch::{Job, WriteKind};
use crate::fold::{Position, Positions, Step};
use crate::settle::{OutcomeRecorder, RecordOutcome};

/// Transforms the changes of one batch for one destination.
#[derive(Clone, Copy)]
pub struct SchemaTransformer<'a> {
    /// Whose schema.
    pub adapter: &'a dyn Adapter,
    /// The destination's guard.
    pub guard: DestinationGuard,
    /// Changes that are compared besides those that the guard compares by themselves.
    pub compared: &'a HashSet<Position>,
    /// The batch's changes, by position.
    pub changes: &'a [Option<Box<ContactChange>>],
    /// Takes the changes that can never be written.
    pub sink: OutcomeRecorder<'a>,
}

impl SchemaTransformer<'_> {
    /// The stage: all `steps` at once, `permits` at a time, into `queue`. A permit is held until
    /// the queue has taken the payload, so that a slow destination bounds what lies ready for it.
    pub async fn run(&self, steps: &[Step], permits: usize, queue: mpsc::Sender<Job>) {
        let semaphore = Semaphore::new(permits);
        join_all(steps.iter().map(|step| async {
            let Ok(_permit) = semaphore.acquire().await else {
                return;
            };
            if let Some(job) = self.job(step) {
                // The receiver is gone only when the deadline is: then the record counts as failed.
                let _ = queue.send(job).await;
            }
        }))
        .await;
    }

    /// Returns the job of a step, and those that follow it; `None` where all its changes were
    /// rejected.
    fn job(&self, step: &Step) -> Option<Job> {
        let sound = step
            .delete
            .iter()
            .chain(&step.upsert)
            .filter(|position| self.is_sound(**position));
        let blocks = blocks(sound.filter_map(|position| self.ordered(*position)));
        Job::chain(
            blocks
                .into_iter()
                .flat_map(|block| self.jobs_of(block))
                .collect(),
        )
    }

    /// Returns the jobs of the changes at `positions` one by one, in order, and then `next`: for a
    /// folded payload that was refused after so many calls, so that only the offending change is
    /// rejected.
    pub fn one_by_one(
        &self,
        positions: &[Position],
        calls: u32,
        next: VecDeque<Job>,
    ) -> Option<Job> {
        // What is cut of them was counted when they were folded.
        let single = |position: &Position| {
            let job = self
                .uncounted(blocks(self.ordered(*position).into_iter()).pop()?)
                .0
                .pop()?;
            Some(Job { calls, ..job })
        };
        Job::chain(positions.iter().filter_map(single).chain(next).collect())
    }

    /// Takes the changes out of `job` that are older than `version`, which the destination holds.
    /// `false` where none is left.
    pub fn compare(&self, job: &mut Job, version: Option<u64>) -> bool {
        let Survey { older, written, .. } = self.survey(version, &job.sources);
        if older.is_empty() || written.is_empty() {
            return older.is_empty();
        }
        for position in &older {
            self.sink.record(
                *position,
                RecordOutcome::Superseded(Some(Code::new(codes::STALE))),
                job.calls + 1,
            );
        }
        let rest: Positions = job
            .sources
            .iter()
            .copied()
            .filter(|at| !older.contains(at))
            .collect();
        let mut jobs = self.upsert(rest.clone()).0;
        match jobs.pop() {
            Some(Job {
                kind: WriteKind::Upsert,
                payload,
                sources,
                outdated,
                ..
            }) if jobs.is_empty() => {
                (job.payload, job.sources, job.outdated) = (payload, sources, outdated);
            }
            // They could be written before: an empty payload is refused, and each is tried by
            // itself.
            _ => (job.payload.body, job.sources) = (None, rest),
        }
        true
    }

    fn change(&self, position: Position) -> Option<&ContactChange> {
        self.changes.get(position)?.as_deref()
    }

    /// Whether the destination can hold the version of a change. One that it cannot is rejected.
    fn is_sound(&self, position: Position) -> bool {
        let refusal = self
            .change(position)
            .and_then(|change| self.guard.refuses(change));
        let is_sound = refusal.is_none();
        if let Some(rejection) = refusal {
            self.sink.record(
                position,
                RecordOutcome::Rejected(Stage::Validate, rejection),
                0,
            );
        }
        is_sound
    }

    fn ordered(&self, position: Position) -> Option<Ordered> {
        let change = self.change(position)?;
        let is_compared = self.guard.compares(change)
            || (self.guard.protects() && self.compared.contains(&position));
        let version = change.guard_version().unwrap_or_default();
        Some(Ordered {
            position,
            is_delete: change.operation == Operation::Delete,
            version,
            is_compared,
        })
    }

    fn survey(&self, version: Option<u64>, positions: &[Position]) -> Survey {
        survey(
            version,
            positions
                .iter()
                .filter_map(|position| self.ordered(*position)),
        )
    }

    /// Returns the jobs of a block, in order, and counts the values that were cut for them.
    fn jobs_of(&self, block: Block) -> Vec<Job> {
        let (jobs, cut) = self.uncounted(block);
        self.sink.count_cut(cut);
        jobs
    }

    fn uncounted(&self, block: Block) -> (Vec<Job>, u32) {
        match block.kind {
            WriteKind::Delete => (self.delete(block).into_iter().collect(), 0),
            WriteKind::Upsert => self.upsert(block.sources),
        }
    }

    fn delete(&self, block: Block) -> Option<Job> {
        let Block {
            sources,
            is_guarded,
            version,
            ..
        } = block;
        let id = self.change(*sources.last()?)?.contact.id.clone();
        let payload = Payload {
            id,
            body: None,
            if_new: None,
            version,
            guarded: is_guarded,
        };
        Some(Job::new(WriteKind::Delete, payload, sources))
    }

    /// Returns the jobs of writing these changes, and how many values were cut for them. It is one,
    /// unless some of the changes are rejected.
    fn upsert(&self, mut sources: Positions) -> (Vec<Job>, u32) {
        let Survey {
            outdated, written, ..
        } = self.survey(None, &sources);
        let changes: Vec<&ContactChange> =
            written.iter().filter_map(|at| self.change(*at)).collect();
        let transformed = self.isolated(&changes);
        let rejected = self.reject(&written, transformed.rejected);
        sources.retain(|at| !rejected.contains(at));
        if rejected.is_empty() || outdated.is_empty() {
            let if_new = transformed.if_new;
            let job = transformed
                .body
                .and_then(|body| self.written((body, if_new), sources, outdated));
            return (job.into_iter().collect(), transformed.cut);
        }
        // What is older than a rejected change only is not outdated: it may be a delete, which is a
        // job of its own.
        let rest = blocks(
            sources
                .iter()
                .filter_map(|position| self.ordered(*position)),
        );
        let (jobs, cut): (Vec<_>, Vec<_>) =
            rest.into_iter().map(|block| self.uncounted(block)).unzip();
        (jobs.into_iter().flatten().collect(), cut.into_iter().sum())
    }

    fn written(
        &self,
        (body, if_new): (Body, Option<Body>),
        sources: Positions,
        outdated: Positions,
    ) -> Option<Job> {
        let written = |position: &&Position| !outdated.contains(position);
        let first = self.ordered(*sources.first()?)?;
        let last = self.change(*sources.iter().rfind(written)?)?;
        let payload = Payload {
            id: last.contact.id.clone(),
            body: Some(body),
            if_new,
            version: last.guard_version().unwrap_or_default(),
            guarded: first.is_compared,
        };
        Some(Job {
            outdated,
            ..Job::new(WriteKind::Upsert, payload, sources)
        })
    }

    /// Records the rejections of some of the changes at `positions`; gives their positions.
    fn reject(&self, positions: &[Position], rejected: Vec<(usize, Rejection)>) -> Positions {
        let mut left_out = Positions::new();
        for (index, rejection) in rejected {
            if let Some(position) = positions.get(index) {
                left_out.push(*position);
                self.sink.record(
                    *position,
                    RecordOutcome::Rejected(Stage::Validate, rejection),
                    0,
                );
            }
        }
        left_out
    }

    /// The transformation, in which a panic is the fault of the change that causes it and of no
    /// other.
    fn isolated(&self, changes: &[&ContactChange]) -> Transformed {
        let attempt = |changes: &[&ContactChange]| {
            catch_unwind(AssertUnwindSafe(|| self.adapter.transform(changes))).ok()
        };
        if let Some(transformed) = attempt(changes) {
            return transformed;
        }
        let fails_alone = |change: &&ContactChange| attempt(&[change]).is_none();
        let failing: Vec<usize> = (0..changes.len())
            .filter(|at| fails_alone(&changes[*at]))
            .collect();
        let sound: Vec<usize> = (0..changes.len())
            .filter(|at| !failing.contains(at))
            .collect();
        let company: Vec<_> = sound.iter().map(|at| changes[*at]).collect();
        let rest = if failing.is_empty() || sound.is_empty() {
            None
        } else {
            attempt(&company)
        };
        let internal = || {
            Rejection::new(
                Code::new(codes::INTERNAL_ERROR),
                "transforming failed inside contact-sync",
            )
        };
        let Some(mut rest) = rest else {
            let rejected = (0..changes.len()).map(|at| (at, internal())).collect();
            return Transformed {
                rejected,
                ..Transformed::default()
            };
        };
        for (index, _) in &mut rest.rejected {
            *index = sound[*index];
        }
        rest.rejected
            .extend(failing.into_iter().map(|at| (at, internal())));
        rest
    }
}
