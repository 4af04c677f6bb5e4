//! Guesses the section `[source]` from sample records: their format, and the columns whose names
//! say which field of a contact they hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::names;
use crate::feed::{FeedRecord, Form};

/// The guess of a section.
#[derive(Debug)]
pub(super) struct Guess {
    form: Form,
    tables: Vec<String>,
    key: Option<String>,
    has_tombstones: bool,
    /// The columns of all rows, dotted where a JSON column has keys, with an example's type.
    columns: BTreeMap<String, &'static str>,
    /// The column of each contact field.
    fields: BTreeMap<&'static str, String>,
    /// The values of the column of the type.
    types: Vec<String>,
}

/// Guesses the section; `None` where no record is of a known format.
pub(super) fn guess(records: &[FeedRecord]) -> Option<Guess> {
    let mut counts: BTreeMap<Form, usize> = BTreeMap::new();
    for record in records {
        *counts.entry(record.form).or_default() += 1;
    }
    let has_tombstones = counts.remove(&Form::Tombstone).is_some();
    counts.remove(&Form::Unknown);
    let (form, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let keys: Vec<String> = records.iter().flat_map(FeedRecord::key_columns).collect();
    let all: Vec<Rows<'_>> = records
        .iter()
        .filter(|record| record.form == form)
        .map(|record| (record, record.rows()))
        .collect();
    let of_contacts = of_contacts(&all, &keys);
    let rows: Vec<&Map<String, Value>> = of_contacts.iter().flat_map(|(_, rows)| rows).collect();
    let columns = columns(&rows);
    let fields = names::fields(&columns.keys().map(String::as_str), &keys);
    let types = match fields.get("type") {
        Some(column) => values(&rows, column),
        None => Vec::new(),
    };
    let mut tables: Vec<String> = of_contacts
        .iter()
        .map(|(record, _)| record.table())
        .collect();
    tables.retain(|name| !name.is_empty());
    tables.sort();
    tables.dedup();
    Some(Guess {
        form,
        tables,
        key: keys.first().cloned(),
        has_tombstones,
        columns,
        fields,
        types,
    })
}

/// A record, with the images of its row.
type Rows<'r> = (&'r FeedRecord, Vec<Map<String, Value>>);

/// Returns the records whose row has the column of the contact's id: those of the contacts' table.
/// Without such a column, all records.
fn of_contacts<'a, 'r>(all: &'a [Rows<'r>], keys: &[String]) -> Vec<&'a Rows<'r>> {
    let rows: Vec<&Map<String, Value>> = all.iter().flat_map(|(_, rows)| rows).collect();
    let names = columns(&rows);
    let fields = names::fields(&names.keys().map(String::as_str), keys);
    let Some(id) = fields.get("id") else {
        return all.iter().collect();
    };
    let (column, _) = id.split_once('.').unwrap_or((id, ""));
    all.iter()
        .filter(|(_, rows)| rows.iter().any(|row| row.contains_key(column)))
        .collect()
}

/// Returns the columns of the rows, and the keys of their JSON columns behind a dot.
fn columns(rows: &[&Map<String, Value>]) -> BTreeMap<String, &'static str> {
    let mut columns = BTreeMap::new();
    for (name, value) in rows.iter().copied().flatten() {
        match object(value) {
            Some(inner) => {
                for (key, value) in inner {
                    learn(&mut columns, format!("{name}.{key}"), &value);
                }
            }
            None => learn(&mut columns, name.clone(), value),
        }
    }
    columns
}

fn learn(columns: &mut BTreeMap<String, &'static str>, name: String, value: &Value) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    let known = columns.entry(name).or_insert(kind);
    if *known == "null" {
        *known = kind;
    }
}

/// Returns a JSON object, or the one in a text.
fn object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        // A decimal with its scale is a number.
        Value::Object(object) if object.contains_key("scale") => None,
        Value::Object(object) => Some(object.clone()),
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).ok()
        }
        _ => None,
    }
}

