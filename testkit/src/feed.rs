//! Simulates the table of contacts behind a change feed: a generated change modifies a row, and the
//! feed carries the row in its format. The expected change is derived from the row by the rules of
//! contract section 1.3, independent of the code under test.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::generator::Generated;

/// The formats of the simulated feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedFormat {
    /// Envelopes, with the row before or without.
    Debezium,
    /// Bare rows; a delete is a tombstone, or the row with `__deleted`.
    Flattened,
    /// With an image of the whole row before, or with an empty one.
    Dms,
    Dynamodb,
}

impl FeedFormat {
    pub const ALL: [Self; 4] = [Self::Debezium, Self::Flattened, Self::Dms, Self::Dynamodb];

    pub fn name(self) -> &'static str {
        match self {
            Self::Debezium => "debezium",
            Self::Flattened => "debezium-flattened",
            Self::Dms => "dms",
            Self::Dynamodb => "dynamodb",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Returns the section `[source]` of the feed, as TOML.
    pub fn settings(self) -> String {
        let (format, tombstones) = match self {
            Self::Debezium => ("debezium", "filter"),
            Self::Flattened => ("debezium", "delete"),
            Self::Dms => ("dms", "filter"),
            Self::Dynamodb => ("dynamodb", "filter"),
        };
        let mut text = format!(
            "[source]\nformat = \"{format}\"\ntables = [\"contacts\"]\nkey = \"contact_id\"\n\
             tombstones = \"{tombstones}\"\nversion = \"rev\"\nbooleans = [\"newsletter\"]\n\
             numbers = [\"seats\"]\n\
             [source.columns]\nid = \"contact_id\"\ntype = \"segment\"\ndeleted = \"deleted_at\"\n"
        );
        for (field, column) in TEXTS {
            let _ = writeln!(text, "{field} = \"{column}\"");
        }
        for part in ADDRESS {
            let _ = writeln!(text, "\"address.{part}\" = \"address.{part}\"");
        }
        for name in ATTRIBUTES {
            let _ = writeln!(text, "\"attributes.{name}\" = \"{name}\"");
        }
        text + "[source.types]\nL = \"lead\"\nP = \"prospect\"\nC = \"customer\"\nV = \"vendor\"\n"
    }
}

/// The text fields of a contact, and their columns.
const TEXTS: [(&str, &str); 10] = [
    ("email", "email"),
    ("first_name", "given_name"),
    ("last_name", "family_name"),
    ("company", "company"),
    ("job_title", "title"),
    ("phone", "phone"),
    ("mobile_phone", "mobile"),
    ("website", "website"),
    ("lead_source", "origin"),
    ("status", "status"),
];

/// The keys of the JSON column `address`.
const ADDRESS: [&str; 5] = ["street", "city", "state", "postal_code", "country"];

const ATTRIBUTES: [&str; 3] = ["plan", "seats", "newsletter"];

/// A record of the feed.
#[derive(Clone, Debug)]
pub struct FeedRecord {
    pub partition_key: String,
    pub data: Vec<u8>,
    pub expected: Expected,
}

/// The expected result of a record.
#[derive(Clone, Debug)]
pub enum Expected {
    /// The change of a contact, as JSON of the own format.
    Change(Value),
    Filtered,
    Rejected,
}

/// A row. Its values are those of the contact's fields: texts, numbers, booleans and nulls.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    kind: String,
    values: BTreeMap<String, Value>,
    is_deleted: bool,
    rev: u64,
}

/// The table, and the feed of its changes.
#[derive(Debug)]
pub struct TableFeed {
    format: FeedFormat,
    random: fastrand::Rng,
    rows: BTreeMap<String, Row>,
    rev: u64,
    /// Whether each update has the row before, where the format can carry it.
    pub has_each_row_before: bool,
}

/// The change of a row.
struct Transition<'a> {
    id: &'a str,
    before: Option<Row>,
    after: Option<Row>,
}

impl TableFeed {
    pub fn new(format: FeedFormat, seed: u64) -> Self {
        Self {
            format,
            random: fastrand::Rng::with_seed(seed),
            rows: BTreeMap::new(),
            rev: 0,
            has_each_row_before: false,
        }
    }

