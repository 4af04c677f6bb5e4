//! The end of a batch: fates, dead letters, the settled set, the audit trail.

use std::collections::{BTreeSet, HashSet};

use tokio::time::Instant;

use super::audit::Finished;
use super::checkpoint::first_again;
use super::dead_letter::{DeadLetter, DeadLetters};
use super::fate::{Fate, count};
use super::ledger::{DestinationResult, Entry, RecordOutcome};
use super::settled_set::{BatchOutcome, PriorOutcomes, SettledSet};
use super::{audit, dead_letter};
use crate::model::{ContactChange, Destination, Position, Record};
use crate::telemetry::{Audit, Counts};

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Settled {
    /// The failed records' places, in order.
    pub failed: Vec<Position>,
    /// Records by fate.
    pub counts: Counts,
    /// Records by what became of them at each destination, in the factory's order.
    pub by_destination: Vec<Counts>,
    /// Dead letters that were stored.
    pub dead_letters_stored: u64,
    /// Calls of the state table that came to nothing.
    pub state_errors: u64,
}

/// Settles batches.
#[derive(Clone, Debug)]
pub struct Settler {
    /// Where rejected records go.
    pub dead_letters: DeadLetters,
    /// What keeps settled records from being sent again; nothing does without a table, and in a dry
    /// run.
    pub settled_set: Option<SettledSet>,
    /// Which records have their line.
    pub audit: Audit,
    /// The destinations' names, in the factory's order.
    pub destinations: Vec<Destination>,
    /// Whether each destination's guard protects newer changes from older ones, in the same order.
    pub guarded: Vec<bool>,
}

/// A batch, as it comes to its end.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// As they arrived.
    pub records: &'a [Record<'a>],
    /// The changes in them, by position.
    pub changes: &'a [Option<Box<ContactChange>>],
    /// What is known of them.
    pub entries: &'a [Entry],
    /// What earlier invocations had settled.
    pub earlier: &'a PriorOutcomes,
}

/// How the records of a batch end.
#[derive(Clone, Copy)]
struct Ends<'a> {
    fates: &'a [Fate],
    /// Those whose dead letter is stored with a later delivery.
    waiting: &'a BTreeSet<Position>,
}

