//! Guesses the section `[source]` from sample records: their format, and the columns whose names
//! say which field of a contact they hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::names;

/// A record as it arrives.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Empty for a tombstone.
    pub(super) data: Vec<u8>,
    pub(super) key: Option<Vec<u8>>,
}

/// The form of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    ContactChange,
    Envelope,
    Flattened,
    Dms,
    Dynamodb,
    Tombstone,
    Unknown,
}

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
pub(super) fn guess(samples: &[Sample]) -> Option<Guess> {
    let records: Vec<Value> = samples
        .iter()
        .map(|sample| unwrapped(&sample.data))
        .collect();
    let mut counts: BTreeMap<Form, usize> = BTreeMap::new();
    for record in &records {
        *counts.entry(form(record)).or_default() += 1;
    }
    let has_tombstones = counts.remove(&Form::Tombstone).is_some();
    counts.remove(&Form::Unknown);
    let (form_of_most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let key_columns: Vec<String> = samples
        .iter()
        .filter_map(|sample| key_column(sample.key.as_deref()?))
        .chain(records.iter().filter_map(dynamodb_key))
        .collect();
    let all: Vec<Rows<'_>> = records
        .iter()
        .filter(|record| form(record) == form_of_most)
        .map(|record| (record, rows(record, form_of_most)))
        .collect();
    let of_contacts = of_contacts(&all, &key_columns);
    let rows: Vec<&Map<String, Value>> = of_contacts.iter().flat_map(|(_, rows)| rows).collect();
    let columns = columns(&rows);
    let fields = names::fields(&columns.keys().map(String::as_str), &key_columns);
    let types = match fields.get("type") {
        Some(column) => values(&rows, column),
        None => Vec::new(),
    };
    let records: Vec<&Value> = of_contacts.iter().map(|(record, _)| *record).collect();
    Some(Guess {
        form: form_of_most,
        tables: tables(&records, form_of_most),
        key: key_columns.first().cloned(),
        has_tombstones,
        columns,
        fields,
        types,
    })
}

/// A record, with the images of its row.
type Rows<'r> = (&'r Value, Vec<Map<String, Value>>);

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

/// Parses the data, without the schema of Kafka Connect around it. Data that is not JSON is null,
/// and an empty one is a text.
fn unwrapped(data: &[u8]) -> Value {
    if data.is_empty() {
        return Value::String(String::new());
    }
    let mut value: Value = serde_json::from_slice(data).unwrap_or_default();
    match value.get_mut("payload").map(Value::take) {
        Some(Value::Null) if value.get("schema").is_some() => Value::String(String::new()),
        Some(payload @ Value::Object(_)) if value.get("schema").is_some() => payload,
        Some(payload) => {
            value["payload"] = payload;
            value
        }
        None => value,
    }
}

fn form(record: &Value) -> Form {
    let Value::Object(object) = record else {
        return match record {
            Value::String(text) if text.is_empty() => Form::Tombstone,
            _ => Form::Unknown,
        };
    };
    let is_object = |key: &str| object.get(key).is_some_and(Value::is_object);
    if is_object("contact") && object.contains_key("operation") {
        Form::ContactChange
    } else if object.contains_key("op") && is_object("source") {
        Form::Envelope
    } else if is_object("metadata") && record["metadata"]["record-type"].is_string() {
        Form::Dms
    } else if is_object("dynamodb") && object.contains_key("eventName") {
        Form::Dynamodb
    } else if (is_object("before") || is_object("after")) && object.len() <= 3 {
        Form::Envelope
    } else {
        Form::Flattened
    }
}

/// Returns the images of the row in a record, as plain JSON.
fn rows(record: &Value, form: Form) -> Vec<Map<String, Value>> {
    let images: &[&Value] = match form {
        Form::Envelope => &[&record["before"], &record["after"]],
        Form::Dms => &[&record["data"]],
        Form::Dynamodb => &[
            &record["dynamodb"]["OldImage"],
            &record["dynamodb"]["NewImage"],
        ],
        Form::Flattened => &[record],
        Form::ContactChange | Form::Tombstone | Form::Unknown => &[],
    };
    let mut rows = Vec::new();
    for image in images {
        if let Value::Object(row) = image {
            let row = row.iter().filter(|(name, _)| !name.starts_with("__"));
            rows.push(
                row.map(|(name, value)| match form {
                    Form::Dynamodb => (name.clone(), untagged(value)),
                    _ => (name.clone(), value.clone()),
                })
                .collect(),
            );
        }
    }
    rows
}

