//! The task `doctor`: a schedule checks the settings, and in each system the secret, the fields and
//! the permissions that a delivery needs. A check that fails is a line of the log, and counts in
//! the metric `DoctorFindings`. Writes nothing.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{App, AppError};
use crate::adapters::doctor::Check;
use crate::adapters::{Call, REGISTRY, Unlimited};
use crate::http_client::ExtraRoots;
use crate::lambda::ScheduledTask;
use crate::services::Services;
use crate::settings::{Environment, Settings};
use crate::telemetry::{self, DestinationMetrics};

/// Name of the task.
const NAME: &str = "doctor";

/// The task, for one environment.
pub struct Doctor {
    environment: Environment,
    aws: Arc<dyn Services>,
    extra_roots: ExtraRoots,
}

impl Doctor {
    /// Creates the task.
    pub fn new(environment: Environment, aws: Arc<dyn Services>, extra_roots: ExtraRoots) -> Self {
        Self {
            environment,
            aws,
            extra_roots,
        }
    }

    /// Runs all checks. The settings and the secrets are read anew, so that a change shows in the
    /// next run.
    async fn check(&self, until: Instant) -> Vec<Check> {
        let settings = match self.settings().await {
            Ok(settings) => settings,
            // The other checks need the settings.
            Err(error) => return vec![Check::fail("settings", telemetry::chain(&error))],
        };
        let mut checks = vec![Check::ok("settings", "valid")];
        match self.check_destinations(&settings, until).await {
            Ok(found) => checks.extend(found),
            Err(error) => checks.push(Check::fail("systems", telemetry::chain(&error))),
        }
        checks
    }

    /// Reads the settings. The queue may be missing: this task stores no dead letters.
    async fn settings(&self) -> Result<Settings, AppError> {
        let parameters = self.aws.parameters();
        let text = self.environment.read_document(parameters.as_ref()).await?;
        let names = App::default().destinations();
        Ok(self.environment.layers(&REGISTRY, &text)?.draft(&names)?)
    }

    /// Runs the checks of each system that a change can be routed to.
    async fn check_destinations(
        &self,
        settings: &Settings,
        until: Instant,
    ) -> Result<Vec<Check>, AppError> {
        let app = App::default().trusting(self.extra_roots.clone());
        let metrics = DestinationMetrics::default();
        let call = Call {
            give_up_at: until,
            metrics: &metrics,
            permits: &Unlimited,
            dry_run: false,
        };
        let preset = self.environment.preset;
        let examined = app
            .examine(preset, settings, self.aws.as_ref(), call)
            .await?;
        Ok(examined
            .into_iter()
            .filter_map(|(_, checks)| checks)
            .flatten()
            .collect())
    }
}

impl ScheduledTask for Doctor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, until: Instant) -> BoxFuture<'_, Value> {
        async move {
            let checks = self.check(until).await;
            let findings = report(&checks);
            telemetry::emit_doctor(&self.environment.function, findings.len() as u64);
            json!({"checks": checks.len(), "findings": findings})
        }
        .boxed()
    }
}

/// Logs the checks that failed. Returns them with their remedies.
fn report(checks: &[Check]) -> Vec<Value> {
    let mut findings = Vec::new();
    for Check { name, finding } in checks {
        if let Err(remedy) = finding {
            tracing::warn!(check = name, remedy, "check failed");
            findings.push(json!({"check": name, "remedy": remedy}));
        }
    }
    tracing::info!(
        checks = checks.len(),
        findings = findings.len(),
        "checks done"
    );
    findings
}
