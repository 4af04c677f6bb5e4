//! What of a batch was settled by earlier invocations, and what of it may be left out.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use super::batch::{Batch, ContactHash, contact_hash};
use super::item::{DestinationOutcome, PriorOutcome, decode};
use crate::adapters::Destination;
use crate::contact::{ContactChange, Operation};
use crate::fold::Position;
use crate::services::StateItem;
use crate::settle::{Entry, Fate, RecordOutcome};

/// What of a batch was settled by earlier invocations.
#[derive(Debug, Default)]
pub struct PriorOutcomes {
    /// By position; empty where nothing is known.
    pub(super) known: Vec<Option<PriorOutcome>>,
    /// By position, whether the table will remember the record; empty where it does not answer.
    told_apart: Vec<bool>,
    /// The items that tell of records of the batch.
    here: Vec<String>,
    /// The items that tell of a later change of a contact at a destination, one that lies behind
    /// the batch.
    pub(super) later: HashMap<(usize, ContactHash), Vec<String>>,
    /// Records may have been settled of which nothing is known here.
    is_blind: bool,
}

impl PriorOutcomes {
    /// `is_writable` says whether the table may be counted on to remember anything.
    pub(super) fn nothing(batch: &Batch<'_>, is_writable: bool) -> Self {
        let told_apart: Vec<bool> = batch
            .identities
            .iter()
            .map(|identity| identity.is_some() && is_writable)
            .collect();
        Self {
            known: vec![None; told_apart.len()],
            told_apart,
            ..Self::default()
        }
    }

    /// Nothing is known, because the table did not tell.
    pub(in crate::settle) fn blind() -> Self {
        Self {
            is_blind: true,
            ..Self::default()
        }
    }

    /// Whether records may have been settled of which nothing is known here: the table did not tell
    /// everything.
    pub(crate) fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// From here on, it is not known which other records were settled.
    pub(super) fn set_blind(&mut self) {
        self.is_blind = true;
    }

    /// Whether the next invocation will know what becomes of the record at `position` in this one,
    /// if the table takes it.
    pub(in crate::settle) fn is_told_apart(&self, position: Position) -> bool {
        self.told_apart
            .get(position)
            .is_some_and(|is_told_apart| *is_told_apart)
    }

    /// How the record at `position` ended before any destination was asked, if it did.
    pub(crate) fn whole(&self, position: Position) -> Option<Fate> {
        match self.known.get(position)? {
            Some(PriorOutcome::Whole(fate)) => Some(*fate),
            _ => None,
        }
    }

    /// How the record at `position` ended at `destination`, and whether it changed something there.
    pub(crate) fn at(&self, position: Position, destination: usize) -> Option<(Fate, bool)> {
        match self.known.get(position)?.as_ref()? {
            PriorOutcome::Whole(fate) => Some((*fate, false)),
            PriorOutcome::At(marks) => {
                let mark = marks
                    .iter()
                    .find(|mark| mark.destination == destination && !mark.is_again)?;
                Some((mark.fate, mark.ordered.is_some()))
            }
        }
    }

    /// Whether the record at `position` ended at `destination`, and is sent again and compared.
    pub(super) fn is_again(&self, position: Position, destination: usize) -> bool {
        match self.known.get(position) {
            Some(Some(PriorOutcome::At(marks))) => marks
                .iter()
                .any(|mark| mark.destination == destination && mark.is_again),
            _ => false,
        }
    }

    /// The positions that ended before any destination was asked.
    pub(crate) fn wholes(&self) -> impl Iterator<Item = (Position, Fate)> {
        (0..self.known.len()).filter_map(|position| Some((position, self.whole(position)?)))
    }

