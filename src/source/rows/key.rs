//! The key of a record, which names the contact of a tombstone.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::layers;
use super::connect::{self, ColumnType};
use super::debezium_schema::type_in_key;
use super::row::member;
use crate::json::{self, Str};
use crate::model::Field;

/// The partition key that Debezium Server writes for a record without a key.
const NO_KEY: &str = "default";

/// Reads the contact's id from a record's key. `field` names the key's field with the id; empty for
/// a key that is the id itself.
pub(super) fn contact_id(key: Option<&[u8]>, field: &str) -> Option<Cow<'static, str>> {
    let key = text(key?)?;
    if key == NO_KEY {
        return None;
    }
    let id = match serde_json::from_str::<&RawValue>(&key) {
        Ok(raw) if raw.get().starts_with('{') => in_object(raw, field)?,
        Ok(raw) if raw.get().starts_with('"') && field.is_empty() => json::text(raw)?.into_owned(),
        _ if field.is_empty() => key,
        _ => return None,
    };
    (!id.trim().is_empty()).then_some(Cow::Owned(id))
}

/// Returns the text of a key, without the frame of a schema registry around it; `None` where it is
/// no text.
fn text(key: &[u8]) -> Option<String> {
    let key = layers::without_layers(key).ok()?;
    let text = str::from_utf8(&key).ok()?.trim();
    (!text.contains(is_binary)).then(|| text.to_owned())
}

/// Returns whether a character is of no text: converters of numbers write bytes.
fn is_binary(character: char) -> bool {
    character.is_control() && !character.is_whitespace()
}

/// Returns the field of a JSON key, with or without the schema of Kafka Connect around it. A row's
/// id is read alike.
fn in_object(key: &RawValue, field: &str) -> Option<String> {
    let (raw, kind) = if let Some(raw) = member(key.get(), field).ok()? {
        (raw, ColumnType::Plain)
    } else {
        let payload = member(key.get(), "payload").ok()??;
        let raw = match field {
            "" => payload,
            field => member(payload.get(), field).ok()??,
        };
        let schema = member(key.get(), "schema").ok()?;
        let kind = schema.map(|schema| type_in_key(schema.get(), field));
        (raw, kind.unwrap_or_default())
    };
    match connect::cell(raw, kind, &[]).ok()?.into_text().ok()? {
        Field::Value(Str(id)) => Some(id.into_owned()),
        _ => None,
    }
}

/// The table of a key, by the name of the key's schema: `prefix.database.schema.table.Key`.
/// A connector of one database leaves the database out, that of `MySQL` the schema. A router names
/// the schema by the topic, as `topic.Key`.
pub(super) struct KeyTable(String);

impl KeyTable {
    /// Returns the table that a key's schema names; `None` where the key has no schema, or one of
    /// another form of name.
    pub(super) fn of(key: Option<&[u8]>) -> Option<Self> {
        let key = text(key?)?;
        if !key.starts_with('{') {
            return None;
        }
        let schema = member(&key, "schema").ok()??;
        let name = json::text(member(schema.get(), "name").ok()??)?;
        Some(Self(name.strip_suffix(".Key")?.to_owned()))
    }

    /// Returns whether Debezium gave the name, and not a router.
    pub(super) fn is_whole(&self) -> bool {
        self.0.split('.').count() >= 3
    }

