//! Transforms steps to payloads in the destination's schema, each by itself, so that an error of
//! one step affects no other.

mod blocks;
mod guard;
mod versions;

use std::collections::{HashSet, VecDeque};
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc};

use self::blocks::{Block, blocks};
pub use self::guard::{DestinationGuard, Guard, GuardMode};
use self::versions::{Ordered, Survey, survey};
use crate::adapters::Adapter;
use crate::dispatch::{Job, Salvage, Unfold, WriteKind};
use crate::fold::Step;
use crate::model::codes;
use crate::model::{
    Code, ContactChange, Operation, Payload, Position, Positions, RefusedValue, Rejection, Stage,
    Transformed, ValueCounts, WholePayload, WholeRow,
};
use crate::settle::{OutcomeRecorder, RecordOutcome};

/// Transforms the changes of one batch for one destination.
#[derive(Clone, Copy)]
pub struct SchemaTransformer<'a> {
    /// The adapter with the destination's schema.
    pub adapter: &'a dyn Adapter,
    /// The destination's guard.
    pub guard: DestinationGuard,
    /// Changes that are compared in addition to those that the guard selects.
    pub compared: &'a HashSet<Position>,
    /// The batch's changes, by position.
    pub changes: &'a [Option<Box<ContactChange>>],
    /// Records the changes that can never be written.
    pub sink: OutcomeRecorder<'a>,
}

