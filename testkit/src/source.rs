//! Expected contents of the CRMs: the changes are applied one by one, by the tables of contract
//! section 3. This is a second implementation, independent of the code under test.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::generator::{CONTACT_PROPERTIES, LEAD_FIELDS, NEW_STATUS};
use super::kinesis::{Record, Report};
use super::orders::Possible;

/// Records by id in lower case: the fields or properties with a value, by name.
pub type Held = BTreeMap<String, BTreeMap<String, String>>;

/// Expected contents of both destinations after the changes: the possible states of each contact,
/// by id in lower case. The destinations can receive the changes of a contact in different orders.
#[derive(Clone, Debug, Default)]
pub struct Source {
    leads: BTreeMap<String, Possible<Texts>>,
    contacts: BTreeMap<String, Possible<Texts>>,
    /// Fields that are not compared.
    pub ignored: &'static [&'static str],
}

/// Values of a record as texts, by the name of the field in the destination.
type Texts = BTreeMap<String, String>;

const ADDRESS: [&str; 5] = ["street", "city", "state", "postal_code", "country"];

const LEAD: [(&str, &str); 14] = [
    ("last_name", "LastName"),
    ("first_name", "FirstName"),
    ("company", "Company"),
    ("email", "Email"),
    ("phone", "Phone"),
    ("mobile_phone", "MobilePhone"),
    ("job_title", "Title"),
    ("website", "Website"),
    ("street", "Street"),
    ("city", "City"),
    ("state", "State"),
    ("postal_code", "PostalCode"),
    ("country", "Country"),
    ("lead_source", "LeadSource"),
];

const CONTACT: [(&str, &str); 13] = [
    ("email", "email"),
    ("first_name", "firstname"),
    ("last_name", "lastname"),
    ("company", "company"),
    ("job_title", "jobtitle"),
    ("website", "website"),
    ("phone", "phone"),
    ("mobile_phone", "mobilephone"),
    ("street", "address"),
    ("city", "city"),
    ("state", "state"),
    ("postal_code", "zip"),
    ("country", "country"),
];

impl Source {
    /// Applies one change, given as JSON. `delivered` is its record and the report of all
    /// deliveries; without it the batch of the record is unknown.
    pub fn apply(&mut self, change: &Value, delivered: Option<(&Record, &Report)>) {
        let id = change["contact"]["id"]
            .as_str()
            .expect("an id")
            .trim()
            .to_lowercase();
        let kind = change["contact"]["type"].as_str().map(str::to_lowercase);
        if matches!(kind.as_deref(), Some("lead" | "prospect") | None) {
            self.leads
                .entry(id.clone())
                .or_default()
                .apply(change, delivered, lead_after);
        }
        if matches!(kind.as_deref(), Some("customer" | "vendor") | None) {
            self.contacts
                .entry(id)
                .or_default()
                .apply(change, delivered, contact_after);
        }
    }

    /// Compares the expected with the actual contents. Returns each difference as a sentence.
    pub fn differences(&self, leads: &Held, contacts: &Held) -> Vec<String> {
        [
            differences(&self.leads, leads, self.ignored),
            differences(&self.contacts, contacts, self.ignored),
        ]
        .concat()
    }
}

fn lead_after(held: Option<Texts>, change: &Value) -> Option<Texts> {
    if change["operation"] == "delete" {
        return None;
    }
    let is_new = held.is_none();
    let mut lead = held.unwrap_or_default();
    let contact = &change["contact"];
    take(&mut lead, contact, &LEAD);
    // A status cannot be cleared: a lead of a create has the default, and an existing lead keeps
    // its status.
    let is_lead = contact["type"]
        .as_str()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("lead"));
    let default = (is_new && is_lead && change["operation"] == "create").then_some(NEW_STATUS);
    let carried = contact["status"]
        .as_str()
        .filter(|status| !status.trim().is_empty());
    if let Some(status) = carried.or(default) {
        lead.insert("Status".to_owned(), status.to_owned());
    }
    take_attributes(&mut lead, contact, &LEAD_FIELDS, Value::to_string);
    // A new lead has these fields, and so has a lead whose fields are cleared.
    for required in ["LastName", "Company"] {
        lead.entry(required.to_owned())
            .or_insert_with(|| "[not provided]".to_owned());
    }
    Some(lead)
}

