//! Handles the invocations of a schedule, by a function that is deployed for such a task alone. The
//! function of contact changes refuses a schedule's event like any other that holds no record.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;

use super::HandlerError;
use super::handler::remaining;
use crate::telemetry::traces;

/// Key of the event that starts a task. Its value is the task's name: `{"contact-sync": "doctor"}`.
const TASK: &str = "contact-sync";

/// Time for a task where the deadline is implausible (local emulators send one in 1970).
const DEFAULT_TIME: Duration = Duration::from_mins(1);

/// Time that a task leaves for its response.
const MARGIN: Duration = Duration::from_secs(2);

/// A task that a schedule starts.
pub trait ScheduledTask: Send + Sync {
    /// Returns the name in the schedule's event.
    fn name(&self) -> &'static str;

    /// Runs the task once. Its calls end by `until`. Returns the response of the invocation.
    fn run(&self, until: Instant) -> BoxFuture<'_, Value>;
}

/// Polls for events and runs the task for each, until Lambda ends the process.
///
/// # Errors
/// Where the Runtime API fails at a poll or a response.
///
/// # Panics
/// Outside of Lambda, where the runtime's variables are missing.
pub async fn run_scheduled(task: Arc<dyn ScheduledTask>) -> Result<(), Error> {
    let service = service_fn(move |event: LambdaEvent<Value>| {
        let task = Arc::clone(&task);
        async move { handle_scheduled(&*task, event).await }
    });
    lambda_runtime::run(service).await
}

/// Handles one invocation.
///
/// # Errors
/// Where the event does not name the task.
pub async fn handle_scheduled(
    task: &dyn ScheduledTask,
    event: LambdaEvent<Value>,
) -> Result<Value, HandlerError> {
    let LambdaEvent { payload, context } = event;
    if payload[TASK] != task.name() {
        return Err(HandlerError::UnsupportedEvent);
    }
    let span = traces::invocation(&context.request_id, context.xray_trace_id.as_deref());
    let time = remaining(context.deadline).unwrap_or(DEFAULT_TIME);
    let until = Instant::now() + time.saturating_sub(MARGIN);
    let response = task.run(until).instrument(span).await;
    traces::flush(remaining(context.deadline)).await;
    Ok(response)
}
