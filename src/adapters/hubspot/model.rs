//! Maps changes of a contact to the `properties` of one input. Pure.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Settings;
use crate::adapters::folding::Folding;
use crate::adapters::json_object::{Fields, MappedChange};
use crate::adapters::text_fit::{Excess, shortened};
use crate::model::codes;
use crate::model::{
    Attribute, Body, Code, Contact, ContactChange, ContactType, Field, RefusedValue, Rejection,
    Text, Transformed, ValueCounts,
};

/// Property of the lifecycle stage.
pub(super) const STAGE: &str = "lifecyclestage";

/// Property of the email address: the one standard property that no two contacts may share.
pub(super) const EMAIL: &str = "email";

/// Longest text property, in characters. Counted in UTF-16 units, which are never fewer.
/// <https://developers.hubspot.com/docs/api-reference/legacy/crm/properties/guide>
pub(super) const LONGEST_TEXT: usize = 65_536;

/// HubSpot's own stages, in their order. A contact moves forward only: HubSpot ignores an earlier
/// stage, with a 2xx. Accounts may have further stages, whose position is not known here.
/// <https://knowledge.hubspot.com/contacts/use-lifecycle-stages>
const STAGES: [&str; 8] = [
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
];

type Properties<'a> = Fields<'a, Cow<'a, str>>;

/// Folds the changes of one contact into the JSON object `properties`, without `refused` values.
///
/// A change with a value that can never be written is left out as a whole, as HubSpot would refuse
/// it as a whole; a property of `salvage` is left out alone.
pub(super) fn transform(
    changes: &[&ContactChange],
    refused: &[RefusedValue],
    settings: &Settings,
) -> Transformed {
    let mut folding = Folding::new(settings.policies());
    let mut transformed = Transformed::default();
    for (index, change) in changes.iter().enumerate() {
        match map_change(change, settings) {
            Ok(mapped) => take(
                &mut folding,
                mapped.fields_of(index, refused, &mut transformed),
            ),
            Err(rejection) => transformed.rejected.push((index, rejection)),
        }
    }
    if !folding.is_empty() {
        let (record, conditions) = folding.finish(Vec::new());
        transformed.body = Some(record.body());
        transformed.conditions = conditions;
    }
    transformed
}

/// Adds the values of `later` as HubSpot would, which keeps a stage that is later than the new one.
fn take<'a>(folding: &mut Folding<'a, Cow<'a, str>>, mut later: Properties<'a>) {
    if let Some(held) = folding.get(STAGE) {
        later.retain(|name, value| name != STAGE || !is_backward(held, value));
    }
    folding.take(later);
}

fn is_backward(from: &str, to: &str) -> bool {
    let position = |stage: &str| STAGES.iter().position(|known| *known == stage);
    matches!((position(from), position(to)), (Some(from), Some(to)) if to < from)
}

/// Maps one change.
fn map_change<'a>(
    change: &'a ContactChange,
    settings: &'a Settings,
) -> Result<MappedChange<'a, Cow<'a, str>>, Rejection> {
    let contact = &change.contact;
    let mut properties = identity(change, settings);
    let mut counts = ValueCounts::default();
    let mut left_out = Vec::new();
    let normaliser = settings.normalise.of(contact, change.whole_contact());
    for (mapped, name) in texts(settings) {
        let text = match (mapped.text)(contact) {
            Field::Absent => continue,
            Field::Null => Cow::Borrowed(""),
            Field::Value(text) => match &normaliser {
                Some(normaliser) => normaliser.value(mapped.name, text, &mut counts),
                None => Cow::Borrowed(&**text),
            },
        };
        let Some(fitting) = mapped.excess.fit(&text, LONGEST_TEXT) else {
            left_out.push(left_out_field(name, settings)?);
            continue;
        };
        let length = fitting.len();
        if length < text.len() {
            counts.cut += 1;
            properties.add(name, shortened(text, length));
        } else {
            properties.add(name, text);
        }
    }
    for (attribute, name) in &settings.attributes {
        // An attribute must not replace the key or the version.
        if properties.get(name).is_some() {
            continue;
        }
        match contact.attributes.get(attribute) {
            Field::Absent => {}
            Field::Null => properties.set(name, "".into()),
            Field::Value(value) => {
                let text = attribute_text(value)
                    .filter(|text| Excess::Reject.fit(text, LONGEST_TEXT).is_some());
                match text {
                    Some(text) => properties.set(name, text),
                    None => left_out.push(left_out_field(name, settings)?),
                }
            }
        }
    }
    for (name, constant) in &settings.constants {
        properties.set(name, constant.text());
    }
    Ok(MappedChange {
        fields: properties,
        counts,
        left_out,
    })
}

/// Returns the contact's stage, type, key and version. The stage comes first: see
/// [`begins_with_stage`].
fn identity<'a>(change: &'a ContactChange, settings: &'a Settings) -> Properties<'a> {
    let mut properties = Properties::for_contact();
    add_kind(&mut properties, &change.contact, settings);
    properties.add(&settings.id_property, change.contact.id.as_str().into());
    if !settings.version_property.is_empty()
        && let Some(version) = change.guard_version()
    {
        properties.add(&settings.version_property, version.to_string().into());
    }
    properties
}

