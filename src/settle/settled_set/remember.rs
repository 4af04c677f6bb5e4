//! What is worth remembering of a batch that failed in part. Pure.
//!
//! The law: whatever happens between (the batch is halved, or read again in other pieces, an
//! invocation dies, the table does not answer for once), leaving out what is remembered leaves the
//! same behind as sending everything again.
//!
//! With a guard, every change is remembered. Where the table does not answer, an older change that
//! is sent again is compared with the destination, and has no effect. Two have one: a change as new
//! as the last one (a tie is not stale), and any before a last delete (nothing is held). They are
//! repaired by what follows them: it is remembered as what is sent again and compared.
//!
//! Without a guard a change that changed something is remembered only where no other change of its
//! contact, in this batch and for this destination, comes before it or was carried with it: an
//! older one that is sent again, on its own and unknown to a later invocation, would have the last
//! word over one that is left out. What follows it is sent again each time, but for a change that
//! came after a newer version of its contact, and so would have the last word itself.
//!
//! Where a stream is read again from before a batch, older changes of earlier batches are sent
//! again, too: whoever sends one forgets the items that tell of a later one of its contact
//! (`PriorOutcomes::undone`). He does not see those of another shard, into which a split or a merge has
//! led the contact, nor what lies more than [`super::MOST_PAGES`] behind, nor anything while the
//! table is silent: who reads a stream again after such things gives the function an empty table.

use super::batch::contact_hash;
use super::item::{DestinationOutcome, PriorOutcome};
use crate::contact::{ContactChange, Operation};
use crate::fold::{Position, Step, fold};
use crate::settle::{Entry, Fate, RecordOutcome};

/// A batch and what became of it.
pub(in crate::settle) struct BatchOutcome<'a> {
    pub(in crate::settle) entries: &'a [Entry],
    /// The records' fates, of which none is provisional any more.
    pub(in crate::settle) fates: &'a [Fate],
    pub(in crate::settle) changes: &'a [Option<Box<ContactChange>>],
    /// By destination, whether its guard protects newer changes from older ones.
    pub(in crate::settle) guarded: &'a [bool],
    /// Whether a rejection by a destination has its dead letter.
    pub(in crate::settle) has_letter: &'a (dyn Fn(Position, usize) -> bool + Sync),
}

/// How a record stands at a destination.
#[derive(Clone, Copy)]
enum ChangeState {
    Open,
    /// It ended, and changed nothing there.
    Unchanged(Fate),
    /// It is there since an earlier invocation.
    Known(Fate),
    /// It is there: by its own write, or carried by that of a later change.
    Written(Fate),
}

/// What to remember, by position. Nothing of a record that `is_told_apart` does not know from
/// others.
pub(super) fn remember(
    ended: &BatchOutcome<'_>,
    destinations: usize,
    is_told_apart: &dyn Fn(Position) -> bool,
) -> Vec<Option<PriorOutcome>> {
    let whole = |(position, (entry, fate)): (Position, (&Entry, &Fate))| {
        let ended = entry.rows.is_empty() && *fate != Fate::Failed && is_told_apart(position);
        ended.then_some(PriorOutcome::Whole(*fate))
    };
    let mut memories: Vec<_> = ended
        .entries
        .iter()
        .zip(ended.fates)
        .enumerate()
        .map(whole)
        .collect();
    for destination in 0..destinations {
        for step in steps(ended, destination) {
            let changes = step.delete.iter().chain(&step.upsert);
            let standings: Vec<_> = changes
                .map(|at| (*at, standing(ended, *at, destination)))
                .collect();
            let unchanged = standings
                .iter()
                .filter_map(|(at, standing)| match standing {
                    ChangeState::Unchanged(fate) => Some((*at, *fate, Place::Any)),
                    _ => None,
                });
            let writes = if ended
                .guarded
                .get(destination)
                .is_some_and(|is_guarded| *is_guarded)
            {
                protected_writes(ended, &standings)
            } else {
                unprotected_writes(ended, &standings)
            };
            for (at, fate, place) in unchanged
                .chain(writes)
                .filter(|(at, ..)| is_told_apart(*at))
            {
                let contact = ended.changes[at]
                    .as_ref()
                    .map(|change| contact_hash(&change.contact.id));
                let ordered = contact.filter(|_| place != Place::Any);
                let mark = DestinationOutcome {
                    destination,
                    fate,
                    ordered,
                    is_resent: place == Place::Again,
                };
                match &mut memories[at] {
                    Some(PriorOutcome::At(marks)) => marks.push(mark),
                    memory => *memory = Some(PriorOutcome::At(vec![mark])),
                }
            }
        }
    }
    memories
}

