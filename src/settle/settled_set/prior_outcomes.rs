//! Outcomes recorded by earlier invocations, and the records they allow this one to skip.

use std::collections::{BTreeSet, HashMap};

use super::batch::{Batch, ContactHash, contact_hash};
use super::item::{DestinationOutcome, PriorOutcome, decode};
use crate::model::{ContactChange, Destination, Operation, Position};
use crate::services::StateItem;
use crate::settle::{Entry, Fate, RecordOutcome};

/// The outcomes of a batch's records that earlier invocations recorded.
#[derive(Debug, Default)]
pub struct PriorOutcomes {
    /// By position; empty where the table did not respond.
    pub(super) known: Vec<Option<PriorOutcome>>,
    /// By position, whether the table can store the record; empty where it did not respond.
    storable: Vec<bool>,
    /// The items with records of the batches.
    items: Vec<ItemKey>,
    /// The items with a change of a contact at a destination that comes after its batch.
    pub(super) later: HashMap<(usize, ContactHash), Vec<ItemKey>>,
    /// Whether earlier invocations may have settled records that are unknown here.
    is_blind: bool,
}

/// Names an item: the index of its batch among the invocation's, and its sort key.
pub(in crate::settle) type ItemKey = (usize, String);

impl PriorOutcomes {
    /// Creates the state of so many records before any item is read. `is_writable` means that the
    /// table accepts writes.
    pub(super) fn unknown(records: usize, batches: &[Batch<'_>], is_writable: bool) -> Self {
        let mut storable = vec![false; records];
        for (position, _) in batches.iter().flat_map(Batch::identities) {
            storable[position] = is_writable;
        }
        Self {
            known: vec![None; records],
            storable,
            ..Self::default()
        }
    }

    /// Creates the state where the table did not respond.
    pub(in crate::settle) fn blind() -> Self {
        Self {
            is_blind: true,
            ..Self::default()
        }
    }

    /// Returns whether earlier invocations may have settled records that are unknown here, because
    /// the table did not return all of them.
    pub(crate) fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Marks the outcomes as incomplete.
    pub(super) fn set_blind(&mut self) {
        self.is_blind = true;
    }

    /// Returns whether the table can store the outcome of the record at `position` for the next
    /// invocation.
    pub(in crate::settle) fn is_storable(&self, position: Position) -> bool {
        self.storable.get(position) == Some(&true)
    }

    /// Returns the fate of the record at `position` where it ended before any destination was
    /// called.
    pub(crate) fn whole(&self, position: Position) -> Option<Fate> {
        match self.known.get(position)? {
            Some(PriorOutcome::Whole(fate)) => Some(*fate),
            _ => None,
        }
    }

    /// Returns the fate of the record at `position` at `destination`, and whether the record
    /// changed the destination.
    pub(crate) fn at(&self, position: Position, destination: usize) -> Option<(Fate, bool)> {
        match self.known.get(position)?.as_ref()? {
            PriorOutcome::Whole(fate) => Some((*fate, false)),
            PriorOutcome::At(outcomes) => {
                let outcome = outcomes
                    .iter()
                    .find(|outcome| outcome.destination == destination && !outcome.is_resent)?;
                Some((outcome.fate, outcome.ordered.is_some()))
            }
        }
    }

    /// Returns whether the record at `position` ended at `destination`, but is sent again and
    /// compared.
    pub(super) fn is_resent(&self, position: Position, destination: usize) -> bool {
        match self.known.get(position) {
            Some(Some(PriorOutcome::At(outcomes))) => outcomes
                .iter()
                .any(|outcome| outcome.destination == destination && outcome.is_resent),
            _ => false,
        }
    }

    /// Returns the records that ended before any destination was called, each with its fate.
    pub(crate) fn wholes(&self) -> impl Iterator<Item = (Position, Fate)> {
        (0..self.known.len()).filter_map(|position| Some((position, self.whole(position)?)))
    }

    /// Returns the items with a change that this invocation overwrote, by sending
    /// an older change of its contact to its destination. The next invocation would skip such a
    /// change after the batch. Within the batch it was sent as well, and may have failed. Neither
    /// occurs while a stream is read in order.
    pub(in crate::settle) fn overwritten_items(
        &self,
        entries: &[Entry],
        changes: &[Option<Box<ContactChange>>],
        guarded: &[bool],
    ) -> BTreeSet<&ItemKey> {
        let mut overwritten = BTreeSet::new();
        if self.items.is_empty() && self.later.is_empty() {
            return overwritten;
        }
        for (position, (entry, change)) in entries.iter().zip(changes).enumerate() {
            let Some(change) = change else { continue };
            let contact = contact_hash(&change.contact.id);
            for row in &entry.rows {
                let is_guarded = guarded.get(row.destination) == Some(&true);
                if !may_overwrite(row.outcome.as_ref(), change.operation, is_guarded) {
                    continue;
                }
                if self.at(position, row.destination).is_some() {
                    overwritten.extend(&self.items);
                }
                if let Some(later) = self.later.get(&(row.destination, contact)) {
                    overwritten.extend(later);
                }
            }
        }
        overwritten
    }

    /// Adds the outcomes that `item` has of its batch, with this index, and of later changes.
    pub(super) fn add_item(
        &mut self,
        item: &StateItem,
        (index, batch): (usize, &Batch<'_>),
        destinations: &[Destination],
    ) {
        let indexes = destination_indexes(&item.destinations, destinations);
        let positions = batch.positions();
        let mut is_of_batch = false;
        let decoded = decode(&item.records, |number, fingerprint, outcome| {
            let outcome = with_own_indexes(outcome, &indexes);
            if number > batch.last {
                self.add_later(&outcome, (index, &item.sort_key));
                return;
            }
            let position = positions.get(&(number, fingerprint));
            let Some(known) = position.and_then(|position| self.known.get_mut(*position)) else {
                return;
            };
            is_of_batch = true;
            merge(known, outcome);
        });
        if is_of_batch {
            self.items.push((index, item.sort_key.clone()));
        }
        if decoded.is_none() {
            self.is_blind = true;
            tracing::warn!(
                "item of the state table has an unknown format: its records are sent again"
            );
        }
    }

    /// Adds this item to those of each contact that a later record changed.
    fn add_later(&mut self, outcome: &PriorOutcome, (index, sort_key): (usize, &str)) {
        let PriorOutcome::At(outcomes) = outcome else {
            return;
        };
        for outcome in outcomes {
            if let Some(contact) = outcome.ordered {
                self.later
                    .entry((outcome.destination, contact))
                    .or_default()
                    .push((index, sort_key.to_owned()));
            }
        }
    }
}

/// Returns the index in `destinations` of each destination of an item; `None` for one that was
/// removed since.
fn destination_indexes(names: &[String], destinations: &[Destination]) -> Vec<Option<usize>> {
    let index = |name: &String| destinations.iter().position(|known| known.0 == *name);
    names.iter().map(index).collect()
}

/// Replaces the item's indexes of destinations. Removes the outcomes at unknown destinations.
fn with_own_indexes(outcome: PriorOutcome, indexes: &[Option<usize>]) -> PriorOutcome {
    let PriorOutcome::At(outcomes) = outcome else {
        return outcome;
    };
    let mut own = Vec::new();
    for outcome in outcomes {
        if let Some(Some(destination)) = indexes.get(outcome.destination) {
            own.push(DestinationOutcome {
                destination: *destination,
                ..outcome
            });
        }
    }
    PriorOutcome::At(own)
}

/// Returns whether a change with this outcome may have overwritten a later settled one.
fn may_overwrite(outcome: Option<&RecordOutcome>, operation: Operation, is_guarded: bool) -> bool {
    match outcome {
        Some(
            RecordOutcome::Settled { .. }
            | RecordOutcome::Skipped(_)
            | RecordOutcome::Rejected(..)
            | RecordOutcome::Superseded(Some(_)),
        ) => false,
        // Compared with a newer record, a delete has no effect. An upsert has one only where that
        // record is gone.
        _ if is_guarded && operation == Operation::Delete => false,
        // The record is redelivered, and compared again.
        Some(RecordOutcome::Failed(_)) | None => !is_guarded,
        // A delete with a code has found no record.
        Some(RecordOutcome::Delivered(Some(_))) => operation != Operation::Delete,
        Some(
            RecordOutcome::Delivered(None)
            | RecordOutcome::Partial(_)
            | RecordOutcome::Superseded(None),
        ) => true,
    }
}

/// Adds the outcomes of another item to the known ones of a record.
fn merge(known: &mut Option<PriorOutcome>, more: PriorOutcome) {
    match (known, more) {
        (Some(PriorOutcome::At(outcomes)), PriorOutcome::At(more)) => {
            for outcome in more {
                match outcomes
                    .iter_mut()
                    .find(|known| known.destination == outcome.destination)
                {
                    Some(known) => known.is_resent |= outcome.is_resent,
                    None => outcomes.push(outcome),
                }
            }
        }
        (known @ None, PriorOutcome::At(outcomes)) if !outcomes.is_empty() => {
            *known = Some(PriorOutcome::At(outcomes));
        }
        (known, whole @ PriorOutcome::Whole(_)) => *known = Some(whole),
        _ => {}
    }
}
