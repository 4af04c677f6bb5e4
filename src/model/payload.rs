//! Payloads: changes in the schema of a destination.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Code, Conditions, ContactId, Outcome, Position, Rejection, Retry, RetryMode, codes};

/// The name of an external system in settings, logs, metrics and dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(pub &'static str);

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One contact's write, ready for its destination.
#[derive(Clone)]
pub struct Payload {
    /// The contact that is written.
    pub id: ContactId,
    /// The JSON of the contact's record; `None` for a delete.
    pub body: Option<Body>,
    /// Fields to add where the record does not exist yet and `body` does not mention them: defaults
    /// that must not overwrite a person's work. The record is looked up before it is written.
    pub if_new: Option<Body>,
    /// The parts that depend on the record at the destination.
    pub conditions: Option<Box<Conditions>>,
    /// The version that the record gets, or for a delete its own, for destinations that keep one.
    pub version: u64,
    /// Compare `version` with the destination's first, and leave newer data alone. Set only where
    /// the adapter's settings name a version field.
    pub guarded: bool,
    /// The system's own id of the record that the write updates, where it must not create one.
    pub record: Option<Box<str>>,
    /// The row with the columns that did not change, where `body` leaves them out. The record is
    /// looked up, and one that does not exist is created from this.
    pub whole: Option<WholeRow>,
    /// Whether the payload was compared with the record. A repetition makes no second look-up.
    pub is_compared: bool,
}

/// The write of a whole row.
#[derive(Clone)]
pub enum WholeRow {
    /// The row as a payload.
    Payload(Box<WholePayload>),
    /// A column that did not change has a value that the destination cannot have.
    Rejected(Box<Rejection>),
}

/// The payload of a whole row.
#[derive(Clone, Debug)]
pub struct WholePayload {
    /// The row, without a further `whole`.
    pub payload: Payload,
    /// The fields left out of it, each with the change that has it.
    pub left_out: Vec<(Position, String)>,
}

impl Payload {
    /// Returns the outcome of a write that created the record. The look-up found the record, and it
    /// was deleted before the write: it lacks the columns that did not change.
    pub fn created(&self) -> Outcome {
        match &self.whole {
            None => Outcome::Delivered(None),
            Some(WholeRow::Rejected(rejection)) => Outcome::Rejected((**rejection).clone()),
            Some(WholeRow::Payload(whole)) => Outcome::Retry(Retry {
                code: Code::new(codes::CREATED_IN_PART),
                after: None,
                how: RetryMode::Whole(whole.clone()),
            }),
        }
    }

    /// Returns whether an upsert of the payload looks its record up first. One look-up serves all
    /// payloads of a batch.
    pub fn is_looked_up(&self) -> bool {
        let is_conditional = self.guarded
            || self.if_new.is_some()
            || self.conditions.is_some()
            || self.whole.is_some();
        is_conditional && !self.is_compared
    }

    /// Returns the payload without these fields.
    #[must_use]
    pub fn without(&self, fields: &[String]) -> Self {
        let without = |body: &Option<Body>| body.as_ref().map(|body| body.without(fields));
        let conditions = self.conditions.as_deref().map(|conditions| Conditions {
            create: without(&conditions.create),
            empty: without(&conditions.empty),
            unedited: without(&conditions.unedited),
            ..conditions.clone()
        });
        Self {
            body: without(&self.body),
            if_new: without(&self.if_new),
            whole: self.whole.as_ref().map(|whole| whole.without(fields)),
            conditions: conditions.map(Box::new),
            ..self.clone()
        }
    }
}

impl WholeRow {
    /// Returns the row without these fields.
    fn without(&self, fields: &[String]) -> Self {
        match self {
            Self::Payload(whole) => Self::Payload(Box::new(WholePayload {
                payload: whole.payload.without(fields),
                left_out: whole.left_out.clone(),
            })),
            Self::Rejected(rejection) => Self::Rejected(rejection.clone()),
        }
    }
}

/// The JSON of a record, an object in the destination's schema. It is serialized once, and sent as
/// often as the payload is.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Box<str>);

impl Body {
    /// Serializes `record`.
    pub fn of(record: Map<String, Value>) -> Self {
        Self(Value::Object(record).to_string().into())
    }

    /// Wraps the text of a JSON object.
    pub(crate) fn from_json(object: Box<str>) -> Self {
        Self(object)
    }