fn contact_after(held: Option<Texts>, change: &Value) -> Option<Texts> {
    if change["operation"] == "delete" {
        return None;
    }
    let mut contact = held.unwrap_or_default();
    take(&mut contact, &change["contact"], &CONTACT);
    // `customer` precedes `other`, and a stage never moves back.
    let is_customer = change["contact"]["type"]
        .as_str()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("customer"));
    let stage = contact
        .entry("lifecyclestage".to_owned())
        .or_insert_with(|| "customer".to_owned());
    if !is_customer {
        "other".clone_into(stage);
    }
    // HubSpot does not accept exponents.
    let plain: fn(&Value) -> String = |value| match value.as_f64() {
        Some(number) if value.is_f64() => number.to_string(),
        _ => value.to_string(),
    };
    take_attributes(&mut contact, &change["contact"], &CONTACT_PROPERTIES, plain);
    Some(contact)
}

/// Applies the texts of a change, with the names of this table.
fn take(texts: &mut Texts, contact: &Value, table: &[(&str, &str)]) {
    for (ours, theirs) in table {
        let told = match (&contact["address"], ADDRESS.contains(ours)) {
            (Value::Object(address), true) => address.get(*ours),
            (cleared @ Value::Null, true) => contact.get("address").map(|_| cleared),
            _ => contact.get(*ours),
        };
        match told {
            None => {}
            Some(Value::String(text)) if *ours == "email" => {
                drop(texts.insert((*theirs).to_owned(), text.trim().to_lowercase()));
            }
            Some(Value::String(text)) if !text.trim().is_empty() => {
                drop(texts.insert((*theirs).to_owned(), text.clone()));
            }
            Some(_) => drop(texts.remove(*theirs)),
        }
    }
}

/// Applies the attributes of a change, with the names of this table. `null` instead of the
/// attributes clears each of them.
fn take_attributes(
    texts: &mut Texts,
    contact: &Value,
    table: &[(&str, &str)],
    number: fn(&Value) -> String,
) {
    for (ours, theirs) in table {
        let told = match contact.get("attributes") {
            Some(Value::Object(attributes)) => attributes.get(*ours),
            cleared => cleared,
        };
        match told {
            None => {}
            Some(Value::Null) => drop(texts.remove(*theirs)),
            Some(Value::String(text)) => drop(texts.insert((*theirs).to_owned(), text.clone())),
            Some(value) => drop(texts.insert((*theirs).to_owned(), number(value))),
        }
    }
}

fn differences(
    possible: &BTreeMap<String, Possible<Texts>>,
    held: &Held,
    ignored: &[&str],
) -> Vec<String> {
    let shown = |texts: Option<&Texts>| -> Option<Texts> {
        let mut texts = texts?.clone();
        texts.retain(|name, _| !ignored.contains(&name.as_str()));
        Some(texts)
    };
    let ids: BTreeSet<&String> = possible.keys().chain(held.keys()).collect();
    let unknown = Possible::default();
    let of = |id: &String| {
        let (possible, held) = (possible.get(id).unwrap_or(&unknown), held.get(id));
        let held = shown(held);
        let is_possible = possible.states().any(|state| shown(state) == held);
        if is_possible {
            None
        } else {
            difference(id, shown(possible.states().next()?).as_ref(), held.as_ref())
        }
    };
    ids.into_iter().filter_map(of).collect()
}

fn difference(id: &str, expected: Option<&Texts>, held: Option<&Texts>) -> Option<String> {
    match (expected, held) {
        (Some(_), None) => Some(format!("{id} is missing")),
        (None, Some(_)) => Some(format!("{id} should not be there")),
        (Some(expected), Some(held)) => {
            let mut names = expected.keys().chain(held.keys());
            let name = names.find(|name| expected.get(*name) != held.get(*name))?;
            Some(format!(
                "{id}: {name} is {:?}, expected {:?}",
                held.get(name),
                expected.get(name)
            ))
        }
        (None, None) => None,
    }
}
