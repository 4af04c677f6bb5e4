//! Rows in sampled records: their format, their columns, and whether the source sends the row
//! before an update.

use std::collections::{BTreeMap, BTreeSet};

use contact_sync::source::SourceSettings;

use super::super::Line;
use crate::feed::{FeedRecord, RowBefore};

/// Counts of the rows of a sample.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Number of records, by format.
    formats: BTreeMap<&'static str, usize>,
    columns: BTreeSet<String>,
    updates: usize,
    /// Number of updates without the row before.
    without_before: usize,
    /// Number of updates whose image of the row before may be its key alone.
    unknown_before: usize,
}

impl Rows {
    /// Counts a record.
    pub(super) fn add(&mut self, record: &FeedRecord) {
        *self.formats.entry(record.form.name()).or_default() += 1;
        for row in record.rows() {
            self.columns.extend(row.into_iter().map(|(name, _)| name));
        }
        let before = record.row_before();
        self.updates += usize::from(before.is_some());
        self.without_before += usize::from(before == Some(RowBefore::Absent));
        self.unknown_before += usize::from(before == Some(RowBefore::Unknown));
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
            lines.extend(self.unknown_images(source));
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
        (!unmapped.is_empty()).then(|| Line::warn("columns", text))
    }

    /// Reports updates without the row before.
    fn lost_images(&self, source: &SourceSettings) -> Option<Line> {
        let lost = self.without_before;
        (source.changed_only && lost > 0).then(|| {
            let text = format!(
                "{lost} of {} updates lack the row before, so that each mapped column is sent: \
                 set REPLICA IDENTITY FULL (PostgreSQL), BeforeImageSettings (DMS) or \
                 NEW_AND_OLD_IMAGES (DynamoDB)",
                self.updates
            );
            Line::warn("before image", text)
        })
    }

    /// Reports updates whose image of the row before may be its key alone.
    fn unknown_images(&self, source: &SourceSettings) -> Option<Line> {
        let unknown = self.unknown_before;
        (source.changed_only && unknown > 0).then(|| {
            let text = format!(
                "cannot tell whether {unknown} of {} updates have the row before: their image has \
                 a part of the columns, none of them changed, and the records name no key",
                self.updates
            );
            Line::skipped("before image", text)
        })
    }
}

#[cfg(test)]
mod tests {
    use contact_sync::model::Record;
    use contact_sync::source::Format;
    use serde_json::{Value, json};

    use super::super::super::State;
    use super::*;

    fn rows(records: &[Value]) -> Rows {
        let mut rows = Rows::default();
        for record in records {
            let text = base64_simd::STANDARD.encode_to_string(record.to_string());
            rows.add(&FeedRecord::of(&Record::of_data(text)));
        }
        rows
    }

    /// Returns the texts of the lines, which are warnings.
    fn warnings(rows: &Rows, source: &SourceSettings) -> Vec<String> {
        let mut texts = Vec::new();
        for line in rows.lines(source) {
            assert_eq!(line.state, State::Warn, "{}", line.text());
            texts.push(line.text());
        }
        texts
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
    fn columns_without_a_field_and_updates_without_the_row_before_are_warnings() {
        let source = of_source(Format::Debezium, &[("id", "id"), ("email", "mail.work")]);
        let found = warnings(
            &rows(&[
                debezium(&json!(null)),
                debezium(&json!({"id": 1, "mail": "b", "x": 2})),
            ]),
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
        let of_dms = json!({"before-image": {"id": 1}, "metadata": {"record-type": "data",
            "operation": "update"}, "data": {"id": 1, "x": 2}});
        let source = of_source(Format::Dms, &[("id", "id"), ("type", "x")]);
        let line = &rows(&[of_dms]).lines(&source)[0];
        assert_eq!(line.state, State::Skipped);
        assert!(
            line.text
                .starts_with("cannot tell whether 1 of 1 updates have the row before"),
            "{}",
            line.text()
        );
        let of_dms = json!({"metadata": {"record-type": "data", "operation": "update"},
            "data": {"id": 1}});
        let source = of_source(Format::Dms, &[("id", "id")]);
        assert_eq!(warnings(&rows(&[of_dms]), &source).len(), 1);
        let modified = json!({"eventName": "MODIFY", "dynamodb": {"NewImage": {"id": {"S": "1"}},
            "OldImage": {"id": {"S": "1"}, "x": {"N": "1"}}}});
        let source = of_source(Format::Dynamodb, &[("id", "id"), ("email", "x")]);
        assert_eq!(warnings(&rows(&[modified]), &source), Vec::<String>::new());
        let whole_rows = SourceSettings {
            changed_only: false,
            ..of_source(
                Format::Debezium,
                &[("id", "id"), ("email", "mail"), ("type", "x")],
            )
        };
        let found = warnings(&rows(&[debezium(&json!(null))]), &whole_rows);
        assert_eq!(found, Vec::<String>::new());
    }
}
