//! A record in a system's own words, and its JSON. Pure.

use std::borrow::Cow;

use crate::json;
use crate::model::Body;

/// A field's value, which writes itself as JSON.
pub(super) trait FieldValue {
    /// Appends the value.
    fn write(&self, json: &mut String);
}

impl FieldValue for Cow<'_, str> {
    fn write(&self, json: &mut String) {
        json::push_text(json, self);
    }
}

/// Fields by name, each once, in the order in which they were first set. A record has some twenty:
/// to look through them takes less than half of what a tree takes to keep them in order.
#[derive(Debug)]
pub(super) struct Fields<'a, V>(Vec<(&'a str, V)>);

impl<'a, V> Fields<'a, V> {
    /// None.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// None yet, and room for those of a whole contact.
    pub(super) fn of_contact() -> Self {
        Self(Vec::with_capacity(24))
    }

    /// Gives the field this value, whatever it had before.
    pub(super) fn set(&mut self, name: &'a str, value: V) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, held)) => *held = value,
            None => self.0.push((name, value)),
        }
    }

    /// Gives a field that has no value yet this one. To look for it is a tenth of the work of
    /// making a record.
    pub(super) fn add(&mut self, name: &'a str, value: V) {
        self.0.push((name, value));
    }

    /// A field's value.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Lays `later` over these fields, value by value.
    pub(super) fn lay_over(&mut self, later: Self) {
        if self.0.is_empty() {
            *self = later;
        } else {
            later
                .0
                .into_iter()
                .for_each(|(name, value)| self.set(name, value));
        }
    }

    /// Takes out the fields of which `is_kept` does not hold.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&str, &V) -> bool) {
        self.0.retain(|(name, value)| is_kept(name, value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V: FieldValue> Fields<'_, V> {
    /// The record's JSON. Names are those of an API, which hold nothing that JSON escapes.
    pub(super) fn body(&self) -> Body {
        // Room for nearly every record. The copy takes no more than it needs.
        let mut json = String::with_capacity(2048);
        json.push('{');
        for (at, (name, value)) in self.0.iter().enumerate() {
            json.push_str(if at == 0 { "\"" } else { ",\"" });
            json.push_str(name);
            json.push_str("\":");
            value.write(&mut json);
        }
        json.push('}');
        Body::from_json(json.as_str().into())
    }
}