    /// Returns the JSON.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Returns this record with those fields of `defaults` that it does not mention. Values keep
    /// their digits.
    #[must_use]
    pub fn with_missing(&self, defaults: &Self) -> Self {
        let (own, mut missing) = (self.fields(), defaults.fields());
        missing.retain(|name, _| !own.contains_key(name));
        let mut json = self.0.strip_suffix('}').unwrap_or(&self.0).to_owned();
        for (at, (name, value)) in missing.into_iter().enumerate() {
            json.push_str(if at == 0 && own.is_empty() { "" } else { "," });
            json.push_str(&Value::from(name).to_string());
            json.push(':');
            json.push_str(value.get());
        }
        json.push('}');
        Self(json.into())
    }

    /// Returns this record with these fields, of which it mentions none.
    #[must_use]
    pub fn with(&self, fields: &[(&str, &str)]) -> Self {
        let mut json = self.0.strip_suffix('}').unwrap_or(&self.0).to_owned();
        for (name, value) in fields {
            json.push_str(if json == "{" { "\"" } else { ",\"" });
            json.push_str(name);
            json.push_str("\":");
            json.push_str(value);
        }
        json.push('}');
        Self(json.into())
    }

    /// Returns this record without these fields, whose names have no letter case.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        let is_named = |name: &&String| names.iter().any(|other| other.eq_ignore_ascii_case(name));
        let kept: Vec<_> = self.fields().into_iter().collect();
        let kept: Vec<(&str, &str)> = kept
            .iter()
            .filter(|(name, _)| !is_named(&name))
            .map(|(name, value)| (name.as_str(), value.get()))
            .collect();
        Self("{}".into()).with(&kept)
    }

    /// Returns the fields with their JSON.
    pub fn fields(&self) -> BTreeMap<String, &RawValue> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// A value that a system refused, and that payloads are built without.
#[derive(Clone, PartialEq, Eq)]
pub struct RefusedValue {
    /// The destination's name of the field.
    pub field: String,
    /// The value's JSON; `None` stands for every value of the field.
    pub json: Option<Box<str>>,
}

impl RefusedValue {
    /// Returns whether a field has the value, whose JSON is `json`. Names have no letter case.
    pub fn is(&self, field: &str, json: &str) -> bool {
        let is_value = self.json.as_deref().is_none_or(|refused| refused == json);
        is_value && self.field.eq_ignore_ascii_case(field)
    }
}

/// The result of transforming one contact's changes into one record of a destination.
#[derive(Debug, Default)]
pub struct Transformed {
    /// The JSON of the record; `None` where every change was rejected.
    pub body: Option<Body>,
    /// Becomes [`Payload::if_new`].
    pub if_new: Option<Body>,
    /// Becomes [`Payload::conditions`].
    pub conditions: Option<Box<Conditions>>,
    /// The changes left out, by their index, each with the reason.
    pub rejected: Vec<(usize, Rejection)>,
    /// The fields left out of changes that are written, by the change's index. Settings allow to
    /// leave them out.
    pub left_out: Vec<(usize, String)>,
    /// The values that were sent in another form than that of the settings.
    pub counts: ValueCounts,
}

/// Numbers of values that a transformation did not leave or bring in the wanted form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValueCounts {
    /// Values that were cut to fit their field.
    pub cut: u32,
    /// Values without a normal form, which are sent as they are.
    pub unrecognised: u32,
}

impl AddAssign for ValueCounts {
    fn add_assign(&mut self, other: Self) {
        self.cut += other.cut;
        self.unrecognised += other.unrecognised;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_added_where_the_record_does_not_mention_the_field() {
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
            let body = |json: &str| Body(json.into());
            assert_eq!(
                body(record).with_missing(&body(defaults)).get(),
                expected,
                "{record} {defaults}"
            );
        }
    }

    #[test]
    fn fields_are_added_and_left_out() {
        for (record, added, left_out, expected) in [
            ("{}", vec![("a", "1"), ("b", "null")], "b", r#"{"a":1}"#),
            (
                r#"{"n":1.10}"#,
                vec![("a", "\"x\"")],
                "",
                r#"{"a":"x","n":1.10}"#,
            ),
            (r#"{"n":1.10}"#, vec![], "n", "{}"),
        ] {
            let body = Body(record.into())
                .with(&added)
                .without(&[left_out.to_owned()]);
            assert_eq!(body.get(), expected);
        }
    }
}