    /// Returns an update of one column of each row that exists.
    pub fn updates_of_all(&mut self) -> Vec<FeedRecord> {
        let mut records = Vec::new();
        let rows = self.rows.iter().filter(|(_, row)| !row.is_deleted);
        let rows: Vec<(String, String)> = rows
            .map(|(id, row)| (id.clone(), row.kind.clone()))
            .collect();
        for (id, kind) in rows {
            let contact = json!({"id": id, "type": kind, "job_title": "Last of all"});
            records.extend(self.records(&Generated {
                partition_key: id,
                data: Vec::new(),
                change: Some(json!({"operation": "update", "contact": contact})),
            }));
        }
        records
    }

    /// Returns the records of a generated one: its change of the table, and records beside it.
    pub fn records(&mut self, generated: &Generated) -> Vec<FeedRecord> {
        let Some(change) = &generated.change else {
            return vec![self.invalid(&generated.data)];
        };
        let id = change["contact"]["id"].as_str().expect("an id");
        let id = id.trim().to_lowercase();
        let mut records = Vec::new();
        if self.random.u32(..25) == 0 {
            records.extend(self.noise(&id));
        }
        self.rev += 1;
        let before = self.rows.get(&id).cloned();
        let after = self.after(before.as_ref(), change);
        let is_typed = change["contact"].get("type").is_some();
        match &after {
            Some(row) => drop(self.rows.insert(id.clone(), row.clone())),
            None => drop(self.rows.remove(&id)),
        }
        let transition = Transition {
            id: &id,
            before,
            after,
        };
        records.extend(match self.format {
            FeedFormat::Debezium => self.debezium(&transition, is_typed),
            FeedFormat::Flattened => self.flattened(&transition, is_typed),
            FeedFormat::Dms => self.dms(&transition, is_typed),
            FeedFormat::Dynamodb => self.dynamodb(&transition, is_typed),
        });
        records
    }

    /// Applies a change to a row. Some deletes only mark the row.
    fn after(&mut self, before: Option<&Row>, change: &Value) -> Option<Row> {
        let contact = &change["contact"];
        if change["operation"] == "delete" {
            let row = before.filter(|_| contact.get("type").is_some() && self.random.bool())?;
            return Some(Row {
                is_deleted: true,
                rev: self.rev,
                ..row.clone()
            });
        }
        let is_new = change["operation"] == "create";
        let mut values = match before.filter(|_| !is_new) {
            Some(row) => row.values.clone(),
            None => fields().map(|field| (field, Value::Null)).collect(),
        };
        for (field, value) in &mut values {
            if let Some(told) = told(contact, field) {
                *value = told;
            }
        }
        Some(Row {
            kind: contact["type"].as_str().expect("a type").to_lowercase(),
            values,
            is_deleted: false,
            rev: self.rev,
        })
    }

    fn record(&self, id: &str, data: &Value, expected: Expected) -> FeedRecord {
        FeedRecord {
            partition_key: self.key(id),
            data: data.to_string().into_bytes(),
            expected,
        }
    }

    /// Returns the key of a row, which is the partition key.
    fn key(&self, id: &str) -> String {
        match self.format {
            FeedFormat::Debezium | FeedFormat::Flattened => json!({"contact_id": id}).to_string(),
            FeedFormat::Dms | FeedFormat::Dynamodb => id.to_owned(),
        }
    }

    fn tombstone(&self, id: &str, expected: Expected) -> FeedRecord {
        FeedRecord {
            data: Vec::new(),
            ..self.record(id, &Value::Null, expected)
        }
    }

    fn invalid(&self, data: &[u8]) -> FeedRecord {
        let is_tombstone =
            data.is_empty() && matches!(self.format, FeedFormat::Debezium | FeedFormat::Flattened);
        FeedRecord {
            partition_key: "bad".to_owned(),
            data: data.to_vec(),
            expected: if is_tombstone {
                Expected::Filtered
            } else {
                Expected::Rejected
            },
        }
    }

