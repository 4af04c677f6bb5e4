//! Reads a file of changes as the records of one batch. The bytes of each change are not modified,
//! even if it is invalid.

use std::io::{self, Read as _};
use std::path::Path;

use base64_simd::STANDARD;
use contact_sync::lambda::envelope;
use contact_sync::model::Record;
use contact_sync::source::layers::{is_aggregate, is_compressed};
use serde_json::value::RawValue;

use crate::failure::Failure;

/// Reads the bytes of a file, or of standard input if the file is `-`.
pub(super) fn content(file: &Path) -> Result<Vec<u8>, Failure> {
    let content = if file == Path::new("-") {
        let mut content = Vec::new();
        io::stdin().read_to_end(&mut content).map(|_| content)
    } else {
        std::fs::read(file)
    };
    content.map_err(|error| {
        Failure::new(
            format!("{}: {error}", file.display()),
            "name a readable file, or - for standard input",
        )
    })
}

/// Parses a Lambda event, a JSON array of changes, one change, one change per line, or one record
/// of bytes that begin as a layer.
pub(super) fn records(content: &[u8]) -> Vec<Record<'_>> {
    if is_compressed(content) || is_aggregate(content) {
        return vec![record(content)];
    }
    if let Ok(text) = str::from_utf8(content)
        && let Some(records) = json_records(text)
    {
        return records;
    }
    content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(|line| record(line.strip_suffix(b"\r").unwrap_or(line)))
        .collect()
}

/// Returns the records of a text that is one JSON value; `None` for other texts.
fn json_records(text: &str) -> Option<Vec<Record<'_>>> {
    if let Ok(records) = envelope(text) {
        return Some(records);
    }
    if let Ok(changes) = serde_json::from_str::<Vec<&RawValue>>(text) {
        let changes = changes.into_iter();
        return Some(
            changes
                .map(|change| record(change.get().as_bytes()))
                .collect(),
        );
    }
    let change = serde_json::from_str::<&RawValue>(text).ok()?;
    Some(vec![record(change.get().as_bytes())])
}

/// Returns the record with this change. `null` is a record without data, as
/// `kafka-console-consumer` prints a tombstone.
fn record(change: &[u8]) -> Record<'static> {
    if change.trim_ascii() == b"null" {
        return Record::of_data("");
    }
    Record::of_data(STANDARD.encode_to_string(change))
}
