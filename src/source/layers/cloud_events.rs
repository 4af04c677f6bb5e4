//! Reads CloudEvents 1.0 in structured JSON.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{self, Object};
use crate::model::{Refusal, codes};
use crate::source::refuse;

/// The attribute that makes a JSON object a CloudEvent.
const SPECVERSION: &[u8] = b"\"specversion\"";

/// The searcher of [`SPECVERSION`], which is built once.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(SPECVERSION));

/// The parts of a CloudEvent that name a change and hold it.
#[derive(Debug)]
pub(super) struct CloudEvent {
    pub(super) id: String,
    pub(super) time: Option<String>,
    /// Whether `contact-sync-admin replay` has put the event back.
    pub(super) replay: bool,
    pub(super) debezium: DebeziumAttributes,
    pub(super) data: Vec<u8>,
}

/// The attributes by which Debezium names a change. The event's data has its images alone.
/// <https://debezium.io/documentation/reference/stable/integrations/cloudevents.html>
#[derive(Clone, Debug, Default)]
pub struct DebeziumAttributes {
    /// The operation, as `op` in an envelope.
    pub operation: Option<Box<RawValue>>,
    /// The database of the table.
    pub database: Option<String>,
    /// The schema of the table.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
}

/// The attributes as they are on the wire. A null counts as absent.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    datacontenttype: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<&'a RawValue>,
    #[serde(borrow)]
    replay: Option<&'a RawValue>,
    #[serde(borrow, rename = "iodebeziumop")]
    debezium_operation: Option<&'a RawValue>,
    #[serde(borrow, rename = "iodebeziumdb")]
    debezium_database: Option<&'a RawValue>,
    #[serde(borrow, rename = "iodebeziumschema")]
    debezium_schema: Option<&'a RawValue>,
    #[serde(borrow, rename = "iodebeziumtable")]
    debezium_table: Option<&'a RawValue>,
    /// An attribute of a CloudEvent is never an object: this is a contact change.
    #[serde(borrow)]
    contact: Option<&'a RawValue>,
}

/// Parses the CloudEvent in `data`; `None` where it is none.
pub(super) fn parse(data: &[u8]) -> Result<Option<CloudEvent>, Box<Refusal>> {
    if FINDER.find(data).is_none() {
        return Ok(None);
    }
    let wire = str::from_utf8(data).ok().and_then(wire);
    let Some(wire) = wire else { return Ok(None) };
    wire.event().map(Some)
}

/// Returns the attributes of a JSON object that is a CloudEvent.
fn wire(text: &str) -> Option<Wire<'_>> {
    let Object(wire) = serde_json::from_str::<Object<Wire<'_>>>(text).ok()?;
    let is_change = wire.contact.is_some_and(|raw| raw.get().starts_with('{'));
    (wire.specversion.is_some() && !is_change).then_some(wire)
}

impl Wire<'_> {
    fn event(&self) -> Result<CloudEvent, Box<Refusal>> {
        if required("specversion", self.specversion)? != "1.0" {
            return Err(invalid("specversion", "allowed: 1.0"));
        }
        required("source", self.source)?;
        required("type", self.kind)?;
        let time = match self.time {
            None => None,
            given => Some(required("time", given)?),
        };
        Ok(CloudEvent {
            id: required("id", self.id)?,
            time,
            replay: self.replay.is_some_and(|raw| raw.get() == "true"),
            debezium: self.debezium(),
            data: self.payload()?,
        })
    }

    fn debezium(&self) -> DebeziumAttributes {
        let text = |value: Option<&RawValue>| value.and_then(json::text).map(Cow::into_owned);
        DebeziumAttributes {
            operation: self.debezium_operation.map(ToOwned::to_owned),
            database: text(self.debezium_database),
            schema: text(self.debezium_schema),
            table: text(self.debezium_table),
        }
    }

    /// Returns the bytes of the payload: JSON as it is written, a text of another type without its
    /// quotes, or decoded base64.
    fn payload(&self) -> Result<Vec<u8>, Box<Refusal>> {
        match (self.data, self.data_base64) {
            (Some(_), Some(_)) => Err(invalid("data", "stands beside `data_base64`")),
            (None, None) => Err(invalid("data", "is required")),
            (None, Some(encoded)) => {
                let text = json::text(encoded);
                let bytes = text.and_then(|text| base64_simd::STANDARD.decode_to_vec(&*text).ok());
                bytes.ok_or_else(|| invalid("data_base64", "allowed: base64"))
            }
            (Some(value), None) => match json::text(value) {
                Some(text) if !self.is_json() => Ok(text.into_owned().into_bytes()),
                _ => Ok(value.get().as_bytes().to_vec()),
            },
        }
    }

    /// Returns whether the payload is JSON by its media type, which is JSON where it is absent.
    fn is_json(&self) -> bool {
        let Some(named) = self.datacontenttype.and_then(json::text) else {
            return true;
        };
        let media_type = named.split(';').next().unwrap_or_default().trim();
        let media_type = media_type.to_ascii_lowercase();
        media_type.ends_with("/json") || media_type.ends_with("+json")
    }
}

