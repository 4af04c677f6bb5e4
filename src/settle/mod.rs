//! Settles the records of a batch: one fate each, their dead letters, the settled set, and the
//! lines of the audit trail.

mod audit;
pub(crate) mod checkpoint;
mod dead_letter;
mod fate;
mod ledger;
mod settled_set;
mod settler;

use serde::{Deserialize, Serialize};

pub use dead_letter::{DeadLetterError, DeadLetters};
pub use fate::Fate;
pub use ledger::{DestinationResult, Entry, Ledger, OutcomeRecorder, RecordOutcome};
pub use settled_set::{PriorOutcomes, SettledSet};
pub(crate) use settled_set::{Rest, Skipping};
pub use settler::{Batch, Settled, Settler};

/// The section `[dead_letter]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
pub struct DeadLetterSettings {
    pub queue_url: String,
}

/// The section `[state]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
pub struct StateSettings {
    pub table: String,
    pub ttl_hours: u64,
}
