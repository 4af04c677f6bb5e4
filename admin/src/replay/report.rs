//! Report of a replay: the changes that were put back, and those that were not.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;

use serde_json::{Value, json};

use super::super::output::table;

/// Counts of a replay.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Whether the replay writes nothing.
    is_dry_run: bool,
    /// Noun for the containers of records (message or object); the stream itself has none.
    container: Option<&'static str>,
    pub(super) put_back: u64,
    /// Messages and objects that were deleted, because all their records are in the stream.
    pub(super) deleted: u64,
    /// Records and messages that the filters exclude.
    pub(super) filtered: u64,
    /// Records that the function filters, which need no return.
    pub(super) unneeded: u64,
    /// The limit, if it is reached: nothing beyond it was changed.
    pub(super) limit: Option<u64>,
    /// Text for a replay that finds nothing.
    pub(super) nothing: String,
    skipped: BTreeMap<String, Skipped>,
}

/// Records, messages and objects that were not put back for one reason.
#[derive(Debug)]
struct Skipped {
    count: u64,
    /// Name of one of them.
    example: String,
}

impl Report {
    /// Creates an empty report.
    pub(super) fn new(is_dry_run: bool, container: Option<&'static str>) -> Self {
        Self {
            is_dry_run,
            container,
            ..Self::default()
        }
    }

    /// Counts `name` as not put back, for this reason.
    pub(super) fn skip(&mut self, name: &str, reason: &str) {
        match self.skipped.entry(reason.to_owned()) {
            Entry::Occupied(mut skipped) => skipped.get_mut().count += 1,
            Entry::Vacant(vacant) => {
                vacant.insert(Skipped {
                    count: 1,
                    example: name.to_owned(),
                });
            }
        }
    }

    /// Returns whether every selected record was put back.
    pub(super) fn is_clean(&self) -> bool {
        self.skipped.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        let mut left = Vec::new();
        for (reason, skipped) in &self.skipped {
            let (count, example) = (skipped.count, &skipped.example);
            left.push(json!({"reason": reason, "count": count, "example": example}));
        }
        json!({
            "dry_run": self.is_dry_run,
            "put_back": self.put_back,
            "deleted": self.deleted,
            "filtered": self.filtered,
            "unneeded": self.unneeded,
            "limit_reached": self.limit.is_some(),
            "left": left,
        })
    }

    pub(super) fn text(&self) -> String {
        let would = if self.is_dry_run { "would be " } else { "" };
        let mut text = format!("{} {would}put back", counted(self.put_back, "change"));
        if let Some(container) = self.container {
            let _ = write!(
                text,
                ", {} {would}deleted",
                counted(self.deleted, container)
            );
        }
        if self.filtered > 0 {
            let _ = write!(text, ", {} excluded by the filters", self.filtered);
        }
        if self.unneeded > 0 {
            let _ = write!(
                text,
                ", {} not needed: the function filters them",
                counted(self.unneeded, "record")
            );
        }
        let found = self.put_back + self.deleted + self.filtered + self.unneeded;
        if found == 0 && self.skipped.is_empty() && self.limit.is_none() {
            let _ = write!(text, ": {}", self.nothing);
        }
        if let Some(limit) = self.limit {
            let _ = write!(text, "; --limit {limit} is reached, and there may be more");
        }
        if !self.skipped.is_empty() {
            let mut rows = Vec::new();
            for (reason, skipped) in &self.skipped {
                let count = skipped.count.to_string();
                rows.push([count, skipped.example.clone(), reason.clone()]);
            }
            text.push_str("\nnot put back:\n");
            text.push_str(&table(["count", "example", "reason"], rows));
        }
        text
    }
}

/// Formats a count with its noun in the singular or the plural.
fn counted(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}
