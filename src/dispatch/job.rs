//! What the dispatcher carries: a payload, the records that it stands for, and what has to follow
//! it.

use std::collections::VecDeque;

use crate::model::{Code, Payload, Positions};

/// The two things that can be done to a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteKind {
    /// Write it.
    Upsert,
    /// Remove it.
    Delete,
}

impl WriteKind {
    /// Its name in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

/// One write of one contact. A contact has at most one under way.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is to be done.
    pub kind: WriteKind,
    /// With which content.
    pub payload: Payload,
    /// The records whose fate this decides, in the order in which they hold; the last of those that
    /// are not `outdated` carries the others.
    pub sources: Positions,
    /// Those of the sources that are older than another one of them, and left out of the payload.
    pub outdated: Positions,
    /// What is to be sent once this is settled, unless it failed: of one contact nothing overtakes.
    pub then: VecDeque<Job>,
    /// Calls that it was part of.
    pub calls: u32,
    /// Tries that count for the retry policy.
    pub tries: u32,
    /// The codes for which it has had a second chance, one each.
    pub second_chances: Vec<Code>,
    /// It was bisected already, for its own outcome.
    pub was_bisected: bool,
    /// Successes of its kind before the first call that it was part of and that failed as a whole.
    pub suspected_at: Option<u64>,
    /// Jobs of the worker that had settled when it was sent as one of the last.
    pub settled_before: Option<u64>,
    /// Calls of this invocation in which it failed alone.
    pub failures_alone: u32,
    /// It was locked in a call of this invocation that it was alone in.
    pub was_locked: bool,
}

impl Job {
    /// A job that nothing follows.
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
            was_bisected: false,
            suspected_at: None,
            settled_before: None,
            failures_alone: 0,
            was_locked: false,
        }
    }

    /// The first of `jobs`, to be followed by the others.
    pub fn chain(mut jobs: VecDeque<Job>) -> Option<Job> {
        let mut first = jobs.pop_front()?;
        first.then.append(&mut jobs);
        Some(first)
    }
}
