//! What is worth remembering of a batch that failed in part. Pure.
//!
//! The law: whatever happens between (the batch is halved, or read again in other pieces, an invocation dies, the table
//! does not answer for once), leaving out what is remembered leaves the same behind as sending everything again. So a
//! change that changed something is remembered only where no other change of its contact, in this batch and for this
//! destination, comes before it or was carried with it: an older one that is sent again, on its own and unknown to a
//! later invocation, would have the last word over one that is left out. What follows it is sent again each time.
//!
//! Where a stream is read again from before a batch, older changes of earlier batches are sent again, too: whoever sends
//! one forgets the items that tell of a later one of its contact (`Earlier::undone`). He does not see those of another
//! shard, into which a split or a merge has led the contact, nor what lies more than [`super::MOST_PAGES`] behind, nor
//! anything while the table is silent: who reads a stream again after such things gives the function an empty table.

use smallvec::smallvec;

use super::batch::contact_hash;
use super::item::{Mark, Memory};
use crate::contact::ContactChange;
use crate::fold::{Position, Step, fold};
use crate::settle::{Entry, Fate, Verdict};

/// A batch and what became of it.
pub(in crate::settle) struct Ended<'a> {
    pub(in crate::settle) entries: &'a [Entry],
    /// The records' fates, of which none is provisional any more.
    pub(in crate::settle) fates: &'a [Fate],
    pub(in crate::settle) changes: &'a [Option<Box<ContactChange>>],
    /// Whether a rejection by a destination has its dead letter.
    pub(in crate::settle) has_letter: &'a (dyn Fn(Position, usize) -> bool + Sync),
}

/// How a record stands at a destination.
#[derive(Clone, Copy)]
enum Standing {
    Open,
    /// It ended, and changed nothing there.
    Unchanged(Fate),
    /// It is there since an earlier invocation.
    Known(Fate),
    /// It is there: by its own write, or carried by that of a later change.
    Written(Fate),
}

/// What to remember, by position. Nothing of a record that `is_told_apart` does not know from others.
pub(super) fn remember(
    ended: &Ended<'_>,
    destinations: usize,
    is_told_apart: &dyn Fn(Position) -> bool,
) -> Vec<Option<Memory>> {
    let whole = |(position, (entry, fate)): (Position, (&Entry, &Fate))| {
        let ended = entry.rows.is_empty() && *fate != Fate::Failed && is_told_apart(position);
        ended.then_some(Memory::Whole(*fate))
    };
    let mut memories: Vec<_> = ended.entries.iter().zip(ended.fates).enumerate().map(whole).collect();
    for destination in 0..destinations {
        for step in steps(ended, destination) {
            let changes = step.delete.iter().chain(&step.upsert);
            let standings: Vec<_> = changes.map(|at| (*at, standing(ended, *at, destination))).collect();
            let first = first_write(&standings);
            let unchanged = standings.iter().filter_map(|(at, standing)| match standing {
                Standing::Unchanged(fate) => Some((*at, *fate, false)),
                _ => None,
            });
            for (at, fate, is_ordered) in unchanged.chain(first).filter(|(at, ..)| is_told_apart(*at)) {
                let contact = ended.changes[at].as_ref().map(|change| contact_hash(&change.contact.id));
                let mark = Mark { destination, fate, ordered: contact.filter(|_| is_ordered) };
                match &mut memories[at] {
                    Some(Memory::At(marks)) => marks.push(mark),
                    memory => *memory = Some(Memory::At(smallvec![mark])),
                }
            }
        }
    }
    memories
}

/// Each contact's changes at a destination, in the order in which they hold.
fn steps(ended: &Ended<'_>, destination: usize) -> Vec<Step> {
    let goes_there = |entry: &Entry| entry.rows.iter().any(|row| row.destination == destination);
    let records = ended.entries.iter().zip(ended.changes).enumerate();
    fold(records.filter_map(|(at, (entry, change))| Some((at, change.as_deref().filter(|_| goes_there(entry))?))))
}

/// The contact's first change that changed something, if it is there and went alone.
fn first_write(standings: &[(Position, Standing)]) -> Option<(Position, Fate, bool)> {
    let (at, first) = standings.iter().find(|(_, standing)| !matches!(standing, Standing::Unchanged(_)))?;
    match first {
        Standing::Known(fate) | Standing::Written(fate @ Fate::Delivered) => Some((*at, *fate, true)),
        _ => None,
    }
}

fn standing(ended: &Ended<'_>, position: Position, destination: usize) -> Standing {
    let rows = ended.entries.get(position).map(|entry| &entry.rows);
    let row = rows.and_then(|rows| rows.iter().find(|row| row.destination == destination));
    match row.and_then(|row| row.verdict.as_ref()) {
        Some(Verdict::Delivered(_)) => Standing::Written(Fate::Delivered),
        Some(Verdict::Superseded(None)) => Standing::Written(Fate::Superseded),
        Some(Verdict::Superseded(Some(_))) => Standing::Unchanged(Fate::Superseded),
        Some(Verdict::Skipped(_)) => Standing::Unchanged(Fate::Filtered),
        Some(Verdict::Settled { fate, ordered: true }) => Standing::Known(*fate),
        Some(Verdict::Settled { fate, ordered: false }) => Standing::Unchanged(*fate),
        Some(Verdict::Rejected(..)) if (ended.has_letter)(position, destination) => Standing::Unchanged(Fate::Rejected),
        Some(Verdict::Rejected(..) | Verdict::Failed(_)) | None => Standing::Open,
    }
}
