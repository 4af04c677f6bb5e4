//! Recognises the format of a sampled record, and reads the images of its row.

use std::borrow::Cow;

use contact_sync::model::{Data, Record};
use contact_sync::source::layers::without_layers;
use serde_json::{Map, Value};

/// The form of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    ContactChange,
    Envelope,
    /// A JSON object without the keys of a format, as a flattened row is.
    Plain,
    Dms,
    Dynamodb,
    Tombstone,
    Unknown,
}

impl Form {
    /// Returns the name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ContactChange => "contact-change",
            Self::Envelope => "debezium",
            Self::Plain => "plain JSON object",
            Self::Dms => "dms",
            Self::Dynamodb => "dynamodb",
            Self::Tombstone => "no data",
            Self::Unknown => "no JSON object",
        }
    }
}

/// Image that an update has of the row before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowBefore {
    /// The row, or at least its columns that changed.
    Present,
    /// None, or the columns of the key alone.
    Absent,
    /// Some unchanged columns, of which the record does not say whether they are the key.
    Unknown,
}

/// A record without the layers around its data.
#[derive(Clone, Debug)]
pub(crate) struct FeedRecord {
    pub(crate) form: Form,
    /// The data, without the schema of Kafka Connect.
    pub(crate) value: Value,
    /// The record's key.
    pub(crate) key: Option<Vec<u8>>,
}

impl FeedRecord {
    /// Reads a record. Data in a malformed layer is of an unknown form.
    pub(crate) fn of(record: &Record<'_>) -> Self {
        let data = match &record.data {
            None => Cow::Borrowed(&[][..]),
            Some(Data::Bytes(bytes)) => Cow::Borrowed(*bytes),
            Some(Data::Base64(text)) => {
                let decoded = base64_simd::STANDARD.decode_to_vec(&**text);
                Cow::Owned(decoded.unwrap_or_default())
            }
        };
        let value = match without_layers(&data) {
            Ok(data) if data.is_empty() => Value::String(String::new()),
            Ok(data) => without_schema(serde_json::from_slice(&data).unwrap_or_default()),
            Err(_) => Value::Null,
        };
        Self {
            form: form(&value),
            value,
            key: record
                .key()
                .and_then(|key| Some(without_layers(&key).ok()?.into_owned())),
        }
    }

    /// Returns the images of the row, as plain JSON.
    pub(crate) fn rows(&self) -> Vec<Map<String, Value>> {
        let record = &self.value;
        let images: &[&Value] = match self.form {
            Form::Envelope => &[&record["before"], &record["after"]],
            Form::Dms => &[&record["data"]],
            Form::Dynamodb => &[
                &record["dynamodb"]["OldImage"],
                &record["dynamodb"]["NewImage"],
            ],
            Form::Plain => &[record],
            Form::ContactChange | Form::Tombstone | Form::Unknown => &[],
        };
        let images = images.iter().filter_map(|image| image.as_object());
        images.map(|image| self.row(image)).collect()
    }

    fn row(&self, image: &Map<String, Value>) -> Map<String, Value> {
        let mut row = Map::new();
        for (name, value) in image {
            // A flattened row has its metadata in such columns.
            if name.starts_with("__") {
                continue;
            }
            let value = match self.form {
                Form::Dynamodb => untagged(value),
                _ => value.clone(),
            };
            row.insert(name.clone(), value);
        }
        row
    }

    /// Returns the image that an update has of the row before; `None` where the record is no update
    /// of a row.
    pub(crate) fn row_before(&self) -> Option<RowBefore> {
        let record = &self.value;
        let (is_update, before, after) = match self.form {
            Form::Envelope => (record["op"] == "u", &record["before"], &record["after"]),
            Form::Dms => (
                record["metadata"]["operation"] == "update",
                &record["before-image"],
                &record["data"],
            ),
            Form::Dynamodb => (
                record["eventName"] == "MODIFY",
                &record["dynamodb"]["OldImage"],
                &record["dynamodb"]["NewImage"],
            ),
            Form::ContactChange | Form::Plain | Form::Tombstone | Form::Unknown => return None,
        };
        if !is_update {
            return None;
        }
        let Some(before) = before.as_object().filter(|image| !image.is_empty()) else {
            return Some(RowBefore::Absent);
        };
        // DynamoDB writes whole items.
        let is_whole = self.form == Form::Dynamodb
            || after
                .as_object()
                .is_some_and(|after| after.keys().all(|name| before.contains_key(name)));
        let key = self.key.as_deref().and_then(key_fields);
        Some(if is_whole {
            RowBefore::Present
        } else if let Some(key) = key {
            let is_of_key = before.keys().all(|name| key.contains(name));
            if is_of_key {
                RowBefore::Absent
            } else {
                RowBefore::Present
            }
        } else if before.iter().any(|(name, value)| after[name] != *value) {
            RowBefore::Present
        } else {
            RowBefore::Unknown
        })
    }

