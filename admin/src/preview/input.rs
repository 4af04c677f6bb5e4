//! Reads a file of changes as the records of one batch. The text of each change is not modified,
//! even if it is invalid.

use std::io;
use std::path::Path;

use base64_simd::STANDARD;
use contact_sync::lambda::envelope;
use contact_sync::model::Record;
use serde_json::value::RawValue;

use crate::failure::Failure;

/// Reads the text of a file, or of standard input if the file is `-`.
pub(super) fn text(file: &Path) -> Result<String, Failure> {
    let text = if file == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| {
        Failure::new(
            format!("{}: {error}", file.display()),
            "name a readable file, or - for standard input",
        )
    })
}

/// Parses a Lambda event, a JSON array of changes, one change, or one change per line.
pub(super) fn records(text: &str) -> Vec<Record<'_>> {
    if let Ok(records) = envelope(text) {
        return records;
    }
    if let Ok(changes) = serde_json::from_str::<Vec<&RawValue>>(text) {
        return changes
            .into_iter()
            .map(|change| record(change.get()))
            .collect();
    }
    if let Ok(change) = serde_json::from_str::<&RawValue>(text) {
        return vec![record(change.get())];
    }
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(record)
        .collect()
}

fn record(change: &str) -> Record<'static> {
    Record::of_data(STANDARD.encode_to_string(change))
}
