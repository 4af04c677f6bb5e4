//! The parts of a payload that depend on the record that the destination holds.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Body;

/// When a field is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FieldPolicy {
    /// With every change that mentions it.
    #[default]
    Always,
    /// Only to a record that does not exist yet.
    Create,
    /// Only where the destination's field is empty.
    Empty,
    /// Only while the destination holds the value that was written last.
    Unedited,
    /// Not at all.
    Never,
}

impl FieldPolicy {
    /// All policies, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::Always,
        Self::Create,
        Self::Empty,
        Self::Unedited,
        Self::Never,
    ];
}

/// The contacts that are written, by whether the destination has a record of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MatchPolicy {
    /// All.
    #[default]
    Upsert,
    /// Those with a record.
    UpdateOnly,
    /// Those without one.
    CreateOnly,
}

/// The conditional parts of a payload. The record is looked up before it is written.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The contacts that are written.
    pub matching: MatchPolicy,
    /// Fields of the policy `create`: the values of the first change.
    pub create: Option<Body>,
    /// Fields of the policy `empty`: the first value of each that is not empty.
    pub empty: Option<Body>,
    /// Fields of the policy `unedited`: the last value of each.
    pub unedited: Option<Body>,
    /// Fields of [`Payload::if_new`](super::Payload::if_new) with the policy `unedited`.
    pub tracked_defaults: Vec<Box<str>>,
    /// The field that stores the hashes of the values written last; empty without the policy
    /// `unedited`.
    pub baseline_field: Box<str>,
}

impl Conditions {
    /// Returns the conditional fields.
    pub fn bodies(&self) -> impl Iterator<Item = &Body> {
        [&self.create, &self.empty, &self.unedited]
            .into_iter()
            .flatten()
    }
}

/// The record that a destination holds of a contact, as far as a look-up reads it.
#[derive(Clone, Default)]
pub struct HeldRecord {
    /// The system's own id of the record, where writes use it and no other record has its key.
    pub id: Option<Box<str>>,
    /// The version that was written last, where the record has one.
    pub version: Option<u64>,
    /// The requested fields as JSON values, by the requested names. A field that the destination
    /// does not report is empty.
    pub values: BTreeMap<String, Box<RawValue>>,
}

impl fmt::Debug for HeldRecord {
    /// Prints the version only: the values are contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldRecord")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
