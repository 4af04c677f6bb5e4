//! The ledger of one batch: what became of each record at each of its destinations, written down as
//! soon as it is known. Whatever has no entry at the end has failed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::Fate;
use crate::adapters::{Code, Rejection};
use crate::codes;
use crate::consume::{Refusal, Stage};
use crate::fold::Position;
use crate::telemetry::DestinationMetrics;

/// What became of a record at one destination.
#[derive(Clone, Debug)]
pub enum RecordOutcome {
    /// It is there.
    Delivered(Option<Code>),
    /// It is not meant to be there.
    Skipped(Code),
    /// Something newer is there. Without a code: a later change of the same batch.
    Superseded(Option<Code>),
    /// It can never be there.
    Rejected(Stage, Rejection),
    /// It is not there yet.
    Failed(Code),
    /// An earlier invocation settled it.
    Settled {
        /// How.
        fate: Fate,
        /// It changed something there, so that its place among the contact's changes matters.
        ordered: bool,
    },
}

/// The reason for not sending what an earlier invocation settled.
pub(super) static SETTLED_EARLIER: Code = Code::new(codes::SETTLED_EARLIER);

impl RecordOutcome {
    /// The reason, where there is one to tell.
    pub fn code(&self) -> Option<&Code> {
        match self {
            Self::Delivered(code) | Self::Superseded(code) => code.as_ref(),
            Self::Skipped(code) | Self::Failed(code) => Some(code),
            Self::Rejected(_, rejection) => Some(&rejection.code),
            Self::Settled { .. } => Some(&SETTLED_EARLIER),
        }
    }
}

/// One record at one destination.
#[derive(Clone, Debug)]
pub struct DestinationResult {
    /// The destination, by its place in the factory's list.
    pub destination: usize,
    /// `None`: nothing is known, so it has failed.
    pub verdict: Option<RecordOutcome>,
    /// Calls that it was part of.
    pub attempts: u32,
}

/// One record.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// An earlier invocation settled it, before any destination was asked.
    pub settled: Option<Fate>,
    /// It was refused before any destination was asked.
    pub refusal: Option<Box<Refusal>>,
    /// It is not for us.
    pub filtered: Option<Code>,
    /// Where it goes.
    pub rows: SmallVec<[DestinationResult; 1]>,
}

impl Entry {
    /// Whether nothing is left of it for this invocation.
    pub fn is_from_earlier(&self) -> bool {
        let is_settled =
            |row: &DestinationResult| matches!(row.verdict, Some(RecordOutcome::Settled { .. }));
        self.settled.is_some() || (!self.rows.is_empty() && self.rows.iter().all(is_settled))
    }
}

/// All records of a batch, by position.
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
    /// A ledger in which nothing is known of any record.
    pub fn new(records: usize) -> Self {
        Self {
            entries: Mutex::new(vec![Entry::default(); records]),
        }
    }

    /// The record was refused.
    pub fn refuse(&self, position: Position, refusal: Box<Refusal>) {
        self.with(position, |entry| entry.refusal = Some(refusal));
    }

    /// The record is not for us.
    pub fn filter(&self, position: Position, code: Code) {
        self.with(position, |entry| entry.filtered = Some(code));
    }

    /// An earlier invocation settled the record, before any destination was asked.
    pub fn settle_earlier(&self, position: Position, fate: Fate) {
        self.with(position, |entry| entry.settled = Some(fate));
    }

    /// The record goes to these destinations, and has failed at each until its outcome is recorded.
    pub fn expect(&self, position: Position, destinations: &[usize]) {
        let row = |destination: &usize| DestinationResult {
            destination: *destination,
            verdict: None,
            attempts: 0,
        };
        self.with(position, |entry| {
            entry.rows = destinations.iter().map(row).collect();
        });
    }

    /// The entries as they are now. What is recorded afterwards comes too late.
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

/// Where one destination's outcomes are written down.
#[derive(Clone, Copy, Debug)]
pub struct OutcomeRecorder<'a> {
    /// The batch's ledger.
    pub ledger: &'a Ledger,
    /// The destination's place in the factory's list.
    pub destination: usize,
    /// The destination's counts.
    pub meter: &'a DestinationMetrics,
}

impl OutcomeRecorder<'_> {
    /// Writes down what became of the record at `position`.
    pub fn record(&self, position: Position, verdict: RecordOutcome, attempts: u32) {
        self.ledger.with(position, |entry| {
            if let Some(row) = entry
                .rows
                .iter_mut()
                .find(|row| row.destination == self.destination)
            {
                row.verdict = Some(verdict);
                row.attempts = attempts;
            }
        });
    }

    /// Counts values that were cut.
    pub fn count_cut(&self, values: u32) {
        if values > 0 {
            self.meter.cut(values);
        }
    }
}
