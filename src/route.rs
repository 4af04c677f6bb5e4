//! The router decides the destinations of a change. Pure.

use serde::{Deserialize, Serialize};

use crate::model::{ContactChange, ContactType};

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
    /// Returns each type with its key in the settings and its destinations' names.
    pub fn entries(&self) -> [(&'static str, ContactType, &[String]); 4] {
        [
            ("routes.lead", ContactType::Lead, &self.lead),
            ("routes.prospect", ContactType::Prospect, &self.prospect),
            ("routes.customer", ContactType::Customer, &self.customer),
            ("routes.vendor", ContactType::Vendor, &self.vendor),
        ]
    }
}

/// Routes changes to destinations by their index in the list of systems.
#[derive(Clone, Debug)]
pub struct Router {
    by_type: [Vec<usize>; 4],
    everywhere: Vec<usize>,
}

impl Router {
    /// Builds the router of `routes` among the destinations of these names, for changes of the
    /// types that the filter passes. Ignores a name that is not among them; the check of the
    /// settings rejects it.
    pub fn new(routes: &Routes, passed: &[ContactType], destinations: &[&str]) -> Self {
        let by_type: [Vec<usize>; 4] = routes.entries().map(|(_, _, names)| {
            names
                .iter()
                .filter_map(|name| destinations.iter().position(|known| known == name))
                .collect()
        });
        let mut everywhere = Vec::new();
        for at in 0..destinations.len() {
            let mut routes = ContactType::ALL.iter().zip(&by_type);
            if routes.any(|(kind, route)| passed.contains(kind) && route.contains(&at)) {
                everywhere.push(at);
            }
        }
        Self {
            by_type,
            everywhere,
        }
    }

    /// Returns whether a change that the filter passes can be routed to the destination at this
    /// index.
    pub fn reaches(&self, destination: usize) -> bool {
        self.everywhere.contains(&destination)
    }

    /// Returns the destinations of `change`. A delete without a type is sent to each destination of
    /// a type that the filter passes: the contact may be in any of them. Other destinations may
    /// have no account, at which the delete would fail until its record expires.
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

    use crate::model::{Contact, ContactId, Operation, VersionSource};

    #[test]
    fn a_delete_without_a_type_is_sent_to_every_routed_destination() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let section = Routes {
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
            let router = Router::new(&section, passed, &["salesforce", "unused", "hubspot"]);
            let change = ContactChange {
                event_id: "e".into(),
                operation: Operation::Delete,
                occurred_at: OffsetDateTime::UNIX_EPOCH,
                version: None,
                version_source: VersionSource::default(),
                replay: false,
                previous_type: None,
                whole: None,
                contact: Contact::bare(ContactId::new("c").expect("valid"), kind),
            };
            assert_eq!(router.route(&change), expected, "{kind:?} of {passed:?}");
            assert!(
                expected
                    .iter()
                    .all(|at| kind.is_some() || router.reaches(*at))
                    && !router.reaches(1)
            );
        }
    }
}
