//! Generates the document's JSON Schema: the shapes from the types, the descriptions and defaults
//! from the documented defaults.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::check::range;
use super::{Settings, defaults};
use crate::adapters::Registry;

/// Returns the JSON Schema (draft 2020-12) of a settings document with a section for each system of
/// `registry`. No key is required: the layers below the document set all of them.
pub fn schema(registry: Registry) -> Value {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<Settings>().to_value();
    for system in registry {
        schema["properties"][system.name] = (system.schema)().unwrap_or_default();
    }
    let text = defaults(registry);
    let values = toml::from_str::<toml::Table>(&text)
        .ok()
        .and_then(|table| serde_json::to_value(table).ok());
    let documents = Documents {
        registry,
        descriptions: documentation(&text),
    };
    documents.describe(&mut schema, "", values.as_ref());
    schema["title"] = "The settings of contact-sync".into();
    schema["description"] = "The document that CONTACT_SYNC_CONFIG names, as TOML.".into();
    schema
}

/// The texts and numbers that describe the keys.
struct Documents {
    registry: Registry,
    descriptions: BTreeMap<String, String>,
}

impl Documents {
    /// Adds the description, the default and the range of a key, and of every key below it, to the
    /// key's schema.
    fn describe(&self, schema: &mut Value, path: &str, default: Option<&Value>) {
        let Some(object) = schema.as_object_mut() else {
            return;
        };
        object.remove("required");
        if let Some(description) = self.descriptions.get(path) {
            object.insert("description".to_owned(), description.as_str().into());
        }
        let Some(Value::Object(properties)) = object.get_mut("properties") else {
            if let Some(default) = default {
                object.insert("default".to_owned(), default.clone());
            }
            if let Some(range) = range(path, self.registry) {
                object.insert("minimum".to_owned(), (*range.start()).into());
                object.insert("maximum".to_owned(), (*range.end()).into());
            }
            return;
        };
        for (key, property) in properties {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            self.describe(
                property,
                &path,
                default.and_then(|default| default.get(key)),
            );
        }
    }
}

/// Returns the description of each key, which is the comment above it. A comment also describes the
/// keys that follow its key directly. The comment below the header of an empty table describes the
/// table.
fn documentation(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let (mut section, mut comment, mut last) = (String::new(), Vec::new(), String::new());
    for line in text.lines().chain([""]) {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
            continue;
        }
        let description = std::mem::take(&mut comment).join(" ");
        if let Some(header) = line.strip_prefix('[') {
            header.trim_end_matches(']').clone_into(&mut section);
            last.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            let path = if section.is_empty() {
                key.to_owned()
            } else {
                format!("{section}.{key}")
            };
            if !description.is_empty() {
                last = description;
            }
            found.insert(path, last.clone());
        } else if !section.is_empty() && !description.is_empty() {
            found.insert(section.clone(), description);
        }
    }
    found
}
