//! The settings in force, and where each came from.

use serde_json::{Value, json};

use super::{Layers, Settings};

/// One setting in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Its key, with dots.
    pub key: String,
    /// Its value.
    pub value: toml::Value,
    /// The layer that it came from, with the line where it has lines.
    pub from: String,
}

impl Effective {
    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        json!({"key": self.key, "value": self.value, "from": self.from})
    }
}

/// The settings in force, key by key, each with the layer that it came from.
pub fn effective(layers: &Layers, settings: &Settings) -> Vec<Effective> {
    let mut found = Vec::new();
    let all = toml::Table::try_from(settings).unwrap_or_default();
    flatten(
        &mut Vec::new(),
        &toml::Value::Table(all),
        &mut |path, value| {
            found.push(Effective {
                key: path.join("."),
                value: value.clone(),
                from: layers.place(path),
            });
        },
    );
    found
}

fn flatten<'v>(
    path: &mut Vec<&'v str>,
    value: &'v toml::Value,
    take: &mut impl FnMut(&[&str], &toml::Value),
) {
    match value {
        toml::Value::Table(table) if !table.is_empty() => {
            for (key, inner) in table {
                path.push(key);
                flatten(path, inner, take);
                path.pop();
            }
        }
        leaf => take(path, leaf),
    }
}
