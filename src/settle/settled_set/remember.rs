//! What is worth remembering of a batch that failed in part. Pure.
//!
//! The law: whatever happens between (the batch is halved, an invocation dies, the table is not read for once), leaving
//! out what is remembered leaves the same behind as sending everything again. So of one contact's changes only those
//! are remembered that changed nothing there, and of the others those that the first write carried: a change that
//! follows one that failed, or that was written after another write, could be left out where the earlier one is
//! repeated, and the earlier one would have the last word.
//!
//! One chain of accidents is beyond it: a batch is halved between two changes that one write carried, so that the first is
//! written once more; and then the mapping loses its checkpoint and delivers both together, of which nothing is left
//! to be sent. The contact's next change mends it. (An ignored test in `tests/convergence` shows the chain.)

use smallvec::smallvec;

use super::item::{Mark, Memory};
use crate::contact::ContactChange;
use crate::fold::{Position, Step, fold};
use crate::settle::{Entry, Fate, Verdict};

/// A batch and what became of it.
pub(in crate::settle) struct Ended<'a> {
    pub(in crate::settle) entries: &'a [Entry],
    /// The records' fates, of which none is provisional any more.
    pub(in crate::settle) fates: &'a [Fate],
    pub(in crate::settle) changes: &'a [Option<ContactChange>],
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
    let mut groups = 0;
    for destination in 0..destinations {
        for step in steps(ended, destination) {
            let changes = step.delete.iter().chain(&step.upsert);
            let standings: Vec<_> = changes.map(|at| (*at, standing(ended, *at, destination))).collect();
            let written = first_write(&standings, is_told_apart);
            let group = if written.len() > 1 {
                groups += 1;
                groups
            } else {
                0
            };
            let mark = |fate, ordered, group| Mark { destination, fate, ordered, group };
            let unchanged = standings.iter().filter_map(|(at, standing)| match standing {
                Standing::Unchanged(fate) if is_told_apart(*at) => Some((*at, mark(*fate, false, 0))),
                _ => None,
            });
            for (at, mark) in unchanged.chain(written.into_iter().map(|(at, fate)| (at, mark(fate, true, group)))) {
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
    fold(records.filter_map(|(at, (entry, change))| Some((at, change.as_ref().filter(|_| goes_there(entry))?))))
}

/// The changes that the contact's first write carried; none where one before or among them is open, or is not told
/// apart.
fn first_write(standings: &[(Position, Standing)], is_told_apart: &dyn Fn(Position) -> bool) -> Vec<(Position, Fate)> {
    let in_order = || standings.iter().filter(|(_, standing)| !matches!(standing, Standing::Unchanged(_)));
    let known = in_order().map_while(|(at, standing)| match standing {
        Standing::Known(fate) => Some((*at, *fate)),
        _ => None,
    });
    let mut carried: Vec<(Position, Fate)> = known.collect();
    if !carried.is_empty() {
        return carried;
    }
    for (at, standing) in in_order() {
        match standing {
            Standing::Written(fate) if is_told_apart(*at) => carried.push((*at, *fate)),
            _ => break,
        }
        // What is delivered carried those before it, which it superseded.
        if matches!(standing, Standing::Written(Fate::Delivered)) {
            return carried;
        }
    }
    Vec::new()
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