/// Converts a tagged value of DynamoDB to plain JSON.
fn untagged(value: &Value) -> Value {
    let Some((tag, inner)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Value::Null;
    };
    match (tag.as_str(), inner) {
        ("NULL", _) => Value::Null,
        ("N", Value::String(digits)) => serde_json::from_str(digits).unwrap_or_default(),
        ("M", Value::Object(map)) => map
            .iter()
            .map(|(name, value)| (name.clone(), untagged(value)))
            .collect::<Map<_, _>>()
            .into(),
        ("L", Value::Array(_)) => Value::Array(Vec::new()),
        (_, inner) => inner.clone(),
    }
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

/// Returns the field of a JSON key with the contact's id, if the key has one field; empty for a key
/// that is plain text.
fn key_column(key: &[u8]) -> Option<String> {
    let text = str::from_utf8(key).ok()?;
    let Ok(Value::Object(mut object)) = serde_json::from_str(text) else {
        return (!text.is_empty() && text != "default").then(String::new);
    };
    if let Some(Value::Object(payload)) = object.remove("payload") {
        object = payload;
    }
    let mut names = object.into_iter().map(|(name, _)| name);
    names.next().filter(|_| names.next().is_none())
}

fn dynamodb_key(record: &Value) -> Option<String> {
    let keys = record["dynamodb"]["Keys"].as_object()?;
    let mut names = keys.keys();
    names.next().filter(|_| names.next().is_none()).cloned()
}

/// Returns the tables' names, each once.
fn tables(records: &[&Value], form: Form) -> Vec<String> {
    let name = |parts: [&Value; 2]| {
        let parts = parts.into_iter().filter_map(Value::as_str);
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        parts.join(".")
    };
    let mut tables: Vec<String> = records
        .iter()
        .map(|record| match form {
            Form::Envelope if record["source"]["schema"].is_string() => {
                name([&record["source"]["schema"], &record["source"]["table"]])
            }
            Form::Envelope => name([&record["source"]["db"], &record["source"]["table"]]),
            Form::Dms if record["metadata"]["record-type"] != "data" => String::new(),
            Form::Dms => name([
                &record["metadata"]["schema-name"],
                &record["metadata"]["table-name"],
            ]),
            Form::Dynamodb => name([&Value::Null, &record["tableName"]]),
            _ => String::new(),
        })
        .filter(|name| !name.is_empty())
        .collect();
    tables.sort();
    tables.dedup();
    tables
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
        if self.form == Form::Flattened {
            text += "# Flattened rows show a delete as a record without data, unless\n\
                     # delete.tombstone.handling.mode is rewrite.\n\
                     tombstones = \"delete\"\n";
        } else if self.has_tombstones {
            text += "tombstones = \"filter\"\n";
        }
        let has_keys = self.format() == "debezium";
        if let Some(key) = self.key.as_ref().filter(|_| has_keys) {
            let _ = writeln!(text, "key = {}", quoted(key));
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

    fn format(&self) -> &'static str {
        match self.form {
            Form::Dms => "dms",
            Form::Dynamodb => "dynamodb",
            Form::Envelope | Form::Flattened => "debezium",
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
    use serde_json::json;

    use super::*;

    fn sample(data: &Value) -> Sample {
        Sample {
            data: data.to_string().into_bytes(),
            key: None,
        }
    }

    fn toml_of(samples: &[Sample]) -> String {
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
            let samples = [sample(record), Sample::default(), sample(&json!([]))];
            let text = toml_of(&samples);
            assert!(text.contains(&format!("format = \"{format}\"")), "{text}");
            if format != "contact-change" {
                assert!(
                    text.contains("id = \"contact_id\"\ntype = \"segment\""),
                    "{text}"
                );
            }
        }
        assert!(guess(&[Sample::default(), sample(&json!(7))]).is_none());
    }

    #[test]
    fn the_section_has_every_column_and_is_toml() {
        let row = json!({"id": 7, "kind": "X", "eMail": "a@example.com", "score": 1.5,
                         "profile": "{\"city\":\"Bath\",\"odd key\":1}", "tags": ["a"], "rev": 4,
                         "deleted_at": null});
        let key = Some(br#"{"id":7}"#.to_vec());
        let samples = [Sample {
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