/// Returns the values of a column that are no contact type themselves.
fn values(rows: &[&Map<String, Value>], column: &str) -> Vec<String> {
    let (name, key) = column.split_once('.').unwrap_or((column, ""));
    let mut values = Vec::new();
    for row in rows {
        let value = match row.get(name) {
            Some(value) if key.is_empty() => Some(value.clone()),
            Some(value) => object(value).and_then(|object| object.get(key).cloned()),
            None => None,
        };
        let text = match value {
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        values.push(text.trim().to_owned());
    }
    values.sort();
    values.dedup();
    values.retain(|value| !names::is_type(value));
    values
}

impl Guess {
    /// Returns whether the records need no columns.
    pub(super) fn is_contact_change(&self) -> bool {
        self.form == Form::ContactChange
    }

    /// Writes the section, with the columns that it does not map as comments.
    pub(super) fn to_toml(&self) -> String {
        let mut text = format!("[source]\nformat = \"{}\"\n", self.format());
        if self.is_contact_change() {
            return text;
        }
        let _ = writeln!(text, "tables = {:?}", self.tables);
        if self.form == Form::Plain {
            text += "# Flattened rows show a delete as a record without data, unless\n\
                     # delete.tombstone.handling.mode is rewrite.\n\
                     tombstones = \"delete\"\n";
        } else if self.has_tombstones {
            text += "tombstones = \"filter\"\n";
        }
        if self.format() == "debezium" {
            text += &self.key();
        }
        if let Some(version) = names::version(&self.columns.keys().map(String::as_str)) {
            let _ = writeln!(text, "# version = {}", quoted(version));
        }
        text += "\n[source.columns]\n";
        for field in ["id", "type"] {
            if !self.fields.contains_key(field) {
                let _ = writeln!(text, "# {field} = \"\"   # no column has its name");
            }
        }
        for (field, column) in &self.fields {
            let _ = writeln!(text, "{} = {}", key(field), quoted(column));
        }
        for (column, kind) in &self.columns {
            let is_mapped = self.fields.values().any(|mapped| mapped == column);
            if !is_mapped {
                let name = column.rsplit('.').next().unwrap_or(column);
                let field = key(&format!("attributes.{name}"));
                let _ = writeln!(text, "# {field} = {}   # {kind}", quoted(column));
            }
        }
        text + &self.types()
    }

    /// Writes the key's field with the contact's id. The key of a table has its columns' names, so
    /// that the column of the id is a guess where no record has a key.
    fn key(&self) -> String {
        if let Some(key) = &self.key {
            return format!("key = {}\n", quoted(key));
        }
        match self.fields.get("id").filter(|column| !column.contains('.')) {
            Some(column) => format!(
                "# No record shows its key: the column of the id is a guess. \"\" is a key\n\
                 # that is the id itself.\nkey = {}\n",
                quoted(column)
            ),
            None => String::new(),
        }
    }

    fn format(&self) -> &'static str {
        match self.form {
            Form::Dms => "dms",
            Form::Dynamodb => "dynamodb",
            Form::Envelope | Form::Plain => "debezium",
            _ => "contact-change",
        }
    }

    /// Writes the types. A value whose type its name does not tell has to be decided.
    fn types(&self) -> String {
        let mut text = "\n[source.types]\n".to_owned();
        if !self.fields.contains_key("type") {
            text += "# no column has the type: every row is a\n\"\" = \"lead\"\n";
        }
        for value in &self.types {
            let (kind, note) = match names::type_of(value) {
                Some(kind) => (kind, ""),
                None => ("lead", "   # choose: lead, prospect, customer, vendor"),
            };
            let _ = writeln!(text, "{} = \"{kind}\"{note}", quoted(value));
        }
        text
    }
}

