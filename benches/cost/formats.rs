//! Rows of the benchmark's contact in the format of each change feed, with the columns of
//! [`crate::record::change`].

use std::fmt::Write as _;

use contact_sync::adapters::DESTINATIONS;
use contact_sync::settings::{Layer, Preset, load};
use contact_sync::source::RecordDecoder;
use serde_json::{Map, Value, json};
use testkit::kafka;

use crate::record;

/// Format of a change feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    Debezium,
    /// Debezium's envelope within the schema of Kafka Connect, with which each record carries the
    /// types of all columns.
    DebeziumWithSchema,
    /// Bare rows, by `ExtractNewRecordState`.
    Flattened,
    Dms,
    Dynamodb,
}

/// Change of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// Insert: every column is read.
    Inserted,
    /// Update of one column, with the whole row before and after it.
    Updated,
}

/// The columns with texts, and the fields of the contact that they hold.
const COLUMNS: [(&str, &str); 16] = [
    ("id", "contact_id"),
    ("type", "segment"),
    ("email", "email"),
    ("first_name", "given_name"),
    ("last_name", "family_name"),
    ("company", "company"),
    ("job_title", "title"),
    ("phone", "phone"),
    ("mobile_phone", "mobile"),
    ("website", "website"),
    ("lead_source", "lead_source"),
    ("status", "status"),
    ("address.street", "street"),
    ("address.city", "city"),
    ("address.postal_code", "zip"),
    ("address.country", "country"),
];

const ATTRIBUTES: [&str; 5] = ["plan", "seats", "newsletter", "region", "score"];

impl Feed {
    fn format(self) -> &'static str {
        match self {
            Self::Debezium | Self::DebeziumWithSchema | Self::Flattened => "debezium",
            Self::Dms => "dms",
            Self::Dynamodb => "dynamodb",
        }
    }

    /// Builds the decoder of the feed.
    pub(crate) fn decoder(self) -> RecordDecoder {
        let mut text = format!(
            "[source]\nformat = \"{}\"\ntables = [\"contacts\"]\nkey = \"contact_id\"\n\
             version = \"rev\"\nbooleans = [\"newsletter\"]\n[source.columns]\n\
             \"address.state\" = \"state\"\n",
            self.format()
        );
        for (field, column) in COLUMNS {
            let _ = writeln!(text, "\"{field}\" = \"{column}\"");
        }
        for name in ATTRIBUTES {
            let _ = writeln!(text, "\"attributes.{name}\" = \"{name}\"");
        }
        let layer = Layer::from_toml("the bench", &text).expect("TOML");
        let settings = load(Preset::Local, &[layer], &DESTINATIONS).expect("good settings");
        RecordDecoder::new(&settings.source)
    }

    /// Builds the data of the record at index `at`.
    pub(crate) fn record(self, row: Row, at: usize, count: usize) -> Value {
        let after = columns(at, count);
        let mut before = after.clone();
        before["title"] = "Engineer".into();
        let before = if row == Row::Updated {
            before
        } else {
            Value::Null
        };
        match self {
            Self::Debezium => envelope(row, &before, &after),
            Self::DebeziumWithSchema => {
                json!({"schema": schema(&after), "payload": envelope(row, &before, &after)})
            }
            Self::Flattened => {
                let mut row = after;
                row["__deleted"] = "false".into();
                row
            }
            Self::Dms => dms(row, before, after),
            Self::Dynamodb => dynamodb(row, &before, &after),
        }
    }

    /// Builds the data of `count` records, as base64.
    pub(crate) fn data(self, row: Row, count: usize) -> Vec<String> {
        let text = |at| self.record(row, at, count).to_string();
        (0..count)
            .map(|at| base64_simd::STANDARD.encode_to_string(text(at)))
            .collect()
    }
}

/// Builds the row of the contact at index `at`.
fn columns(at: usize, count: usize) -> Value {
    let change = record::change(at, count, &["lead"]);
    let contact = &change["contact"];
    let mut row = json!({
        "rev": change["version"], "state": contact["address"]["state"],
        "origin": change["origin"].to_string(),
    });
    for (field, column) in COLUMNS {
        row[column] = match field.split_once('.') {
            Some((object, part)) => contact[object][part].clone(),
            None => contact[field].clone(),
        };
    }
    for name in ATTRIBUTES {
        row[name] = contact["attributes"][name].clone();
    }
    row
}

