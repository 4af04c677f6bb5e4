//! The router: which destinations a change goes to. Pure.

use serde::{Deserialize, Serialize};

use crate::contact::{ContactChange, ContactType};

/// The section `[routes]`: the destinations of each type, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
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
    /// Builds the router of `routes` among the destinations of these names, for changes of the
    /// types that the filter passes. A name that is not among them, which the settings' check
    /// refuses, is no destination.
    pub fn new(routes: &Routes, passed: &[ContactType], destinations: &[&str]) -> Self {
        let by_type: [Vec<usize>; 4] = routes.entries().map(|(_, _, names)| {
            names
                .iter()
                .filter_map(|name| destinations.iter().position(|known| known == name))
                .collect()
        });
        let mut everywhere = Vec::new();
        for at in 0..destinations.len() {
            let is_reached = |(kind, route): (&ContactType, &Vec<usize>)| {
                passed.contains(kind) && route.contains(&at)
            };
            if ContactType::ALL.iter().zip(&by_type).any(is_reached) {
                everywhere.push(at);
            }
        }
        Self {
            by_type,
            everywhere,
        }
    }

    /// Whether a change that the filter passes can be routed to the destination at this index.
    pub fn reaches(&self, destination: usize) -> bool {
        self.everywhere.contains(&destination)
    }

    /// Returns the destinations of `change`. A delete without a type goes to each one that a type
    /// passed by the filter is routed to: the contact may be in any of them. Another one may have
    /// no account, and would let the delete fail until its record is given up.
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
    use ContactType::{Customer, Lead, Prospect, Vendor};

    use crate::contact::{Contact, ContactId, Operation, VersionSource};

    #[test]
    fn each_type_has_its_destinations_and_a_delete_without_type_goes_where_a_passing_type_is_routed()
     {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let routes = Routes {
            lead: names(&["salesforce"]),
            prospect: names(&["salesforce", "hubspot"]),
            customer: names(&["hubspot"]),
            vendor: names(&["elsewhere"]),
        };
        for (passed, kind, expected) in [
            (&ContactType::ALL[..], Some(Lead), vec![0]),
            (&ContactType::ALL, Some(Prospect), vec![0, 2]),
            (&ContactType::ALL, Some(Customer), vec![2]),
            (&ContactType::ALL, Some(Vendor), vec![]),
            (&ContactType::ALL, None, vec![0, 2]),
            (&[Lead], None, vec![0]),
            (&[Prospect], None, vec![0, 2]),
            (&[Customer, Vendor], None, vec![2]),
            (&[Vendor], None, vec![]),
        ] {
            let way = Router::new(&routes, passed, &["salesforce", "unused", "hubspot"]);
            let change = ContactChange {
                event_id: "e".into(),
                operation: Operation::Delete,
                occurred_at: OffsetDateTime::UNIX_EPOCH,
                version: None,
                version_source: VersionSource::default(),
                replay: false,
                contact: Contact::bare(ContactId::new("c").expect("valid"), kind),
            };
            assert_eq!(way.route(&change), expected, "{kind:?} of {passed:?}");
            assert!(
                expected.iter().all(|at| kind.is_some() || way.reaches(*at)) && !way.reaches(1)
            );
        }
    }
}
