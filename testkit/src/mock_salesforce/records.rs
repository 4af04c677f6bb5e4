//! Leads of the mock.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) fields: Map<String, Value>,
    pub(super) is_deleted: bool,
    pub(super) is_converted: bool,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) records: BTreeMap<String, Record>,
    /// Ids by external id in lower case.
    index: HashMap<String, Vec<String>>,
}

impl Store {
    pub(super) fn insert(&mut self, field: &str, fields: Map<String, Value>) -> String {
        let id = format!("00Q{:015}", self.records.len() + 1);
        if let Some(key) = fields.get(field).and_then(Value::as_str) {
            self.index
                .entry(key.to_lowercase())
                .or_default()
                .push(id.clone());
        }
        self.records.insert(
            id.clone(),
            Record {
                fields,
                ..Record::default()
            },
        );
        id
    }

    pub(super) fn ids(&self, field: &str, key: &str) -> Vec<String> {
        let key = key.to_lowercase();
        let is_it = |id: &&String| {
            self.records.get(*id).is_some_and(|record| {
                let held = record.fields.get(field).and_then(Value::as_str);
                !record.is_deleted && held.is_some_and(|held| held.to_lowercase() == key)
            })
        };
        self.index
            .get(&key)
            .into_iter()
            .flatten()
            .filter(is_it)
            .cloned()
            .collect()
    }

    pub(super) fn convert(&mut self, field: &str, key: &str) {
        for id in self.ids(field, key) {
            self.records
                .entry(id)
                .and_modify(|record| record.is_converted = true);
        }
    }

    pub(super) fn delete(&mut self, field: &str, key: &str) {
        for id in self.ids(field, key) {
            self.records
                .entry(id)
                .and_modify(|record| record.is_deleted = true);
        }
    }

    pub(super) fn find(&self, field: &str, key: &str) -> Option<&Record> {
        self.records.get(self.ids(field, key).first()?)
    }

    pub(super) fn keyed(&self, field: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let held = self.records.values().filter(|record| !record.is_deleted);
        held.filter_map(|record| {
            let key = record.fields.get(field)?.as_str()?.to_lowercase();
            let texts = record
                .fields
                .iter()
                .filter(|(name, value)| *name != field && !value.is_null());
            let text = |value: &Value| match value.as_str() {
                Some(text) => text.to_owned(),
                None => value.to_string(),
            };
            Some((
                key,
                texts
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
            ))
        })
        .collect()
    }
}
