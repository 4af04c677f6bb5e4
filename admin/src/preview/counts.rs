//! Number of records by fate and code.

use std::collections::BTreeMap;

use contact_sync::settle::Fate;
use serde_json::{Map, Value, json};

/// Fates, in the order of the output.
const FATES: [Fate; 5] = [
    Fate::Delivered,
    Fate::Superseded,
    Fate::Filtered,
    Fate::Rejected,
    Fate::Failed,
];

/// Returns the name of a fate in a preview, which delivers nothing.
pub(super) fn name(fate: Fate) -> &'static str {
    match fate {
        Fate::Delivered => "would be written",
        other => other.name(),
    }
}

/// Number of records by fate, and by code for the fates without a write.
#[derive(Default)]
pub(super) struct Counts {
    records: u64,
    by_fate: BTreeMap<&'static str, u64>,
    by_code: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Counts {
    /// Counts one record, with its codes at its destinations.
    pub(super) fn add(&mut self, fate: Fate, codes: impl IntoIterator<Item = (Fate, String)>) {
        self.records += 1;
        *self.by_fate.entry(name(fate)).or_default() += 1;
        for (fate, code) in codes {
            if matches!(fate, Fate::Filtered | Fate::Rejected | Fate::Failed) {
                *self
                    .by_code
                    .entry(name(fate))
                    .or_default()
                    .entry(code)
                    .or_default() += 1;
            }
        }
    }

    /// Returns whether no record is rejected or fails.
    pub(super) fn is_clean(&self) -> bool {
        self.count(Fate::Rejected) == 0 && self.count(Fate::Failed) == 0
    }

    fn count(&self, fate: Fate) -> u64 {
        self.by_fate.get(name(fate)).copied().unwrap_or_default()
    }

    pub(super) fn to_json(&self) -> Value {
        let key = |fate: &str| fate.replace(' ', "_");
        let mut counts = Map::from_iter([("records".to_owned(), self.records.into())]);
        counts.extend(FATES.map(|fate| (key(name(fate)), self.count(fate).into())));
        counts.insert("by_code".to_owned(), json!(self.by_code));
        counts.into()
    }

    /// Formats one line for all fates, and one line for the codes of each fate.
    pub(super) fn to_text(&self) -> String {
        let mut fates = Vec::new();
        for fate in FATES {
            let count = self.count(fate);
            if count > 0 {
                fates.push(format!("{count} {}", name(fate)));
            }
        }
        let mut lines = if fates.is_empty() {
            vec!["records 0".to_owned()]
        } else {
            vec![format!("records {}: {}", self.records, fates.join(", "))]
        };
        for (fate, codes) in &self.by_code {
            let codes: Vec<String> = codes
                .iter()
                .map(|(code, count)| format!("{code} {count}"))
                .collect();
            lines.push(format!("{fate}: {}", codes.join(", ")));
        }
        lines.join("\n")
    }
}
