//! Decides the fate of each record from its outcomes.

use serde::{Deserialize, Serialize};

use super::ledger::{DestinationResult, Entry, RecordOutcome};
use crate::telemetry::Counts;

/// The fate of a record. Contract section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "contract section 2 defines each fate")]
pub enum Fate {
    Delivered,
    Filtered,
    Superseded,
    Rejected,
    Failed,
}

impl Fate {
    /// Returns the name in the audit trail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }

    /// Returns the fate of a record at one destination. A missing outcome is a failure.
    pub fn of_outcome(outcome: Option<&RecordOutcome>) -> Self {
        match outcome {
            Some(RecordOutcome::Delivered(_) | RecordOutcome::Partial(_)) => Self::Delivered,
            Some(RecordOutcome::Skipped(_)) => Self::Filtered,
            Some(RecordOutcome::Superseded(_)) => Self::Superseded,
            Some(RecordOutcome::Rejected(..)) => Self::Rejected,
            Some(RecordOutcome::Settled { fate, .. }) => *fate,
            Some(RecordOutcome::Failed(_)) | None => Self::Failed,
        }
    }

    /// Returns the fate of a record at one destination, where the record as a whole ends as
    /// `whole`. A rejection without a dead letter is no final outcome where the record failed: the
    /// redelivered record is rejected again.
    pub(super) fn of_row(row: &DestinationResult, whole: Self, has_dead_letter: bool) -> Self {
        match &row.outcome {
            Some(RecordOutcome::Rejected(..)) if whole == Self::Failed && !has_dead_letter => {
                Self::Failed
            }
            outcome => Self::of_outcome(outcome.as_ref()),
        }
    }

    /// Returns the fate of a record. A missing outcome is a failure. Among several destinations the
    /// most severe outcome decides: failed (the record is redelivered), rejected (an operator reads
    /// its dead letter), delivered, superseded, filtered.
    pub fn of_entry(entry: &Entry) -> Self {
        if let Some(fate) = entry.settled {
            return fate;
        }
        if entry.filtered.is_some() {
            return Self::Filtered;
        }
        if entry.refusal.is_some() {
            return Self::Rejected;
        }
        for fate in [
            Self::Failed,
            Self::Rejected,
            Self::Delivered,
            Self::Superseded,
            Self::Filtered,
        ] {
            if entry
                .rows
                .iter()
                .any(|row| Self::of_outcome(row.outcome.as_ref()) == fate)
            {
                return fate;
            }
        }
        Self::Failed
    }
}

/// Counts a record, or a record at one destination. Counts an outcome of an earlier invocation
/// separately.
pub(super) fn count(counts: &mut Counts, fate: Fate, is_from_earlier: bool) {
    let count = match fate {
        _ if is_from_earlier => &mut counts.skipped_settled,
        Fate::Delivered => &mut counts.delivered,
        Fate::Filtered => &mut counts.filtered,
        Fate::Superseded => &mut counts.superseded,
        Fate::Rejected => &mut counts.rejected,
        Fate::Failed => &mut counts.failed,
    };
    *count += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Code, Rejection, Stage};

    #[test]
    fn the_most_severe_outcome_decides() {
        let delivered = || Some(RecordOutcome::Delivered(None));
        let skipped = || Some(RecordOutcome::Skipped(Code::new("X")));
        let superseded = || Some(RecordOutcome::Superseded(None));
        let rejected = || {
            Some(RecordOutcome::Rejected(
                Stage::Deliver,
                Rejection::new(Code::new("X"), ""),
            ))
        };
        let failed = || Some(RecordOutcome::Failed(Code::new("X")));
        let settled = |fate| {
            Some(RecordOutcome::Settled {
                fate,
                ordered: true,
            })
        };
        for (outcomes, expected) in [
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
            (vec![settled(Fate::Superseded)], Fate::Superseded),
            (vec![settled(Fate::Rejected), delivered()], Fate::Rejected),
            (vec![settled(Fate::Delivered), failed()], Fate::Failed),
        ] {
            let row = |(destination, outcome)| DestinationResult {
                destination,
                outcome,
                attempts: 1,
            };
            let shown = format!("{outcomes:?}");
            let entry = Entry {
                rows: outcomes.into_iter().enumerate().map(row).collect(),
                ..Entry::default()
            };
            assert_eq!(Fate::of_entry(&entry), expected, "{shown}");
        }
    }
}
