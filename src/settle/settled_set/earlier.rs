//! What of a batch was settled by earlier invocations, and what of it may be left out.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use super::Item;
use super::batch::{Batch, ContactHash, contact_hash};
use super::item::{Mark, Memory, decode};
use super::number::SequenceNumber;
use crate::adapters::Destination;
use crate::contact::{ContactChange, Operation};
use crate::fold::{Position, Step};
use crate::settle::{Entry, Fate, Verdict};

/// What of a batch was settled by earlier invocations.
#[derive(Debug, Default)]
pub struct Earlier {
    /// By position; empty where nothing is known.
    known: Vec<Option<Memory>>,
    /// By position, whether the table will remember the record; empty where it does not answer.
    told_apart: Vec<bool>,
    /// The items that tell of records of the batch.
    here: Vec<String>,
    /// The items that tell of a later change of a contact at a destination, one that lies behind the batch.
    later: HashMap<(usize, ContactHash), Vec<String>>,
}

impl Earlier {
    /// `is_writable` says whether the table may be counted on to remember anything.
    pub(super) fn nothing(batch: &Batch<'_>, is_writable: bool) -> Self {
        let told_apart: Vec<bool> = batch.identities.iter().map(|identity| identity.is_some() && is_writable).collect();
        Self { known: vec![None; told_apart.len()], told_apart, ..Self::default() }
    }

    /// Whether the next invocation will know what becomes of the record at `position` in this one, if the table takes it.
    pub(in crate::settle) fn is_told_apart(&self, position: Position) -> bool {
        self.told_apart.get(position).is_some_and(|is_told_apart| *is_told_apart)
    }

    /// How the record at `position` ended before any destination was asked, if it did.
    pub(crate) fn whole(&self, position: Position) -> Option<Fate> {
        match self.known.get(position)? {
            Some(Memory::Whole(fate)) => Some(*fate),
            _ => None,
        }
    }

    /// How the record at `position` ended at `destination`, and whether it changed something there.
    pub(crate) fn at(&self, position: Position, destination: usize) -> Option<(Fate, bool)> {
        match self.known.get(position)?.as_ref()? {
            Memory::Whole(fate) => Some((*fate, false)),
            Memory::At(marks) => {
                let mark = marks.iter().find(|mark| mark.destination == destination)?;
                Some((mark.fate, mark.ordered.is_some()))
            }
        }
    }

    /// The positions that ended before any destination was asked.
    pub(crate) fn wholes(&self) -> impl Iterator<Item = (Position, Fate)> {
        (0..self.known.len()).filter_map(|position| Some((position, self.whole(position)?)))
    }

    /// The steps without what is settled at `destination` already; `tell` hears of each change left out. After a change
    /// that is sent, every one that changes something is sent as well: an older one must not have the last word.
    pub(crate) fn skip(
        &self,
        steps: Vec<Step>,
        destination: usize,
        changes: &[Option<Box<ContactChange>>],
        mut tell: impl FnMut(Position, Verdict),
    ) -> Vec<Step> {
        if self.known.iter().all(Option::is_none) {
            return steps;
        }
        let is_delete = |position: Position| {
            changes.get(position).and_then(Option::as_ref).is_some_and(|change| change.operation == Operation::Delete)
        };
        let rest = steps.into_iter().map(|step| {
            let mut nothing_sent = true;
            step.retain(is_delete, |position| {
                let known = self.at(position, destination).filter(|(_, is_ordered)| nothing_sent || !is_ordered);
                match known {
                    Some((fate, ordered)) => tell(position, Verdict::Settled { fate, ordered }),
                    None => nothing_sent = false,
                }
                known.is_none()
            })
        });
        rest.filter(|step| !step.is_empty()).collect()
    }

    /// The sort keys of the items that tell of a change over which an older one of its contact was sent at its
    /// destination. Behind the batch such a change would be left out by the next one; in it, it was sent as well, and may
    /// have failed. While a stream is read in its order there is neither.
    pub(in crate::settle) fn undone(
        &self,
        entries: &[Entry],
        changes: &[Option<Box<ContactChange>>],
    ) -> BTreeSet<&str> {
        let mut undone = BTreeSet::new();
        if self.here.is_empty() && self.later.is_empty() {
            return undone;
        }
        for (position, (entry, change)) in entries.iter().zip(changes).enumerate() {
            let Some(change) = change else { continue };
            let contact = contact_hash(&change.contact.id);
            for row in entry.rows.iter().filter(|row| !matches!(row.verdict, Some(Verdict::Settled { .. }))) {
                let here = self.at(position, row.destination).map(|_| &self.here);
                let items = here.into_iter().chain(self.later.get(&(row.destination, contact)));
                undone.extend(items.flatten().map(String::as_str));
            }
        }
        undone
    }

