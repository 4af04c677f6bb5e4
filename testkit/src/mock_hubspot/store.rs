//! Contacts of the mock, and the validation of their properties.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::batch::validation;

pub(super) const STANDARD: [&str; 14] = [
    "email",
    "firstname",
    "lastname",
    "phone",
    "mobilephone",
    "company",
    "jobtitle",
    "address",
    "city",
    "state",
    "zip",
    "country",
    "website",
    "lifecyclestage",
];

pub(super) const READ_ONLY: [&str; 3] = ["hs_object_id", "createdate", "lastmodifieddate"];

/// Lifecycle stages in their order: a contact moves forward only.
pub(super) const STAGES: [&str; 8] = [
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
];

const LONGEST_TEXT: usize = 65_536;

/// Contact of the mock.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// HubSpot's id.
    pub(super) number: String,
    /// Key in lower case, if it has one.
    key: Option<String>,
    pub(super) properties: BTreeMap<String, String>,
}

/// All contacts of the mock.
#[derive(Debug, Default)]
pub(super) struct Store {
    records: BTreeMap<u64, Record>,
    by_key: HashMap<String, u64>,
    by_email: HashMap<String, u64>,
    last_id: u64,
    pub(super) custom_properties: BTreeSet<String>,
    pub(super) removed_properties: BTreeSet<String>,
    /// Beginning of the values that a validation rule refuses.
    pub(super) refused_texts: Option<String>,
}

impl Store {
    pub(super) fn find(&self, id: &str) -> Option<&Record> {
        self.records.get(self.by_key.get(&id.to_lowercase())?)
    }

    pub(super) fn edit(&mut self, id: &str, property: &str, value: &str) {
        let number = self.by_key.get(&id.to_lowercase());
        if let Some(record) = number.and_then(|number| self.records.get_mut(number)) {
            record
                .properties
                .insert(property.to_owned(), value.to_owned());
            record.properties.retain(|_, value| !value.is_empty());
        }
    }

    pub(super) fn keyed(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let keyed = self
            .records
            .values()
            .filter_map(|record| Some((record.key.clone()?, record.properties.clone())));
        keyed.collect()
    }

    pub(super) fn insert(
        &mut self,
        id: Option<&str>,
        properties: BTreeMap<String, String>,
    ) -> String {
        self.last_id += 1;
        let number = 50_000 + self.last_id;
        let key = id.map(str::to_lowercase);
        self.by_key.extend(key.clone().map(|key| (key, number)));
        self.by_email.extend(
            properties
                .get("email")
                .map(|email| (email.to_lowercase(), number)),
        );
        let record_id = number.to_string();
        self.records.insert(
            number,
            Record {
                number: record_id.clone(),
                key,
                properties,
            },
        );
        record_id
    }

    /// Updates the record with this key, or creates one. Returns the record and whether it is new.
    pub(super) fn upsert(
        &mut self,
        id: &str,
        properties: &BTreeMap<String, String>,
        id_property: &str,
    ) -> (&Record, bool) {
        let key = id.to_lowercase();
        let is_new = !self.by_key.contains_key(&key);
        if is_new {
            let first = [(id_property, id), ("lifecyclestage", "lead")];
            let first = first.map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.insert(Some(id), first.into());
        }
        let number = self.by_key[&key];
        let record = self
            .records
            .get_mut(&number)
            .expect("a record behind each key");
        let former_email = record.properties.get("email").cloned();
        for (name, value) in properties {
            write(&mut record.properties, name, value);
        }
        let email = record.properties.get("email").cloned();
        if former_email != email {
            self.by_email.retain(|_, owner| *owner != number);
            self.by_email.extend(email.map(|email| (email, number)));
        }
        (&self.records[&number], is_new)
    }

    /// Archives the record with this key, if there is one.
    pub(super) fn delete(&mut self, id: &str) {
        if let Some(record) = self.find(id) {
            let number = record.number.clone();
            self.archive(&number);
        }
    }

    /// Archives a record. Returns whether it existed.
    pub(super) fn archive(&mut self, record_id: &str) -> bool {
        let record = record_id
            .parse()
            .ok()
            .and_then(|number: u64| self.records.remove(&number));
        if let Some(key) = record.as_ref().and_then(|record| record.key.as_ref()) {
            self.by_key.remove(key);
        }
        if let Some(email) = record
            .as_ref()
            .and_then(|record| record.properties.get("email"))
        {
            self.by_email.remove(email);
        }
        record.is_some()
    }

