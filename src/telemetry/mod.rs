//! Logs, metrics and traces: the only room that prints.

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

pub use destination_metrics::{DestinationMetrics, Quota};
pub(crate) use log::chain;
pub use log::{JsonLogLayer, LineWriter, LogFormat, init};
pub use metrics::{Counts, Invocation, emit};

/// The section `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Which records have their line in the audit trail.
    pub audit: Audit,
}

/// Which records have their line in the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Audit {
    /// Every one.
    All,
    /// Those that were rejected or failed.
    Failures,
    /// None.
    Off,
}
