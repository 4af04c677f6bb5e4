//! Settles a batch: fates, dead letters, the settled set, the audit trail.

use std::collections::{BTreeSet, HashSet};

use tokio::time::Instant;

use super::audit;
use super::audit::Finished;
use super::checkpoint::redelivered;
use super::dead_letter::{DeadLetter, DeadLetters};
use super::fate::{Fate, count};
use super::ledger::{DestinationResult, Entry, RecordOutcome};
use super::settled_set::{BatchOutcome, PriorOutcomes, SettledSet};
use crate::model::{ContactChange, Destination, Position, Record};
use crate::telemetry::{Audit, Counts};

/// The result of a batch.
#[derive(Debug, Default)]
pub struct Settled {
    /// Positions of the failed records, in order.
    pub failed: Vec<Position>,
    /// Records by fate.
    pub counts: Counts,
    /// Records by fate at each destination, in the factory's order.
    pub by_destination: Vec<Counts>,
    /// Number of stored dead letters.
    pub dead_letters_stored: u64,
    /// Number of failed calls of the state table.
    pub state_errors: u64,
}

/// Settles batches.
#[derive(Clone, Debug)]
pub struct Settler {
    /// The destination of rejected records.
    pub dead_letters: DeadLetters,
    /// The store of settled records; `None` without a table and in a dry run.
    pub settled_set: Option<SettledSet>,
    /// Selects the records with lines in the audit trail.
    pub audit: Audit,
    /// The destinations' names, in the factory's order.
    pub destinations: Vec<Destination>,
    /// Whether each destination's guard protects newer changes from older ones, in the same order.
    pub guarded: Vec<bool>,
}

/// A batch to settle.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The records, as received.
    pub records: &'a [Record<'a>],
    /// The records' changes, by position.
    pub changes: &'a [Option<Box<ContactChange>>],
    /// The records' outcomes.
    pub entries: &'a [Entry],
    /// The outcomes of earlier invocations.
    pub earlier: &'a PriorOutcomes,
}

/// The fates of a batch's records.
#[derive(Clone, Copy)]
struct BatchFates<'a> {
    fates: &'a [Fate],
    /// The records whose dead letter waits for a later delivery.
    waiting: &'a BTreeSet<Position>,
}