    /// Returns whether `name` is the table's name, as far as the key knows it. The prefix is no
    /// part of that name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let known = if self.is_whole() {
            self.0.split('.').count() - 1
        } else {
            1
        };
        let mut parts = name.rsplit('.').zip(self.0.rsplit('.').take(known));
        parts.all(|(part, of_key)| part == of_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_read_from_json_keys_and_from_plain_text() {
        for (key, field, expected) in [
            (r#"{"id":"c-1"}"#, "id", Some("c-1")),
            (r#"{"id":42}"#, "id", Some("42")),
            (
                r#"{"schema":{"type":"struct"},"payload":{"id":"c\u002d1"}}"#,
                "id",
                Some("c-1"),
            ),
            (r#"{"payload":"c-1"}"#, "payload", Some("c-1")),
            ("c-1", "", Some("c-1")),
            (r#""c-1""#, "", Some("c-1")),
            (" 42 ", "", Some("42")),
            ("c-1", "id", None),
            (r#""c-1""#, "id", None),
            (r#"{"id":"c-1"}"#, "key", None),
            (r#"{"id":null}"#, "id", None),
            (r#"{"id":{"a":1}}"#, "id", None),
            (r#"{"id":" "}"#, "id", None),
            ("default", "id", None),
            ("default", "", None),
            ("", "", None),
        ] {
            let id = contact_id(Some(key.as_bytes()), field);
            assert_eq!(id.as_deref(), expected, "{key} by {field:?}");
        }
        assert_eq!(contact_id(None, ""), None);
        assert_eq!(contact_id(Some(b"\xff"), ""), None);
        // The bytes of a number are no text, though they are valid UTF-8.
        assert_eq!(contact_id(Some(b"\x00\x0012"), ""), None);
        assert_eq!(contact_id(Some(b"\x00\x00\x00\x00\x00\x0012"), ""), None);
    }

    #[test]
    fn an_id_is_read_by_the_schema_of_its_key() {
        let decimal = r#"{"type":"bytes","field":"id","parameters":{"scale":"0"},
                          "name":"org.apache.kafka.connect.data.Decimal"}"#;
        let of_struct =
            format!(r#"{{"schema":{{"fields":[{decimal}]}},"payload":{{"id":"Ag=="}}}}"#);
        let bare = format!(r#"{{"schema":{decimal},"payload":"Ag=="}}"#);
        let text = r#"{"schema":{"type":"string"},"payload":"c-1"}"#;
        for (key, field, expected) in [
            (&*of_struct, "id", Some("2")),
            (&bare, "", Some("2")),
            (text, "", Some("c-1")),
            (text, "id", None),
        ] {
            let id = contact_id(Some(key.as_bytes()), field);
            assert_eq!(id.as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn the_schema_of_a_key_names_its_table() {
        for (schema, name, expected) in [
            ("pg1.public.contacts.Key", "contacts", true),
            ("pg1.public.contacts.Key", "public.contacts", true),
            ("pg1.public.contacts.Key", "crm.public.contacts", true),
            ("pg1.public.orders.Key", "public.contacts", false),
            ("pg1.other.contacts.Key", "public.contacts", false),
            ("pg1.other.contacts.Key", "crm.public.contacts", false),
            ("contacts.public.orders.Key", "contacts", false),
            ("my1.crm.contacts.Key", "crm.contacts", true),
            ("my1.shop.contacts.Key", "crm.contacts", false),
            ("ms1.crm.dbo.contacts.Key", "crm.dbo.contacts", true),
            ("ms1.shop.dbo.contacts.Key", "crm.dbo.contacts", false),
            ("ms1.shop.dbo.contacts.Key", "dbo.contacts", true),
            ("contacts.Key", "public.contacts", true),
            ("pg1.contacts.Key", "public.contacts", true),
            ("orders.Key", "public.contacts", false),
            (".Key", "contacts", false),
        ] {
            let key = format!(r#"{{"schema":{{"name":"{schema}"}},"payload":{{"id":7}}}}"#);
            let framed = [&[0, 0, 0, 0, 17], key.as_bytes()].concat();
            for key in [key.as_bytes(), &framed] {
                let table = KeyTable::of(Some(key)).expect("a table");
                assert_eq!(table.is_named(name), expected, "{name} of {schema}");
            }
        }
        for key in [
            r#"{"id":7}"#,
            "c-1",
            r#"{"schema":null,"payload":{"id":7}}"#,
            r#"{"schema":{"type":"struct"},"payload":{"id":7}}"#,
            r#"{"schema":{"name":"contact"},"payload":{"id":7}}"#,
        ] {
            assert!(KeyTable::of(Some(key.as_bytes())).is_none(), "{key}");
        }
        assert!(KeyTable::of(None).is_none());
    }
}
