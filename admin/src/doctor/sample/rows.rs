//! Rows in sampled records: their format, their columns, and whether the source sends the row
//! before an update.

use std::collections::{BTreeMap, BTreeSet};

use contact_sync::source::SourceSettings;
use contact_sync::source::layers::decompressed;
use serde_json::{Map, Value};

use super::super::Line;

/// Counts of the rows of a sample.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Number of records, by format.
    formats: BTreeMap<&'static str, usize>,
    columns: BTreeSet<String>,
    updates: usize,
    /// Number of updates with the row before.
    with_before: usize,
}

/// The parts of a record that the sample counts.
#[derive(Debug)]
struct Row<'a> {
    format: &'static str,
    /// The row after the change.
    after: Option<&'a Map<String, Value>>,
    /// Whether an update has the row before; `None` for another operation.
    has_before: Option<bool>,
}

impl Rows {
    /// Counts a record with this data.
    pub(super) fn add(&mut self, data: &[u8]) {
        let decompressed = decompressed(data);
        let value = serde_json::from_slice(decompressed.as_deref().unwrap_or(data));
        let mut value: Value = value.unwrap_or_default();
        if value["specversion"].is_string() {
            value = value["data"].take();
        }
        // The schema of Kafka Connect stands beside the payload.
        if value["schema"].is_object() && value["payload"].is_object() {
            value = value["payload"].take();
        }
        let Row {
            format,
            after,
            has_before,
        } = row(&value);
        *self.formats.entry(format).or_default() += 1;
        self.columns
            .extend(after.into_iter().flat_map(Map::keys).cloned());
        self.updates += usize::from(has_before.is_some());
        self.with_before += usize::from(has_before == Some(true));
    }

    /// Formats the number of records of each format.
    pub(super) fn formats(&self) -> String {
        let formats: Vec<String> = self
            .formats
            .iter()
            .map(|(format, count)| format!("{format} {count}"))
            .collect();
        formats.join(", ")
    }

    /// Reports the columns and before images, for a source with these settings.
    pub(super) fn lines(&self, source: &SourceSettings) -> Vec<Line> {
        let mut lines = Vec::new();
        if source.format.has_rows() {
            lines.extend(self.unmapped(source));
            lines.extend(self.lost_images(source));
        }
        lines
    }

    /// Reports the columns that no field of a contact is read from.
    fn unmapped(&self, source: &SourceSettings) -> Option<Line> {
        let mapped: BTreeSet<&str> = source
            .columns
            .values()
            .map(|column| column.split('.').next().unwrap_or(column))
            .collect();
        let unmapped: Vec<&str> = self
            .columns
            .iter()
            .map(String::as_str)
            .filter(|column| !mapped.contains(column))
            .collect();
        let text = format!("not in [source.columns]: {}", unmapped.join(", "));
        (!unmapped.is_empty()).then(|| Line::skipped("columns", text))
    }

    /// Reports updates without the row before.
    fn lost_images(&self, source: &SourceSettings) -> Option<Line> {
        let lost = self.updates - self.with_before;
        (source.changed_only && lost > 0).then(|| {
            let text = format!(
                "{lost} of {} updates lack the row before, so that each mapped column is sent: \
                 set REPLICA IDENTITY FULL (PostgreSQL), BeforeImageSettings (DMS) or \
                 NEW_AND_OLD_IMAGES (DynamoDB)",
                self.updates
            );
            Line::skipped("before image", text)
        })
    }
}

