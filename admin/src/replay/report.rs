//! What a replay did, and what it left alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;

use serde_json::{Value, json};

use super::super::output::table;

/// What is counted while a replay goes on.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Nothing was written anywhere.
    is_dry_run: bool,
    /// What records come in and is deleted: messages, objects; the stream itself is neither.
    container: Option<&'static str>,
    pub(super) put_back: u64,
    /// Messages and objects that were deleted, all their records being back in the stream.
    pub(super) deleted: u64,
    /// Records and messages that the filters leave out.
    pub(super) not_meant: u64,
    /// So many are allowed, and were put back: nothing behind them was touched.
    pub(super) limit: Option<u64>,
    /// Why nothing was found, where nothing was.
    pub(super) nothing: String,
    left: BTreeMap<String, Left>,
}

#[derive(Debug)]
struct Left {
    count: u64,
    /// One of them, to look at.
    example: String,
}

impl Report {
    pub(super) fn new(is_dry_run: bool, container: Option<&'static str>) -> Self {
        Self {
            is_dry_run,
            container,
            ..Self::default()
        }
    }

    /// `name` stays where it is.
    pub(super) fn leave(&mut self, name: &str, reason: &str) {
        match self.left.entry(reason.to_owned()) {
            Entry::Occupied(mut left) => left.get_mut().count += 1,
            Entry::Vacant(place) => {
                place.insert(Left {
                    count: 1,
                    example: name.to_owned(),
                });
            }
        }
    }

    /// Whether everything that was meant was put back.
    pub(super) fn is_clean(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        let left = |(reason, left): (&String, &Left)| json!({"reason": reason, "count": left.count, "example": left.example});
        json!({
            "dry_run": self.is_dry_run, "put_back": self.put_back, "deleted": self.deleted,
            "filtered": self.not_meant, "limit_reached": self.limit.is_some(),
            "left": self.left.iter().map(left).collect::<Vec<_>>(),
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
        if self.not_meant > 0 {
            let _ = write!(text, ", {} left out by the filters", self.not_meant);
        }
        let found = self.put_back + self.deleted + self.not_meant;
        if found == 0 && self.left.is_empty() && self.limit.is_none() {
            let _ = write!(text, ": {}", self.nothing);
        }
        if let Some(limit) = self.limit {
            let _ = write!(text, "; --limit {limit} is reached, and there may be more");
        }
        if !self.left.is_empty() {
            let row = |(reason, left): (&String, &Left)| {
                [left.count.to_string(), left.example.clone(), reason.clone()]
            };
            text.push_str("\nleft alone:\n");
            text.push_str(&table(
                ["count", "one of them", "why"],
                self.left.iter().map(row),
            ));
        }
        text
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}
