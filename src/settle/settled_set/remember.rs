//! Selects the outcomes to store of a batch that failed in part. Pure.
//!
//! The law: skipping the stored records has the same result as sending everything again. It holds
//! across any events in between: the batch is bisected or read in other pieces, an invocation dies,
//! the table is unavailable for a while.
//!
//! With a guard, every change is stored. While the table is unavailable, an older change that is
//! sent again is compared with the destination, and has no effect. Two kinds of changes have an
//! effect: a change as new as the last one (a tie is not stale), and any change before a final
//! delete (the destination holds no version). The changes after them repair that effect: they are
//! stored as changes that are sent again and compared.
//!
//! Without a guard, a change that changed the destination is stored only where no other change of
//! its contact, in this batch and for this destination, comes before it or was merged with it: an
//! older change that is sent again alone, unknown to a later invocation, would overwrite a skipped
//! one. The changes after it are sent again each time, except a change that came after a newer
//! version of its contact, which would otherwise overwrite that version.
//!
//! Where a stream is read again from a position before the batch, older changes of earlier batches
//! are sent again, too. An invocation that sends one clears the items with a later change of its
//! contact (`PriorOutcomes::overwritten_items`). It does not see the items of another shard, to
//! which a split or a merge moved the contact, nor those beyond [`super::MOST_PAGES`], nor any
//! while the table is unavailable. To read a stream again after such events, give the function an
//! empty table.

use super::batch::contact_hash;
use super::item::{DestinationOutcome, PriorOutcome};
use crate::fold::{Step, fold};
use crate::model::{ContactChange, Operation, Position};
use crate::settle::{Entry, Fate, RecordOutcome};

/// A batch with its outcomes.
pub(in crate::settle) struct BatchOutcome<'a> {
    pub(in crate::settle) entries: &'a [Entry],
    /// The records' final fates.
    pub(in crate::settle) fates: &'a [Fate],
    /// By position, whether the record is redelivered.
    pub(in crate::settle) redelivered: &'a [bool],
    pub(in crate::settle) changes: &'a [Option<Box<ContactChange>>],
    /// By destination, whether the guard protects newer changes from older ones.
    pub(in crate::settle) guarded: &'a [bool],
    /// Returns whether a rejection by a destination has a dead letter.
    pub(in crate::settle) has_dead_letter: &'a (dyn Fn(Position, usize) -> bool + Sync),
}

impl BatchOutcome<'_> {
    fn change(&self, position: Position) -> Option<&ContactChange> {
        self.changes[position].as_deref()
    }

    fn is_delete(&self, position: Position) -> bool {
        self.change(position)
            .is_some_and(|change| change.operation == Operation::Delete)
    }
}

/// The state of a change at a destination.
#[derive(Clone, Copy)]
enum ChangeState {
    /// Failed, or rejected without a dead letter.
    Open,
    /// Settled without a change of the destination.
    Unchanged(Fate),
    /// Written by an earlier invocation.
    Known(Fate),
    /// Written by this invocation, alone or merged into a later change.
    Written(Fate),
}

/// Returns the outcomes to store, by position. Omits the records that are not `is_identifiable`.
pub(super) fn remember(
    batch: &BatchOutcome<'_>,
    destinations: usize,
    is_identifiable: &dyn Fn(Position) -> bool,
) -> Vec<Option<PriorOutcome>> {
    let mut outcomes = Vec::with_capacity(batch.entries.len());
    for (position, (entry, fate)) in batch.entries.iter().zip(batch.fates).enumerate() {
        let is_whole = entry.rows.is_empty() && *fate != Fate::Failed && is_identifiable(position);
        outcomes.push(is_whole.then_some(PriorOutcome::Whole(*fate)));
    }
    for destination in 0..destinations {
        for step in steps(batch, destination) {
            for (at, fate, order) in stored_changes(batch, destination, &step) {
                if !is_identifiable(at) {
                    continue;
                }
                let contact = match (batch.change(at), order) {
                    (Some(change), Order::Ordered | Order::Resent) => {
                        Some(contact_hash(&change.contact.id))
                    }
                    _ => None,
                };
                let outcome = DestinationOutcome {
                    destination,
                    fate,
                    ordered: contact,
                    is_resent: order == Order::Resent,
                };
                match &mut outcomes[at] {
                    Some(PriorOutcome::At(outcomes)) => outcomes.push(outcome),
                    other => *other = Some(PriorOutcome::At(vec![outcome])),
                }
            }
        }
    }
    outcomes
}

/// Returns the changes of one contact to store at a destination.
fn stored_changes(batch: &BatchOutcome<'_>, destination: usize, step: &Step) -> Vec<StoredChange> {
    let changes = step.delete.iter().chain(&step.upsert);
    let states: Vec<_> = changes
        .map(|at| (*at, change_state(batch, *at, destination)))
        .collect();
    let mut stored = Vec::new();
    for (at, state) in &states {
        if let ChangeState::Unchanged(fate) = state {
            stored.push((*at, *fate, Order::Any));
        }
    }
    if batch.guarded.get(destination) == Some(&true) {
        stored.extend(guarded_writes(batch, &states));
    } else {
        stored.extend(unguarded_writes(batch, &states));
    }
    stored
}

