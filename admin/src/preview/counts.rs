//! How many records end as what.

use std::collections::BTreeMap;

use contact_sync::settle::Fate;
use serde_json::{Map, Value, json};

/// The fates, in the order in which they are told.
const FATES: [Fate; 5] = [
    Fate::Delivered,
    Fate::Superseded,
    Fate::Filtered,
    Fate::Rejected,
    Fate::Failed,
];

/// Returns a fate in the words of a preview, which delivers nothing.
pub(super) fn name(fate: Fate) -> &'static str {
    match fate {
        Fate::Delivered => "would be written",
        other => other.name(),
    }
}

/// Records by fate; and by fate and code those that no destination gets.
#[derive(Default)]
pub(super) struct Counts {
    records: u64,
    by_fate: BTreeMap<&'static str, u64>,
    by_code: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Counts {
    /// Counts one record, with the codes that it got at its destinations.
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

    /// Whether no record is rejected, and none fails.
    pub(super) fn is_clean(&self) -> bool {
        self.of(Fate::Rejected) == 0 && self.of(Fate::Failed) == 0
    }

    fn of(&self, fate: Fate) -> u64 {
        self.by_fate.get(name(fate)).copied().unwrap_or_default()
    }

    pub(super) fn to_json(&self) -> Value {
        let key = |fate: &str| fate.replace(' ', "_");
        let mut counts = Map::from_iter([("records".to_owned(), self.records.into())]);
        counts.extend(FATES.map(|fate| (key(name(fate)), self.of(fate).into())));
        counts.insert("by_code".to_owned(), json!(self.by_code));
        counts.into()
    }

    /// One line for all fates, and one for the codes of each that has codes.
    pub(super) fn to_text(&self) -> String {
        let told = FATES.into_iter().filter(|fate| self.of(*fate) > 0);
        let told: Vec<String> = told
            .map(|fate| format!("{} {}", self.of(fate), name(fate)))
            .collect();
        let mut lines = vec![format!("records {}: {}", self.records, told.join(", "))];
        if told.is_empty() {
            "records 0".clone_into(&mut lines[0]);
        }
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
