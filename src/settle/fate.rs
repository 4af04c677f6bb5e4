//! From what is known of each record to its one fate.

use tokio::time::Instant;

use super::dead_letter::{DeadLetters, Letter};
use super::ledger::{Entry, Verdict};
use crate::adapters::{Code, Destination};
use crate::consume::Record;
use crate::contact::ContactChange;
use crate::fold::Position;
use crate::telemetry::{Audit, Counts};

/// How a record ends. Contract section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "contract section 2 says what each fate means")]
pub enum Fate {
    Delivered,
    Filtered,
    Superseded,
    Rejected,
    Failed,
}

impl Fate {
    /// The name in the audit trail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    /// The fate of a record at one destination; nothing known is a failure.
    pub fn of_verdict(verdict: Option<&Verdict>) -> Self {
        match verdict {
            Some(Verdict::Delivered(_)) => Self::Delivered,
            Some(Verdict::Skipped(_)) => Self::Filtered,
            Some(Verdict::Superseded(_)) => Self::Superseded,
            Some(Verdict::Rejected(..)) => Self::Rejected,
            Some(Verdict::Failed(_)) | None => Self::Failed,
        }
    }

    /// A record's fate from what is known of it; nothing known is a failure. With several destinations the one that
    /// asks for most decides: a failure brings the record again, a rejection a person, and what one destination has is
    /// delivered even where another did not want it.
    pub fn of_entry(entry: &Entry) -> Self {
        if entry.refusal.is_some() {
            return Self::Rejected;
        }
        if entry.filtered.is_some() {
            return Self::Filtered;
        }
        let fates = || entry.rows.iter().map(|row| Self::of_verdict(row.verdict.as_ref()));
        [Self::Failed, Self::Rejected, Self::Delivered, Self::Superseded, Self::Filtered]
            .into_iter()
            .find(|fate| fates().any(|other| other == *fate))
            .unwrap_or(Self::Failed)
    }
}

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
}

/// Settles batches.
#[derive(Clone, Debug)]
pub struct Settler {
    /// Where rejected records go.
    pub dead_letters: DeadLetters,
    /// Which records have their line.
    pub audit: Audit,
    /// The destinations' names, in the factory's order.
    pub destinations: Vec<Destination>,
}

impl Settler {
    /// Gives each record its fate, stores the dead letters and writes the audit trail. A dead letter that cannot be
    /// stored before `until` makes its record fail, so that it comes again.
    pub async fn settle(
        &self,
        entries: &[Entry],
        records: &[Record<'_>],
        changes: &[Option<ContactChange>],
        until: Instant,
    ) -> Settled {
        let mut fates: Vec<Fate> = entries.iter().map(Fate::of_entry).collect();
        let letters = self.letters(entries, &fates, records, changes);
        let stored = self.dead_letters.store(&letters, until).await;
        let mut dead_letters_stored = 0;
        for (letter, is_stored) in letters.iter().zip(&stored) {
            dead_letters_stored += u64::from(*is_stored);
            if !is_stored {
                fates[letter.position] = Fate::Failed;
            }
        }
        let mut settled = Settled {
            by_destination: vec![Counts::default(); self.destinations.len()],
            dead_letters_stored: if self.dead_letters.has_queue() { dead_letters_stored } else { 0 },
            ..Settled::default()
        };
        for (position, (entry, fate)) in entries.iter().zip(&fates).enumerate() {
            count(&mut settled.counts, *fate);
            if *fate == Fate::Failed {
                settled.failed.push(position);
            }
            for row in &entry.rows {
                if let Some(counts) = settled.by_destination.get_mut(row.destination) {
                    count(counts, Fate::of_verdict(row.verdict.as_ref()));
                }
            }
            self.write_audit(entry, *fate, records.get(position), changes.get(position).and_then(Option::as_ref));
        }
        settled
    }

    /// The dead letters of the records that are rejected. One that failed elsewhere comes again, and is rejected
    /// again then.
    fn letters<'a>(
        &self,
        entries: &'a [Entry],
        fates: &[Fate],
        records: &'a [Record<'a>],
        changes: &'a [Option<ContactChange>],
    ) -> Vec<Letter<'a>> {
        let mut letters = Vec::new();
        let rejected = fates.iter().enumerate().filter(|(_, fate)| **fate == Fate::Rejected);
        for (position, _) in rejected {
            let (Some(entry), Some(record)) = (entries.get(position), records.get(position)) else {
                continue;
            };
            let change = changes.get(position).and_then(Option::as_ref);
            if let Some(refusal) = &entry.refusal {
                letters.push(Letter {
                    position,
                    record,
                    stage: refusal.stage,
                    destination: None,
                    rejection: &refusal.rejection,
                    contact_id: refusal.contact_id.as_deref(),
                    event_id: refusal.event_id.as_deref(),
                });
            }
            for row in &entry.rows {
                if let Some(Verdict::Rejected(stage, rejection)) = &row.verdict {
                    letters.push(Letter {
                        position,
                        record,
                        stage: *stage,
                        destination: self.destinations.get(row.destination).copied(),
                        rejection,
                        contact_id: change.map(|change| change.contact.id.as_str()),
                        event_id: change.map(|change| &*change.event_id),
                    });
                }
            }
        }
        letters
    }

    fn write_audit(&self, entry: &Entry, fate: Fate, record: Option<&Record<'_>>, change: Option<&ContactChange>) {
        match self.audit {
            Audit::Off => return,
            Audit::Failures if !matches!(fate, Fate::Rejected | Fate::Failed) => return,
            Audit::Failures | Audit::All => {}
        }
        let refusal = entry.refusal.as_deref();
        let line = Line {
            event_id: change
                .map(|change| &*change.event_id)
                .or(refusal.and_then(|refusal| refusal.event_id.as_deref())),
            contact_id: change
                .map(|change| change.contact.id.as_str())
                .or(refusal.and_then(|refusal| refusal.contact_id.as_deref())),
            sequence_number: record.and_then(|record| record.sequence_number.as_deref()),
            operation: change.map(|change| change.operation.name()),
        };
        if entry.rows.is_empty() {
            let not_stored = refusal.is_some() && fate == Fate::Failed;
            let code = if not_stored { Some("DEAD_LETTER_NOT_STORED") } else { code_of_entry(entry) };
            line.write(None, fate, code.or((fate == Fate::Failed).then_some("OUT_OF_TIME")), 0);
        }
        for row in &entry.rows {
            let destination = self.destinations.get(row.destination).map(|destination| destination.0);
            let own = Fate::of_verdict(row.verdict.as_ref());
            let not_stored = own == Fate::Rejected && fate == Fate::Failed;
            let own = if not_stored { Fate::Failed } else { own };
            line.write(destination, own, code_of_verdict(row.verdict.as_ref()), row.attempts);
        }
    }
}

