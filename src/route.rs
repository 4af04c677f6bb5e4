//! The router: which destinations a change goes to. Pure.

use serde::{Deserialize, Serialize};

use crate::contact::{ContactChange, ContactType};

/// The section `[routes]`: the destinations of each type, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "`src/settings/defaults.toml` documents every key")]
pub struct Routes {
    pub lead: Vec<String>,
    pub prospect: Vec<String>,
    pub customer: Vec<String>,
    pub vendor: Vec<String>,
}

impl Routes {
    /// Each type's key in the settings, and the names that it has.
    pub fn entries(&self) -> [(&'static str, ContactType, &[String]); 4] {
        [
            ("routes.lead", ContactType::Lead, &self.lead),
            ("routes.prospect", ContactType::Prospect, &self.prospect),
            ("routes.customer", ContactType::Customer, &self.customer),
            ("routes.vendor", ContactType::Vendor, &self.vendor),
        ]
    }
}

/// Knows the way to destinations by their index in the factory's list.
#[derive(Clone, Debug)]
pub struct Router {
    by_type: [Vec<usize>; 4],
    everywhere: Vec<usize>,
}

impl Router {
    /// The router of `routes` among the destinations of these names. A name that is not among them, which the
    /// settings' check refuses, leads nowhere.
    pub fn new(routes: &Routes, destinations: &[&str]) -> Self {
        let by_type: [Vec<usize>; 4] = routes.entries().map(|(_, _, names)| {
            names.iter().filter_map(|name| destinations.iter().position(|known| known == name)).collect()
        });
        let everywhere = (0..destinations.len()).filter(|at| by_type.iter().any(|way| way.contains(at))).collect();
        Self { by_type, everywhere }
    }

    /// Where `change` goes. A delete that does not say its type goes wherever any route leads: the contact may be in
    /// any of those systems. One that no route names may have no account, and would let the delete fail for ever.
    pub fn route(&self, change: &ContactChange) -> &[usize] {
        match change.contact.kind {
            None => &self.everywhere,
            Some(ContactType::Lead) => &self.by_type[0],
            Some(ContactType::Prospect) => &self.by_type[1],
            Some(ContactType::Customer) => &self.by_type[2],
            Some(ContactType::Vendor) => &self.by_type[3],
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::contact::{Contact, ContactId, Operation};

    #[test]
    fn each_type_has_its_destinations_and_a_delete_without_type_goes_wherever_one_leads() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let routes = Routes {
            lead: names(&["salesforce"]),
            prospect: names(&["salesforce", "hubspot"]),
            customer: names(&["hubspot"]),
            vendor: names(&["elsewhere"]),
        };
        let way = Router::new(&routes, &["salesforce", "unused", "hubspot"]);
        for (kind, expected) in [
            (Some(ContactType::Lead), vec![0]),
            (Some(ContactType::Prospect), vec![0, 2]),
            (Some(ContactType::Customer), vec![2]),
            (Some(ContactType::Vendor), vec![]),
            (None, vec![0, 2]),
        ] {
            let change = ContactChange {
                event_id: "e".into(),
                operation: Operation::Delete,
                occurred_at: OffsetDateTime::UNIX_EPOCH,
                version: None,
                replay: false,
                contact: Contact::bare(ContactId::new("c").expect("valid"), kind),
            };
            assert_eq!(way.route(&change), expected, "{kind:?}");
        }
    }
}