    /// Returns records of other kinds and of other tables, and an update of no mapped column.
    fn noise(&mut self, id: &str) -> Vec<FeedRecord> {
        let other = json!({"contact_id": id, "segment": "L"});
        let mut data = match self.format {
            FeedFormat::Debezium => vec![
                json!({"ts_ms": 1_763_633_700_000_u64}),
                json!({"source": {"table": "contacts"}, "op": "t", "before": null, "after": null}),
                envelope("u", &Value::Null, &other, "orders"),
            ],
            FeedFormat::Flattened => vec![json!({"ts_ms": 1_763_633_700_000_u64})],
            FeedFormat::Dms => vec![
                json!({"control": {}, "metadata": {"record-type": "control",
                       "operation": "create-table", "table-name": "contacts"}}),
                of_dms("insert", &json!({}), &other, "orders"),
            ],
            FeedFormat::Dynamodb => {
                let tagged = json!({"contact_id": {"S": id}, "segment": {"S": "L"}});
                vec![of_dynamodb("INSERT", id, None, Some(&tagged), "orders")]
            }
        };
        if let Some(row) = self.rows.get(id).cloned() {
            data.extend(self.unchanged(id, &row));
        }
        let noise = data.into_iter();
        noise
            .map(|data| self.record(id, &data, Expected::Filtered))
            .collect()
    }

    /// Returns an update of the column that is not mapped.
    fn unchanged(&self, id: &str, row: &Row) -> Option<Value> {
        match self.format {
            FeedFormat::Debezium => {
                let before = json_row(id, row);
                let mut after = before.clone();
                after["unmapped"] = "other".into();
                Some(envelope("u", &before, &after, "contacts"))
            }
            FeedFormat::Dynamodb => {
                let before = tagged_row(id, row);
                let mut after = before.clone();
                after["unmapped"] = json!({"S": "other"});
                Some(of_dynamodb(
                    "MODIFY",
                    id,
                    Some(&before),
                    Some(&after),
                    "contacts",
                ))
            }
            FeedFormat::Flattened | FeedFormat::Dms => None,
        }
    }

    fn debezium(&mut self, transition: &Transition<'_>, is_typed: bool) -> Vec<FeedRecord> {
        let Transition { id, before, after } = transition;
        let row = |row: &Row| json_row(id, row);
        let Some(after) = after else {
            let image = match before.as_ref().filter(|_| is_typed) {
                Some(before) => row(before),
                None => json!({"contact_id": id}),
            };
            let data = envelope("d", &image, &Value::Null, "contacts");
            let delete = Expected::Change(transition.delete(is_typed));
            return vec![
                self.record(id, &data, delete),
                self.tombstone(id, Expected::Filtered),
            ];
        };
        let Some(before) = before else {
            let is_snapshot = self.random.u32(..5) == 0;
            let (op, operation) = if is_snapshot {
                ("r", "update")
            } else {
                ("c", "create")
            };
            let data = envelope(op, &Value::Null, &row(after), "contacts");
            let expected = Expected::Change(transition.whole(operation));
            return vec![self.record(id, &self.wrapped(data), expected)];
        };
        let has_before = self.random.u32(..5) > 0 || self.has_each_row_before;
        let image = if has_before { row(before) } else { Value::Null };
        let mut data = envelope("u", &image, &row(after), "contacts");
        let mut expected = transition.update(has_before);
        let is_plain = before.kind == after.kind && !before.is_deleted && !after.is_deleted;
        // A column that did not change and was not logged.
        if is_plain && before.values["company"] == after.values["company"] {
            data["after"]["company"] = "__debezium_unavailable_value".into();
            if let Some(Expected::Change(change)) = &mut expected {
                let contact = change["contact"].as_object_mut().expect("an object");
                contact.remove("company");
            }
        }
        let expected = expected.unwrap_or(Expected::Filtered);
        vec![self.record(id, &self.wrapped(data), expected)]
    }

    /// Puts some records into the envelope of Kafka Connect, with or without their schema.
    fn wrapped(&self, data: Value) -> Value {
        match self.rev % 3 {
            0 => json!({"schema": null, "payload": data}),
            1 => with_schema(data),
            _ => data,
        }
    }

