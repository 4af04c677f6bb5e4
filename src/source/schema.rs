//! The JSON Schema of a change, so that a producer can validate before sending. It accepts every
//! change that this module accepts. Some rules cannot be expressed in JSON Schema (a repeated key,
//! each rule of an email address, a time after the record's arrival).

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::change::{LONGEST_EVENT_ID, LONGEST_TEXT};
use super::wire::{Event, Named};
use crate::json::{Object, Str};
use crate::model::{ContactId, Field};

/// Version of the schema: `major.minor.patch`. A new major version refuses changes that the one
/// before accepts; a new minor version accepts more, or describes more.
const VERSION: &str = "1.0.0";

/// Returns the JSON Schema (draft 2020-12) of one record's data.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator
        .into_root_schema_for::<Event<'static>>()
        .to_value();
    schema["$id"] = format!("urn:contact-sync:contact-change:{VERSION}").into();
    schema["$comment"] = format!(
        "Version {VERSION}. A change that is valid in one version is valid in all later ones with \
         the same first number."
    )
    .into();
    schema["title"] = "A contact change".into();
    schema["examples"] = examples();
    schema["description"] =
        "The data of one Kinesis record. Of a contact's optional fields, an absent one is left \
         untouched and null clears it. Unknown fields are ignored."
            .into();
    schema["properties"]["version"]["maximum"] = u64::MAX.into();
    schema["required"] = json!(["event_id", "operation", "occurred_at", "contact"]);
    schema["properties"]["contact"]["required"] = json!(["id"]);
    // Of a delete no other field is validated; its type may be absent or anything.
    let mut person = split_off(&mut schema["properties"]["contact"]["properties"], &["id"]);
    person["type"]["type"] = "string".into();
    let mut event = split_off(
        &mut schema["properties"],
        &["event_id", "operation", "occurred_at", "version", "contact"],
    );
    event["contact"] = json!({"properties": person, "required": ["type"]});
    schema["if"] = json!({"properties": {"operation": {"const": "delete"}}});
    schema["else"] = json!({"properties": event});
    schema
}

/// Returns changes as a producer writes them: one with every field, an update, a delete.
fn examples() -> Value {
    json!([
        {
            "event_id": "7b2d4c1e-0001",
            "operation": "create",
            "occurred_at": "2026-11-20T10:15:00.123Z",
            "version": 42,
            "contact": {
                "id": "c-1001",
                "type": "lead",
                "email": "lead-one@example.com",
                "first_name": "Sample",
                "last_name": "Lead One",
                "company": "Sample Company One",
                "job_title": "Engineer",
                "phone": "+44 20 7946 0000",
                "mobile_phone": null,
                "website": "https://example.com",
                "address": {
                    "street": "1 Sample Street",
                    "city": "Sample City",
                    "state": null,
                    "postal_code": "ZZ1 1ZZ",
                    "country": "United Kingdom"
                },
                "lead_source": "Web",
                "status": null,
                "attributes": {"plan": "team", "seats": 25, "newsletter": true}
            }
        },
        {
            "event_id": "7b2d4c1e-0002",
            "operation": "update",
            "occurred_at": "2026-11-20T10:16:00Z",
            "version": 43,
            "contact": {"id": "c-1001", "type": "lead", "email": "new@example.com", "phone": null}
        },
        {
            "event_id": "7b2d4c1e-0003",
            "operation": "delete",
            "occurred_at": "2026-11-20T10:17:00Z",
            "version": 44,
            "contact": {"id": "c-1001"}
        }
    ])
}

/// Removes the properties that are not in `kept`, and returns them.
fn split_off(properties: &mut Value, kept: &[&str]) -> Value {
    let mut others = serde_json::Map::new();
    if let Value::Object(all) = properties {
        let (stay, go) = std::mem::take(all)
            .into_iter()
            .partition(|(name, _)| kept.contains(&&**name));
        (*all, others) = (stay, go);
    }
    Value::Object(others)
}

