//! Maps the fields of a contact to those of the object. Pure.
//!
//! Leads and contacts have names of their own; `salesforce.fields` names the others, and those of
//! any other object.
//! <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_lead.htm>
//! <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_contact.htm>

use super::Settings;
use crate::adapters::text_fit::Excess::{self, Cut, Reject};
use crate::model::{Contact, Text};

/// The contact field with the status.
pub(super) const STATUS: &str = "status";

/// Longest status, in characters.
pub(super) const LONGEST_STATUS: usize = 40;

/// A text of a contact, and its fields.
pub(super) struct Mapped {
    /// The name of the contact field.
    pub(super) name: &'static str,
    /// The field of a lead.
    lead: &'static str,
    /// The field of a contact; empty where it has none.
    contact: &'static str,
    /// Longest text that the field takes, in characters.
    pub(super) longest: usize,
    /// Treatment of a longer text.
    pub(super) excess: Excess,
    /// Returns the text.
    pub(super) text: fn(&Contact) -> &Text,
}

const fn mapped(
    name: &'static str,
    [lead, contact]: [&'static str; 2],
    longest: usize,
    excess: Excess,
    text: fn(&Contact) -> &Text,
) -> Mapped {
    Mapped {
        name,
        lead,
        contact,
        longest,
        excess,
        text,
    }
}

/// The texts of a contact.
#[rustfmt::skip]
pub(super) const TEXTS: [Mapped; 14] = [
    mapped("last_name", ["LastName", "LastName"], 80, Cut, |c| &c.last_name),
    mapped("first_name", ["FirstName", "FirstName"], 40, Cut, |c| &c.first_name),
    mapped("company", ["Company", ""], 255, Cut, |c| &c.company),
    mapped("email", ["Email", "Email"], 80, Reject, |c| &c.email),
    mapped("phone", ["Phone", "Phone"], 40, Reject, |c| &c.phone),
    mapped("mobile_phone", ["MobilePhone", "MobilePhone"], 40, Reject, |c| &c.mobile_phone),
    mapped("job_title", ["Title", "Title"], 128, Cut, |c| &c.job_title),
    mapped("website", ["Website", ""], 255, Reject, |c| &c.website),
    mapped("address.street", ["Street", "MailingStreet"], 255, Cut, |c| &c.street),
    mapped("address.city", ["City", "MailingCity"], 40, Cut, |c| &c.city),
    mapped("address.state", ["State", "MailingState"], 80, Cut, |c| &c.state),
    mapped("address.postal_code", ["PostalCode", "MailingPostalCode"], 20, Cut, |c| &c.postal_code),
    mapped("address.country", ["Country", "MailingCountry"], 80, Cut, |c| &c.country),
    mapped("lead_source", ["LeadSource", "LeadSource"], 40, Reject, |c| &c.lead_source),
];

/// An object whose fields are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Object {
    Lead,
    Contact,
    Other,
}

impl Object {
    fn of(settings: &Settings) -> Self {
        if settings.sobject.eq_ignore_ascii_case("Lead") {
            Self::Lead
        } else if settings.sobject.eq_ignore_ascii_case("Contact") {
            Self::Contact
        } else {
            Self::Other
        }
    }
}

/// Returns whether the object has field names of its own, so that settings need not name any.
pub(super) fn is_known(settings: &Settings) -> bool {
    Object::of(settings) != Object::Other
}

/// Returns the contact fields that `salesforce.fields` may name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|mapped| mapped.name).chain([STATUS])
}

/// Returns each text that is sent, with its field.
pub(super) fn texts(settings: &Settings) -> impl Iterator<Item = (&Mapped, &str)> {
    let object = Object::of(settings);
    TEXTS.iter().filter_map(move |mapped| {
        let default = match object {
            Object::Lead => mapped.lead,
            Object::Contact => mapped.contact,
            Object::Other => "",
        };
        let field = field(settings, mapped.name, default);
        (!field.is_empty()).then_some((mapped, field))
    })
}

/// Returns the field of the status; empty where none is sent.
pub(super) fn status(settings: &Settings) -> &str {
    let default = if Object::of(settings) == Object::Lead {
        "Status"
    } else {
        ""
    };
    field(settings, STATUS, default)
}

fn field<'a>(settings: &'a Settings, name: &str, default: &'a str) -> &'a str {
    if settings.fields.is_empty() {
        return default;
    }
    settings.fields.get(name).map_or(default, String::as_str)
}

/// Returns the fields that the object requires.
pub(super) fn required(settings: &Settings) -> impl Iterator<Item = &str> {
    let own: &[&str] = match Object::of(settings) {
        Object::Lead => &["LastName", "Company"],
        Object::Contact => &["LastName"],
        Object::Other => &[],
    };
    own.iter()
        .copied()
        .chain(settings.required.iter().map(String::as_str))
}

/// Returns whether the object requires the field.
pub(super) fn is_required(settings: &Settings, field: &str) -> bool {
    required(settings).any(|name| name.eq_ignore_ascii_case(field))
}

/// Returns the fields that the contact's own values and the constants are written to.
pub(super) fn fields(settings: &Settings) -> Vec<&str> {
    let texts = texts(settings).map(|(_, field)| field);
    let status = Some(status(settings)).filter(|field| !field.is_empty());
    let constants = settings.constants.keys().map(String::as_str);
    texts.chain(status).chain(constants).collect()
}
