//! The audit trail: a line for each record and destination. Contract section 6.

use super::fate::Fate;
use super::ledger::{DestinationResult, Entry, RecordOutcome, SETTLED_EARLIER};
use crate::adapters::{Code, Destination};
use crate::codes;
use crate::consume::Record;
use crate::contact::{ContactChange, Operation};
use crate::telemetry::Audit;

/// What a record's lines have in common.
pub(super) struct Line<'a> {
    event_id: Option<&'a str>,
    contact_id: Option<&'a str>,
    sequence_number: Option<&'a str>,
    operation: Option<&'a str>,
}

/// What a line says of one destination.
struct AuditFields<'a> {
    fate: Fate,
    code: Option<&'a str>,
    attempts: u32,
    /// An earlier invocation had its line.
    is_repeated: bool,
}

/// A record at its end.
#[derive(Clone, Copy)]
pub(super) struct Finished<'a> {
    pub(super) entry: &'a Entry,
    pub(super) fate: Fate,
    /// Its dead letter is stored with a later delivery.
    pub(super) letter_waits: bool,
    pub(super) record: Option<&'a Record<'a>>,
    pub(super) change: Option<&'a ContactChange>,
}

impl Finished<'_> {
    /// Whether `audit` asks for its lines.
    pub(super) fn has_lines(&self, audit: Audit) -> bool {
        let is_failure =
            matches!(self.fate, Fate::Rejected | Fate::Failed) && !self.entry.is_from_earlier();
        match audit {
            Audit::All => true,
            Audit::Failures => is_failure,
            Audit::Off => false,
        }
    }
}

/// Writes the lines of a record. `at` says how it ended at a destination.
pub(super) fn write(
    finished: Finished<'_>,
    destinations: &[Destination],
    at: impl Fn(&DestinationResult) -> Fate,
) {
    let entry = finished.entry;
    let line = Line::of(entry, finished.record, finished.change);
    if entry.rows.is_empty() {
        line.write(None, &AuditFields::of_entry(finished));
    }
    for row in &entry.rows {
        let destination = destinations
            .get(row.destination)
            .map(|destination| destination.0);
        line.write(destination, &AuditFields::of_row(entry, row, at(row)));
    }
}

impl<'a> Line<'a> {
    fn of(
        entry: &'a Entry,
        record: Option<&'a Record<'_>>,
        change: Option<&'a ContactChange>,
    ) -> Self {
        let refusal = entry.refusal.as_deref();
        Self {
            event_id: change
                .map(|change| &*change.event_id)
                .or(refusal.and_then(|refusal| refusal.event_id.as_deref())),
            contact_id: change
                .map(|change| change.contact.id.as_str())
                .or(refusal.and_then(|refusal| refusal.contact_id.as_deref())),
            sequence_number: record.and_then(|record| record.sequence_number.as_deref()),
            operation: change
                .map(|change| change.operation)
                .or(refusal.and_then(|refusal| refusal.operation))
                .map(Operation::name),
        }
    }

    fn write(&self, destination: Option<&str>, said: &AuditFields<'_>) {
        let Self {
            event_id,
            contact_id,
            sequence_number,
            operation,
        } = *self;
        let (fate, code, attempts) = (said.fate.name(), said.code, said.attempts);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    audit = true,
                    event_id,
                    contact_id,
                    sequence_number,
                    operation,
                    destination,
                    fate,
                    code,
                    attempts,
                    "record settled"
                )
            };
        }
        if matches!(said.fate, Fate::Rejected | Fate::Failed) && !said.is_repeated {
            line!(warn);
        } else {
            line!(info);
        }
    }
}

impl<'a> AuditFields<'a> {
    fn of_entry(finished: Finished<'a>) -> Self {
        let Finished {
            entry,
            fate,
            letter_waits,
            ..
        } = finished;
        let refused = entry
            .refusal
            .as_ref()
            .map(|refusal| &refusal.rejection.code);
        let code = match fate {
            _ if entry.settled.is_some() => Some(SETTLED_EARLIER.as_str()),
            Fate::Failed if letter_waits => Some(codes::DEAD_LETTER_WAITS),
            Fate::Failed if entry.refusal.is_some() => Some(codes::DEAD_LETTER_NOT_STORED),
            Fate::Failed => Some(codes::NOT_SETTLED_IN_TIME),
            _ => refused.or(entry.filtered.as_ref()).map(Code::as_str),
        };
        Self {
            fate,
            code,
            attempts: 0,
            is_repeated: entry.settled.is_some(),
        }
    }

    /// The code says why, whatever becomes of it.
    fn of_row(entry: &'a Entry, row: &'a DestinationResult, fate: Fate) -> Self {
        if let Some(settled) = entry.settled {
            return Self {
                fate: settled,
                code: Some(SETTLED_EARLIER.as_str()),
                attempts: 0,
                is_repeated: true,
            };
        }
        let code = row
            .verdict
            .as_ref()
            .map_or(Some(codes::NOT_SETTLED_IN_TIME), |verdict| {
                verdict.code().map(Code::as_str)
            });
        let is_repeated = matches!(row.verdict, Some(RecordOutcome::Settled { .. }));
        Self {
            fate,
            code,
            attempts: row.attempts,
            is_repeated,
        }
    }
}
