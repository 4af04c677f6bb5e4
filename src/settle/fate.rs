//! From what is known of each record to its one fate.

use serde::{Deserialize, Serialize};

use super::ledger::{DestinationResult, Entry, RecordOutcome};
use crate::telemetry::Counts;

/// How a record ends. Contract section 2.
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
    pub fn of_verdict(verdict: Option<&RecordOutcome>) -> Self {
        match verdict {
            Some(RecordOutcome::Delivered(_)) => Self::Delivered,
            Some(RecordOutcome::Skipped(_)) => Self::Filtered,
            Some(RecordOutcome::Superseded(_)) => Self::Superseded,
            Some(RecordOutcome::Rejected(..)) => Self::Rejected,
            Some(RecordOutcome::Settled { fate, .. }) => *fate,
            Some(RecordOutcome::Failed(_)) | None => Self::Failed,
        }
    }

    /// The fate of a record at one destination, where all of it ended as `whole`: a rejection that
    /// comes again with its record, because that failed and the rejection has no letter, is not the
    /// end of it.
    pub(super) fn of_row(row: &DestinationResult, whole: Self, has_letter: bool) -> Self {
        match row.verdict {
            Some(RecordOutcome::Rejected(..)) if whole == Self::Failed && !has_letter => {
                Self::Failed
            }
            ref verdict => Self::of_verdict(verdict.as_ref()),
        }
    }

    /// A record's fate from what is known of it; nothing known is a failure. With several
    /// destinations the one that asks for most decides: a failure brings the record again, a
    /// rejection a person, and what one destination has is delivered even where another did not
    /// want it.
    pub fn of_entry(entry: &Entry) -> Self {
        if let Some(fate) = entry.settled {
            return fate;
        }
        if entry.refusal.is_some() {
            return Self::Rejected;
        }
        if entry.filtered.is_some() {
            return Self::Filtered;
        }
        let fates = || {
            entry
                .rows
                .iter()
                .map(|row| Self::of_verdict(row.verdict.as_ref()))
        };
        [
            Self::Failed,
            Self::Rejected,
            Self::Delivered,
            Self::Superseded,
            Self::Filtered,
        ]
        .into_iter()
        .find(|fate| fates().any(|other| other == *fate))
        .unwrap_or(Self::Failed)
    }
}

/// Counts a record, or a record at one destination. What an earlier invocation settled counts
/// apart.
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
    use crate::adapters::{Code, Rejection};
    use crate::consume::Stage;

    #[test]
    fn the_destination_that_asks_for_most_decides() {
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
            (vec![settled(Fate::Superseded)], Fate::Superseded),
            (vec![settled(Fate::Rejected), delivered()], Fate::Rejected),
            (vec![settled(Fate::Delivered), failed()], Fate::Failed),
        ] {
            let row = |(destination, verdict)| DestinationResult {
                destination,
                verdict,
                attempts: 1,
            };
            let shown = format!("{verdicts:?}");
            let entry = Entry {
                rows: verdicts.into_iter().enumerate().map(row).collect(),
                ..Entry::default()
            };
            assert_eq!(Fate::of_entry(&entry), expected, "{shown}");
        }
    }
}
