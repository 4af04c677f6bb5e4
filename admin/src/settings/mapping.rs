//! Compares the mapping of a document with the fields of the systems that it selects.

use std::time::Duration;

use contact_sync::adapters::doctor::Check;
use contact_sync::adapters::{Call, Unlimited};
use contact_sync::app::App;
use contact_sync::settings::{Preset, Settings};
use contact_sync::telemetry::DestinationMetrics;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::super::deployment::Target;
use super::super::failure::Failure;

/// Time limit of all calls to one system together.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Comparison of the mapping with the systems.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Findings, one for each failed check.
    pub(super) faults: Vec<String>,
    /// The state of each system in words: whether its fields are known.
    pub(super) notes: Vec<String>,
    /// Whether the fields of some system are not known.
    pub(super) is_incomplete: bool,
    /// The state of each system by name.
    systems: Map<String, Value>,
}

impl Comparison {
    /// Reads the fields of each system that `settings` select, and compares the mapping with them.
    /// Writes nothing. Secrets are read with the operator's own permissions.
    pub(super) async fn make(
        preset: Preset,
        settings: &Settings,
        target: &Target,
    ) -> Result<Self, Failure> {
        let aws = target.aws().await;
        let metrics = DestinationMetrics::default();
        let call = Call {
            give_up_at: Instant::now() + TIMEOUT,
            metrics: &metrics,
            permits: &Unlimited,
            dry_run: false,
        };
        let compared = App::of(target.registry)
            .compare_mappings(preset, settings, &aws, call)
            .await?;
        let mut comparison = Self::default();
        for (system, checks) in compared {
            comparison.add(system, checks);
        }
        Ok(comparison)
    }

    /// Adds the checks of one system, or the failed check because of which its fields are not
    /// known.
    fn add(&mut self, system: &str, checks: Result<Vec<Check>, Check>) {
        let state = match checks {
            Ok(checks) => {
                let count = checks.len();
                let faults: Vec<String> = checks.into_iter().filter_map(fault).collect();
                if count == 0 {
                    self.notes.push(format!(
                        "mapping of {system}: the system describes no fields"
                    ));
                } else if faults.is_empty() {
                    self.notes
                        .push(format!("mapping of {system}: fits, {count} checks passed"));
                }
                self.faults.extend(faults);
                json!({"checked": true, "checks": count})
            }
            Err(check) => {
                let reason = fault(check).unwrap_or_default();
                self.is_incomplete = true;
                self.notes.push(format!(
                    "mapping of {system} not checked: {reason} (--offline leaves the systems out)"
                ));
                json!({"checked": false, "reason": reason})
            }
        };
        self.systems.insert(system.to_owned(), state);
    }

    /// Returns the state of each system.
    pub(super) fn json(&self) -> Value {
        self.systems.clone().into()
    }
}

/// Returns a failed check with its remedy; `None` for a check that passed.
fn fault(check: Check) -> Option<String> {
    Some(format!("{}: {}", check.name, check.finding.err()?))
}