    /// The sort keys of the items that tell of a change over which an older one of its contact was
    /// sent at its destination. Behind the batch such a change would be left out by the next one;
    /// in it, it was sent as well, and may have failed. While a stream is read in its order there
    /// is neither.
    pub(in crate::settle) fn undone(
        &self,
        entries: &[Entry],
        changes: &[Option<Box<ContactChange>>],
        guarded: &[bool],
    ) -> BTreeSet<&str> {
        let mut undone = BTreeSet::new();
        if self.here.is_empty() && self.later.is_empty() {
            return undone;
        }
        for (position, (entry, change)) in entries.iter().zip(changes).enumerate() {
            let Some(change) = change else { continue };
            let contact = contact_hash(&change.contact.id);
            for row in &entry.rows {
                let is_guarded = guarded
                    .get(row.destination)
                    .is_some_and(|is_guarded| *is_guarded);
                if !undoes(row.verdict.as_ref(), change.operation, is_guarded) {
                    continue;
                }
                let here = self.at(position, row.destination).map(|_| &self.here);
                let items = here
                    .into_iter()
                    .chain(self.later.get(&(row.destination, contact)));
                undone.extend(items.flatten().map(String::as_str));
            }
        }
        undone
    }

    /// Takes over what `item` tells of the batch.
    pub(super) fn learn(
        &mut self,
        item: &StateItem,
        batch: &Batch<'_>,
        destinations: &[Destination],
    ) {
        let ours = |mark: DestinationOutcome| {
            let name = item.destinations.get(mark.destination)?;
            let destination = destinations
                .iter()
                .position(|destination| destination.0 == *name)?;
            Some(DestinationOutcome {
                destination,
                ..mark
            })
        };
        let positions = batch.positions();
        let mut is_here = false;
        let understood = decode(&item.records, |number, fingerprint, memory| {
            if number > batch.last {
                let marks = if let PriorOutcome::At(marks) = memory {
                    marks
                } else {
                    SmallVec::new()
                };
                let contacts = marks
                    .into_iter()
                    .filter_map(ours)
                    .filter_map(|mark| Some((mark.destination, mark.ordered?)));
                contacts.for_each(|contact| {
                    self.later
                        .entry(contact)
                        .or_default()
                        .push(item.sort_key.clone());
                });
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
                    PriorOutcome::At(marks) => {
                        PriorOutcome::At(marks.into_iter().filter_map(ours).collect())
                    }
                    whole @ PriorOutcome::Whole(_) => whole,
                },
            );
        });
        if is_here {
            self.here.push(item.sort_key.clone());
        }
        if understood.is_none() {
            self.is_blind = true;
            tracing::warn!(
                "an item of the state table is not understood: what it remembers is sent again"
            );
        }
    }
}

/// Whether a change may have undone a later one that is settled, by what became of it in this
/// invocation.
fn undoes(verdict: Option<&RecordOutcome>, operation: Operation, is_guarded: bool) -> bool {
    match verdict {
        Some(
            RecordOutcome::Settled { .. }
            | RecordOutcome::Skipped(_)
            | RecordOutcome::Rejected(..)
            | RecordOutcome::Superseded(Some(_)),
        ) => false,
        // Compared with a newer record, a delete has no effect, and an upsert has one only where
        // that record is gone.
        _ if is_guarded && operation == Operation::Delete => false,
        // It comes again, and is compared again.
        Some(RecordOutcome::Failed(_)) | None => !is_guarded,
        // A delete with a code has found nothing.
        Some(RecordOutcome::Delivered(Some(_))) => operation != Operation::Delete,
        Some(RecordOutcome::Delivered(None) | RecordOutcome::Superseded(None)) => true,
    }
}

fn merge(known: &mut Option<PriorOutcome>, more: PriorOutcome) {
    match (known, more) {
        (Some(PriorOutcome::At(marks)), PriorOutcome::At(more)) => {
            for mark in more {
                match marks
                    .iter_mut()
                    .find(|known| known.destination == mark.destination)
                {
                    Some(known) => known.is_again |= mark.is_again,
                    None => marks.push(mark),
                }
            }
        }
        (known @ None, PriorOutcome::At(marks)) if !marks.is_empty() => {
            *known = Some(PriorOutcome::At(marks));
        }
        (known, whole @ PriorOutcome::Whole(_)) => *known = Some(whole),
        _ => {}
    }
}
