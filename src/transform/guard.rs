//! The guard: which changes are compared with what a destination holds, and by which number.

use serde::{Deserialize, Serialize};

use crate::adapters::{Code, Rejection};
use crate::contact::{ContactChange, VersionSource};

/// The section `[guard]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Which changes are compared with the version that the destination holds.
    pub mode: GuardMode,
    /// The number by which they are compared.
    pub version: VersionSource,
}

/// Which changes are compared with the version that the destination holds, where it keeps one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GuardMode {
    /// Those that a replay put back, and all of an invocation to which the state table does not
    /// answer.
    Replays,
    /// All.
    Always,
    /// None.
    Off,
}

/// The guard of one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationGuard {
    /// It has no version field: nothing is compared.
    NoVersions,
    /// It keeps versions, and these changes are compared with them.
    Versions(GuardMode),
}

impl DestinationGuard {
    /// Whether an older change that is sent again cannot take effect over a newer one.
    pub fn protects(self) -> bool {
        matches!(self, Self::Versions(GuardMode::Replays | GuardMode::Always))
    }

    /// Returns the guard of an invocation that may send what was settled before, because the state
    /// table did not tell: what protects compares all changes.
    #[must_use]
    pub fn without_memory(self) -> Self {
        if self.protects() {
            Self::Versions(GuardMode::Always)
        } else {
            self
        }
    }

    /// Whether `change` is compared by itself.
    pub(super) fn compares(self, change: &ContactChange) -> bool {
        match self {
            Self::NoVersions | Self::Versions(GuardMode::Off) => false,
            Self::Versions(GuardMode::Replays) => change.replay,
            Self::Versions(GuardMode::Always) => true,
        }
    }

    /// Why a version field cannot hold the version of `change`, if it cannot. A number that is cut
    /// to fit would make newer changes look older, or older ones newer.
    pub(super) fn refuses(self, change: &ContactChange) -> Option<Rejection> {
        /// The largest version: the largest number below which a double, as which Salesforce stores
        /// numbers, holds every other one.
        /// <https://github.com/jsforce/jsforce/issues/1048>
        const LARGEST: u64 = (1 << 53) - 1;
        if self == Self::NoVersions {
            return None;
        }
        let (code, message) = match change.guard_version() {
            None => (
                "MISSING_VERSION",
                "version: is required by guard.version = \"version\"".to_owned(),
            ),
            Some(version) if version > LARGEST => (
                "VERSION_TOO_LARGE",
                format!("version: allowed: 0 to {LARGEST}"),
            ),
            Some(_) => return None,
        };
        Some(Rejection::new(Code::new(code), message).of_field("version"))
    }
}