impl SchemaTransformer<'_> {
    /// Runs the stage: transforms `steps` concurrently, `permits` at a time, into `queue`. A permit
    /// is held until the queue has accepted the payload, so that a slow destination bounds the
    /// number of its payloads.
    pub async fn run(&self, steps: &[Step], permits: usize, queue: mpsc::Sender<Job>) {
        let semaphore = Semaphore::new(permits);
        join_all(steps.iter().map(|step| async {
            let Ok(_permit) = semaphore.acquire().await else {
                return;
            };
            if let Some(job) = self.job(step) {
                // The receiver is dropped only after the deadline: then the record counts as
                // failed.
                let _ = queue.send(job).await;
            }
        }))
        .await;
    }

    /// Returns the first job of a step, with the jobs that follow it; `None` where all its changes
    /// were rejected.
    fn job(&self, step: &Step) -> Option<Job> {
        let writable = step
            .delete
            .iter()
            .chain(&step.upsert)
            .filter(|position| self.is_version_valid(**position));
        let mut jobs = VecDeque::new();
        for block in blocks(writable.filter_map(|position| self.ordered(*position))) {
            jobs.extend(self.jobs_of(block));
        }
        Job::chain(jobs)
    }

    /// Returns whether the destination can store the version of a change. Rejects the change where
    /// it cannot.
    fn is_version_valid(&self, position: Position) -> bool {
        let rejection = self
            .change(position)
            .and_then(|change| self.guard.refuses(change));
        match rejection {
            Some(rejection) => {
                self.reject(position, rejection);
                false
            }
            None => true,
        }
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

    /// Returns the jobs of a block, in order, and counts their shortened and unrecognised values.
    fn jobs_of(&self, block: Block) -> Vec<Job> {
        let (jobs, counts) = self.uncounted(block, &[]);
        self.sink.count_values(counts);
        jobs
    }

    fn uncounted(&self, block: Block, refused: &[RefusedValue]) -> (Vec<Job>, ValueCounts) {
        match block.kind {
            WriteKind::Delete => (
                self.delete(block).into_iter().collect(),
                ValueCounts::default(),
            ),
            WriteKind::Upsert => self.upsert(block.sources, refused),
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
            conditions: None,
            version,
            guarded: is_guarded,
            record: None,
            whole: None,
            is_compared: false,
        };
        Some(Job::new(WriteKind::Delete, payload, sources))
    }

    /// Returns the jobs that write these changes without the `refused` values, and the numbers of
    /// their values. It is one job, unless some of the changes are rejected.
    fn upsert(&self, mut sources: Positions, refused: &[RefusedValue]) -> (Vec<Job>, ValueCounts) {
        let Survey {
            outdated, written, ..
        } = self.survey(None, &sources);
        let changes: Vec<&ContactChange> =
            written.iter().filter_map(|at| self.change(*at)).collect();
        let mut transformed = self.isolated(&changes, refused);
        let left_out = positions_of(&written, std::mem::take(&mut transformed.left_out));
        let rejected = std::mem::take(&mut transformed.rejected);
        let rejected = self.reject_all(&written, rejected);
        sources.retain(|at| !rejected.contains(at));
        if rejected.is_empty() || outdated.is_empty() {
            let counts = transformed.counts;
            let job = self.written(transformed, sources, outdated, refused);
            let job = job.map(|job| Job { left_out, ..job });
            return (job.into_iter().collect(), counts);
        }
        // A change that is older only than a rejected change is not outdated. It may be a delete,
        // which is a job of its own.
        let rest = blocks(
            sources
                .iter()
                .filter_map(|position| self.ordered(*position)),
        );
        let (mut jobs, mut counts) = (Vec::new(), ValueCounts::default());
        for block in rest {
            let (jobs_of_block, counts_of_block) = self.uncounted(block, refused);
            jobs.extend(jobs_of_block);
            counts += counts_of_block;
        }
        (jobs, counts)
    }

    fn written(
        &self,
        transformed: Transformed,
        sources: Positions,
        outdated: Positions,
        refused: &[RefusedValue],
    ) -> Option<Job> {
        let written = |position: &&Position| !outdated.contains(position);
        let first = self.ordered(*sources.first()?)?;
        let last = self.change(*sources.iter().rfind(written)?)?;
        let Transformed {
            body,
            if_new,
            conditions,
            ..
        } = transformed;
        let mut payload = Payload {
            id: last.contact.id.clone(),
            body: Some(body?),
            if_new,
            conditions,
            version: last.guard_version().unwrap_or_default(),
            guarded: first.is_compared,
            record: None,
            whole: None,
            is_compared: false,
        };
        payload.whole = self.whole(sources.iter().filter(written), &payload, refused);
        Some(Job {
            outdated,
            ..Job::new(WriteKind::Upsert, payload, sources)
        })
    }

    /// Returns the write of a record that does not exist yet, where the first of the changes at
    /// `positions` leaves columns out: that change is applied with its whole row, and the others
    /// follow.
    fn whole<'p>(
        &self,
        mut positions: impl Iterator<Item = &'p Position>,
        part: &Payload,
        refused: &[RefusedValue],
    ) -> Option<WholeRow> {
        let position = *positions.next()?;
        let first = self.change(position)?;
        let contact = match first.whole.as_ref()? {
            Ok(contact) => contact,
            Err(rejection) => return Some(WholeRow::Rejected(rejection.clone())),
        };
        let first = ContactChange {
            contact: (**contact).clone(),
            whole: None,
            ..first.clone()
        };
        let positions: Positions = iter::once(position).chain(positions.copied()).collect();
        let mut changes = vec![&first];
        changes.extend(positions[1..].iter().filter_map(|at| self.change(*at)));
        let Transformed {
            body,
            if_new,
            conditions,
            rejected,
            left_out,
            ..
        } = self.isolated(&changes, refused);
        Some(match rejected.into_iter().next() {
            Some((_, rejection)) => WholeRow::Rejected(Box::new(rejection)),
            None => WholeRow::Payload(Box::new(WholePayload {
                payload: Payload {
                    body,
                    if_new,
                    conditions,
                    ..part.clone()
                },
                left_out: positions_of(&positions, left_out),
            })),
        })
    }

    /// Rejects the changes with these indexes into `positions`. Returns their positions.
    fn reject_all(&self, positions: &[Position], rejected: Vec<(usize, Rejection)>) -> Positions {
        let mut removed = Positions::new();
        for (index, rejection) in rejected {
            if let Some(position) = positions.get(index) {
                removed.push(*position);
                self.reject(*position, rejection);
            }
        }
        removed
    }

    fn reject(&self, position: Position, rejection: Rejection) {
        let outcome = RecordOutcome::Rejected(Stage::Validate, rejection);
        self.sink.record(position, outcome, 0);
    }

    /// Transforms changes. A panic rejects only the change that causes it.
    fn isolated(&self, changes: &[&ContactChange], refused: &[RefusedValue]) -> Transformed {
        if let Some(transformed) = self.catch_panic(changes, refused) {
            return transformed;
        }
        let failing: Vec<usize> = (0..changes.len())
            .filter(|at| self.catch_panic(&[changes[*at]], refused).is_none())
            .collect();
        let passing: Vec<usize> = (0..changes.len())
            .filter(|at| !failing.contains(at))
            .collect();
        let rest = if failing.is_empty() || passing.is_empty() {
            None
        } else {
            let passing: Vec<_> = passing.iter().map(|at| changes[*at]).collect();
            self.catch_panic(&passing, refused)
        };
        let Some(mut rest) = rest else {
            let rejected = (0..changes.len())
                .map(|at| (at, internal_error()))
                .collect();
            return Transformed {
                rejected,
                ..Transformed::default()
            };
        };
        for (index, _) in &mut rest.rejected {
            *index = passing[*index];
        }
        for (index, _) in &mut rest.left_out {
            *index = passing[*index];
        }
        rest.rejected
            .extend(failing.into_iter().map(|at| (at, internal_error())));
        rest
    }

    /// Transforms changes; `None` where that panics.
    fn catch_panic(
        &self,
        changes: &[&ContactChange],
        refused: &[RefusedValue],
    ) -> Option<Transformed> {
        catch_unwind(AssertUnwindSafe(|| match refused {
            [] => self.adapter.transform(changes),
            refused => self.adapter.transform_without(changes, refused),
        }))
        .ok()
    }
}