    fn flattened(&mut self, transition: &Transition<'_>, is_typed: bool) -> Vec<FeedRecord> {
        let id = transition.id;
        match (&transition.after, &transition.before) {
            (Some(after), _) => {
                let mut data = json_row(id, after);
                data["__deleted"] = "false".into();
                let expected = match transition.update(false) {
                    Some(expected) => expected,
                    None => Expected::Change(transition.whole("update")),
                };
                vec![self.record(id, &data, expected)]
            }
            (None, Some(before)) if is_typed => {
                let mut data = json_row(id, before);
                data["__deleted"] = "true".into();
                let expected = Expected::Change(transition.delete(true));
                vec![self.record(id, &data, expected)]
            }
            (None, _) => {
                let mut change = transition.delete(false);
                // A tombstone has no column of the version.
                change.as_object_mut().expect("an object").remove("version");
                vec![self.tombstone(id, Expected::Change(change))]
            }
        }
    }

    fn dms(&mut self, transition: &Transition<'_>, is_typed: bool) -> Vec<FeedRecord> {
        let Transition { id, before, after } = transition;
        let row = |row: &Row| dms_row(id, row);
        let (operation, image, data, expected) = match (before, after) {
            (before, None) => {
                let image = before.as_ref().filter(|_| is_typed).map_or(json!({}), row);
                let mut nulls = dms_row(id, &Row::empty());
                nulls["segment"] = Value::Null;
                nulls["rev"] = Value::Null;
                let expected = Expected::Change(transition.delete(is_typed));
                ("delete", image, nulls, expected)
            }
            (None, Some(after)) => {
                let is_load = self.random.u32(..5) == 0;
                let (name, operation) = if is_load {
                    ("load", "update")
                } else {
                    ("insert", "create")
                };
                let expected = Expected::Change(transition.whole(operation));
                (name, json!({}), row(after), expected)
            }
            (Some(before), Some(after)) => {
                let has_before = self.random.bool() || self.has_each_row_before;
                let image = if has_before { row(before) } else { json!({}) };
                let expected = transition.update(has_before);
                let expected = expected.unwrap_or(Expected::Filtered);
                ("update", image, row(after), expected)
            }
        };
        let data = of_dms(operation, &image, &data, "contacts");
        vec![self.record(id, &data, expected)]
    }

    fn dynamodb(&mut self, transition: &Transition<'_>, is_typed: bool) -> Vec<FeedRecord> {
        let Transition { id, before, after } = transition;
        let old = before.as_ref().map(|row| tagged_row(id, row));
        let new = after.as_ref().map(|row| tagged_row(id, row));
        let (name, old, expected) = match (before, after) {
            (_, None) => {
                let expected = Expected::Change(transition.delete(is_typed));
                ("REMOVE", old.filter(|_| is_typed), expected)
            }
            (None, Some(_)) => ("INSERT", None, Expected::Change(transition.whole("create"))),
            (Some(_), Some(_)) => {
                let expected = transition.update(true).unwrap_or(Expected::Filtered);
                ("MODIFY", old, expected)
            }
        };
        let data = of_dynamodb(name, id, old.as_ref(), new.as_ref(), "contacts");
        vec![self.record(id, &data, expected)]
    }
}

impl Row {
    fn empty() -> Self {
        Self {
            kind: "lead".to_owned(),
            values: fields().map(|field| (field, Value::Null)).collect(),
            is_deleted: false,
            rev: 0,
        }
    }
}