    /// Takes over what `item` tells of the batch.
    pub(super) fn learn(&mut self, item: &Item, batch: &Batch<'_>, destinations: &[Destination]) {
        let names = item.get("destinations").and_then(|list| list.as_l().ok());
        let names: Vec<&str> =
            names.into_iter().flatten().filter_map(|name| Some(name.as_s().ok()?.as_str())).collect();
        let ours = |mark: Mark| {
            let name = names.get(mark.destination)?;
            let destination = destinations.iter().position(|destination| destination.0 == *name)?;
            Some(Mark { destination, ..mark })
        };
        let positions = batch.positions();
        let mut is_here = false;
        let understood = records(item, |number, fingerprint, memory| {
            if number > batch.last {
                let marks = if let Memory::At(marks) = memory { marks } else { SmallVec::new() };
                let contacts =
                    marks.into_iter().filter_map(ours).filter_map(|mark| Some((mark.destination, mark.ordered?)));
                contacts.for_each(|contact| self.later.entry(contact).or_default().extend(sort_key(item)));
                return;
            }
            let position = positions.get(&(number, fingerprint));
            let Some(known) = position.and_then(|position| self.known.get_mut(*position)) else {
                return;
            };
            is_here = true;
            merge(
                known,
                match memory {
                    Memory::At(marks) => Memory::At(marks.into_iter().filter_map(ours).collect()),
                    whole @ Memory::Whole(_) => whole,
                },
            );
        });
        self.here.extend(sort_key(item).filter(|_| is_here));
        if understood.is_none() {
            tracing::warn!("an item of the state table is not understood: what it remembers is sent again");
        }
    }
}

fn merge(known: &mut Option<Memory>, more: Memory) {
    match (known, more) {
        (Some(Memory::At(marks)), Memory::At(more)) => {
            let is_new = |mark: &Mark| marks.iter().all(|known| known.destination != mark.destination);
            let new: SmallVec<[Mark; 1]> = more.into_iter().filter(is_new).collect();
            marks.extend(new);
        }
        (known @ None, Memory::At(marks)) if !marks.is_empty() => *known = Some(Memory::At(marks)),
        (known, whole @ Memory::Whole(_)) => *known = Some(whole),
        _ => {}
    }
}

/// Reads an item's records; `None` where the item is none of ours.
fn records(item: &Item, each: impl FnMut(SequenceNumber<'_>, u64, Memory)) -> Option<()> {
    decode(item.get("records")?.as_b().ok()?.as_ref(), each)
}

fn sort_key(item: &Item) -> Option<String> {
    item.get("sk")?.as_s().ok().cloned()
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::fold::Positions;

    /// By position: `w`ritten, `u`nchanged, `?` unknown. What is left of one contact's upserts in this order.
    fn left(known: &str, order: &[Position]) -> Vec<Position> {
        let mark = |is_ordered: bool| {
            Memory::At(smallvec![Mark { destination: 0, fate: Fate::Delivered, ordered: is_ordered.then_some(7) }])
        };
        let known = known.chars().map(|letter| match letter {
            'w' => Some(mark(true)),
            'u' => Some(mark(false)),
            _ => None,
        });
        let earlier = Earlier { known: known.collect(), ..Earlier::default() };
        let step = Step { delete: Positions::new(), upsert: order.into() };
        let mut told = 0;
        let steps = earlier.skip(vec![step], 0, &[], |_, _| told += 1);
        let left: Vec<Position> = steps.iter().flat_map(|step| step.upsert.iter().copied()).collect();
        assert_eq!(left.len() + told, order.len(), "each change is sent or told of");
        left
    }

    #[test]
    fn nothing_that_was_written_is_left_out_after_a_change_that_is_sent() {
        for (known, order, expected) in [
            ("w", &[0][..], &[][..]),
            ("?", &[0], &[0]),
            ("w?", &[0, 1], &[1]),
            ("?w", &[0, 1], &[0, 1]),
            ("w?w", &[0, 1, 2], &[1, 2]),
            ("?u?", &[0, 1, 2], &[0, 2]),
            ("uw", &[0, 1], &[]),
            // Versions turned the order round: what came later in the batch comes first.
            ("w?", &[1, 0], &[1, 0]),
        ] {
            assert_eq!(left(known, order), expected, "{known} {order:?}");
        }
    }
}