/// Returns the left out fields with the positions of their changes, which have these indexes into
/// `positions`.
fn positions_of(positions: &[Position], left_out: Vec<(usize, String)>) -> Vec<(Position, String)> {
    let mut found = Vec::new();
    for (index, field) in left_out {
        if let Some(position) = positions.get(index) {
            found.push((*position, field));
        }
    }
    found
}

fn internal_error() -> Rejection {
    Rejection::new(
        Code::new(codes::INTERNAL_ERROR),
        "transforming failed inside contact-sync",
    )
}

impl Unfold for SchemaTransformer<'_> {
    fn change(&self, position: Position) -> Option<&ContactChange> {
        self.changes.get(position)?.as_deref()
    }

    fn one_by_one(&self, folded: Job) -> Option<Job> {
        let Job {
            sources,
            calls,
            salvage,
            then,
            ..
        } = folded;
        let refused = Salvage::refused(salvage.as_deref());
        // Their values were counted when they were folded.
        let mut jobs = VecDeque::new();
        for position in &sources {
            let Some(block) = blocks(self.ordered(*position).into_iter()).pop() else {
                continue;
            };
            if let Some(job) = self.uncounted(block, refused).0.pop() {
                jobs.push_back(Job {
                    calls,
                    salvage: salvage.as_ref().map(|salvage| salvage.of_change().into()),
                    ..job
                });
            }
        }
        jobs.extend(then);
        Job::chain(jobs)
    }

    fn without(&self, job: &Job, refused: &[RefusedValue]) -> Option<Job> {
        let mut jobs = self.upsert(job.sources.clone(), refused).0;
        let job = jobs.pop()?;
        jobs.is_empty().then_some(job)
    }

    fn compare(&self, job: &mut Job, version: Option<u64>) -> bool {
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
        let refused = Salvage::refused(job.salvage.as_deref());
        let mut jobs = self.upsert(rest.clone(), refused).0;
        match jobs.pop() {
            Some(Job {
                kind: WriteKind::Upsert,
                payload,
                sources,
                outdated,
                left_out,
                ..
            }) if jobs.is_empty() => {
                (job.payload, job.sources, job.outdated) = (payload, sources, outdated);
                job.left_out = left_out;
            }
            // The changes were writable before. An empty payload is refused, and then each change
            // is sent by itself.
            _ => (job.payload.body, job.sources) = (None, rest),
        }
        true
    }
}
