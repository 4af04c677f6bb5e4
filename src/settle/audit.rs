//! Writes the audit trail: a line for each record and destination. Contract section 6.

use super::fate::Fate;
use super::ledger::{DestinationResult, Entry, RecordOutcome, SETTLED_EARLIER};
use crate::model::codes;
use crate::model::{Code, ContactChange, Destination, Operation, Origin, Record};
use crate::telemetry::Audit;

/// The fields that all lines of a record have.
pub(super) struct Line<'a> {
    event_id: Option<&'a str>,
    contact_id: Option<&'a str>,
    place: Place<'a>,
    operation: Option<&'a str>,
}

/// The fields that name a record's position in its source.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    sequence_number: Option<&'a str>,
    sub_sequence: Option<u64>,
    topic: Option<&'a str>,
    partition: Option<u32>,
    offset: Option<u64>,
}

impl<'a> Place<'a> {
    fn of(record: &'a Record<'_>) -> Self {
        match &record.origin {
            Origin::Kinesis(origin) => Self {
                sequence_number: origin.sequence_number.as_deref(),
                sub_sequence: origin.sequence_number.as_ref().map(|_| origin.sub_sequence),
                ..Self::default()
            },
            Origin::Kafka(origin) => Self {
                topic: Some(origin.topic()),
                partition: origin.partition(),
                offset: origin.offset,
                ..Self::default()
            },
        }
    }
}

/// The fields of a line that differ between destinations.
struct AuditFields<'a> {
    fate: Fate,
    code: Option<&'a str>,
    attempts: u32,
    /// The fields that were left out, joined by commas.
    left_out: Option<String>,
    /// Whether an earlier invocation wrote the line of this outcome.
    is_repeated: bool,
}

/// A record with its fate.
#[derive(Clone, Copy)]
pub(super) struct Finished<'a> {
    pub(super) entry: &'a Entry,
    pub(super) fate: Fate,
    /// Whether its dead letter waits for a later delivery.
    pub(super) dead_letter_waits: bool,
    pub(super) record: Option<&'a Record<'a>>,
    pub(super) change: Option<&'a ContactChange>,
}

impl Finished<'_> {
    /// Returns whether `audit` selects the record's lines.
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

/// Writes the lines of a record. `at` returns its fate at a destination.
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
            place: record.map(Place::of).unwrap_or_default(),
            operation: change
                .map(|change| change.operation)
                .or(refusal.and_then(|refusal| refusal.operation))
                .map(Operation::name),
        }
    }

    fn write(&self, destination: Option<&str>, fields: &AuditFields<'_>) {
        let Self {
            event_id,
            contact_id,
            place,
            operation,
        } = *self;
        let Place {
            sequence_number,
            sub_sequence,
            topic,
            partition,
            offset,
        } = place;
        let (fate, code, attempts) = (fields.fate.name(), fields.code, fields.attempts);
        let left_out = fields.left_out.as_deref();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    audit = true,
                    event_id,
                    contact_id,
                    sequence_number,
                    sub_sequence,
                    topic,
                    partition,
                    offset,
                    operation,
                    destination,
                    fate,
                    code,
                    attempts,
                    left_out,
                    "record settled"
                )
            };
        }
        if matches!(fields.fate, Fate::Rejected | Fate::Failed) && !fields.is_repeated {
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
            dead_letter_waits,
            ..
        } = finished;
        let refused = entry
            .refusal
            .as_ref()
            .map(|refusal| &refusal.rejection.code);
        let code = match fate {
            _ if entry.settled.is_some() => Some(SETTLED_EARLIER.as_str()),
            Fate::Failed if dead_letter_waits => Some(codes::DEAD_LETTER_WAITS),
            Fate::Failed if entry.refusal.is_some() => Some(codes::DEAD_LETTER_NOT_STORED),
            Fate::Failed => Some(codes::NOT_SETTLED_IN_TIME),
            _ => entry.filtered.as_ref().or(refused).map(Code::as_str),
        };
        Self {
            fate,
            code,
            attempts: 0,
            left_out: None,
            is_repeated: entry.settled.is_some(),
        }
    }

    /// Builds the fields of a record at one destination. The code is that of the outcome, also
    /// where the fate differs from it.
    fn of_row(entry: &'a Entry, row: &'a DestinationResult, fate: Fate) -> Self {
        if let Some(settled) = entry.settled {
            return Self {
                fate: settled,
                code: Some(SETTLED_EARLIER.as_str()),
                attempts: 0,
                left_out: None,
                is_repeated: true,
            };
        }
        let code = match &row.outcome {
            Some(outcome) => outcome.code().map(Code::as_str),
            None => Some(codes::NOT_SETTLED_IN_TIME),
        };
        let is_repeated = matches!(row.outcome, Some(RecordOutcome::Settled { .. }));
        let left_out = row.outcome.as_ref().map(RecordOutcome::left_out);
        let left_out = left_out
            .filter(|fields| !fields.is_empty())
            .map(|fields| fields.join(","));
        Self {
            fate,
            code,
            attempts: row.attempts,
            left_out,
            is_repeated,
        }
    }
}