/// Recognises the format of a record by its keys.
fn row(record: &Value) -> Row<'_> {
    let is_update = |operation: &Value, name: &str, before: &Value| {
        (operation == name).then(|| before.is_object())
    };
    if record["op"].is_string() && record["source"].is_object() {
        return Row {
            format: "debezium",
            after: record["after"].as_object(),
            has_before: is_update(&record["op"], "u", &record["before"]),
        };
    }
    let metadata = &record["metadata"];
    if metadata["record-type"].is_string() {
        return Row {
            format: "dms",
            after: record["data"].as_object(),
            has_before: is_update(&metadata["operation"], "update", &record["before-image"]),
        };
    }
    let change = &record["dynamodb"];
    if change.is_object() && record["eventName"].is_string() {
        return Row {
            format: "dynamodb",
            after: change["NewImage"].as_object(),
            has_before: is_update(&record["eventName"], "MODIFY", &change["OldImage"]),
        };
    }
    let format = if record["contact"].is_object() && record["operation"].is_string() {
        "contact-change"
    } else if record.is_object() {
        "another JSON object"
    } else {
        "no JSON object"
    };
    Row {
        format,
        after: None,
        has_before: None,
    }
}

#[cfg(test)]
mod tests {
    use contact_sync::source::Format;
    use serde_json::json;

    use super::*;

    fn rows(records: &[Value]) -> Rows {
        let mut rows = Rows::default();
        for record in records {
            rows.add(record.to_string().as_bytes());
        }
        rows
    }

    fn texts(rows: &Rows, source: &SourceSettings) -> Vec<String> {
        rows.lines(source).iter().map(Line::text).collect()
    }

    fn of_source(format: Format, columns: &[(&str, &str)]) -> SourceSettings {
        let columns = columns.iter();
        SourceSettings {
            format,
            changed_only: true,
            columns: columns
                .map(|(field, column)| ((*field).to_owned(), (*column).to_owned()))
                .collect(),
            ..SourceSettings::default()
        }
    }

    fn debezium(before: &Value) -> Value {
        json!({"op": "u", "source": {}, "before": before, "after": {"id": 1, "mail": "a", "x": 2}})
    }

    #[test]
    fn each_format_is_recognised_in_its_layers() {
        let envelope = debezium(&json!(null));
        let found = rows(&[
            envelope.clone(),
            json!({"schema": {}, "payload": envelope.clone()}),
            json!({"specversion": "1.0", "data": envelope}),
            json!({"metadata": {"record-type": "data", "operation": "insert"}, "data": {"id": 1}}),
            json!({"eventName": "INSERT", "dynamodb": {"NewImage": {"id": {"S": "1"}}}}),
            json!({"operation": "delete", "contact": {"id": "c"}}),
            json!({"id": 1}),
            json!(7),
        ]);
        assert_eq!(
            found.formats(),
            "another JSON object 1, contact-change 1, debezium 3, dms 1, dynamodb 1, \
             no JSON object 1"
        );
    }

    #[test]
    fn columns_without_a_field_and_updates_without_the_row_before_are_reported() {
        let source = of_source(Format::Debezium, &[("id", "id"), ("email", "mail.work")]);
        let found = texts(
            &rows(&[debezium(&json!(null)), debezium(&json!({}))]),
            &source,
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].ends_with("columns: not in [source.columns]: x"),
            "{found:?}"
        );
        assert!(
            found[1].contains("1 of 2 updates lack the row before"),
            "{found:?}"
        );
        let of_dms = json!({"metadata": {"record-type": "data", "operation": "update"},
            "data": {"id": 1}});
        let source = of_source(Format::Dms, &[("id", "id")]);
        assert_eq!(texts(&rows(&[of_dms]), &source).len(), 1);
        let modified = json!({"eventName": "MODIFY", "dynamodb": {"NewImage": {"id": {"S": "1"}},
            "OldImage": {"id": {"S": "1"}}}});
        let source = of_source(Format::Dynamodb, &[("id", "id")]);
        assert_eq!(texts(&rows(&[modified]), &source), Vec::<String>::new());
        let whole_rows = SourceSettings {
            changed_only: false,
            ..of_source(
                Format::Debezium,
                &[("id", "id"), ("email", "mail"), ("type", "x")],
            )
        };
        let found = texts(&rows(&[debezium(&json!(null))]), &whole_rows);
        assert_eq!(found, Vec::<String>::new());
    }
}
