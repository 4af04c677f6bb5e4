//! The key of a record, which names the contact of a tombstone.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::cell::{Cell, plain};
use super::row::member;
use crate::json;

/// The partition key that Debezium Server writes for a record without a key.
const NO_KEY: &str = "default";

/// Reads the contact's id from a record's key. `field` names the key's field with the id; empty for
/// a key that is the id itself.
pub(super) fn contact_id<'a>(key: Option<&'a [u8]>, field: &str) -> Option<Cow<'a, str>> {
    let text = str::from_utf8(key?).ok()?.trim();
    if text.is_empty() || text == NO_KEY {
        return None;
    }
    let raw = serde_json::from_str::<&RawValue>(text).ok();
    let id = match (raw, field) {
        (Some(raw), "") if raw.get().starts_with('"') => json::text(raw),
        (_, "") => Some(Cow::Borrowed(text)),
        (Some(raw), field) => in_object(raw, field),
        (None, _) => None,
    };
    id.filter(|id| !id.trim().is_empty())
}

/// Returns the field of a JSON key, with or without the schema of Kafka Connect around it.
fn in_object<'a>(raw: &'a RawValue, field: &str) -> Option<Cow<'a, str>> {
    let found = match member(raw.get(), field).ok()? {
        Some(found) => found,
        None => member(member(raw.get(), "payload").ok()??.get(), field).ok()??,
    };
    match plain(found, &[]).ok()? {
        Cell::Text(text) | Cell::Number(text) => Some(text),
        _ => None,
    }
}

/// Returns whether the key's schema names another table than these. Kafka Connect calls the schema
/// of a key `server.schema.table.Key`. A key without a schema may be of any table, and no `tables`
/// are all of them.
pub(super) fn is_of_another_table(key: Option<&[u8]>, tables: &[String]) -> bool {
    if tables.is_empty() {
        return false;
    }
    let Some(schema) = key.and_then(schema_name) else {
        return false;
    };
    let Some(path) = schema.strip_suffix(".Key") else {
        return false;
    };
    let is_named = |table: &String| {
        let mut parts = table.rsplit('.').zip(path.rsplit('.'));
        parts.all(|(part, of_key)| part == of_key)
    };
    !tables.iter().any(is_named)
}

fn schema_name(key: &[u8]) -> Option<Cow<'_, str>> {
    let text = str::from_utf8(key).ok()?.trim();
    if !text.starts_with('{') {
        return None;
    }
    let schema = member(text, "schema").ok()??;
    json::text(member(schema.get(), "name").ok()??)
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
    }

    #[test]
    fn the_schema_of_a_key_names_its_table() {
        let key = |name: &str| format!(r#"{{"schema":{{"name":"{name}"}},"payload":{{"id":7}}}}"#);
        let tables = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (name, named, expected) in [
            ("crm.public.contacts.Key", &["public.contacts"][..], false),
            ("crm.public.contacts.Key", &["contacts"], false),
            ("crm.public.contacts.Key", &["orders", "contacts"], false),
            ("crm.public.orders.Key", &["public.contacts"], true),
            ("crm.other.contacts.Key", &["public.contacts"], true),
            ("crm.public.orders.Key", &[], false),
            ("contacts", &["orders"], false),
        ] {
            let found = is_of_another_table(Some(key(name).as_bytes()), &tables(named));
            assert_eq!(found, expected, "{name} of {named:?}");
        }
        let contacts = tables(&["contacts"]);
        for key in [
            r#"{"id":7}"#,
            "c-1",
            r#"{"schema":null,"payload":{"id":7}}"#,
        ] {
            assert!(
                !is_of_another_table(Some(key.as_bytes()), &contacts),
                "{key}"
            );
        }
        assert!(!is_of_another_table(None, &contacts));
    }
}