/// Each contact's changes at a destination, in the order in which they hold.
fn steps(ended: &BatchOutcome<'_>, destination: usize) -> Vec<Step> {
    let goes_there = |entry: &Entry| entry.rows.iter().any(|row| row.destination == destination);
    let records = ended.entries.iter().zip(ended.changes).enumerate();
    fold(records.filter_map(|(at, (entry, change))| {
        Some((at, change.as_deref().filter(|_| goes_there(entry))?))
    }))
}

/// Whether the place of a change among its contact's changes matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It changed nothing: it may be left out wherever it comes again.
    Any,
    /// It changed something.
    Ordered,
    /// It repairs what an older one may do that is sent again before it.
    Again,
}

/// A change that is remembered, and how it ended.
type Remembered = (Position, Fate, Place);

/// The contact's changes that changed something and are there.
fn writes(standings: &[(Position, ChangeState)]) -> Vec<Remembered> {
    let write = |(at, standing): &(Position, ChangeState)| match standing {
        ChangeState::Known(fate) | ChangeState::Written(fate) => Some((*at, *fate, Place::Ordered)),
        ChangeState::Open | ChangeState::Unchanged(_) => None,
    };
    standings.iter().filter_map(write).collect()
}

/// With a guard: all of the contact's writes. Those behind the first that would have an effect if
/// it were sent again alone repair it.
fn protected_writes(
    ended: &BatchOutcome<'_>,
    standings: &[(Position, ChangeState)],
) -> Vec<Remembered> {
    let mut writes = writes(standings);
    let Some(((last, ..), before)) = writes.split_last() else {
        return writes;
    };
    let is_delete = |at: Position| {
        ended.changes[at]
            .as_ref()
            .is_some_and(|change| change.operation == Operation::Delete)
    };
    let version = |at: Position| {
        ended.changes[at]
            .as_ref()
            .and_then(|change| change.guard_version())
    };
    let kept = if is_delete(*last) {
        // Sent again, the delete is right whatever was written before it.
        before.len() + usize::from(before.iter().all(|(at, ..)| is_delete(*at)))
    } else {
        let is_tie = |(at, ..): &Remembered| version(*at) >= version(*last);
        before
            .iter()
            .position(is_tie)
            .map_or(writes.len(), |tie| tie + 1)
    };
    writes
        .iter_mut()
        .skip(kept)
        .for_each(|(.., place)| *place = Place::Again);
    writes
}

/// Without a guard: the contact's first write, if it went alone, and those that came after a newer
/// version.
fn unprotected_writes(
    ended: &BatchOutcome<'_>,
    standings: &[(Position, ChangeState)],
) -> Vec<Remembered> {
    let late = late_writes(ended, &writes(standings));
    let first =
        first_write(standings).filter(|(at, ..)| late.iter().all(|(other, ..)| other != at));
    late.into_iter().chain(first).collect()
}

/// The writes that came after a newer version of their contact, as long as no other write comes
/// again before them.
fn late_writes(ended: &BatchOutcome<'_>, writes: &[Remembered]) -> Vec<Remembered> {
    let version = |at: Position| ended.changes[at].as_ref().and_then(|change| change.version);
    let is_late = |at: Position| {
        version(at).is_some()
            && writes
                .iter()
                .any(|(other, ..)| *other < at && version(*other) > version(at))
    };
    // The stream goes on from the first failed record.
    let first_again = ended
        .fates
        .iter()
        .position(|fate| *fate == Fate::Failed)
        .unwrap_or(ended.fates.len());
    let is_passed = |(at, ..): &&Remembered| is_late(*at) || *at < first_again;
    let passed = writes.iter().take_while(is_passed);
    passed.filter(|(at, ..)| is_late(*at)).copied().collect()
}

fn first_write(standings: &[(Position, ChangeState)]) -> Option<Remembered> {
    let (at, first) = standings
        .iter()
        .find(|(_, standing)| !matches!(standing, ChangeState::Unchanged(_)))?;
    match first {
        ChangeState::Known(fate) | ChangeState::Written(fate @ Fate::Delivered) => {
            Some((*at, *fate, Place::Ordered))
        }
        _ => None,
    }
}

fn standing(ended: &BatchOutcome<'_>, position: Position, destination: usize) -> ChangeState {
    let rows = ended.entries.get(position).map(|entry| &entry.rows);
    let row = rows.and_then(|rows| rows.iter().find(|row| row.destination == destination));
    match row.and_then(|row| row.verdict.as_ref()) {
        Some(RecordOutcome::Delivered(_)) => ChangeState::Written(Fate::Delivered),
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
        Some(RecordOutcome::Rejected(..)) if (ended.has_letter)(position, destination) => {
            ChangeState::Unchanged(Fate::Rejected)
        }
        Some(RecordOutcome::Rejected(..) | RecordOutcome::Failed(_)) | None => ChangeState::Open,
    }
}
