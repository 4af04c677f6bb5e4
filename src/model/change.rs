//! Changes of contacts, as the stream carries them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Contact, ContactType, Rejection};

/// The kind of a change in the contact database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The contact is new.
    Create,
    /// Some of its fields changed.
    Update,
    /// The contact is deleted.
    Delete,
}

impl Operation {
    /// All operations, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// Returns the name in events, settings and the audit trail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Returns the operation of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
    }
}

/// One change of one contact: the content of a record.
#[derive(Clone, Debug)]
pub struct ContactChange {
    /// The producer's name for this event.
    pub event_id: Box<str>,
    /// The kind of the change.
    pub operation: Operation,
    /// The time of the change.
    pub occurred_at: OffsetDateTime,
    /// Grows with each change of one contact, where the producer sends it.
    pub version: Option<u64>,
    /// The number by which destinations compare it.
    pub version_source: VersionSource,
    /// The row was read by a full load, and did not change. Its time is that of its writing, later
    /// than that of changes that the row lacks.
    pub is_load: bool,
    /// The change was put back into the stream by a replay, or comes from a back-fill.
    pub replay: bool,
    /// The contact's type before the change, where the producer sends it.
    pub previous_type: Option<ContactType>,
    /// The contact after the change, as far as the event mentions it.
    pub contact: Contact,
    /// The contact with the fields that did not change, where `contact` leaves them out; or the
    /// reason why one of these is invalid.
    pub whole: Option<Result<Box<Contact>, Box<Rejection>>>,
}

/// Names the number by which destinations compare the changes of a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum VersionSource {
    /// `occurred_at`, in milliseconds.
    #[default]
    OccurredAt,
    /// `version`.
    Version,
}

impl ContactChange {
    /// Returns the contact with the fields that did not change, where it is valid.
    pub fn whole_contact(&self) -> Option<&Contact> {
        match &self.whole {
            Some(Ok(contact)) => Some(contact),
            _ => None,
        }
    }

    /// Returns the number by which destinations compare this change. `None` where its source is
    /// `version` and the change has none.
    pub fn guard_version(&self) -> Option<u64> {
        match self.version_source {
            VersionSource::Version => self.version,
            VersionSource::OccurredAt if self.is_load => Some(0),
            // A time before 1970 is older than any other.
            VersionSource::OccurredAt => Some(
                u64::try_from(self.occurred_at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ContactId;
    use super::*;

    fn change() -> ContactChange {
        ContactChange {
            event_id: "e".into(),
            operation: Operation::Create,
            occurred_at: OffsetDateTime::from_unix_timestamp_nanos(1_763_633_700_123_999_999)
                .expect("in range"),
            version: None,
            version_source: VersionSource::default(),
            is_load: false,
            replay: false,
            previous_type: None,
            contact: Contact::bare(ContactId::new("c").expect("valid"), None),
            whole: None,
        }
    }

    #[test]
    fn one_scale_compares_all_changes_of_a_contact() {
        let mut change = change();
        for (source, without, with) in [
            (
                VersionSource::OccurredAt,
                Some(1_763_633_700_123),
                Some(1_763_633_700_123),
            ),
            (VersionSource::Version, None, Some(7)),
        ] {
            change.version_source = source;
            change.version = None;
            assert_eq!(change.guard_version(), without);
            change.version = Some(7);
            assert_eq!(change.guard_version(), with);
        }
    }

    #[test]
    fn a_load_is_older_than_any_change_unless_its_version_is_known() {
        let mut load = change();
        load.is_load = true;
        load.version = Some(7);
        assert_eq!(load.guard_version(), Some(0));
        load.version_source = VersionSource::Version;
        assert_eq!(load.guard_version(), Some(7));
    }
}