    /// Validates an input. Returns its error.
    pub(super) fn validate(
        &self,
        id: &str,
        properties: &BTreeMap<String, String>,
        id_property: &str,
        require_a_name: bool,
    ) -> Option<Value> {
        for (name, value) in properties {
            let is_known = STANDARD.contains(&name.as_str()) || name == id_property;
            let is_known = is_known && !self.removed_properties.contains(name);
            if READ_ONLY.contains(&name.as_str()) {
                return Some(invalid("READ_ONLY_VALUE", name, value));
            }
            if !is_known && !self.custom_properties.contains(name) {
                return Some(invalid("PROPERTY_DOESNT_EXIST", name, value));
            }
            if self
                .refused_texts
                .as_ref()
                .is_some_and(|prefix| value.starts_with(prefix))
            {
                return Some(invalid("INVALID_OPTION", name, value));
            }
            if name == "email" && !value.is_empty() && !is_email(value) {
                return Some(invalid("INVALID_EMAIL", name, value));
            }
            if name == "lifecyclestage" && !value.is_empty() && !STAGES.contains(&value.as_str()) {
                return Some(invalid("INVALID_OPTION", name, value));
            }
            if value.encode_utf16().count() > LONGEST_TEXT {
                return Some(validation(&format!("The value of {name} is too long")));
            }
        }
        let is_new = self.find(id).is_none();
        let has = |name: &str| properties.get(name).is_some_and(|value| !value.is_empty());
        if require_a_name && is_new && !["email", "firstname", "lastname"].into_iter().any(has) {
            return Some(validation(
                "A contact needs an email, a firstname or a lastname",
            ));
        }
        self.clash(id, properties)
    }

    /// Returns the error of an address that another contact has. It has one form for an existing
    /// contact, and another form for a new one.
    pub(super) fn clash(&self, id: &str, properties: &BTreeMap<String, String>) -> Option<Value> {
        let email = properties.get("email")?;
        let owner = self.by_email.get(&email.to_lowercase())?.to_string();
        match self.find(id) {
            Some(record) if record.number == owner => None,
            Some(record) => Some(validation(&format!(
                "Cannot set PropertyValueCoordinates{{portalId=1, \
                 objectTypeId=ObjectTypeId{{legacyObjectType=CONTACT}}, propertyName=email, \
                 value={email}}} on {}. {owner} already has that value.",
                record.number
            ))),
            None => Some(json!({
                "status": "error",
                "category": "CONFLICT",
                "message": format!("Contact already exists. Existing ID: {owner}"),
                "context": {"existingId": [owner]},
            })),
        }
    }
}

/// Writes one value: `""` clears the property, addresses become lower case, and a stage never moves
/// back.
fn write(properties: &mut BTreeMap<String, String>, name: &str, value: &str) {
    if value.is_empty() {
        properties.remove(name);
        return;
    }
    let place = |stage: &str| STAGES.iter().position(|known| *known == stage);
    let held = properties.get(name).and_then(|held| place(held));
    if name == "lifecyclestage" && place(value) < held {
        return;
    }
    let value = if name == "email" {
        value.to_lowercase()
    } else {
        value.to_owned()
    };
    properties.insert(name.to_owned(), value);
}

/// Validates an address. HubSpot is known to reject an unknown top-level domain.
fn is_email(text: &str) -> bool {
    let domain = text.split_once('@').map(|(_, domain)| domain);
    domain
        .and_then(|domain| domain.rsplit_once('.'))
        .is_some_and(|(_, tld)| tld.len() > 1 && tld != "con")
}

/// Builds an error whose message contains the code and the rejected value.
fn invalid(code: &str, name: &str, value: &str) -> Value {
    let message = match code {
        "INVALID_OPTION" => format!(
            "{value} was not one of the allowed options: [{}]",
            STAGES.join(", ")
        ),
        _ => format!("{name} {value} is invalid"),
    };
    let details = json!([{"isValid": false, "message": message, "error": code, "name": name,
        "localizedErrorMessage": message, "portalId": 1}]);
    validation(&format!("Property values were not valid: {details}"))
}