/// Returns the text of an attribute, which must not be empty.
fn required(name: &str, value: Option<&RawValue>) -> Result<String, Box<Refusal>> {
    match value.map(json::text) {
        None => Err(invalid(name, "is required")),
        Some(Some(text)) if !text.is_empty() => Ok(text.into_owned()),
        Some(_) => Err(invalid(name, "allowed: a text that is not empty")),
    }
}

fn invalid(attribute: &str, rule: &str) -> Box<Refusal> {
    let message = format!("CloudEvents attribute {attribute}: {rule}");
    let refusal = *refuse(codes::INVALID_CLOUD_EVENT, &message);
    Box::new(refusal.of_field(attribute))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn event(more: &Value) -> Value {
        let mut event = json!({"specversion": "1.0", "id": "e-1", "source": "/crm", "type": "t"});
        for (name, value) in more.as_object().expect("an object") {
            event[name] = value.clone();
        }
        event
    }

    /// Returns the payload, or the attribute that is refused.
    fn payload(event: &Value) -> Result<String, String> {
        match parse(event.to_string().as_bytes()) {
            Ok(Some(event)) => Ok(String::from_utf8(event.data).expect("UTF-8")),
            Ok(None) => Ok("none".to_owned()),
            Err(refusal) => {
                assert_eq!(refusal.rejection.code.as_str(), "INVALID_CLOUD_EVENT");
                Err(refusal.rejection.fields.join(","))
            }
        }
    }

    #[test]
    fn a_payload_is_read_by_its_media_type() {
        for (more, expected) in [
            (json!({"data": {"a": 1}}), "{\"a\":1}"),
            (json!({"data": {"a": 1}, "data_base64": null}), "{\"a\":1}"),
            (json!({"data": "{}"}), "\"{}\""),
            (
                json!({"data": "{}", "datacontenttype": "application/json; charset=utf-8"}),
                "\"{}\"",
            ),
            (json!({"data": "{}", "datacontenttype": "text/plain"}), "{}"),
            (json!({"data": 7, "datacontenttype": "text/plain"}), "7"),
            (json!({"data_base64": "e30="}), "{}"),
        ] {
            assert_eq!(payload(&event(&more)).as_deref(), Ok(expected), "{more}");
        }
    }

    #[test]
    fn a_replayed_event_is_marked_beside_its_payload() {
        for (mark, expected) in [
            (json!(true), true),
            (json!(false), false),
            (json!(null), false),
        ] {
            let event = event(&json!({"data": {}, "replay": mark}));
            let parsed = parse(event.to_string().as_bytes()).expect("allowed");
            assert_eq!(parsed.expect("a CloudEvent").replay, expected, "{mark}");
        }
    }

    #[test]
    fn an_invalid_attribute_is_named() {
        for (more, expected) in [
            (json!({"specversion": "0.3"}), "specversion"),
            (json!({"specversion": 1}), "specversion"),
            (json!({"id": null}), "id"),
            (json!({"id": ""}), "id"),
            (json!({"source": ""}), "source"),
            (json!({"type": 7}), "type"),
            (json!({"time": 7}), "time"),
            (json!({}), "data"),
            (json!({"data": null}), "data"),
            (json!({"data": {}, "data_base64": "e30="}), "data"),
            (json!({"data_base64": "?"}), "data_base64"),
            (json!({"data_base64": 7}), "data_base64"),
        ] {
            let more = event(&more);
            assert_eq!(payload(&more), Err(expected.to_owned()), "{more}");
        }
    }

    #[test]
    fn an_object_without_the_attribute_and_a_contact_change_are_none() {
        for text in [
            r#"{"a":"\"specversion\""}"#.to_owned(),
            r#"{"inner":{"specversion":"1.0"}}"#.to_owned(),
            r#"{"specversion":null}"#.to_owned(),
            r#"["specversion"]"#.to_owned(),
            r#"{"specversion""#.to_owned(),
            event(&json!({"contact": {"id": "c-1"}})).to_string(),
        ] {
            assert!(matches!(parse(text.as_bytes()), Ok(None)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_with_the_attribute_panics(text in ".{0,40}", at in 0_usize..40) {
            let mut text = text;
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            text.insert_str(at.unwrap_or(0), "\"specversion\"");
            let _ = parse(text.as_bytes());
        }
    }
}