impl Settler {
    /// Reads the outcomes of earlier invocations. Returns besides whether the table responded.
    /// Without a response every record is sent, some again, which is harmless.
    pub async fn earlier(&self, records: &[Record<'_>], until: Instant) -> (PriorOutcomes, bool) {
        let Some(set) = &self.settled_set else {
            return (PriorOutcomes::default(), true);
        };
        match set.read(records, &self.destinations, until).await {
            Ok(earlier) => (earlier, true),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    "settled set not read: records settled earlier are sent again"
                );
                (PriorOutcomes::blind(), false)
            }
        }
    }

    /// Decides each record's fate, stores the dead letters and the settled records, and writes the
    /// audit trail. A record whose dead letter is not stored before `until` fails, so that it is
    /// redelivered. Starts no call at `until`, and no line of the audit trail at `lines_until`.
    pub async fn settle(&self, batch: Batch<'_>, until: Instant, lines_until: Instant) -> Settled {
        let mut fates: Vec<Fate> = batch.entries.iter().map(Fate::of_entry).collect();
        let waiting = self.waiting(batch, &fates);
        let dead_letters = self.rejections(batch, &fates, &waiting);
        let stored = self
            .dead_letters
            .store(&dead_letters, self.dead_letters_until(until))
            .await;
        let mut in_store = HashSet::new();
        for position in &waiting {
            fates[*position] = Fate::Failed;
        }
        for (dead_letter, is_stored) in dead_letters.iter().zip(stored) {
            if is_stored {
                in_store.insert((dead_letter.position, dead_letter.destination));
            } else {
                fates[dead_letter.position] = Fate::Failed;
            }
        }
        let name = |destination: usize| self.destinations.get(destination).copied();
        let has_dead_letter =
            |position, destination| in_store.contains(&(position, name(destination)));
        let is_cleared = self.clear_overwritten(batch, until).await;
        let mut state_errors = u64::from(!is_cleared);
        // Where the items were not cleared, no outcome is stored: the next invocation sends the
        // records again, and clears the items.
        if is_cleared && fates.contains(&Fate::Failed) {
            let Batch {
                entries, changes, ..
            } = batch;
            let outcome = BatchOutcome {
                entries,
                fates: &fates,
                redelivered: &redelivered(batch.records, failed(&fates)),
                changes,
                guarded: &self.guarded,
                has_dead_letter: &has_dead_letter,
            };
            state_errors += u64::from(!self.remember(batch, &outcome, until).await);
        }
        let mut settled = self.count(batch, &fates, has_dead_letter);
        settled.state_errors = state_errors;
        settled.dead_letters_stored = if self.dead_letters.has_queue() {
            in_store.len() as u64
        } else {
            0
        };
        let fates = BatchFates {
            fates: &fates,
            waiting: &waiting,
        };
        self.write_lines(batch, fates, has_dead_letter, lines_until);
        settled
    }

    /// Returns the rejected records whose dead letters wait for a later delivery: those that are
    /// redelivered because a record before them failed, and that the state table cannot store. Each
    /// delivery would store a copy. A record that was created from a part of its row does not wait:
    /// its redelivery finds the record, and would end without the dead letter.
    fn waiting(&self, batch: Batch<'_>, fates: &[Fate]) -> BTreeSet<Position> {
        let mut waiting = BTreeSet::new();
        if !self.dead_letters.has_queue() || !fates.contains(&Fate::Failed) {
            return waiting;
        }
        let redelivered = redelivered(batch.records, failed(fates));
        for (position, fate) in fates.iter().enumerate() {
            let is_new = batch.entries[position].settled.is_none();
            if *fate == Fate::Rejected
                && redelivered[position]
                && is_new
                && !batch.earlier.is_storable(position)
                && !batch.entries[position].is_created_in_part()
            {
                waiting.insert(position);
            }
        }
        waiting
    }

    /// Returns the deadline for dead letters. With a settled set it leaves a third of the time, so
    /// that an unavailable queue does not prevent the settled set from being written.
    fn dead_letters_until(&self, until: Instant) -> Instant {
        let time = until.saturating_duration_since(Instant::now());
        if self.settled_set.is_some() {
            until - time / 3
        } else {
            until
        }
    }

    /// Counts the records by fate.
    fn count(
        &self,
        batch: Batch<'_>,
        fates: &[Fate],
        has_dead_letter: impl Fn(Position, usize) -> bool,
    ) -> Settled {
        let none = vec![Counts::default(); self.destinations.len()];
        let mut settled = Settled {
            by_destination: none,
            ..Settled::default()
        };
        for (position, (entry, fate)) in batch.entries.iter().zip(fates).enumerate() {
            count(&mut settled.counts, *fate, entry.is_from_earlier());
            if *fate == Fate::Failed {
                settled.failed.push(position);
            }
            for row in &entry.rows {
                if let Some(counts) = settled.by_destination.get_mut(row.destination) {
                    let is_from_earlier =
                        matches!(row.outcome, Some(RecordOutcome::Settled { .. }));
                    let has_dead_letter = has_dead_letter(position, row.destination);
                    let fate = Fate::of_row(row, *fate, has_dead_letter);
                    count(counts, fate, is_from_earlier);
                }
            }
        }
        settled
    }

    /// Writes the records' lines of the audit trail until the time is over.
    fn write_lines(
        &self,
        batch: Batch<'_>,
        fates: BatchFates<'_>,
        has_dead_letter: impl Fn(Position, usize) -> bool,
        until: Instant,
    ) {
        let mut unwritten = 0_usize;
        for (position, (entry, fate)) in batch.entries.iter().zip(fates.fates).enumerate() {
            let finished = Finished {
                entry,
                fate: *fate,
                dead_letter_waits: fates.waiting.contains(&position),
                record: batch.records.get(position),
                change: batch.changes.get(position).and_then(Option::as_deref),
            };
            if !finished.has_lines(self.audit) {
                continue;
            }
            if Instant::now() >= until {
                unwritten += 1;
                continue;
            }
            let at = |row: &DestinationResult| {
                Fate::of_row(row, *fate, has_dead_letter(position, row.destination))
            };
            audit::write(finished, &self.destinations, at);
        }
        if unwritten > 0 {
            tracing::warn!(records = unwritten, "audit lines not written: out of time");
        }
    }

    /// Clears the items of the settled set with changes that this invocation overwrote. Returns
    /// whether that succeeded.
    async fn clear_overwritten(&self, batch: Batch<'_>, until: Instant) -> bool {
        let overwritten =
            batch
                .earlier
                .overwritten_items(batch.entries, batch.changes, &self.guarded);
        let Some(set) = &self.settled_set else {
            return true;
        };
        if overwritten.is_empty() {
            return true;
        }
        let items = overwritten.len();
        if Instant::now() >= until {
            tracing::error!(items, "settled set not cleared: out of time");
            return false;
        }
        let cleared = set.clear(batch.records, overwritten, until).await;
        match &cleared {
            Ok(()) => tracing::warn!(
                items,
                "stream read again: records settled later are sent again, too"
            ),
            Err(error) => {
                let error: &dyn std::error::Error = error;
                tracing::error!(
                    error,
                    items,
                    "settled set not cleared though the stream is read again: set a new state.table"
                );
            }
        }
        cleared.is_ok()
    }

    /// Stores the settled records. Returns whether that succeeded.
    async fn remember(&self, batch: Batch<'_>, outcome: &BatchOutcome<'_>, until: Instant) -> bool {
        let Some(set) = &self.settled_set else {
            return true;
        };
        if Instant::now() >= until {
            tracing::warn!("settled set not written: out of time");
            return false;
        }
        let written = set
            .write(
                batch.records,
                outcome,
                // Of records that were not read, this invocation stores nothing: the items of
                // others are kept.
                batch.earlier.is_blind() || batch.entries.iter().any(Entry::is_unread),
                &self.destinations,
                until,
            )
            .await;
        if let Err(error) = &written {
            let error: &dyn std::error::Error = error;
            tracing::warn!(
                error,
                "settled set not written: records settled by this invocation are sent again"
            );
        }
        written.is_ok()
    }

    /// Builds the dead letters of this invocation. A record that failed at another destination is
    /// redelivered: where the state table cannot store its rejection, it is rejected again, and
    /// gets its dead letter then. A record that an earlier invocation rejected has its dead letter.
    fn rejections<'a>(
        &self,
        batch: Batch<'a>,
        fates: &[Fate],
        waiting: &BTreeSet<Position>,
    ) -> Vec<DeadLetter<'a>> {
        let mut dead_letters = Vec::new();
        for (position, fate) in fates.iter().enumerate() {
            let is_due = match fate {
                Fate::Rejected => {
                    batch.entries[position].settled.is_none() && !waiting.contains(&position)
                }
                Fate::Failed => {
                    batch.earlier.is_storable(position)
                        || batch.entries[position].is_created_in_part()
                }
                Fate::Delivered | Fate::Filtered | Fate::Superseded => false,
            };
            if is_due {
                self.push_rejections(batch, position, &mut dead_letters);
            }
        }
        dead_letters
    }

    /// Appends the dead letters of one record: one for each destination that rejected it, or one
    /// where no destination was called.
    fn push_rejections<'a>(
        &self,
        batch: Batch<'a>,
        position: Position,
        dead_letters: &mut Vec<DeadLetter<'a>>,
    ) {
        let (entry, Some(record)) = (&batch.entries[position], batch.records.get(position)) else {
            return;
        };
        let (change, refusal) = (
            batch.changes.get(position).and_then(Option::as_ref),
            entry.refusal.as_deref(),
        );
        let contact_id = change.map(|change| change.contact.id.as_str());
        let event_id = change.map(|change| &*change.event_id);
        let dead_letter = |destination, stage, rejection| DeadLetter {
            position,
            is_remembered: batch.earlier.is_storable(position),
            record,
            stage,
            destination,
            rejection,
            contact_id: contact_id.or(refusal.and_then(|refusal| refusal.contact_id.as_deref())),
            event_id: event_id.or(refusal.and_then(|refusal| refusal.event_id.as_deref())),
        };
        if let Some(refusal) = refusal {
            dead_letters.push(dead_letter(None, refusal.stage, &refusal.rejection));
        }
        for row in &entry.rows {
            if let Some(RecordOutcome::Rejected(stage, rejection)) = &row.outcome {
                dead_letters.push(dead_letter(
                    self.destinations.get(row.destination).copied(),
                    *stage,
                    rejection,
                ));
            }
        }
    }
}

/// Returns the positions of the failed records.
fn failed(fates: &[Fate]) -> impl Iterator<Item = Position> {
    let failed = fates
        .iter()
        .enumerate()
        .filter(|(_, fate)| **fate == Fate::Failed);
    failed.map(|(position, _)| position)
}
