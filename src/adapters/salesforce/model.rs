//! Maps changes of a contact to one record of the object. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Settings;
use super::mapping::{self, LONGEST_STATUS};
use crate::adapters::Constant;
use crate::adapters::folding::Folding;
use crate::adapters::json_object::{FieldValue, Fields, MappedChange};
use crate::adapters::text_fit::{Excess, shortened};
use crate::json;
use crate::model::codes;
use crate::model::{
    Attribute, Body, Code, Contact, ContactChange, ContactType, Field, FieldPolicy, Number,
    Operation, RefusedValue, Rejection, Transformed, ValueCounts,
};
use crate::policy::NOT_PROVIDED;

/// Key under which a record of a collection names its object.
const TYPE: &str = "attributes";

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a Number),
    Version(u64),
    Integer(i64),
    Text(Cow<'a, str>),
    Type { r#type: &'a str },
}

impl FieldValue for Value<'_> {
    fn write(&self, json: &mut String) {
        // Writing into memory cannot fail.
        let _ = match self {
            Self::Null => json.write_str("null"),
            Self::Bool(value) => write!(json, "{value}"),
            Self::Number(number) => json.write_str(number.as_str()),
            Self::Version(version) => write!(json, "{version}"),
            Self::Integer(number) => write!(json, "{number}"),
            Self::Text(text) => {
                json::push_text(json, text);
                Ok(())
            }
            Self::Type { r#type } => write!(json, r#"{{"type":"{type}"}}"#),
        };
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty() || text == NOT_PROVIDED,
            _ => false,
        }
    }
}

type Record<'a> = Fields<'a, Value<'a>>;

/// Folds the changes of one contact into the record's JSON, without the `refused` values. A change
/// with a value that can never be written is left out as a whole, as Salesforce would refuse it as
/// a whole; a field of `salvage` is left out alone.
pub(super) fn transform(
    changes: &[&ContactChange],
    refused: &[RefusedValue],
    settings: &Settings,
) -> Transformed {
    let mut folding = Folding::new(settings.policies());
    let mut status = None;
    let mut transformed = Transformed::default();
    for (index, change) in changes.iter().enumerate() {
        match map_change(change, settings) {
            Ok(mapped) => {
                // Written one by one, the first change would create the record, and each later one
                // would update it.
                if folding.is_empty() {
                    status = default_status(change, settings);
                }
                folding.take(mapped.fields_of(index, refused, &mut transformed));
            }
            Err(rejection) => transformed.rejected.push((index, rejection)),
        }
    }
    if folding.is_empty() {
        return transformed;
    }
    let policy = settings.policies().of(mapping::status(settings));
    let status = status.filter(|_| match policy {
        FieldPolicy::Always => folding.get(mapping::status(settings)).is_none(),
        FieldPolicy::Never => false,
        FieldPolicy::Create | FieldPolicy::Empty | FieldPolicy::Unedited => true,
    });
    if status.is_some() || folding.is_conditional() {
        transformed.if_new = defaults_of(&folding, status, settings);
    }
    let tracked = match status {
        Some(_) if policy == FieldPolicy::Unedited => vec![mapping::status(settings).into()],
        _ => Vec::new(),
    };
    let (mut record, conditions) = folding.finish(tracked);
    record.set(
        TYPE,
        Value::Type {
            r#type: &settings.sobject,
        },
    );
    transformed.body = Some(record.body());
    transformed.conditions = conditions;
    transformed
}

/// Returns the record with the required fields that it lacks: for a record that does not exist yet,
/// which Salesforce refuses without them. `None` where it has them all.
pub(super) fn with_defaults(body: &Body, settings: &Settings) -> Option<Body> {
    let mut required = Record::new();
    for name in mapping::required(settings) {
        required.set(name, Value::Text(NOT_PROVIDED.into()));
    }
    let whole = body.with_missing(&required.body());
    (whole != *body).then_some(whole)
}

/// Returns the defaults of a record that does not exist yet, if it needs any. The record is looked
/// up for the status or for a policy. The required fields are added as well, or Salesforce would
/// refuse the record first.
fn defaults_of(
    folding: &Folding<'_, Value<'_>>,
    status: Option<&str>,
    settings: &Settings,
) -> Option<Body> {
    let mut fields = Record::new();
    if let Some(status) = status {
        fields.add(mapping::status(settings), Value::Text(status.into()));
    }
    for name in mapping::required(settings) {
        if !folding.is_in_new(name) {
            fields.set(name, Value::Text(NOT_PROVIDED.into()));
        }
    }
    (!fields.is_empty()).then(|| fields.body())
}