impl Transition<'_> {
    fn after(&self) -> &Row {
        self.after.as_ref().expect("a row")
    }

    fn change(&self, operation: &str, rev: Option<u64>, contact: &Map<String, Value>) -> Value {
        let mut change = json!({
            "event_id": format!("{}-{rev:?}", self.id), "operation": operation,
            "occurred_at": "2026-11-20T10:15:00Z", "contact": contact,
        });
        if let Some(rev) = rev {
            change["version"] = rev.into();
        }
        change
    }

    /// Returns the delete of the contact. Without an image of the row, neither its type nor its
    /// version is known.
    fn delete(&self, has_image: bool) -> Value {
        let image = self.before.as_ref().filter(|_| has_image);
        let mut contact = Map::new();
        contact.insert("id".to_owned(), self.id.into());
        if let Some(row) = image {
            contact.insert("type".to_owned(), row.kind.as_str().into());
        }
        self.change("delete", image.map(|row| row.rev), &contact)
    }

    /// Returns the change with each column of the row.
    fn whole(&self, operation: &str) -> Value {
        let row = self.after();
        self.of_fields(operation, row.values.keys())
    }

    fn of_fields<'f>(
        &self,
        operation: &str,
        fields: impl IntoIterator<Item = &'f String>,
    ) -> Value {
        let row = self.after();
        let mut contact = json!({"id": self.id, "type": row.kind});
        for field in fields {
            let value = row.values[field].clone();
            match field.split_once('.') {
                Some((object, part)) => contact[object][part] = value,
                None => contact[field] = value,
            }
        }
        let Value::Object(contact) = contact else {
            unreachable!("an object");
        };
        self.change(operation, Some(row.rev), &contact)
    }

    /// Returns the expected result of an update; `None` where the record is filtered.
    fn update(&self, has_before: bool) -> Option<Expected> {
        let row = self.after();
        let before = self.before.as_ref().filter(|_| has_before);
        if row.is_deleted {
            let is_again = before.is_some_and(|before| before.is_deleted);
            let contact = Map::from_iter([
                ("id".to_owned(), self.id.into()),
                ("type".to_owned(), row.kind.as_str().into()),
            ]);
            let delete = self.change("delete", Some(row.rev), &contact);
            return (!is_again).then_some(Expected::Change(delete));
        }
        let known = before.filter(|before| before.kind == row.kind && !before.is_deleted);
        let Some(before) = known else {
            return Some(Expected::Change(self.whole("update")));
        };
        let changed = |field: &&String| before.values[*field] != row.values[*field];
        let changed: Vec<&String> = row.values.keys().filter(changed).collect();
        if changed.is_empty() {
            return None;
        }
        Some(Expected::Change(self.of_fields("update", changed)))
    }
}

/// Returns the fields of a row, those of objects behind a dot.
fn fields() -> impl Iterator<Item = String> {
    let texts = TEXTS.into_iter().map(|(field, _)| field.to_owned());
    let address = ADDRESS.into_iter().map(|part| format!("address.{part}"));
    let attributes = ATTRIBUTES
        .into_iter()
        .map(|name| format!("attributes.{name}"));
    texts.chain(address).chain(attributes)
}

/// Returns the value that a change gives a field, if it mentions the field.
fn told(contact: &Value, field: &str) -> Option<Value> {
    match field.split_once('.') {
        Some((object, part)) => match contact.get(object)? {
            Value::Object(object) => object.get(part).cloned(),
            _ => Some(Value::Null),
        },
        None => contact.get(field).cloned(),
    }
}

fn segment(row: &Row) -> String {
    row.kind[..1].to_uppercase()
}

/// Returns the row as plain JSON, its address as the text of a JSON column.
fn json_row(id: &str, row: &Row) -> Value {
    let mut json = json!({
        "contact_id": id, "segment": segment(row), "rev": row.rev, "unmapped": {"tags": ["a"]},
        "deleted_at": if row.is_deleted { json!("2026-11-20T10:15:00Z") } else { Value::Null },
    });
    for (field, column) in TEXTS {
        json[column] = row.values[field].clone();
    }
    let mut address = Map::new();
    for part in ADDRESS {
        address.insert(
            part.to_owned(),
            row.values[&format!("address.{part}")].clone(),
        );
    }
    json["address"] = Value::Object(address).to_string().into();
    for name in ATTRIBUTES {
        json[name] = row.values[&format!("attributes.{name}")].clone();
    }
    json
}

