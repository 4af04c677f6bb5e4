//! Emits logs, metrics and traces. The only module that prints.

mod destination_metrics;
#[cfg(test)]
mod listener;
mod log;
mod metrics;
#[cfg(feature = "otel")]
mod otlp;
mod panics;
pub mod traces;

use serde::{Deserialize, Serialize};

pub use destination_metrics::DestinationMetrics;
pub(crate) use log::chain;
pub use log::{JsonLogLayer, LineWriter, LogFormat, init};
pub use metrics::{Counts, Invocation, emit, emit_doctor};

/// The section `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Selects the records with a line in the audit trail.
    pub audit: Audit,
}

/// Selects the records with a line in the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Audit {
    /// All records.
    All,
    /// Rejected and failed records.
    Failures,
    /// No record.
    Off,
}
