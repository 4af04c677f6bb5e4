//! What the CRMs should hold: the changes applied one by one, by the tables of contract section 3, written a second
//! time and independently of the code under test.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The company's own database, as the changes tell of it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// By identity, in lower case.
    people: BTreeMap<String, Person>,
}

#[derive(Clone, Debug)]
struct Person {
    kind: String,
    /// The texts, under the event's names; address parts without their prefix.
    fields: BTreeMap<String, Option<String>>,
}

const ADDRESS: [&str; 5] = ["street", "city", "state", "postal_code", "country"];

const LEAD: [(&str, &str); 15] = [
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
    ("status", "Status"),
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
    /// Applies one change, as an event's JSON.
    pub fn apply(&mut self, change: &Value) {
        let contact = &change["contact"];
        let id = contact["id"].as_str().expect("an id").trim().to_lowercase();
        if change["operation"] == "delete" {
            self.people.remove(&id);
            return;
        }
        let kind = contact["type"].as_str().expect("a type").to_lowercase();
        let is_create = change["operation"] == "create";
        let person = self.people.entry(id).or_insert_with(|| Person { kind: kind.clone(), fields: BTreeMap::new() });
        person.kind.clone_from(&kind);
        let mentioned = contact.as_object().expect("an object");
        person.take(mentioned);
        match mentioned.get("address") {
            Some(Value::Object(address)) => person.take(address),
            Some(Value::Null) => ADDRESS.iter().for_each(|part| person.set(part, None)),
            _ => {}
        }
        // A status cannot be cleared: a new lead has the default, and one that is there keeps its own.
        let default = if kind == "lead" { "Open - Not Contacted" } else { "Working - Contacted" };
        let carried = contact["status"].as_str().filter(|status| !status.trim().is_empty());
        if let Some(status) = carried.or(is_create.then_some(default)) {
            person.set("status", Some(status.to_owned()));
        }
    }

    /// The leads that Salesforce should hold: id in lower case, and every field with a value.
    pub fn leads(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.held(&["lead", "prospect"], |person| {
            let mut lead = person.mapped(&LEAD);
            for required in ["LastName", "Company"] {
                lead.entry(required.to_owned()).or_insert_with(|| "[not provided]".to_owned());
            }
            lead
        })
    }

    /// The contacts that HubSpot should hold: id in lower case, and every property with a value.
    pub fn contacts(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.held(&["customer", "vendor"], |person| {
            let mut contact = person.mapped(&CONTACT);
            let stage = if person.kind == "customer" { "customer" } else { "other" };
            contact.insert("lifecyclestage".to_owned(), stage.to_owned());
            contact
        })
    }

    fn held(
        &self,
        kinds: &[&str],
        shape: impl Fn(&Person) -> BTreeMap<String, String>,
    ) -> BTreeMap<String, BTreeMap<String, String>> {
        let ours = self.people.iter().filter(|(_, person)| kinds.contains(&&*person.kind));
        ours.map(|(id, person)| (id.clone(), shape(person))).collect()
    }
}

impl Person {
    fn take(&mut self, mentioned: &Map<String, Value>) {
        for (name, value) in mentioned.iter().filter(|(name, _)| *name != "status") {
            match value {
                Value::String(text) if name == "email" => self.set(name, Some(text.trim().to_lowercase())),
                Value::String(text) => {
                    self.set(name, Some(text.clone()).filter(|text| !text.trim().is_empty()));
                }
                Value::Null => self.set(name, None),
                _ => {}
            }
        }
    }

    fn set(&mut self, name: &str, value: Option<String>) {
        self.fields.insert(name.to_owned(), value);
    }

    fn mapped(&self, table: &[(&str, &str)]) -> BTreeMap<String, String> {
        let value = |name: &str| self.fields.get(name).cloned().flatten();
        table.iter().filter_map(|(ours, theirs)| Some(((*theirs).to_owned(), value(ours)?))).collect()
    }
}

/// The first differences between what is expected and what is held, each as a sentence.
pub fn differences(
    expected: &BTreeMap<String, BTreeMap<String, String>>,
    held: &BTreeMap<String, BTreeMap<String, String>>,
) -> Vec<String> {
    let mut found = Vec::new();
    for id in expected.keys().chain(held.keys().filter(|id| !expected.contains_key(*id))) {
        match (expected.get(id), held.get(id)) {
            (Some(_), None) => found.push(format!("{id} is missing")),
            (None, Some(_)) => found.push(format!("{id} should not be there")),
            (Some(expected), Some(held)) if expected != held => {
                let names = expected.keys().chain(held.keys());
                let name = names.into_iter().find(|name| expected.get(*name) != held.get(*name)).expect("differs");
                found.push(format!("{id}: {name} is {:?}, expected {:?}", held.get(name), expected.get(name)));
            }
            _ => {}
        }
    }
    found
}