fn envelope(row: Row, before: &Value, after: &Value) -> Value {
    json!({
        "before": before, "after": after, "op": if row == Row::Updated { "u" } else { "c" },
        "ts_ms": 1_795_169_700_123_u64,
        "source": {
            "version": "3.2.0.Final", "connector": "postgresql", "name": "crm",
            "ts_ms": 1_795_169_700_000_u64, "snapshot": "false", "db": "crm",
            "sequence": "[\"24023119\",\"24023128\"]", "schema": "public", "table": "contacts",
            "txId": 1099, "lsn": 24_023_128, "xmin": null,
        },
        "transaction": null,
    })
}

/// Builds the schema that Kafka Connect's JSON converter adds to each record.
fn schema(after: &Value) -> Value {
    let of = |value: &Value| match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "int64",
        _ => "string",
    };
    let field = |name: &str, kind: &str| json!({"type": kind, "optional": true, "field": name});
    let columns = after.as_object().expect("a row");
    let columns: Vec<Value> = columns
        .iter()
        .map(|(name, value)| field(name, of(value)))
        .collect();
    let image = |name: &str| {
        json!({"type": "struct", "fields": columns, "optional": true,
               "name": "crm.public.contacts.Value", "field": name})
    };
    let texts = [
        "version",
        "connector",
        "name",
        "snapshot",
        "db",
        "sequence",
        "schema",
        "table",
    ];
    let numbers = ["ts_ms", "txId", "lsn", "xmin"];
    let source: Vec<Value> = (texts.iter().map(|name| field(name, "string")))
        .chain(numbers.iter().map(|name| field(name, "int64")))
        .collect();
    let source = json!({"type": "struct", "fields": source, "optional": false, "field": "source",
                        "name": "io.debezium.connector.postgresql.Source"});
    json!({
        "type": "struct", "optional": false, "version": 2,
        "name": "crm.public.contacts.Envelope",
        "fields": [image("before"), image("after"), source, field("op", "string"),
                   field("ts_ms", "int64"), field("transaction", "string")],
    })
}

fn dms(row: Row, before: Value, mut after: Value) -> Value {
    after["newsletter"] = "t".into();
    let mut record = json!({
        "data": after,
        "metadata": {
            "timestamp": "2026-11-20T10:15:00.300Z", "record-type": "data",
            "operation": if row == Row::Updated { "update" } else { "insert" },
            "partition-key-type": "primary-key", "schema-name": "public",
            "table-name": "contacts", "commit-timestamp": "2026-11-20T10:15:00.275Z",
            "transaction-id": 1099, "transaction-record-id": 1,
        },
    });
    if row == Row::Updated {
        record["before-image"] = before;
        record["before-image"]["newsletter"] = "t".into();
    }
    record
}

fn dynamodb(row: Row, before: &Value, after: &Value) -> Value {
    let tagged = |row: &Value| {
        let columns = row.as_object().expect("a row").iter();
        let item: Map<String, Value> = columns
            .map(|(name, value)| {
                let value = match value {
                    Value::String(text) => json!({"S": text}),
                    Value::Bool(value) => json!({"BOOL": value}),
                    other => json!({"N": other.to_string()}),
                };
                (name.clone(), value)
            })
            .collect();
        Value::Object(item)
    };
    let mut item = json!({
        "ApproximateCreationDateTime": 1_795_169_700_123_u64, "SizeBytes": 900,
        "Keys": {"contact_id": {"S": after["contact_id"]}}, "NewImage": tagged(after),
    });
    if row == Row::Updated {
        item["OldImage"] = tagged(before);
    }
    json!({
        "awsRegion": "eu-west-1", "eventID": "9f6a1c4e-5d0f-4c3a-9a53-000000000001",
        "eventName": if row == Row::Updated { "MODIFY" } else { "INSERT" }, "userIdentity": null,
        "recordFormat": "application/json", "tableName": "contacts", "dynamodb": item,
        "eventSource": "aws:dynamodb",
    })
}

/// Builds an event of Kafka with `count` changes of `count` contacts of all types, in the own
/// format.
pub(crate) fn kafka_event(count: usize) -> String {
    let types = ["lead", "customer", "prospect", "vendor"];
    let mut records = Vec::new();
    for at in 0..count {
        let change = record::change(at, count, &types).to_string();
        let (partition, key) = (u32::from(at % 2 == 1), format!("c-{at:06}"));
        records.push(kafka::record(
            partition,
            at as u64,
            &key,
            Some(change.as_bytes()),
        ));
    }
    kafka::event(&records).to_string()
}
