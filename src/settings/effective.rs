//! Lists the settings in force, each with its layer.

use serde_json::{Value, json};

use super::{Layers, Settings};

/// One setting in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The key, with dots.
    pub key: String,
    /// The value.
    pub value: toml::Value,
    /// The layer of the value, with the line where the layer has lines.
    pub from: String,
}

impl Effective {
    /// Converts the setting to JSON.
    pub fn to_json(&self) -> Value {
        json!({"key": self.key, "value": self.value, "from": self.from})
    }
}

/// Returns the settings in force, one for each key, each with its layer.
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
