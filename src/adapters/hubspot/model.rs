//! HubSpot's words for a contact: its changes as the `properties` of one input. Pure.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Settings;
use crate::adapters::json_object::Fields;
use crate::adapters::{Body, Code, Rejection, Transformed};
use crate::codes;
use crate::contact::{Attribute, Contact, ContactChange, ContactId, ContactType, Field, Text};

/// The property of the lifecycle stage.
pub(super) const STAGE: &str = "lifecyclestage";

/// The property of the email address: the one standard property that no two contacts may share.
pub(super) const EMAIL: &str = "email";

/// The longest text property, in characters. Counted in UTF-16 units, which are never fewer.
/// <https://developers.hubspot.com/docs/api-reference/legacy/crm/properties/guide>
const LONGEST_TEXT: usize = 65_536;

/// HubSpot's own stages, in their order. A contact moves forward only: an earlier stage is ignored
/// by HubSpot, with a 2xx. Accounts may have others, whose place is not known here.
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

/// What happens to a text that is longer than its property.
#[derive(Clone, Copy)]
enum Excess {
    /// It is cut: the beginning of a name is still of use.
    Cut,
    /// The change is rejected: half a phone number or address of a site is a wrong one.
    Reject,
}

type Properties<'a> = Fields<'a, Cow<'a, str>>;

/// The changes of one contact, one laid over the other, as the JSON object `properties`.
///
/// A change of which one value can never be written is left out as a whole, as HubSpot itself would
/// refuse it.
pub(super) fn transform(changes: &[&ContactChange], settings: &Settings) -> Transformed {
    let mut record = Properties::none();
    let mut transformed = Transformed::default();
    for (index, change) in changes.iter().enumerate() {
        match of_change(change, settings) {
            Ok((properties, cut)) => {
                lay_over(&mut record, properties);
                transformed.cut += cut;
            }
            Err(rejection) => transformed.rejected.push((index, rejection)),
        }
    }
    transformed.body = (!record.is_empty()).then(|| record.body());
    transformed
}

/// Writes `later` over `record`, as HubSpot would: value by value, but no stage back to an earlier
/// one.
fn lay_over<'a>(record: &mut Properties<'a>, mut later: Properties<'a>) {
    if let Some(held) = record.get(STAGE) {
        later.retain(|name, value| name != STAGE || !is_backward(held, value));
    }
    record.lay_over(later);
}

fn is_backward(from: &str, to: &str) -> bool {
    let place = |stage: &str| STAGES.iter().position(|known| *known == stage);
    matches!((place(from), place(to)), (Some(from), Some(to)) if to < from)
}

/// What one change says, and how many of its values were cut.
fn of_change<'a>(
    change: &'a ContactChange,
    settings: &'a Settings,
) -> Result<(Properties<'a>, u32), Rejection> {
    let contact = &change.contact;
    let mut properties = ours(change, settings);
    let mut cuts = 0;
    for (name, field, excess) in texts(contact) {
        let text = match field {
            Field::Absent => continue,
            Field::Null => "",
            Field::Value(text) => text,
        };
        let fitting = fit(text);
        if fitting.len() < text.len() {
            match excess {
                Excess::Cut => cuts += 1,
                Excess::Reject => return Err(too_long(name)),
            }
        }
        properties.add(name, fitting.into());
    }
    for (attribute, name) in &settings.attributes {
        // None of them may take the place of the key or of the version.
        if properties.get(name).is_some() {
            continue;
        }
        match contact.attributes.get(attribute) {
            Field::Absent => {}
            Field::Null => properties.set(name, "".into()),
            Field::Value(value) => {
                let text = attribute_text(value).filter(|text| fit(text).len() == text.len());
                properties.set(name, text.ok_or_else(|| too_long(name))?);
            }
        }
    }
    Ok((properties, cuts))
}

/// What identifies and classifies the contact, the stage before everything else: see
/// [`begins_with_stage`].
fn ours<'a>(change: &'a ContactChange, settings: &'a Settings) -> Properties<'a> {
    let mut properties = Properties::of_contact();
    insert_kind(&mut properties, &change.contact, settings);
    properties.add(&settings.id_property, change.contact.id.as_str().into());
    if !settings.version_property.is_empty()
        && let Some(version) = change.guard_version()
    {
        properties.add(&settings.version_property, version.to_string().into());
    }
    properties
}

/// Whether `body` begins with this lifecycle stage, a JSON text. Nearly every body does that
/// [`transform`] made, so that it need not be read again to compare an answer with it.
pub(super) fn begins_with_stage(body: &Body, stage: &RawValue) -> bool {
    let rest = body.get().strip_prefix(r#"{"lifecyclestage":"#);
    rest.is_some_and(|rest| rest.starts_with(stage.get()))
}

/// The properties that a contact's own values go to.
pub(super) fn properties() -> Vec<&'static str> {
    let anybody = ContactId::new("-").map(|id| Contact::bare(id, None));
    let texts = anybody.iter().flat_map(texts).map(|(name, ..)| name);
    texts.chain([STAGE]).collect()
}

/// These, and the record's own id: no setting may name them again.
pub(crate) fn own_properties() -> Vec<&'static str> {
    [properties().as_slice(), &["hs_object_id"]].concat()
}

fn texts(contact: &Contact) -> [(&'static str, &Text, Excess); 13] {
    use Excess::{Cut, Reject};
    [
        (EMAIL, &contact.email, Reject),
        ("firstname", &contact.first_name, Cut),
        ("lastname", &contact.last_name, Cut),
        ("company", &contact.company, Cut),
        ("jobtitle", &contact.job_title, Cut),
        ("website", &contact.website, Reject),
        ("phone", &contact.phone, Reject),
        ("mobilephone", &contact.mobile_phone, Reject),
        ("address", &contact.street, Cut),
        ("city", &contact.city, Cut),
        ("state", &contact.state, Cut),
        ("zip", &contact.postal_code, Cut),
        ("country", &contact.country, Cut),
    ]
}

/// The stage and the type. A lead or a prospect, if one is routed here, keeps the stage that it has
/// (HubSpot begins with `lead`), and so does a type whose stage is set to nothing.
fn insert_kind<'a>(properties: &mut Properties<'a>, contact: &Contact, settings: &'a Settings) {
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

/// Returns an attribute as the text that HubSpot reads in a property of any type; `None` where that
/// has no end. A number has its digits and at most one decimal point: HubSpot reads no exponents.
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

/// The longest beginning of `text` that a property takes.
fn fit(text: &str) -> &str {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    let mut units = 0;
    for (at, character) in text.char_indices() {
        units += character.len_utf16();
        if units > LONGEST_TEXT {
            return &text[..at];
        }
    }
    text
}

fn too_long(name: &str) -> Rejection {
    let message = format!("the value of `{name}` has more than {LONGEST_TEXT} characters");
    Rejection::new(Code::new(codes::TOO_LONG), message).of_field(name)
}

#[cfg(test)]
pub(super) mod tests;
