//! Chooses between versions of a contact: which of its changes are written over the version that
//! the destination holds, and over each other. Pure.

use crate::model::{Position, Positions};

/// The properties of a change that a comparison needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    pub(super) position: Position,
    pub(super) is_delete: bool,
    pub(super) version: u64,
    pub(super) is_compared: bool,
}

/// The changes of a block, classified for some version at the destination.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Older than the version at the destination.
    pub(super) older: Positions,
    /// Older than one of `written`.
    pub(super) outdated: Positions,
    /// The other changes.
    pub(super) written: Positions,
}

/// The version that the destination holds after the changes so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeldVersion {
    version: Option<u64>,
    is_found: bool,
}

/// The choice about one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Older,
    Outdated,
    Written,
}

impl HeldVersion {
    /// Classifies the next change, and holds its version where it is written.
    pub(super) fn take(&mut self, change: Ordered) -> Class {
        if change.is_compared && self.version > Some(change.version) {
            return if self.is_found {
                Class::Older
            } else {
                Class::Outdated
            };
        }
        *self = Self {
            version: Some(change.version),
            is_found: false,
        };
        Class::Written
    }
}

/// Classifies the changes of an upsert where the destination holds `version`.
pub(super) fn survey(version: Option<u64>, changes: impl Iterator<Item = Ordered>) -> Survey {
    let (mut held, mut survey) = (
        HeldVersion {
            version,
            is_found: true,
        },
        Survey::default(),
    );
    for change in changes {
        match held.take(change) {
            Class::Older => survey.older.push(change.position),
            Class::Outdated => survey.outdated.push(change.position),
            Class::Written => survey.written.push(change.position),
        }
    }
    survey
}