/// Returns the row as DMS writes it: booleans are letters, and some numbers are texts.
fn dms_row(id: &str, row: &Row) -> Value {
    let mut json = json_row(id, row);
    if let Value::Bool(value) = json["newsletter"] {
        json["newsletter"] = if value { "t" } else { "f" }.into();
    }
    if row.rev.is_multiple_of(2)
        && let Value::Number(seats) = &json["seats"]
    {
        json["seats"] = seats.to_string().into();
    }
    json
}

/// Returns the row as tagged values; an attribute without a value is missing.
fn tagged_row(id: &str, row: &Row) -> Value {
    let tagged = |value: &Value| match value {
        Value::String(text) => json!({"S": text}),
        Value::Bool(value) => json!({"BOOL": value}),
        other => json!({"N": other.to_string()}),
    };
    let mut item = Map::new();
    let Value::Object(columns) = json_row(id, row) else {
        unreachable!("an object");
    };
    for (column, value) in columns.iter().filter(|(_, value)| !value.is_null()) {
        let value = match column.as_str() {
            "address" => {
                let text = value.as_str().expect("a text");
                let parts: Map<String, Value> = serde_json::from_str(text).expect("JSON");
                let parts = parts.iter().filter(|(_, value)| !value.is_null());
                let parts: Map<String, Value> = parts
                    .map(|(part, value)| (part.clone(), tagged(value)))
                    .collect();
                json!({"M": parts})
            }
            "unmapped" => json!({"M": {"tags": {"SS": ["a"]}}}),
            _ => tagged(value),
        };
        item.insert(column.clone(), value);
    }
    item.into()
}

fn envelope(op: &str, before: &Value, after: &Value, table: &str) -> Value {
    json!({
        "before": before, "after": after, "op": op, "ts_ms": 1_763_633_700_123_u64,
        "source": {"connector": "postgresql", "name": "crm", "ts_ms": 1_763_633_700_000_u64,
                   "snapshot": "false", "db": "crm", "schema": "public", "table": table,
                   "lsn": 24_023_128},
        "transaction": null,
    })
}

/// Adds the schema of an envelope, in which `seats` is a decimal. A record with another number has
/// no schema.
fn with_schema(mut envelope: Value) -> Value {
    let plain = envelope.clone();
    for image in ["before", "after"] {
        let Some(seats) = envelope[image].get_mut("seats") else {
            continue;
        };
        if let Some(number) = seats.as_i64() {
            *seats = base64_simd::STANDARD
                .encode_to_string(number.to_be_bytes())
                .into();
        } else if !seats.is_null() {
            return plain;
        }
    }
    let decimal = json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
                         "version": 1, "parameters": {"scale": "0"}, "optional": true,
                         "field": "seats"});
    let row = |image: &str| {
        let email = json!({"type": "string", "optional": true, "field": "email"});
        json!({"type": "struct", "fields": [email, decimal], "optional": true, "field": image})
    };
    let schema = json!({"type": "struct", "fields": [row("before"), row("after")]});
    json!({"schema": schema, "payload": envelope})
}

fn of_dms(operation: &str, before: &Value, data: &Value, table: &str) -> Value {
    json!({
        "data": data, "before-image": before,
        "metadata": {"timestamp": "2026-11-20T10:15:00.300Z", "record-type": "data",
                     "operation": operation, "partition-key-type": "primary-key",
                     "schema-name": "public", "table-name": table,
                     "commit-timestamp": "2026-11-20T10:15:00.275Z", "transaction-id": 1099,
                     "transaction-record-id": 1},
    })
}

fn of_dynamodb(
    name: &str,
    id: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    table: &str,
) -> Value {
    let mut item = json!({
        "ApproximateCreationDateTime": 1_763_633_700_123_u64, "SizeBytes": 26,
        "Keys": {"contact_id": {"S": id}},
    });
    for (key, image) in [("OldImage", old), ("NewImage", new)] {
        if let Some(image) = image {
            item[key] = image.clone();
        }
    }
    json!({
        "awsRegion": "eu-west-1", "eventID": "9f6a1c4e", "eventName": name, "userIdentity": null,
        "recordFormat": "application/json", "tableName": table, "dynamodb": item,
        "eventSource": "aws:dynamodb",
    })
}
