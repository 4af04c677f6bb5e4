//! A job of the dispatcher: one write, its source records, and the writes of the same contact that
//! follow it.

use std::collections::VecDeque;

use super::Salvage;
use crate::model::{Code, MatchPolicy, Payload, Position, Positions};

/// Operation on a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteKind {
    /// Creates or updates the contact.
    Upsert,
    /// Deletes the contact.
    Delete,
}

impl WriteKind {
    /// Returns its name in traces and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

/// The origin of a payload's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The job's changes.
    Changes,
    /// The body of a repetition.
    Repetition,
    /// The whole row of a record that a write created from a part of it.
    WholeRow,
}

/// One write of one contact. A contact has at most one write in flight.
#[derive(Clone, Debug)]
pub struct Job {
    /// The operation.
    pub kind: WriteKind,
    /// The content.
    pub payload: Payload,
    /// Records that this write settles, oldest change first. The last one that is not
    /// `outdated` carries the others.
    pub sources: Positions,
    /// Sources that are older than another source, and therefore left out of the payload.
    pub outdated: Positions,
    /// Writes of the same contact that are sent once this one is settled, in order. If this one
    /// fails, they fail too.
    pub then: VecDeque<Job>,
    /// Calls that carried it.
    pub calls: u32,
    /// Attempts that count for the retry policy.
    pub tries: u32,
    /// Codes for which it was sent once more. Each code allows that once.
    pub second_chances: Vec<Code>,
    /// The origin of the payload's content.
    pub content: Content,
    /// Fields that are left out of the payload, each with the change that has it.
    pub left_out: Vec<(Position, String)>,
    /// The repetitions without refused values, once there was one.
    pub salvage: Option<Box<Salvage>>,
    /// Whether its batch was split for its own outcome before.
    pub was_bisected: bool,
    /// Successes of its kind before the first call that carried it and failed as a whole.
    pub suspected_at: Option<u64>,
    /// Jobs that the worker had settled when it sent this one after all others.
    pub settled_before: Option<u64>,
    /// Calls of this invocation in which it failed alone.
    pub failures_alone: u32,
    /// Whether it was locked in a call of this invocation that carried nothing else.
    pub was_locked: bool,
}

impl Job {
    /// Returns whether the payload has the change at `position`, which is not outdated.
    pub(super) fn is_written(&self, position: Position) -> bool {
        !self.outdated.contains(&position)
    }

    /// Returns the position of the last change that the payload has.
    pub(super) fn last_written(&self) -> Option<Position> {
        let mut sources = self.sources.iter().copied();
        if self.is_create_only() {
            return sources.find(|position| self.is_written(*position));
        }
        sources.rfind(|position| self.is_written(*position))
    }

    /// Returns whether the first change creates the record, and the others find it and are not
    /// written.
    pub(super) fn is_create_only(&self) -> bool {
        let conditions = self.payload.conditions.as_ref();
        conditions.is_some_and(|conditions| conditions.matching == MatchPolicy::CreateOnly)
    }

    /// Creates a job that no other write follows.
    pub fn new(kind: WriteKind, payload: Payload, sources: Positions) -> Self {
        Self {
            kind,
            payload,
            sources,
            outdated: Positions::new(),
            then: VecDeque::new(),
            calls: 0,
            tries: 0,
            second_chances: Vec::new(),
            content: Content::Changes,
            left_out: Vec::new(),
            salvage: None,
            was_bisected: false,
            suspected_at: None,
            settled_before: None,
            failures_alone: 0,
            was_locked: false,
        }
    }

    /// Returns the fields that are left out of the change at `position`, where it is written.
    pub(super) fn fields_left_out(&self, position: Position) -> Vec<String> {
        let mut fields = Vec::new();
        for (at, field) in &self.left_out {
            if *at == position && !fields.contains(field) {
                fields.push(field.clone());
            }
        }
        fields
    }

    /// Returns the first of `jobs`, followed by the others.
    pub fn chain(mut jobs: VecDeque<Job>) -> Option<Job> {
        let mut first = jobs.pop_front()?;
        first.then.append(&mut jobs);
        Some(first)
    }
}