impl Settler {
    /// What of a batch earlier invocations settled, and whether the table told. Where it does not,
    /// nothing is known and everything is sent: again, but harmlessly.
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
                    "settled set not read: what was settled earlier is sent again"
                );
                (PriorOutcomes::blind(), false)
            }
        }
    }

    /// Gives each record its fate, stores the dead letters, remembers what is settled and writes
    /// the audit trail. A record whose dead letter is not stored before `until` fails, so that it
    /// comes again. Nothing is begun at `until`, and no line of the audit trail at `lines_until`.
    pub async fn settle(&self, batch: Batch<'_>, until: Instant, lines_until: Instant) -> Settled {
        let mut fates: Vec<Fate> = batch.entries.iter().map(Fate::of_entry).collect();
        let waiting = self.waiting(batch, &fates);
        let letters = self.letters(batch, &fates, &waiting);
        let stored = self
            .dead_letters
            .store(&letters, self.letters_until(until))
            .await;
        let mut in_store = HashSet::new();
        for position in &waiting {
            fates[*position] = Fate::Failed;
        }
        for (letter, is_stored) in letters.iter().zip(stored) {
            if is_stored {
                in_store.insert((letter.position, letter.destination));
            } else {
                fates[letter.position] = Fate::Failed;
            }
        }
        let name = |destination: usize| self.destinations.get(destination).copied();
        let has_letter = |position, destination| in_store.contains(&(position, name(destination)));
        let is_forgotten = self.forget(batch, until).await;
        let mut state_errors = u64::from(!is_forgotten);
        // What is remembered now would keep the next invocation from sending, and so from seeing
        // what has to be forgotten.
        if is_forgotten && fates.contains(&Fate::Failed) {
            let Batch {
                entries, changes, ..
            } = batch;
            let ended = BatchOutcome {
                entries,
                fates: &fates,
                changes,
                guarded: &self.guarded,
                has_letter: &has_letter,
            };
            state_errors += u64::from(!self.remember(batch, &ended, until).await);
        }
        let mut settled = self.sum(batch, &fates, has_letter);
        settled.state_errors = state_errors;
        settled.dead_letters_stored = if self.dead_letters.has_queue() {
            in_store.len() as u64
        } else {
            0
        };
        let ends = Ends {
            fates: &fates,
            waiting: &waiting,
        };
        self.write_lines(batch, ends, has_letter, lines_until);
        settled
    }

    /// Returns the rejected records whose letters are stored with a later delivery: those that come
    /// again because another record failed before them, and that the state table does not know.
    /// Each delivery would store a copy.
    fn waiting(&self, batch: Batch<'_>, fates: &[Fate]) -> BTreeSet<Position> {
        let mut waiting = BTreeSet::new();
        let Some(failed) = fates.iter().position(|fate| *fate == Fate::Failed) else {
            return waiting;
        };
        if !self.dead_letters.has_queue() {
            return waiting;
        }
        for (position, fate) in fates
            .iter()
            .enumerate()
            .skip(first_again(batch.records, failed))
        {
            let is_new = batch.entries[position].settled.is_none();
            if *fate == Fate::Rejected && is_new && !batch.earlier.is_told_apart(position) {
                waiting.insert(position);
            }
        }
        waiting
    }

    /// A queue that does not answer leaves the settled set its time: what was settled would be sent
    /// again.
    fn letters_until(&self, until: Instant) -> Instant {
        let time = until.saturating_duration_since(Instant::now());
        if self.settled_set.is_some() {
            until - time / 3
        } else {
            until
        }
    }

    /// Counts the records.
    fn sum(
        &self,
        batch: Batch<'_>,
        fates: &[Fate],
        has_letter: impl Fn(Position, usize) -> bool,
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
                        matches!(row.verdict, Some(RecordOutcome::Settled { .. }));
                    let fate = Fate::of_row(row, *fate, has_letter(position, row.destination));
                    count(counts, fate, is_from_earlier);
                }
            }
        }
        settled
    }

    /// Writes the records' lines of the audit trail, as many as there is time for.
    fn write_lines(
        &self,
        batch: Batch<'_>,
        ends: Ends<'_>,
        has_letter: impl Fn(Position, usize) -> bool,
        until: Instant,
    ) {
        let mut unwritten = 0_usize;
        for (position, (entry, fate)) in batch.entries.iter().zip(ends.fates).enumerate() {
            let finished = Finished {
                entry,
                fate: *fate,
                letter_waits: ends.waiting.contains(&position),
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
                Fate::of_row(row, *fate, has_letter(position, row.destination))
            };
            audit::write(finished, &self.destinations, at);
        }
        if unwritten > 0 {
            tracing::warn!(records = unwritten, "audit lines not written: out of time");
        }
    }

    /// Whether there was nothing to forget, or the table took it.
    async fn forget(&self, batch: Batch<'_>, until: Instant) -> bool {
        let undone = batch
            .earlier
            .undone(batch.entries, batch.changes, &self.guarded);
        let Some(set) = self.settled_set.as_ref().filter(|_| !undone.is_empty()) else {
            return true;
        };
        let items = undone.len();
        if Instant::now() >= until {
            tracing::error!(items, "settled set not emptied: out of time");
            return false;
        }
        let forgotten = set.forget(batch.records, undone, until).await;
        match &forgotten {
            Ok(()) => tracing::warn!(
                items,
                "the stream is read again: what was settled later is sent again, too"
            ),
            Err(error) => {
                let error: &dyn std::error::Error = error;
                tracing::error!(
                    error,
                    items,
                    "settled set not emptied though the stream is read again: set a new state.table"
                );
            }
        }
        forgotten.is_ok()
    }

    /// Whether there was nothing to remember, or the table took it.
    async fn remember(&self, batch: Batch<'_>, ended: &BatchOutcome<'_>, until: Instant) -> bool {
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
                ended,
                batch.earlier.is_blind(),
                &self.destinations,
                until,
            )
            .await;
        if let Err(error) = &written {
            let error: &dyn std::error::Error = error;
            tracing::warn!(
                error,
                "settled set not written: what was settled now is sent again"
            );
        }
        written.is_ok()
    }

    /// Makes the dead letters of what is rejected and does not wait. A record that failed at
    /// another destination comes again: where the next invocation will not know of its letter, it
    /// is rejected again, and has its letter then. What an earlier invocation rejected has it
    /// already.
    fn letters<'a>(
        &self,
        batch: Batch<'a>,
        fates: &[Fate],
        waiting: &BTreeSet<Position>,
    ) -> Vec<DeadLetter<'a>> {
        let mut letters = Vec::new();
        for (position, fate) in fates.iter().enumerate() {
            let is_due = match fate {
                Fate::Rejected => {
                    batch.entries[position].settled.is_none() && !waiting.contains(&position)
                }
                Fate::Failed => batch.earlier.is_told_apart(position),
                Fate::Delivered | Fate::Filtered | Fate::Superseded => false,
            };
            if is_due {
                self.push_letters(batch, position, &mut letters);
            }
        }
        letters
    }

    /// Appends the letters of one record: one for each destination that rejected it, or one where
    /// none was asked.
    fn push_letters<'a>(
        &self,
        batch: Batch<'a>,
        position: Position,
        letters: &mut Vec<DeadLetter<'a>>,
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
        let sub_sequence = dead_letter::sub_sequence(batch.records, position);
        let letter = |destination, stage, rejection| DeadLetter {
            position,
            is_remembered: batch.earlier.is_told_apart(position),
            record,
            sub_sequence,
            stage,
            destination,
            rejection,
            contact_id: contact_id.or(refusal.and_then(|refusal| refusal.contact_id.as_deref())),
            event_id: event_id.or(refusal.and_then(|refusal| refusal.event_id.as_deref())),
        };
        if let Some(refusal) = refusal {
            letters.push(letter(None, refusal.stage, &refusal.rejection));
        }
        for row in &entry.rows {
            if let Some(RecordOutcome::Rejected(stage, rejection)) = &row.verdict {
                letters.push(letter(
                    self.destinations.get(row.destination).copied(),
                    *stage,
                    rejection,
                ));
            }
        }
    }
}
