//! Collects the outcomes of one batch: that of each record at each of its destinations. A record
//! without an outcome at the end has failed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::Fate;
use crate::model::codes;
use crate::model::{Code, Position, Refusal, Rejection, Stage, ValueCounts};
use crate::telemetry::DestinationMetrics;

/// The outcome of a record at one destination.
#[derive(Clone, Debug)]
pub enum RecordOutcome {
    /// The destination has the change.
    Delivered(Option<Code>),
    /// The destination has the change without these fields, which it refused.
    Partial(Vec<String>),
    /// The destination does not accept such a change, by configuration or by its kind.
    Skipped(Code),
    /// The destination has a newer change. Without a code: a later change of the same batch.
    Superseded(Option<Code>),
    /// The change can never succeed.
    Rejected(Stage, Rejection),
    /// The change may succeed later.
    Failed(Code),
    /// An earlier invocation settled the record.
    Settled {
        /// The fate there.
        fate: Fate,
        /// Whether the change changed the destination, so that its position among the contact's
        /// changes matters.
        ordered: bool,
    },
}

/// The code of a record that an earlier invocation settled.
pub(super) static SETTLED_EARLIER: Code = Code::new(codes::SETTLED_EARLIER);

/// The code of a record that was written without some fields.
static PARTIAL: Code = Code::new(codes::PARTIAL);

impl RecordOutcome {
    /// Returns the fields that were left out.
    pub(super) fn left_out(&self) -> &[String] {
        match self {
            Self::Partial(fields) => fields,
            _ => &[],
        }
    }

    /// Returns the code of the outcome, if it has one.
    pub fn code(&self) -> Option<&Code> {
        match self {
            Self::Delivered(code) | Self::Superseded(code) => code.as_ref(),
            Self::Partial(_) => Some(&PARTIAL),
            Self::Skipped(code) | Self::Failed(code) => Some(code),
            Self::Rejected(_, rejection) => Some(&rejection.code),
            Self::Settled { .. } => Some(&SETTLED_EARLIER),
        }
    }
}

/// One record at one destination.
#[derive(Clone, Debug)]
pub struct DestinationResult {
    /// Index of the destination in the factory's list.
    pub destination: usize,
    /// The outcome; `None` counts as failed.
    pub outcome: Option<RecordOutcome>,
    /// Number of the calls that contained the record.
    pub attempts: u32,
}

/// The state of one record.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The fate of a record that an earlier invocation settled before any destination was called.
    pub settled: Option<Fate>,
    /// The reason why the record was refused before any destination was called.
    pub refusal: Option<Box<Refusal>>,
    /// The code of a filtered record.
    pub filtered: Option<Code>,
    /// The result at each routed destination.
    pub rows: SmallVec<[DestinationResult; 1]>,
}

impl Entry {
    /// Returns whether earlier invocations settled the record at every destination.
    pub fn is_from_earlier(&self) -> bool {
        let is_settled =
            |row: &DestinationResult| matches!(row.outcome, Some(RecordOutcome::Settled { .. }));
        self.settled.is_some() || (!self.rows.is_empty() && self.rows.iter().all(is_settled))
    }

    /// Returns whether the record was not decoded: it stands behind an event's bound.
    pub(super) fn is_unread(&self) -> bool {
        self.rows.is_empty()
            && self.settled.is_none()
            && self.refusal.is_none()
            && self.filtered.is_none()
    }

    /// Returns whether a destination created its record from a part of the row, and lacks the rest.
    pub(super) fn is_created_in_part(&self) -> bool {
        self.rows.iter().any(|row| match &row.outcome {
            Some(RecordOutcome::Rejected(_, rejection)) => {
                rejection.code.as_str() == codes::CREATED_IN_PART
            }
            _ => false,
        })
    }
}

/// The states of all records of a batch, by position.
pub struct Ledger {
    entries: Mutex<Vec<Entry>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("records", &self.lock().len())
            .finish()
    }
}

impl Ledger {
    /// Creates a ledger without outcomes.
    pub fn new(records: usize) -> Self {
        Self {
            entries: Mutex::new(vec![Entry::default(); records]),
        }
    }

    /// Marks the record as refused.
    pub fn refuse(&self, position: Position, refusal: Box<Refusal>) {
        self.with(position, |entry| entry.refusal = Some(refusal));
    }

    /// Marks the record as filtered though it was refused: another function rejects it. The refusal
    /// stays, for the audit trail.
    pub fn leave_to_another(&self, position: Position, refusal: Box<Refusal>, code: Code) {
        self.with(position, |entry| {
            entry.refusal = Some(refusal);
            entry.filtered = Some(code);
        });
    }

    /// Marks the record as filtered.
    pub fn filter(&self, position: Position, code: Code) {
        self.with(position, |entry| entry.filtered = Some(code));
    }

    /// Marks the record as settled by an earlier invocation before any destination was called.
    pub fn settle_earlier(&self, position: Position, fate: Fate) {
        self.with(position, |entry| entry.settled = Some(fate));
    }

    /// Adds the destinations of a record. It counts as failed at each until an outcome is recorded.
    pub fn expect(&self, position: Position, destinations: &[usize]) {
        self.with(position, |entry| {
            entry.rows = destinations
                .iter()
                .map(|destination| DestinationResult {
                    destination: *destination,
                    outcome: None,
                    attempts: 0,
                })
                .collect();
        });
    }

    /// Takes the entries. Ignores outcomes that are recorded later.
    pub fn close(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.lock())
    }

    fn with(&self, position: Position, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().get_mut(position) {
            change(entry);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the outcomes of one destination.
#[derive(Clone, Copy, Debug)]
pub struct OutcomeRecorder<'a> {
    /// The batch's ledger.
    pub ledger: &'a Ledger,
    /// Index of the destination in the factory's list.
    pub destination: usize,
    /// The destination's metrics.
    pub metrics: &'a DestinationMetrics,
}

impl OutcomeRecorder<'_> {
    /// Records the outcome of the record at `position`.
    pub fn record(&self, position: Position, outcome: RecordOutcome, attempts: u32) {
        self.ledger.with(position, |entry| {
            if let Some(row) = entry
                .rows
                .iter_mut()
                .find(|row| row.destination == self.destination)
            {
                row.outcome = Some(outcome);
                row.attempts = attempts;
            }
        });
    }

    /// Counts shortened and unrecognised values.
    pub fn count_values(&self, counts: ValueCounts) {
        if counts != ValueCounts::default() {
            self.metrics.count_values(counts);
        }
    }
}