/// Maps one change.
fn map_change<'a>(
    change: &'a ContactChange,
    settings: &'a Settings,
) -> Result<MappedChange<'a, Value<'a>>, Rejection> {
    let contact = &change.contact;
    let mut record = Record::for_contact();
    let mut counts = ValueCounts::default();
    let mut left_out = Vec::new();
    let normaliser = settings.normalise.of(contact, change.whole_contact());
    for (mapped, name) in mapping::texts(settings) {
        let value = match (mapped.text)(contact) {
            Field::Value(text) => {
                let text = match &normaliser {
                    Some(normaliser) => normaliser.value(mapped.name, text, &mut counts),
                    None => Cow::Borrowed(&**text),
                };
                let Some(fitting) = mapped.excess.fit(&text, mapped.longest) else {
                    if settings.may_leave_out(name) {
                        left_out.push(name.to_owned());
                        continue;
                    }
                    return Err(too_long(name, mapped.longest));
                };
                if fitting.len() < text.len() {
                    counts.cut += 1;
                    let length = fitting.trim_end().len();
                    Value::Text(shortened(text, length))
                } else {
                    Value::Text(text)
                }
            }
            Field::Null if mapping::is_required(settings, name) => Value::Text(NOT_PROVIDED.into()),
            Field::Null => Value::Null,
            Field::Absent => continue,
        };
        record.add(name, value);
    }
    match status(contact, settings) {
        Ok(Some((field, status))) => record.add(field, Value::Text(status.into())),
        Ok(None) => {}
        Err(rejection) => {
            let field = mapping::status(settings);
            if !settings.may_leave_out(field) {
                return Err(rejection);
            }
            left_out.push(field.to_owned());
        }
    }
    for (attribute, field) in &settings.attributes {
        if let Some(value) = attribute_value(contact.attributes.get(attribute)) {
            record.set(field, value);
        }
    }
    for (field, constant) in &settings.constants {
        record.set(field, constant_value(constant));
    }
    // After the attributes, since an attribute must not replace the key or the version.
    record.set(
        &settings.external_id_field,
        Value::Text(contact.id.as_str().into()),
    );
    if !settings.version_field.is_empty()
        && let Some(version) = change.guard_version()
    {
        record.set(&settings.version_field, Value::Version(version));
    }
    Ok(MappedChange {
        fields: record,
        counts,
        left_out,
    })
}

/// Returns the fields to which a contact's own values are mapped, and the two that identify a
/// record: no attribute may name them again.
pub(super) fn own_fields(settings: &Settings) -> Vec<&str> {
    [mapping::fields(settings).as_slice(), &[TYPE, "Id"]].concat()
}

/// Returns the field of the status and its value, which is sent only where the change has one: a
/// lead always has one, and it cannot be cleared.
fn status<'a>(
    contact: &'a Contact,
    settings: &'a Settings,
) -> Result<Option<(&'a str, &'a str)>, Rejection> {
    let field = mapping::status(settings);
    match contact.status.value() {
        Some(status) if !field.is_empty() => match Excess::Reject.fit(status, LONGEST_STATUS) {
            Some(status) => Ok(Some((field, status))),
            None => Err(too_long(field, LONGEST_STATUS)),
        },
        _ => Ok(None),
    }
}

/// Returns the configured status of a lead that `change` creates. `None` where the change has one,
/// and where none is configured: the org has a default of its own.
fn default_status<'a>(change: &ContactChange, settings: &'a Settings) -> Option<&'a str> {
    if change.operation != Operation::Create || change.contact.status.value().is_some() {
        return None;
    }
    let status = match change.contact.kind {
        Some(ContactType::Prospect) => &settings.status.prospect,
        _ => &settings.status.lead,
    };
    let is_sent = !status.is_empty() && !mapping::status(settings).is_empty();
    is_sent.then_some(status)
}

fn attribute_value(attribute: Field<&Attribute>) -> Option<Value<'_>> {
    match attribute {
        Field::Absent => None,
        Field::Null | Field::Value(Attribute::Null) => Some(Value::Null),
        Field::Value(Attribute::Bool(value)) => Some(Value::Bool(*value)),
        Field::Value(Attribute::Number(number)) => Some(Value::Number(number)),
        Field::Value(Attribute::Text(text)) => Some(Value::Text((&**text).into())),
    }
}

fn constant_value(constant: &Constant) -> Value<'_> {
    match constant {
        Constant::Bool(value) => Value::Bool(*value),
        Constant::Integer(number) => Value::Integer(*number),
        Constant::Text(text) => Value::Text(text.as_str().into()),
    }
}

/// Builds the rejection of a text that is longer than its field. Since API version 15 Salesforce
/// refuses such a text.
fn too_long(field: &str, longest: usize) -> Rejection {
    let message =
        format!("{field} is longer than its {longest} characters, and half of it would be wrong");
    Rejection::new(Code::new(codes::TOO_LONG), message).of_field(field)
}

#[cfg(test)]
pub(super) mod tests;