    /// Returns the column of the contact's id, as the record names it beside the row: the key's
    /// only field, or the table's. Empty for a key that is plain text.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = String> {
        let of_key = self.key.as_deref().and_then(key_column);
        let of_item = self.value["dynamodb"]["Keys"].as_object();
        let of_item = of_item.and_then(|keys| only(keys.keys().cloned()));
        of_key.into_iter().chain(of_item)
    }

    /// Returns the table's name, as `[source]` names it; empty where the record names none.
    pub(crate) fn table(&self) -> String {
        let record = &self.value;
        let (metadata, source) = (&record["metadata"], &record["source"]);
        let parts = match self.form {
            Form::Envelope if source["schema"].is_string() => [&source["schema"], &source["table"]],
            Form::Envelope => [&source["db"], &source["table"]],
            Form::Dms if metadata["record-type"] == "data" => {
                [&metadata["schema-name"], &metadata["table-name"]]
            }
            Form::Dynamodb => [&Value::Null, &record["tableName"]],
            _ => return String::new(),
        };
        let parts = parts.into_iter().filter_map(Value::as_str);
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        parts.join(".")
    }
}

/// Returns the payload beside a schema of Kafka Connect. A null payload is a tombstone.
fn without_schema(mut value: Value) -> Value {
    if value.get("schema").is_none() {
        return value;
    }
    match value.get_mut("payload").map(Value::take) {
        Some(Value::Null) => Value::String(String::new()),
        Some(payload @ Value::Object(_)) => payload,
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
        Form::Plain
    }
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

/// Returns the field of a JSON key with the contact's id, if the key has one field; empty for a key
/// that is plain text.
fn key_column(key: &[u8]) -> Option<String> {
    if let Some(fields) = key_fields(key) {
        return only(fields.into_iter());
    }
    let text = str::from_utf8(key).ok()?;
    (!text.is_empty() && text != "default").then(String::new)
}

/// Returns the fields of a JSON key, with or without the schema of Kafka Connect around it; `None`
/// for another key.
fn key_fields(key: &[u8]) -> Option<Vec<String>> {
    let mut object: Map<String, Value> = serde_json::from_slice(key).ok()?;
    if let Some(Value::Object(payload)) = object.remove("payload") {
        object = payload;
    }
    Some(object.into_iter().map(|(name, _)| name).collect())
}

/// Returns the only item.
fn only(mut names: impl Iterator<Item = String>) -> Option<String> {
    names.next().filter(|_| names.next().is_none())
}

#[cfg(test)]
mod tests {
    use contact_sync::model::{KafkaOrigin, Origin};
    use serde_json::json;

    use super::*;

    fn read(record: &Value) -> FeedRecord {
        let text = base64_simd::STANDARD.encode_to_string(record.to_string());
        FeedRecord::of(&Record::of_data(text))
    }

    #[test]
    fn each_format_is_recognised_in_its_layers() {
        let envelope = json!({"op": "u", "source": {}, "before": null, "after": {"id": 1}});
        let encoded = base64_simd::STANDARD.encode_to_string(envelope.to_string());
        let cloud_event = |name: &str, data: Value| {
            let mut event = json!({"specversion": "1.0", "id": "e", "source": "/s", "type": "t"});
            event[name] = data;
            event
        };
        for (record, form) in [
            (envelope.clone(), Form::Envelope),
            (json!({"schema": {}, "payload": envelope}), Form::Envelope),
            (json!({"schema": null, "payload": null}), Form::Tombstone),
            (cloud_event("data", envelope), Form::Envelope),
            (cloud_event("data_base64", encoded.into()), Form::Envelope),
            (
                cloud_event("data", json!({"before": null, "after": {"id": 1}})),
                Form::Envelope,
            ),
            (
                json!({"metadata": {"record-type": "data"}, "data": {"id": 1}}),
                Form::Dms,
            ),
            (
                json!({"eventName": "INSERT", "dynamodb": {"NewImage": {"id": {"S": "1"}}}}),
                Form::Dynamodb,
            ),
            (
                json!({"operation": "delete", "contact": {"id": "c"}}),
                Form::ContactChange,
            ),
            (json!({"id": 1}), Form::Plain),
            (json!({"schema": "s", "payload": "p"}), Form::Plain),
            (json!(7), Form::Unknown),
        ] {
            assert_eq!(read(&record).form, form, "{record}");
        }
        assert_eq!(FeedRecord::of(&Record::of_data("")).form, Form::Tombstone);
        assert_eq!(FeedRecord::of(&Record::of_data("H4sI")).form, Form::Unknown);
    }

    #[test]
    fn an_image_of_the_key_alone_is_no_row_before() {
        let of = |op: &str, key: &str, before: Value| {
            let update = json!({"op": op, "source": {}, "before": before,
                                "after": {"id": 1, "tenant": 2, "x": 2}});
            let key = (!key.is_empty()).then(|| key.as_bytes().to_vec());
            FeedRecord {
                key,
                ..read(&update)
            }
            .row_before()
        };
        let composite = r#"{"id":1,"tenant":2}"#;
        let with_schema = r#"{"schema":{},"payload":{"id":1,"tenant":2}}"#;
        let of_key = json!({"id": 1, "tenant": 2});
        for (op, key, before, expected) in [
            (
                "u",
                "",
                json!({"id": 1, "tenant": 2, "x": 1}),
                Some(RowBefore::Present),
            ),
            (
                "u",
                composite,
                json!({"id": 1, "tenant": 2, "x": 2}),
                Some(RowBefore::Present),
            ),
            (
                "u",
                composite,
                json!({"id": 1, "x": 2}),
                Some(RowBefore::Present),
            ),
            ("u", composite, of_key.clone(), Some(RowBefore::Absent)),
            ("u", with_schema, of_key.clone(), Some(RowBefore::Absent)),
            ("u", "", of_key.clone(), Some(RowBefore::Unknown)),
            ("u", "1", of_key, Some(RowBefore::Unknown)),
            ("u", composite, Value::Null, Some(RowBefore::Absent)),
            ("c", composite, Value::Null, None),
        ] {
            assert_eq!(of(op, key, before.clone()), expected, "{op} {key} {before}");
        }
    }

    #[test]
    fn a_column_that_changed_is_a_row_before() {
        let dms = |before: Value| {
            let update = json!({"metadata": {"record-type": "data", "operation": "update"},
                                "data": {"id": 1, "x": 2}, "before-image": before});
            read(&update).row_before()
        };
        assert_eq!(dms(json!({})), Some(RowBefore::Absent));
        assert_eq!(dms(json!({"x": 1})), Some(RowBefore::Present));
        assert_eq!(dms(json!({"id": 1})), Some(RowBefore::Unknown));
        let modified = json!({"eventName": "MODIFY", "dynamodb": {"OldImage": {"id": {"S": "1"}},
            "NewImage": {"id": {"S": "1"}, "x": {"N": "1"}}}});
        assert_eq!(
            read(&modified).row_before(),
            Some(RowBefore::Present),
            "an item is whole"
        );
    }

    #[test]
    fn a_key_is_read_within_its_frame() {
        for (key, column) in [
            (&br#"{"id":7}"#[..], "id"),
            (b"\0\0\0\0\x11{\"id\":7}", "id"),
            (b"c-1", ""),
        ] {
            let mut record = Record::of_data(String::new());
            record.origin = Origin::Kafka(KafkaOrigin {
                key: Some(base64_simd::STANDARD.encode_to_string(key).into()),
                ..KafkaOrigin::default()
            });
            let key = FeedRecord::of(&record).key.expect("a key");
            assert_eq!(key_column(&key).as_deref(), Some(column));
        }
    }
}