/// What a record's lines in the audit trail have in common.
struct Line<'a> {
    event_id: Option<&'a str>,
    contact_id: Option<&'a str>,
    sequence_number: Option<&'a str>,
    operation: Option<&'a str>,
}

impl Line<'_> {
    fn write(&self, destination: Option<&str>, fate: Fate, code: Option<&str>, attempts: u32) {
        let Self { event_id, contact_id, sequence_number, operation } = *self;
        let fate_name = fate.name();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    audit = true,
                    event_id,
                    contact_id,
                    sequence_number,
                    operation,
                    destination,
                    fate = fate_name,
                    code,
                    attempts,
                    "record settled"
                )
            };
        }
        if matches!(fate, Fate::Rejected | Fate::Failed) {
            line!(warn);
        } else {
            line!(info);
        }
    }
}

fn code_of_entry(entry: &Entry) -> Option<&str> {
    let refused = entry.refusal.as_ref().map(|refusal| &refusal.rejection.code);
    refused.or(entry.filtered.as_ref()).map(Code::as_str)
}

fn code_of_verdict(verdict: Option<&Verdict>) -> Option<&str> {
    verdict.map_or(Some("OUT_OF_TIME"), |verdict| verdict.code().map(Code::as_str))
}

fn count(counts: &mut Counts, fate: Fate) {
    match fate {
        Fate::Delivered => counts.delivered += 1,
        Fate::Filtered => counts.filtered += 1,
        Fate::Superseded => counts.superseded += 1,
        Fate::Rejected => counts.rejected += 1,
        Fate::Failed => counts.failed += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::Rejection;
    use crate::consume::Stage;
    use crate::settle::Row;

    #[test]
    fn the_destination_that_asks_for_most_decides() {
        let delivered = || Some(Verdict::Delivered(None));
        let skipped = || Some(Verdict::Skipped(Code::new("X")));
        let superseded = || Some(Verdict::Superseded(None));
        let rejected = || Some(Verdict::Rejected(Stage::Deliver, Rejection::new(Code::new("X"), "")));
        let failed = || Some(Verdict::Failed(Code::new("X")));
        for (verdicts, expected) in [
            (vec![], Fate::Failed),
            (vec![None], Fate::Failed),
            (vec![delivered()], Fate::Delivered),
            (vec![delivered(), None], Fate::Failed),
            (vec![rejected(), failed()], Fate::Failed),
            (vec![rejected(), delivered()], Fate::Rejected),
            (vec![superseded(), delivered()], Fate::Delivered),
            (vec![superseded(), superseded()], Fate::Superseded),
            (vec![superseded(), skipped()], Fate::Superseded),
            (vec![skipped()], Fate::Filtered),
        ] {
            let row = |(destination, verdict)| Row { destination, verdict, attempts: 1 };
            let shown = format!("{verdicts:?}");
            let entry = Entry { rows: verdicts.into_iter().enumerate().map(row).collect(), ..Entry::default() };
            assert_eq!(Fate::of_entry(&entry), expected, "{shown}");
        }
    }
}