/// The characters that are trimmed, as a part of a set in a pattern. The `\s` of patterns is
/// another set: it has U+FEFF, and lacks U+0085.
const BLANKS: &str = r"\t-\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000";

/// The control characters, as a part of a set in a pattern.
const CONTROLS: &str = r"\u0000-\u001F\u007F-\u009F";

/// Returns the pattern of an id: 1 to 255 characters after trimming, no control character among
/// them.
fn id() -> String {
    let (inner, ends) = (ContactId::LONGEST - 2, format!("{BLANKS}{CONTROLS}"));
    format!(r"^[{ends}]*[^{ends}]([^{CONTROLS}]{{0,{inner}}}[^{ends}])?[{ends}]*$")
}

/// Returns the pattern of an email address: a local part, quoted or not, and a domain, after
/// trimming. The format `email` does not serve: many validators ignore formats, and it allows
/// neither blanks nor letters beyond ASCII.
fn address() -> String {
    let (local, domain) = (
        format!(r#""[\s\S]+"|[^{BLANKS}@<>]+"#),
        format!(r"\[[\s\S]*\]|[^{BLANKS}@<>]+"),
    );
    format!("^[{BLANKS}]*(({local})@({domain}))?[{BLANKS}]*$")
}

/// Implements `JsonSchema` for a type by a schema.
macro_rules! schema_of {
    ($type:ty, $schema:expr) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

pub(super) struct EventId;
pub(super) struct OperationName;
pub(super) struct Time;
pub(super) struct Lane;
pub(super) struct PreviousType;
pub(super) struct Id;
pub(super) struct TypeName;
pub(super) struct Email;

schema_of!(
    Str<'_>,
    json_schema!({"type": "string", "maxLength": LONGEST_TEXT})
);
schema_of!(
    EventId,
    json_schema!({"type": "string", "minLength": 1, "maxLength": LONGEST_EVENT_ID})
);
schema_of!(
    OperationName,
    json_schema!({"enum": ["create", "update", "delete"]})
);
schema_of!(
    Time,
    json_schema!({"type": "string", "format": "date-time"})
);
schema_of!(
    Lane,
    json_schema!({
        "description": "`backfill` marks a change that comes from a back-fill: the guard compares \
                        it as a replayed one. Anything else counts as absent."
    })
);
schema_of!(
    PreviousType,
    json_schema!({
        "description": "The type before this change. An unusable one counts as absent."
    })
);
schema_of!(
    Id,
    json_schema!({
        "description": "The identity of a contact everywhere: trimmed of blanks and control \
                        characters, and compared without regard to letter case.",
        "type": "string", "pattern": id()
    })
);
schema_of!(
    TypeName,
    json_schema!({
        "description": "Lead, prospect, customer or vendor, in any letter case. Required unless \
                        it is a delete.",
        "type": ["string", "null"],
        "pattern": "^([Ll][Ee][Aa][Dd]|[Pp][Rr][Oo][Ss][Pp][Ee][Cc][Tt]\
                    |[Cc][Uu][Ss][Tt][Oo][Mm][Ee][Rr]|[Vv][Ee][Nn][Dd][Oo][Rr])$"
    })
);
schema_of!(
    Email,
    json_schema!({
        "description": "An address, with nothing beside it but blanks, which are trimmed; null or \
                        a blank text clears it.",
        "type": ["string", "null"], "pattern": address()
    })
);
schema_of!(
    Named,
    json_schema!({
        "description": "What the typed fields do not know; sent where the settings name a field \
                        for it.",
        "type": "object",
        "propertyNames": {"maxLength": LONGEST_TEXT},
        "additionalProperties": {
            "type": ["string", "number", "boolean", "null"],
            "maxLength": LONGEST_TEXT,
        }
    })
);

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    /// Returns the value's own schema, or null.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}
