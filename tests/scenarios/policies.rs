//! Field policies and match policies in the whole function, with both systems.

mod calls;
mod matching;
mod normalisers;
mod objects;
mod recipes;
mod salesperson;
mod salvage;
mod table;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::harness::{Mocks, change};
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::Endpoint as SalesforceCall;

/// A destination, by the contact type that is routed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Salesforce,
    HubSpot,
}

const PLACES: [Place; 2] = [Place::Salesforce, Place::HubSpot];

impl Place {
    fn kind(self) -> &'static str {
        match self {
            Self::Salesforce => "lead",
            Self::HubSpot => "customer",
        }
    }

    /// Returns the destination's field of a contact field.
    fn field(self, contact_field: &'static str) -> &'static str {
        match (self, contact_field) {
            (Self::Salesforce, "job_title") => "Title",
            (Self::Salesforce, "first_name") => "FirstName",
            (Self::Salesforce, "phone") => "Phone",
            (Self::Salesforce, "mobile_phone") => "MobilePhone",
            (Self::Salesforce, "website") => "Website",
            (Self::HubSpot, "job_title") => "jobtitle",
            (Self::HubSpot, "first_name") => "firstname",
            (Self::HubSpot, "mobile_phone") => "mobilephone",
            (_, other) => other,
        }
    }

    /// Returns the settings with these policies by contact field, and a baseline.
    fn settings(self, policies: &[(&'static str, &str)]) -> String {
        let (section, key, baseline) = match self {
            Self::Salesforce => ("salesforce", "baseline_field", "Baseline__c"),
            Self::HubSpot => ("hubspot", "baseline_property", "baseline"),
        };
        let policies: Vec<String> = policies
            .iter()
            .map(|(field, policy)| format!("{} = \"{policy}\"", self.field(field)))
            .collect();
        format!(
            "[{section}]\n{key} = \"{baseline}\"\n[{section}.policy]\n{}\n",
            policies.join("\n")
        )
    }

    /// Edits the record, as a person does. An empty text clears the field.
    fn edit(self, mocks: &Mocks, id: &str, contact_field: &'static str, value: &str) {
        let field = self.field(contact_field);
        match self {
            Self::Salesforce => mocks.salesforce.edit(id, &json!({field: text(value)})),
            Self::HubSpot => mocks.hubspot.edit(id, field, value),
        }
    }

    /// Edits the record between the next look-up and the write.
    fn edit_after_look_up(self, mocks: &Mocks, id: &str, contact_field: &'static str, value: &str) {
        let field = self.field(contact_field);
        match self {
            Self::Salesforce => {
                let fields = json!({field: text(value)});
                mocks.salesforce.edit_after_query(id, &fields);
            }
            Self::HubSpot => mocks.hubspot.edit_after_read(id, field, value),
        }
    }

    /// Returns the value that the record holds; empty where it has none.
    fn held(self, mocks: &Mocks, id: &str, contact_field: &'static str) -> String {
        let fields = self.record(mocks, id).unwrap_or_default();
        let value = fields.get(self.field(contact_field)).cloned();
        value.unwrap_or_default()
    }

    fn record(self, mocks: &Mocks, id: &str) -> Option<BTreeMap<String, String>> {
        match self {
            Self::Salesforce => {
                let lead = mocks.salesforce.lead(id)?;
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let fields = lead.iter().map(|(name, value)| (name.clone(), text(value)));
                Some(fields.collect())
            }
            Self::HubSpot => mocks.hubspot.contact(id),
        }
    }

    /// Returns the number of look-ups and upserts so far.
    fn calls(self, mocks: &Mocks) -> [usize; 2] {
        match self {
            Self::Salesforce => {
                use SalesforceCall::{Query, Update, Upsert};
                let count = |call| mocks.salesforce.count(call);
                [count(Query), count(Upsert) + count(Update)]
            }
            Self::HubSpot => {
                use HubSpotCall::{Read, Update, Upsert};
                let count = |call| mocks.hubspot.count(call);
                [count(Read), count(Upsert) + count(Update)]
            }
        }
    }

    /// Deletes the record between the next look-up and the write.
    fn delete_after_look_up(self, mocks: &Mocks, id: &str) {
        match self {
            Self::Salesforce => mocks.salesforce.delete_after_query(id),
            Self::HubSpot => mocks.hubspot.archive_after_read(id),
        }
    }

    /// Creates the record between the next look-up and the write.
    fn create_after_look_up(self, mocks: &Mocks, id: &str) {
        match self {
            Self::Salesforce => mocks.salesforce.put_after_query(id),
            Self::HubSpot => mocks.hubspot.put_after_read(id),
        }
    }

    /// Builds a change with a name, which new records need.
    fn change(self, operation: &str, id: &str, fields: &Value) -> Value {
        let mut all = json!({"last_name": "Arlo", "company": "Acme"});
        for (name, value) in fields.as_object().into_iter().flatten() {
            all[name.as_str()] = value.clone();
        }
        change(operation, id, self.kind(), all)
    }
}

fn text(value: &str) -> Value {
    if value.is_empty() {
        Value::Null
    } else {
        value.into()
    }
}
