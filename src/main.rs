//! Starts the Lambda function, and runs it until Lambda ends the process.

use std::process::ExitCode;
use std::sync::Arc;

use contact_sync::app::{App, Doctor};
use contact_sync::http_client::ExtraRoots;
use contact_sync::settings::{Environment, Task};
use contact_sync::{aws, lambda, telemetry};
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::init(tracing::Level::ERROR, None, None);
            tracing::error!(
                error = &*error as &dyn std::error::Error,
                "contact-sync cannot start"
            );
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let environment = Environment::read()?;
    telemetry::init(
        environment.log_level,
        environment.log_format,
        environment.traces_to.as_deref(),
    );
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        preset = environment.preset.name(),
        "contact-sync starts"
    );
    let extra_roots = ExtraRoots::read(&environment.extra_ca_file)?;
    telemetry::traces::trust(&extra_roots);
    let aws = aws::config(&extra_roots).await;
    match environment.task {
        Task::Sync => {
            let app = App::default().trusting(extra_roots);
            lambda::run(app.start(&environment, Arc::new(aws)).await?).await
        }
        Task::Doctor => {
            let doctor = Doctor::new(environment, Arc::new(aws), extra_roots);
            lambda::run_scheduled(Arc::new(doctor)).await
        }
    }
}
