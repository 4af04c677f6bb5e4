//! The schema transformer: steps to payloads in the destination's own schema, each on its own, so that what is wrong
//! with one hurts no other.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;
use tokio::sync::{Semaphore, mpsc};

use crate::adapters::{Adapter, Code, Payload, Rejection, Transformed};
use crate::consume::Stage;
use crate::contact::{ContactChange, Operation};
use crate::dispatch::{Job, Kind};
use crate::fold::{Position, Positions, Step};
use crate::settle::{Sink, Verdict};

/// The section `[guard]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Which changes are compared with the version that the destination holds.
    pub mode: GuardMode,
}

/// Which changes are compared with the version that the destination holds, where it keeps one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GuardMode {
    /// Those that a replay put back.
    Replays,
    /// All.
    Always,
    /// None.
    Off,
}

/// Transforms the changes of one batch for one destination.
#[derive(Clone, Copy)]
pub struct SchemaTransformer<'a> {
    /// Whose schema.
    pub adapter: &'a dyn Adapter,
    /// The guard, [`GuardMode::Off`] where the destination keeps no version.
    pub guard: GuardMode,
    /// The batch's changes, by position.
    pub changes: &'a [Option<Box<ContactChange>>],
    /// Takes the changes that can never be written.
    pub sink: Sink<'a>,
}

impl SchemaTransformer<'_> {
    /// The stage: all `steps` at once, `permits` at a time, into `queue`. A permit is held until the queue has taken
    /// the payload, so that a slow destination bounds what lies ready for it.
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

    /// What a step becomes; nothing where all its changes were rejected.
    fn job(&self, step: &Step) -> Option<Job> {
        let mut jobs = VecDeque::new();
        if self.is_carried(&step.delete) {
            jobs.extend(self.delete(step.delete.clone()));
        } else {
            jobs.extend(step.delete.iter().filter_map(|position| self.counted(self.single(*position))));
        }
        // An older change between newer ones is stale on its own, and would not be in company.
        if step.upsert.len() > 1 && self.is_guarded(&step.upsert) {
            jobs.extend(step.upsert.iter().filter_map(|position| self.upsert(&[*position])));
        } else if !step.upsert.is_empty() {
            jobs.extend(self.upsert(&step.upsert));
        }
        Job::chain(jobs)
    }

    /// The changes at `positions` one by one, in order, and then `next`: for a folded payload that was refused after so
    /// many calls, so that only the offending change is rejected.
    pub fn one_by_one(&self, positions: &[Position], calls: u32, next: VecDeque<Job>) -> Option<Job> {
        // What is cut of them was counted when they were folded.
        let single = |position: &Position| Some(Job { calls, ..self.single(*position).0? });
        Job::chain(positions.iter().filter_map(single).chain(next).collect())
    }

    /// Whether the last of `positions`, a delete, leaves alone what all of them would leave one by one. One that is not
    /// compared does. One that is compared has to be the newest of them, and has nothing to be compared with that one of
    /// the others wrote without being compared.
    fn is_carried(&self, positions: &[Position]) -> bool {
        let guarded = |position: &Position| self.is_guarded(&[*position]);
        let version = |position: &Position| self.change(*position).map(ContactChange::guard_version);
        positions.split_last().is_none_or(|(last, others)| {
            !guarded(last) || others.iter().all(|other| guarded(other) && version(other) <= version(last))
        })
    }

    /// The job of a change by itself, and how many values were cut for it.
    fn single(&self, position: Position) -> (Option<Job>, u32) {
        match self.change(position).map(|change| change.operation) {
            Some(Operation::Delete) => (self.delete(smallvec![position]), 0),
            Some(Operation::Create | Operation::Update) => self.transformed(&[position]),
            None => (None, 0),
        }
    }

    fn change(&self, position: Position) -> Option<&ContactChange> {
        self.changes.get(position)?.as_deref()
    }

    fn delete(&self, positions: Positions) -> Option<Job> {
        let last = self.change(*positions.last()?)?;
        let payload = Payload {
            id: last.contact.id.clone(),
            body: None,
            if_new: None,
            version: last.guard_version(),
            guarded: self.is_guarded(&[*positions.last()?]),
        };
        Some(Job::new(Kind::Delete, payload, positions))
    }

    fn upsert(&self, positions: &[Position]) -> Option<Job> {
        self.counted(self.transformed(positions))
    }

    fn counted(&self, (job, cut): (Option<Job>, u32)) -> Option<Job> {
        self.sink.count_cut(cut);
        job
    }

    /// The job of writing these changes, and how many values were cut for it.
    fn transformed(&self, positions: &[Position]) -> (Option<Job>, u32) {
        let changes: Vec<&ContactChange> = positions.iter().filter_map(|at| self.change(*at)).collect();
        let transformed = self.isolated(&changes);
        let cut = transformed.cut;
        (self.job_of(positions, &changes, transformed), cut)
    }

    fn job_of(&self, positions: &[Position], changes: &[&ContactChange], transformed: Transformed) -> Option<Job> {
        let mut left_out = Vec::new();
        for (index, rejection) in transformed.rejected {
            if let Some(position) = positions.get(index) {
                left_out.push(*position);
                self.sink.record(*position, Verdict::Rejected(Stage::Validate, rejection), 0);
            }
        }
        let sources: Positions = positions.iter().copied().filter(|at| !left_out.contains(at)).collect();
        let newest = sources.iter().filter_map(|at| self.change(*at)).map(ContactChange::guard_version).max()?;
        let payload = Payload {
            id: changes.last()?.contact.id.clone(),
            body: Some(transformed.body?),
            if_new: transformed.if_new,
            version: newest,
            guarded: self.is_guarded(&sources),
        };
        Some(Job::new(Kind::Upsert, payload, sources))
    }

    /// The transformation, in which a panic is the fault of the change that causes it and of no other.
    fn isolated(&self, changes: &[&ContactChange]) -> Transformed {
        let attempt =
            |changes: &[&ContactChange]| catch_unwind(AssertUnwindSafe(|| self.adapter.transform(changes))).ok();
        if let Some(transformed) = attempt(changes) {
            return transformed;
        }
        let fails_alone = |change: &&ContactChange| attempt(&[change]).is_none();
        let failing: Vec<usize> = (0..changes.len()).filter(|at| fails_alone(&changes[*at])).collect();
        let sound: Vec<usize> = (0..changes.len()).filter(|at| !failing.contains(at)).collect();
        let company: Vec<_> = sound.iter().map(|at| changes[*at]).collect();
        let rest = if failing.is_empty() || sound.is_empty() { None } else { attempt(&company) };
        let internal = || Rejection::new(Code::new("INTERNAL_ERROR"), "transforming failed inside contact-sync");
        let Some(mut rest) = rest else {
            let rejected = (0..changes.len()).map(|at| (at, internal())).collect();
            return Transformed { rejected, ..Transformed::default() };
        };
        for (index, _) in &mut rest.rejected {
            *index = sound[*index];
        }
        rest.rejected.extend(failing.into_iter().map(|at| (at, internal())));
        rest
    }

    fn is_guarded(&self, positions: &[Position]) -> bool {
        match self.guard {
            GuardMode::Off => false,
            GuardMode::Always => true,
            GuardMode::Replays => positions.iter().filter_map(|at| self.change(*at)).any(|change| change.replay),
        }
    }
}
