//! Decides the fields of a payload that are written, by the policies and by the record that the
//! destination holds. Pure.
//!
//! The law: the result of a folded payload equals that of its changes one by one, each against the
//! record that the one before left. So a `create` field has the value of the first change, an
//! `empty` field the first value that is not empty, an `unedited` field the last value.

mod baseline;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use self::baseline::Baseline;
pub(crate) use self::baseline::longest as longest_baseline;
use crate::json;
use crate::model::{Body, Conditions, ContactId, HeldRecord, MatchPolicy, Payload};

/// Value of a required field that a contact lacks. It is nobody's work, and counts as empty.
pub(crate) const NOT_PROVIDED: &str = "[not provided]";

/// The decision on one payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Write this record.
    Write(Body),
    /// The write would change nothing.
    NoChange,
    /// There is no record, and only records that exist are updated.
    NoMatch,
    /// There is a record, and only new ones are created.
    Exists,
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Returns the fields that a look-up of this payload has to read.
pub(crate) fn fields_read(payload: &Payload) -> BTreeSet<String> {
    let Some(conditions) = &payload.conditions else {
        return BTreeSet::new();
    };
    let bodies = payload.body.iter().chain(conditions.bodies());
    let mut names: BTreeSet<String> = bodies
        .flat_map(Body::fields)
        .filter(|(_, value)| is_field(value))
        .map(|(name, _)| name)
        .collect();
    if !conditions.baseline_field.is_empty() {
        names.insert(conditions.baseline_field.as_ref().to_owned());
    }
    names
}

/// Decides on a payload with `conditions`. `held` is the record at the destination; `None` where
/// there is none.
pub(crate) fn decide(
    payload: &Payload,
    conditions: &Conditions,
    held: Option<&HeldRecord>,
) -> Decision {
    let Some(body) = &payload.body else {
        return Decision::NoChange;
    };
    match (conditions.matching, held) {
        (MatchPolicy::UpdateOnly, None) => Decision::NoMatch,
        (MatchPolicy::CreateOnly, Some(_)) => Decision::Exists,
        (_, None) => Decision::Write(of_new(payload, body, conditions)),
        (_, Some(held)) => of_held(&payload.id, body, conditions, held),
    }
}

/// Returns the record of a contact that has none yet. A default that counts as a value ranks before
/// the values of later changes, which find it.
fn of_new(payload: &Payload, body: &Body, conditions: &Conditions) -> Body {
    let defaults = payload
        .if_new
        .as_ref()
        .map(Body::fields)
        .unwrap_or_default();
    let has_default = |name: &String| defaults.get(name).is_some_and(|value| !is_empty(value));
    let create = fields(conditions.create.as_ref());
    let empty = fields(conditions.empty.as_ref());
    let unedited = fields(conditions.unedited.as_ref());
    let mut written: Vec<(&str, &str)> = Vec::new();
    let mut baseline = Baseline::default();
    for (name, value) in &create {
        written.push((name, value.get()));
    }
    for (name, value) in empty.iter().filter(|(name, _)| !has_default(name)) {
        written.push((name, value.get()));
    }
    for (name, value) in &unedited {
        written.push((name, value.get()));
        if !is_empty(value) {
            baseline.set(&payload.id, name, &canonical(value));
        }
    }
    for name in &conditions.tracked_defaults {
        if let (Some(value), false) = (defaults.get(&**name), unedited.contains_key(&**name)) {
            baseline.set(&payload.id, name, &canonical(value));
        }
    }
    let text = baseline_json(&baseline);
    if !conditions.baseline_field.is_empty() && baseline != Baseline::default() {
        written.push((&conditions.baseline_field, &text));
    }
    let body = body.with(&written);
    match &payload.if_new {
        Some(defaults) => body.with_missing(defaults),
        None => body,
    }
}

/// Decides on the record of a contact that has one. Leaves out conditional fields whose value the
/// record has already.
fn of_held(id: &ContactId, body: &Body, conditions: &Conditions, held: &HeldRecord) -> Decision {
    let value_at = |name: &str| held.values.get(name).map(|value| canonical(value));
    let value_at = |name: &str| value_at(name).unwrap_or_default();
    let empty = fields(conditions.empty.as_ref());
    let unedited = fields(conditions.unedited.as_ref());
    let mut written: Vec<(&str, &str)> = Vec::new();
    for (name, value) in &empty {
        if value_at(name).is_empty() && !is_empty(value) {
            written.push((name, value.get()));
        }
    }
    let mut baseline = Baseline::default();
    if !unedited.is_empty() {
        baseline = Baseline::parse(&value_at(&conditions.baseline_field));
    }
    let mut is_tracked = false;
    for (name, value) in &unedited {
        let (old, new) = (value_at(name), canonical(value));
        if old != new && baseline.is_ours(id, name, &old) {
            written.push((name, value.get()));
            baseline.set(id, name, &new);
            is_tracked = true;
        }
    }
    let own = body.fields();
    let is_changed = |(name, value): (&String, &&RawValue)| {
        is_field(value) && !is_same(id, &canonical(value), &value_at(name))
    };
    if written.is_empty() && !own.iter().any(is_changed) {
        return Decision::NoChange;
    }
    let text = baseline_json(&baseline);
    if is_tracked {
        written.push((&conditions.baseline_field, &text));
    }
    Decision::Write(body.with(&written))
}

fn fields(body: Option<&Body>) -> Fields<'_> {
    body.map(Body::fields).unwrap_or_default()
}

fn baseline_json(baseline: &Baseline) -> String {
    let mut text = String::new();
    json::push_text(&mut text, &baseline.text());
    text
}

/// Returns whether a value is that of a field: an object is a part of the record's envelope.
fn is_field(value: &RawValue) -> bool {
    !value.get().starts_with('{')
}

/// Returns whether two values are equal. The contact's id is compared as ids are.
fn is_same(id: &ContactId, sent: &str, held: &str) -> bool {
    let is_id = |text: &str| ContactId::new(text).is_some_and(|other| other == *id);
    sent == held || (is_id(sent) && is_id(held))
}

/// Returns whether a value counts as empty.
fn is_empty(value: &RawValue) -> bool {
    canonical(value).is_empty()
}

/// Returns a value in the form in which values are compared and hashed: systems trim texts and
/// change line ends, and Salesforce stores numbers as doubles. An empty value is the empty text.
fn canonical(value: &RawValue) -> Cow<'_, str> {
    let json = value.get();
    if let Some(text) = json::text(value) {
        return canonical_text(text);
    }
    match json.parse::<f64>() {
        Ok(number) if number.is_finite() => format!("{number}").into(),
        _ if json == "null" => "".into(),
        _ => json.into(),
    }
}

fn canonical_text(text: Cow<'_, str>) -> Cow<'_, str> {
    if text == NOT_PROVIDED {
        return "".into();
    }
    let trimmed = text.trim();
    if trimmed.len() == text.len() && !text.contains('\r') {
        return text;
    }
    trimmed.replace("\r\n", "\n").replace('\r', "\n").into()
}

#[cfg(test)]
mod tests;
