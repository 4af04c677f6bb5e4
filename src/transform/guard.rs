//! Selects the changes that are compared with the version at a destination, and the number to
//! compare.

use serde::{Deserialize, Serialize};

use crate::model::codes;
use crate::model::{Code, ContactChange, Rejection, VersionSource};

/// The section `[guard]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Selects the compared changes.
    pub mode: GuardMode,
    /// The number that is compared.
    pub version: VersionSource,
}

/// Selects the changes that are compared with the version at the destination, where it stores one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GuardMode {
    /// Replayed changes, and all changes of an invocation in which the state table does not
    /// respond.
    Replays,
    /// All changes.
    Always,
    /// No change.
    Off,
}

/// The guard of one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationGuard {
    /// The destination has no version field: no change is compared.
    NoVersions,
    /// The destination stores versions, and the mode selects the compared changes.
    Versions(GuardMode),
}

impl DestinationGuard {
    /// Returns whether an older change that is sent again cannot overwrite a newer one.
    pub fn protects(self) -> bool {
        matches!(self, Self::Versions(GuardMode::Replays | GuardMode::Always))
    }

    /// Returns the guard of an invocation that may send settled changes, because the state table
    /// did not respond: a guard in force then compares all changes.
    #[must_use]
    pub fn without_memory(self) -> Self {
        if self.protects() {
            Self::Versions(GuardMode::Always)
        } else {
            self
        }
    }

    /// Returns whether the mode selects `change`.
    pub(super) fn compares(self, change: &ContactChange) -> bool {
        match self {
            Self::NoVersions | Self::Versions(GuardMode::Off) => false,
            Self::Versions(GuardMode::Replays) => change.replay,
            Self::Versions(GuardMode::Always) => true,
        }
    }

    /// Returns the rejection of a `change` whose version a version field cannot store. A clamped
    /// number would make newer changes appear older, or older ones newer.
    pub(super) fn refuses(self, change: &ContactChange) -> Option<Rejection> {
        /// Bound of versions: Salesforce stores numbers as doubles, which represent every integer
        /// up to this one.
        /// <https://github.com/jsforce/jsforce/issues/1048>
        const LARGEST: u64 = (1 << 53) - 1;
        if self == Self::NoVersions {
            return None;
        }
        let (code, message) = match change.guard_version() {
            None => (
                codes::MISSING_VERSION,
                "version: is required by guard.version = \"version\"".to_owned(),
            ),
            Some(version) if version > LARGEST => (
                codes::VERSION_TOO_LARGE,
                format!("version: allowed: 0 to {LARGEST}"),
            ),
            Some(_) => return None,
        };
        Some(Rejection::new(Code::new(code), message).of_field("version"))
    }
}
