//! Maps changes of a contact to the record of one lead. Pure.
//!
//! Lengths:
//! <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_lead.htm>

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Settings;
use crate::adapters::json_object::{FieldValue, Fields};
use crate::adapters::text_fit::Excess;
use crate::json;
use crate::model::codes;
use crate::model::{
    Attribute, Body, Code, Contact, ContactChange, ContactId, ContactType, Field, Number,
    Operation, Rejection, Text, Transformed,
};

/// Value of a field that Salesforce requires and the contact lacks.
const NOT_PROVIDED: &str = "[not provided]";

/// Fields that Salesforce requires of a lead.
/// <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_lead.htm>
pub(super) const REQUIRED: [&str; 2] = ["LastName", "Company"];

/// Field of the status.
pub(super) const STATUS: &str = "Status";

/// Key under which a record of a collection names its object.
const TYPE: &str = "attributes";

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a Number),
    Version(u64),
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
            Self::Text(text) => {
                json::push_text(json, text);
                Ok(())
            }
            Self::Type { r#type } => write!(json, r#"{{"type":"{type}"}}"#),
        };
    }
}

type Record<'a> = Fields<'a, Value<'a>>;

/// Folds the changes of one contact into the record's JSON. A change with a value that can never be
/// written is left out as a whole, as Salesforce would refuse it as a whole.
pub(super) fn transform(changes: &[&ContactChange], settings: &Settings) -> Transformed {
    let mut record = Record::new();
    let mut status = None;
    let mut transformed = Transformed::default();
    for (index, change) in changes.iter().enumerate() {
        match map_change(change, settings) {
            Ok((fields, cut)) => {
                // Written one by one, the first change would create the record, and each later one
                // would update it.
                if record.is_empty() {
                    status = default_status(change, settings);
                }
                record.merge(fields);
                transformed.cut += cut;
            }
            Err(rejection) => transformed.rejected.push((index, rejection)),
        }
    }
    if !record.is_empty() {
        if let Some(status) = status.filter(|_| record.get(STATUS).is_none()) {
            transformed.if_new = Some(defaults_of(&record, status));
        }
        record.set(
            TYPE,
            Value::Type {
                r#type: &settings.sobject,
            },
        );
        transformed.body = Some(record.body());
    }
    transformed
}

/// Returns the record with the required fields that it lacks: for a lead that does not exist yet,
/// which Salesforce refuses without them. `None` where it has them all.
pub(super) fn with_defaults(body: &Body) -> Option<Body> {
    let mut required = Record::new();
    for name in REQUIRED {
        required.add(name, Value::Text(NOT_PROVIDED.into()));
    }
    let whole = body.with_missing(&required.body());
    (whole != *body).then_some(whole)
}

/// Returns the defaults of `record` where it does not exist yet. The record is looked up for the
/// status. The required fields are added as well, or Salesforce would refuse the record first.
fn defaults_of(record: &Record<'_>, status: &str) -> Body {
    let mut fields = Record::new();
    fields.add(STATUS, Value::Text(status.into()));
    for name in REQUIRED {
        if record.get(name).is_none() {
            fields.add(name, Value::Text(NOT_PROVIDED.into()));
        }
    }
    fields.body()
}

/// Maps one change. Returns its fields and the number of values that were cut.
fn map_change<'a>(
    change: &'a ContactChange,
    settings: &'a Settings,
) -> Result<(Record<'a>, u32), Rejection> {
    let contact = &change.contact;
    let mut record = Record::for_contact();
    let mut cuts = 0;
    for (name, field, longest, excess) in texts(contact) {
        let value = match field {
            Field::Value(text) => {
                let mut fitting = excess
                    .fit(text, longest)
                    .ok_or_else(|| too_long(name, longest))?;
                if fitting.len() < text.len() {
                    fitting = fitting.trim_end();
                    cuts += 1;
                }
                Value::Text(fitting.into())
            }
            Field::Null if REQUIRED.contains(&name) => Value::Text(NOT_PROVIDED.into()),
            Field::Null => Value::Null,
            Field::Absent => continue,
        };
        record.add(name, value);
    }
    if let Some(status) = status(contact)? {
        record.add(STATUS, Value::Text(status.into()));
    }
    for (attribute, field) in &settings.attributes {
        if let Some(value) = attribute_value(contact.attributes.get(attribute)) {
            record.set(field, value);
        }
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
    Ok((record, cuts))
}

/// Returns the fields to which a contact's own values are mapped.
pub(super) fn fields() -> Vec<&'static str> {
    let contact = ContactId::new("-").map(|id| Contact::bare(id, None));
    let texts = contact.iter().flat_map(texts).map(|(name, ..)| name);
    texts.chain([STATUS]).collect()
}

/// Returns [`fields`] and the two that identify a record: no setting may name them again.
pub(super) fn own_fields() -> Vec<&'static str> {
    [fields().as_slice(), &[TYPE, "Id"]].concat()
}

fn texts(contact: &Contact) -> [(&'static str, &Text, usize, Excess); 14] {
    use Excess::{Cut, Reject};
    [
        ("LastName", &contact.last_name, 80, Cut),
        ("FirstName", &contact.first_name, 40, Cut),
        ("Company", &contact.company, 255, Cut),
        ("Email", &contact.email, 80, Reject),
        ("Phone", &contact.phone, 40, Reject),
        ("MobilePhone", &contact.mobile_phone, 40, Reject),
        ("Title", &contact.job_title, 128, Cut),
        ("Website", &contact.website, 255, Reject),
        ("Street", &contact.street, 255, Cut),
        ("City", &contact.city, 40, Cut),
        ("State", &contact.state, 80, Cut),
        ("PostalCode", &contact.postal_code, 20, Cut),
        ("Country", &contact.country, 80, Cut),
        ("LeadSource", &contact.lead_source, 40, Reject),
    ]
}

/// Returns the status, which is sent only where the change has one: a lead always has one, and it
/// cannot be cleared.
fn status(contact: &Contact) -> Result<Option<&str>, Rejection> {
    const LONGEST: usize = 40;
    match contact.status.value() {
        Some(status) => match Excess::Reject.fit(status, LONGEST) {
            Some(status) => Ok(Some(status)),
            None => Err(too_long(STATUS, LONGEST)),
        },
        None => Ok(None),
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
    (!status.is_empty()).then_some(status)
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

/// Builds the rejection of a text that is longer than its field. Since API version 15 Salesforce
/// refuses such a text.
fn too_long(field: &str, longest: usize) -> Rejection {
    let message =
        format!("{field} is longer than its {longest} characters, and half of it would be wrong");
    Rejection::new(Code::new(codes::TOO_LONG), message).of_field(field)
}

#[cfg(test)]
pub(super) mod tests;