/// Writes a key of TOML, in quotes where it needs them.
fn key(name: &str) -> String {
    let is_bare = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if is_bare && !name.is_empty() {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Writes a text of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use contact_sync::model::Record;
    use serde_json::json;

    use super::*;

    fn sample(data: &Value) -> FeedRecord {
        let text = base64_simd::STANDARD.encode_to_string(data.to_string());
        FeedRecord::of(&Record::of_data(text))
    }

    fn tombstone() -> FeedRecord {
        FeedRecord::of(&Record::of_data(""))
    }

    fn toml_of(samples: &[FeedRecord]) -> String {
        guess(samples).expect("a known format").to_toml()
    }

    #[test]
    fn the_form_of_most_records_is_the_format() {
        let row = json!({"contact_id": "c-1", "segment": "lead"});
        let envelope = json!({"op": "u", "source": {"schema": "public", "table": "contacts"},
                              "before": null, "after": row});
        let dms = json!({"data": row, "metadata": {"record-type": "data", "schema-name": "public",
                         "table-name": "contacts"}});
        let item = json!({"eventName": "INSERT", "tableName": "contacts", "dynamodb":
            {"Keys": {"contact_id": {"S": "c-1"}},
             "NewImage": {"contact_id": {"S": "c-1"}, "segment": {"S": "lead"}}}});
        let own = json!({"event_id": "e", "operation": "create", "contact": {"id": "c-1"}});
        for (record, format) in [
            (&envelope, "debezium"),
            (&json!({"schema": {}, "payload": envelope}), "debezium"),
            (&row, "debezium"),
            (&dms, "dms"),
            (&item, "dynamodb"),
            (&own, "contact-change"),
        ] {
            let samples = [sample(record), tombstone(), sample(&json!([]))];
            let text = toml_of(&samples);
            assert!(text.contains(&format!("format = \"{format}\"")), "{text}");
            if format != "contact-change" {
                assert!(
                    text.contains("id = \"contact_id\"\ntype = \"segment\""),
                    "{text}"
                );
            }
        }
        assert!(guess(&[tombstone(), sample(&json!(7))]).is_none());
    }

    #[test]
    fn a_key_that_no_record_shows_is_the_column_of_the_id() {
        let row = json!({"contact_id": "c-1", "segment": "L"});
        let text = toml_of(&[sample(&row)]);
        assert!(text.contains("is a guess"), "{text}");
        assert!(text.contains("\nkey = \"contact_id\"\n"), "{text}");
        let shown = FeedRecord {
            key: Some(br#"{"pk":"c-1"}"#.to_vec()),
            ..sample(&row)
        };
        let text = toml_of(&[shown]);
        assert!(!text.contains("is a guess"), "{text}");
        assert!(text.contains("\nkey = \"pk\"\n"), "{text}");
        let in_json = json!({"doc": {"contact_id": "c-1"}, "segment": "L"});
        let text = toml_of(&[sample(&in_json)]);
        assert!(
            !text.contains("\nkey = "),
            "a key is no part of a JSON column: {text}"
        );
    }

    #[test]
    fn the_section_has_every_column_and_is_toml() {
        let row = json!({"id": 7, "kind": "X", "eMail": "a@example.com", "score": 1.5,
                         "profile": "{\"city\":\"Bath\",\"odd key\":1}", "tags": ["a"], "rev": 4,
                         "deleted_at": null});
        let key = Some(br#"{"id":7}"#.to_vec());
        let samples = [FeedRecord {
            key,
            ..sample(&row)
        }];
        let text = toml_of(&samples);
        let section: toml::Table = toml::from_str(&text).expect("TOML");
        let columns = section["source"]["columns"].as_table().expect("a table");
        for (field, column) in [
            ("id", "id"),
            ("type", "kind"),
            ("email", "eMail"),
            ("address.city", "profile.city"),
            ("deleted", "deleted_at"),
        ] {
            assert_eq!(columns[field].as_str(), Some(column), "{text}");
        }
        assert_eq!(columns.len(), 5, "{text}");
        for comment in [
            "# \"attributes.score\" = \"score\"   # number",
            "# \"attributes.odd key\" = \"profile.odd key\"   # number",
            "# \"attributes.tags\" = \"tags\"   # list",
            "# version = \"rev\"",
            "\"X\" = \"lead\"   # choose",
            "key = \"id\"",
            "tombstones = \"delete\"",
        ] {
            assert!(text.contains(comment), "{comment}\n{text}");
        }
        assert!(
            !text.contains("a@example.com") && !text.contains("Bath"),
            "no contact data"
        );
    }
}
