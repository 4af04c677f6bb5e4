//! Maps changes of a contact to the fields of one row. Pure.

use contact_sync::model::{
    Attribute, Body, Code, Contact, ContactChange, ContactId, Field, Rejection, Text, Transformed,
};
use serde_json::{Map, Value};

use super::Settings;

/// Longest text, in characters.
pub(super) const LONGEST_TEXT: usize = 255;

/// Folds the changes of one contact into the object `fields` of a row. A change with a value that
/// can never be written is left out as a whole.
pub(super) fn transform(changes: &[&ContactChange], settings: &Settings) -> Transformed {
    let mut record = Map::new();
    let mut transformed = Transformed::default();
    for (index, change) in changes.iter().enumerate() {
        match map_change(change, settings) {
            Ok((fields, cut)) => {
                record.extend(fields);
                transformed.counts.cut += cut;
            }
            Err(rejection) => transformed.rejected.push((index, rejection)),
        }
    }
    if transformed.rejected.len() < changes.len() {
        transformed.body = Some(Body::of(record));
    }
    transformed
}

/// Maps one change. Returns its fields and the number of values that were cut.
fn map_change(
    change: &ContactChange,
    settings: &Settings,
) -> Result<(Map<String, Value>, u32), Rejection> {
    let mut fields = Map::new();
    let mut cuts = 0;
    for (name, field, may_cut) in texts(&change.contact) {
        let value = match field {
            Field::Absent => continue,
            Field::Null => Value::Null,
            Field::Value(text) => {
                let fitting: String = text.chars().take(LONGEST_TEXT).collect();
                if fitting.len() < text.len() && !may_cut {
                    return Err(too_long(name));
                }
                cuts += u32::from(fitting.len() < text.len());
                fitting.into()
            }
        };
        fields.insert(name.to_owned(), value);
    }
    for (attribute, name) in &settings.attributes {
        let value = match change.contact.attributes.get(attribute) {
            Field::Absent => continue,
            Field::Null => Value::Null,
            Field::Value(value) => text_of(value),
        };
        fields.insert(name.clone(), value);
    }
    if let (false, Some(version)) = (settings.version_field.is_empty(), change.guard_version()) {
        fields.insert(settings.version_field.clone(), version.into());
    }
    Ok((fields, cuts))
}

/// Returns the fields of a contact's own values: no setting may name them again.
pub(super) fn own_fields() -> Vec<&'static str> {
    let contact = ContactId::new("-").map(|id| Contact::bare(id, None));
    let texts = contact.iter().flat_map(texts);
    texts.map(|(name, ..)| name).collect()
}

/// Returns each text with its field, and whether it may be cut.
fn texts(contact: &Contact) -> [(&'static str, &Text, bool); 14] {
    [
        ("email", &contact.email, false),
        ("first_name", &contact.first_name, true),
        ("last_name", &contact.last_name, true),
        ("company", &contact.company, true),
        ("title", &contact.job_title, true),
        ("phone", &contact.phone, false),
        ("mobile", &contact.mobile_phone, false),
        ("website", &contact.website, false),
        ("street", &contact.street, true),
        ("city", &contact.city, true),
        ("state", &contact.state, true),
        ("zip", &contact.postal_code, true),
        ("country", &contact.country, true),
        ("source", &contact.lead_source, true),
    ]
}

fn text_of(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Null => Value::Null,
        Attribute::Bool(value) => value.to_string().into(),
        Attribute::Number(number) => number.as_str().into(),
        Attribute::Text(text) => (&**text).into(),
    }
}

fn too_long(name: &str) -> Rejection {
    let message = format!("the value of `{name}` has more than {LONGEST_TEXT} characters");
    Rejection::new(Code::new("TOO_LONG"), message).of_field(name)
}
