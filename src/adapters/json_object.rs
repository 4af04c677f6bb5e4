//! Builds a record in a destination's schema, and its JSON. Pure.

use std::borrow::Cow;

use crate::json;
use crate::model::{Body, RefusedValue, Transformed, ValueCounts};

/// A field's value that serializes itself.
pub(super) trait FieldValue {
    /// Appends the value's JSON.
    fn write(&self, json: &mut String);

    /// Returns whether the value clears its field.
    fn is_empty(&self) -> bool;
}

impl FieldValue for Cow<'_, str> {
    fn write(&self, json: &mut String) {
        json::push_text(json, self);
    }

    fn is_empty(&self) -> bool {
        str::is_empty(self)
    }
}

/// Fields by name, each once, in the order in which they were first set. A record has some twenty:
/// a linear search takes less than half of the time that a tree takes to keep them in order.
#[derive(Debug)]
pub(super) struct Fields<'a, V>(Vec<(&'a str, V)>);

impl<'a, V> Fields<'a, V> {
    /// Builds a record without fields.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Builds a record without fields, with capacity for those of a whole contact.
    pub(super) fn for_contact() -> Self {
        Self(Vec::with_capacity(24))
    }

    /// Sets the field, and replaces the value that it has.
    pub(super) fn set(&mut self, name: &'a str, value: V) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, held)) => *held = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds a field that is not set yet. The search that [`Self::set`] makes is a tenth of the work
    /// of building a record.
    pub(super) fn add(&mut self, name: &'a str, value: V) {
        self.0.push((name, value));
    }

    /// Returns a field's value.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Sets each field of `later`.
    pub(super) fn merge(&mut self, later: Self) {
        if self.0.is_empty() {
            *self = later;
        } else {
            for (name, value) in later.0 {
                self.set(name, value);
            }
        }
    }

    /// Removes the fields for which `is_kept` returns false.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&str, &V) -> bool) {
        self.0.retain(|(name, value)| is_kept(name, value));
    }

    /// Removes the fields that have one of the `refused` values. Adds their names to `left_out`.
    fn leave_out(&mut self, refused: &[RefusedValue], left_out: &mut Vec<String>)
    where
        V: FieldValue,
    {
        if refused.is_empty() {
            return;
        }
        let mut json = String::new();
        self.retain(|name, value| {
            json.clear();
            value.write(&mut json);
            let is_refused = refused.iter().any(|refused| refused.is(name, &json));
            if is_refused {
                left_out.push(name.to_owned());
            }
            !is_refused
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (&'a str, V)> {
        self.0.into_iter()
    }
}

/// The fields of one change.
pub(super) struct MappedChange<'a, V> {
    pub(super) fields: Fields<'a, V>,
    /// The values that were sent in another form than that of the settings.
    pub(super) counts: ValueCounts,
    /// Fields of `salvage` that were left out.
    pub(super) left_out: Vec<String>,
}

impl<'a, V: FieldValue> MappedChange<'a, V> {
    /// Returns the fields without the `refused` values. Reports the counts and the fields that the
    /// change at `index` lacks to `transformed`.
    pub(super) fn fields_of(
        mut self,
        index: usize,
        refused: &[RefusedValue],
        transformed: &mut Transformed,
    ) -> Fields<'a, V> {
        self.fields.leave_out(refused, &mut self.left_out);
        transformed.counts += self.counts;
        let left_out = self.left_out.into_iter();
        transformed
            .left_out
            .extend(left_out.map(|name| (index, name)));
        self.fields
    }
}

impl<V: FieldValue> Fields<'_, V> {
    /// Serializes the record. Names are those of an API and contain nothing that JSON escapes.
    pub(super) fn body(&self) -> Body {
        // Capacity for nearly every record. The copy takes no more than its length.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_added_where_the_record_lacks_the_field() {
        for (record, defaults, expected) in [
            ("{}", r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":null}"#, r#"{"a":1}"#, r#"{"a":null}"#),
            (
                r#"{"n":1.10,"o":{"a":{}}}"#,
                r#"{"b":"x","a":"é\""}"#,
                r#"{"n":1.10,"o":{"a":{}},"a":"é\"","b":"x"}"#,
            ),
            (r#"{"a":1}"#, "{}", r#"{"a":1}"#),
        ] {
            let body = |json: &str| Body::from_json(json.into());
            assert_eq!(
                body(record).with_missing(&body(defaults)).get(),
                expected,
                "{record} {defaults}"
            );
        }
    }
}