/// Returns each contact's changes at a destination, in the order of application.
fn steps(batch: &BatchOutcome<'_>, destination: usize) -> Vec<Step> {
    let mut changes = Vec::new();
    for (at, (entry, change)) in batch.entries.iter().zip(batch.changes).enumerate() {
        let is_routed = entry.rows.iter().any(|row| row.destination == destination);
        if let (true, Some(change)) = (is_routed, change) {
            changes.push((at, &**change));
        }
    }
    fold(changes)
}

/// Whether the position of a change among its contact's changes matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The change did not change the destination: every later invocation may skip it.
    Any,
    /// The change changed the destination.
    Ordered,
    /// The change repairs the effect of an older one that is sent again before it.
    Resent,
}

/// A change to store, with its fate.
type StoredChange = (Position, Fate, Order);

/// Returns the contact's changes that changed the destination.
fn writes(states: &[(Position, ChangeState)]) -> Vec<StoredChange> {
    let mut writes = Vec::new();
    for (at, state) in states {
        if let ChangeState::Known(fate) | ChangeState::Written(fate) = state {
            writes.push((*at, *fate, Order::Ordered));
        }
    }
    writes
}

/// Returns all of the contact's writes, for a destination with a guard. The writes after the first
/// one that would have an effect if it were sent again alone are resent: they repair that effect.
fn guarded_writes(
    batch: &BatchOutcome<'_>,
    states: &[(Position, ChangeState)],
) -> Vec<StoredChange> {
    let mut writes = writes(states);
    let Some(((last, ..), before)) = writes.split_last() else {
        return writes;
    };
    let version = |at| batch.change(at).and_then(ContactChange::guard_version);
    let kept = if batch.is_delete(*last) {
        // A resent delete is correct after any writes before it.
        before.len() + usize::from(before.iter().all(|(at, ..)| batch.is_delete(*at)))
    } else {
        let newest = version(*last);
        match before.iter().position(|(at, ..)| version(*at) >= newest) {
            Some(tie) => tie + 1,
            None => writes.len(),
        }
    };
    for (.., order) in writes.iter_mut().skip(kept) {
        *order = Order::Resent;
    }
    writes
}

/// Returns the contact's first write, if it was not merged, and the writes that came after a newer
/// version, for a destination without a guard.
fn unguarded_writes(
    batch: &BatchOutcome<'_>,
    states: &[(Position, ChangeState)],
) -> Vec<StoredChange> {
    let mut stored = late_writes(batch, &writes(states));
    if let Some(first) = first_write(states)
        && stored.iter().all(|(at, ..)| *at != first.0)
    {
        stored.push(first);
    }
    stored
}

/// Returns the writes that came after a newer version of their contact, up to the first other write
/// that is redelivered.
fn late_writes(batch: &BatchOutcome<'_>, writes: &[StoredChange]) -> Vec<StoredChange> {
    let version = |at| batch.change(at).and_then(|change| change.version);
    let is_late = |at: Position| {
        version(at).is_some()
            && writes
                .iter()
                .any(|(other, ..)| *other < at && version(*other) > version(at))
    };
    let mut late = Vec::new();
    for write in writes {
        let at = write.0;
        if is_late(at) {
            late.push(*write);
        } else if batch.redelivered.get(at) == Some(&true) {
            break;
        }
    }
    late
}

/// Returns the contact's first change of the destination, unless it was merged into a later one.
fn first_write(states: &[(Position, ChangeState)]) -> Option<StoredChange> {
    let (at, first) = states
        .iter()
        .find(|(_, state)| !matches!(state, ChangeState::Unchanged(_)))?;
    match first {
        ChangeState::Known(fate) | ChangeState::Written(fate @ Fate::Delivered) => {
            Some((*at, *fate, Order::Ordered))
        }
        _ => None,
    }
}

fn change_state(batch: &BatchOutcome<'_>, position: Position, destination: usize) -> ChangeState {
    let rows = batch.entries.get(position).map(|entry| &entry.rows);
    let row = rows.and_then(|rows| rows.iter().find(|row| row.destination == destination));
    match row.and_then(|row| row.outcome.as_ref()) {
        Some(RecordOutcome::Delivered(_) | RecordOutcome::Partial(_)) => {
            ChangeState::Written(Fate::Delivered)
        }
        Some(RecordOutcome::Superseded(None)) => ChangeState::Written(Fate::Superseded),
        Some(RecordOutcome::Superseded(Some(_))) => ChangeState::Unchanged(Fate::Superseded),
        Some(RecordOutcome::Skipped(_)) => ChangeState::Unchanged(Fate::Filtered),
        Some(RecordOutcome::Settled {
            fate,
            ordered: true,
        }) => ChangeState::Known(*fate),
        Some(RecordOutcome::Settled {
            fate,
            ordered: false,
        }) => ChangeState::Unchanged(*fate),
        Some(RecordOutcome::Rejected(..)) if (batch.has_dead_letter)(position, destination) => {
            ChangeState::Unchanged(Fate::Rejected)
        }
        Some(RecordOutcome::Rejected(..) | RecordOutcome::Failed(_)) | None => ChangeState::Open,
    }
}
