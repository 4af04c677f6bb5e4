//! The router decides the destinations of a change. Pure.

use serde::{Deserialize, Serialize};

use crate::model::codes;
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
    by_type: [Route; 4],
    everywhere: Route,
    /// Whether this function serves the first destination.
    serves_first: bool,
}

/// The destinations of a kind of change.
#[derive(Clone, Debug, Default)]
struct Route {
    /// The destinations that this function serves.
    served: Vec<usize>,
    /// Whether the settings name a destination, of this function or of another one.
    is_routed: bool,
}

impl Route {
    fn new(destinations: Vec<usize>) -> Self {
        Self {
            is_routed: !destinations.is_empty(),
            served: destinations,
        }
    }
}

impl Router {
    /// Builds the router of `routes` among the destinations of these names, for changes of the
    /// types that the filter passes. Ignores a name that is not among them; the check of the
    /// settings rejects it.
    pub fn new(routes: &Routes, passed: &[ContactType], destinations: &[&str]) -> Self {
        let by_type = routes.entries().map(|(_, _, names)| {
            let known = |name| destinations.iter().position(|known| known == name);
            Route::new(names.iter().filter_map(known).collect())
        });
        let mut everywhere = Vec::new();
        for at in 0..destinations.len() {
            let mut routes = ContactType::ALL.iter().zip(&by_type);
            if routes.any(|(kind, route)| passed.contains(kind) && route.served.contains(&at)) {
                everywhere.push(at);
            }
        }
        Self {
            by_type,
            everywhere: Route::new(everywhere),
            serves_first: true,
        }
    }

    /// Limits the router to the destinations `served`, by name. An empty list limits nothing.
    #[must_use]
    pub fn limited_to(mut self, served: &[String], destinations: &[&str]) -> Self {
        let is_mine = |at: usize| {
            let name = destinations.get(at);
            served.is_empty() || name.is_some_and(|name| served.iter().any(|one| one == name))
        };
        for route in self.by_type.iter_mut().chain([&mut self.everywhere]) {
            route.served.retain(|at| is_mine(*at));
        }
        self.serves_first = is_mine(0);
        self
    }

    /// Returns whether a change that the filter passes can be routed to the destination at this
    /// index.
    pub fn reaches(&self, destination: usize) -> bool {
        self.everywhere.served.contains(&destination)
    }

    /// Returns whether records without a destination belong to this function: those that cannot be
    /// decoded, validated or routed. Of several functions that read one stream, the one that serves
    /// the first destination settles them, so that each has one dead letter.
    pub fn owns_unrouted(&self) -> bool {
        self.serves_first
    }

    /// Returns the destinations of `change`, or the code for which this function has none. A delete
    /// without a type is sent to each destination of a type that the filter passes: the contact may
    /// be in any of them. Other destinations may have no account, at which the delete would fail
    /// until its record expires.
    ///
    /// # Errors
    /// A code of the route stage: no destination at all, or another function's alone.
    pub fn route(&self, change: &ContactChange) -> Result<&[usize], &'static str> {
        let route = match change.contact.kind {
            None => &self.everywhere,
            Some(ContactType::Lead) => &self.by_type[0],
            Some(ContactType::Prospect) => &self.by_type[1],
            Some(ContactType::Customer) => &self.by_type[2],
            Some(ContactType::Vendor) => &self.by_type[3],
        };
        match &*route.served {
            [] if route.is_routed || !self.serves_first => Err(codes::OTHER_DESTINATION),
            [] => Err(codes::NO_ROUTE),
            served => Ok(served),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use ContactType::{Customer, Lead, Prospect, Vendor};

    use crate::model::{Contact, ContactId, Operation, VersionSource};

    fn change(kind: Option<ContactType>) -> ContactChange {
        ContactChange {
            event_id: "e".into(),
            operation: Operation::Delete,
            occurred_at: OffsetDateTime::UNIX_EPOCH,
            version: None,
            version_source: VersionSource::default(),
            is_load: false,
            replay: false,
            previous_type: None,
            whole: None,
            contact: Contact::bare(ContactId::new("c").expect("valid"), kind),
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Routes of three types; a vendor's destination is unknown.
    fn routes() -> Routes {
        Routes {
            lead: names(&["salesforce"]),
            prospect: names(&["salesforce", "hubspot"]),
            customer: names(&["hubspot"]),
            vendor: names(&["elsewhere"]),
        }
    }

    const KNOWN: [&str; 3] = ["salesforce", "unused", "hubspot"];

    #[test]
    fn a_delete_without_a_type_is_sent_to_every_routed_destination() {
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
            let router = Router::new(&routes(), passed, &KNOWN);
            let found = router.route(&change(kind));
            if expected.is_empty() {
                assert_eq!(found, Err(codes::NO_ROUTE), "{kind:?} of {passed:?}");
            } else {
                assert_eq!(found, Ok(&*expected), "{kind:?} of {passed:?}");
            }
            assert!(
                expected
                    .iter()
                    .all(|at| kind.is_some() || router.reaches(*at))
                    && !router.reaches(1)
            );
        }
    }

    #[test]
    fn a_function_of_some_destinations_leaves_the_others_to_other_functions() {
        for (served, kind, expected) in [
            (&["salesforce"][..], Some(Lead), Ok(&[0][..])),
            (&["salesforce"], Some(Prospect), Ok(&[0])),
            (
                &["salesforce"],
                Some(Customer),
                Err(codes::OTHER_DESTINATION),
            ),
            (&["salesforce"], Some(Vendor), Err(codes::NO_ROUTE)),
            (&["salesforce"], None, Ok(&[0])),
            (&["hubspot"], Some(Lead), Err(codes::OTHER_DESTINATION)),
            (&["hubspot"], Some(Prospect), Ok(&[2])),
            (&["hubspot"], Some(Customer), Ok(&[2])),
            (&["hubspot"], Some(Vendor), Err(codes::OTHER_DESTINATION)),
            (&["hubspot"], None, Ok(&[2])),
            (&["unused"], None, Err(codes::OTHER_DESTINATION)),
            (&[], Some(Prospect), Ok(&[0, 2])),
            (&[], Some(Vendor), Err(codes::NO_ROUTE)),
        ] {
            let router = Router::new(&routes(), &ContactType::ALL, &KNOWN)
                .limited_to(&names(served), &KNOWN);
            assert_eq!(
                router.route(&change(kind)),
                expected,
                "{kind:?} at {served:?}"
            );
            let is_first = served.is_empty() || served.contains(&"salesforce");
            assert_eq!(router.owns_unrouted(), is_first, "{served:?}");
        }
    }

    #[test]
    fn each_change_belongs_to_exactly_the_functions_of_its_destinations() {
        let split = [&["salesforce"][..], &["unused"], &["hubspot"]];
        let whole = Router::new(&routes(), &ContactType::ALL, &KNOWN);
        for kind in ContactType::ALL.map(Some).into_iter().chain([None]) {
            let change = change(kind);
            let mut served = Vec::new();
            let mut filtered = Vec::new();
            for names in split.map(names) {
                match whole.clone().limited_to(&names, &KNOWN).route(&change) {
                    Ok(destinations) => served.extend_from_slice(destinations),
                    Err(code) => filtered.push(code),
                }
            }
            assert_eq!(served, whole.route(&change).unwrap_or_default(), "{kind:?}");
            let unrouted = filtered.iter().filter(|code| **code == codes::NO_ROUTE);
            assert_eq!(unrouted.count(), usize::from(served.is_empty()), "{kind:?}");
        }
    }
}