/// Returns whether `body` begins with this lifecycle stage, a JSON text. Nearly every body that
/// [`transform`] builds does, so that it need not be parsed again to compare it with a response.
pub(super) fn begins_with_stage(body: &Body, stage: &RawValue) -> bool {
    let rest = body.get().strip_prefix(r#"{"lifecyclestage":"#);
    rest.is_some_and(|rest| rest.starts_with(stage.get()))
}

/// Returns the properties that a contact's own values and the constants are written to.
pub(super) fn properties(settings: &Settings) -> Vec<&str> {
    let texts = texts(settings).map(|(_, name)| name);
    let constants = settings.constants.keys().map(String::as_str);
    texts.chain([STAGE]).chain(constants).collect()
}

/// Returns [`properties`] and the record's own id: no attribute may name them again.
pub(super) fn own_properties(settings: &Settings) -> Vec<&str> {
    [properties(settings).as_slice(), &["hs_object_id"]].concat()
}

/// A text of a contact, and its property.
pub(super) struct Mapped {
    /// The name of the contact field.
    pub(super) name: &'static str,
    /// The property; empty where only settings name one.
    property: &'static str,
    excess: Excess,
    text: fn(&Contact) -> &Text,
}

const fn mapped(
    name: &'static str,
    property: &'static str,
    excess: Excess,
    text: fn(&Contact) -> &Text,
) -> Mapped {
    Mapped {
        name,
        property,
        excess,
        text,
    }
}

/// The texts of a contact.
#[rustfmt::skip]
pub(super) const TEXTS: [Mapped; 15] = [
    mapped("email", EMAIL, Excess::Reject, |c| &c.email),
    mapped("first_name", "firstname", Excess::Cut, |c| &c.first_name),
    mapped("last_name", "lastname", Excess::Cut, |c| &c.last_name),
    mapped("company", "company", Excess::Cut, |c| &c.company),
    mapped("job_title", "jobtitle", Excess::Cut, |c| &c.job_title),
    mapped("website", "website", Excess::Reject, |c| &c.website),
    mapped("phone", "phone", Excess::Reject, |c| &c.phone),
    mapped("mobile_phone", "mobilephone", Excess::Reject, |c| &c.mobile_phone),
    mapped("address.street", "address", Excess::Cut, |c| &c.street),
    mapped("address.city", "city", Excess::Cut, |c| &c.city),
    mapped("address.state", "state", Excess::Cut, |c| &c.state),
    mapped("address.postal_code", "zip", Excess::Cut, |c| &c.postal_code),
    mapped("address.country", "country", Excess::Cut, |c| &c.country),
    mapped("lead_source", "", Excess::Reject, |c| &c.lead_source),
    mapped("status", "", Excess::Reject, |c| &c.status),
];

/// Returns each text that is sent, with its property.
pub(super) fn texts(settings: &Settings) -> impl Iterator<Item = (&'static Mapped, &str)> {
    TEXTS.iter().filter_map(|mapped| {
        let property = match settings.fields.get(mapped.name) {
            Some(property) => property.as_str(),
            None => mapped.property,
        };
        (!property.is_empty()).then_some((mapped, property))
    })
}

/// Adds the stage and the type. A lead or a prospect that is routed here keeps its stage (HubSpot
/// begins with `lead`), and so does a type whose stage is set to nothing.
fn add_kind<'a>(properties: &mut Properties<'a>, contact: &Contact, settings: &'a Settings) {
    let Some(kind) = contact.kind else { return };
    let stage = match kind {
        ContactType::Customer => settings.lifecycle_stage.customer.as_str(),
        ContactType::Vendor => settings.lifecycle_stage.vendor.as_str(),
        ContactType::Lead | ContactType::Prospect => "",
    };
    if !stage.is_empty() {
        properties.add(STAGE, stage.into());
    }
    if !settings.type_property.is_empty() {
        properties.add(&settings.type_property, kind.name().into());
    }
}

/// Formats an attribute as the text that HubSpot reads in a property of any type. A number has its
/// digits and at most one decimal point, since HubSpot reads no exponents; `None` where that form
/// would be too long.
/// <https://developers.hubspot.com/docs/api-reference/legacy/crm/properties/guide>
fn attribute_text(attribute: &Attribute) -> Option<Cow<'_, str>> {
    Some(match attribute {
        Attribute::Null => "".into(),
        Attribute::Bool(true) => "true".into(),
        Attribute::Bool(false) => "false".into(),
        Attribute::Number(number) => return number.without_exponent(),
        Attribute::Text(text) => Cow::Borrowed(text),
    })
}

/// Returns the name of a property whose value is too long, where settings allow to leave it out.
fn left_out_field(name: &str, settings: &Settings) -> Result<String, Rejection> {
    if settings.may_leave_out(name) {
        Ok(name.to_owned())
    } else {
        Err(too_long(name))
    }
}

fn too_long(name: &str) -> Rejection {
    let message = format!("the value of `{name}` has more than {LONGEST_TEXT} characters");
    Rejection::new(Code::new(codes::TOO_LONG), message).of_field(name)
}

#[cfg(test)]
pub(super) mod tests;
