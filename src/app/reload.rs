//! The pipeline in use, and its replacement when the settings document changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span};

use super::connections::SystemConnection;
use super::resources::Resources;
use crate::clock;
use crate::pipeline::Pipeline;
use crate::services::ParameterStore;
use crate::settings::{DocumentSource, Environment, Settings};

/// The time limit of the preparation. With that of the document it stays below the 10 s after which
/// Lambda ends a start.
const LONGEST_PREPARATION: Duration = Duration::from_secs(3);

/// The time limit of reading the document while the function runs.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// The pipeline of the settings document as it was read last.
pub(super) struct ReloadablePipeline {
    environment: Environment,
    parameters: Arc<dyn ParameterStore>,
    resources: Resources,
    state: Mutex<State>,
    errors: AtomicU64,
}

/// The document as it was read last, and the pipeline of its settings.
struct State {
    pipeline: Arc<Pipeline>,
    connections: Arc<[SystemConnection]>,
    /// The budgets of the connections take effect when an invocation takes the pipeline.
    has_new_budgets: bool,
    settings: Settings,
    text: String,
    read_at: Instant,
    /// The invocation, by its number, that began the reading in progress.
    begun_in: Option<u64>,
    invocations: u64,
    /// The last reading outlived its invocation and failed.
    was_interrupted: bool,
}

impl ReloadablePipeline {
    /// Returns the pipeline of an invocation that begins.
    pub(super) fn pipeline(&self) -> Arc<Pipeline> {
        let mut state = self.state();
        if state.has_new_budgets {
            state.has_new_budgets = false;
            for connection in &*state.connections {
                connection.apply_budget();
            }
        }
        Arc::clone(&state.pipeline)
    }

    /// Begins to read the document again, if it is time to. A file is read at once. A parameter is
    /// read by a task of its own, beside the work of this invocation, and of the next one if it
    /// takes longer.
    pub(super) fn refresh(self: Arc<Self>, span: &dyn Fn() -> Span) {
        let Some(source) = self.environment.document.clone() else {
            return;
        };
        if !self.begins_reading() {
            return;
        }
        match source {
            DocumentSource::File(_) => {
                let reading = self.read(source).instrument(span());
                reading.now_or_never().unwrap_or_default();
            }
            DocumentSource::Parameter(_) => {
                drop(tokio::spawn(self.read(source).instrument(span())));
            }
        }
    }

    /// Returns how many documents were refused or not read since the last call.
    pub(super) fn take_errors(&self) -> u64 {
        self.errors.swap(0, Ordering::Relaxed)
    }

    /// Makes the pipeline of `settings`, which the document `text` holds.
    pub(super) fn new(
        environment: &Environment,
        parameters: Arc<dyn ParameterStore>,
        resources: Resources,
        settings: Settings,
        text: String,
    ) -> Self {
        let connections = resources.connect(&settings, &[]);
        let state = State {
            pipeline: Arc::new(resources.pipeline(&settings, &connections)),
            connections,
            has_new_budgets: false,
            settings,
            text,
            read_at: clock::now(),
            begun_in: None,
            invocations: 0,
            was_interrupted: false,
        };
        Self {
            environment: environment.clone(),
            parameters,
            resources,
            state: Mutex::new(state),
            errors: AtomicU64::new(0),
        }
    }

    /// Reads the secrets, gets the tokens and opens the connections that the first invocation
    /// needs, all at once and for [`LONGEST_PREPARATION`] at most. `secrets` is a reading in
    /// progress. A failure changes nothing: the first invocation meets it again. Lambda's init
    /// phase has a whole processor, whatever the function's memory.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
    pub(super) async fn prepare(&self, secrets: impl Future<Output = ()>) {
        let (connections, settings) = {
            let state = self.state();
            (Arc::clone(&state.connections), state.settings.clone())
        };
        let end = Instant::now() + LONGEST_PREPARATION;
        let preparation = self.resources.prepare(&connections, &settings, end);
        if timeout_at(end, join(secrets, preparation)).await.is_err() {
            tracing::info!(
                "not all connections were ready at the start: the first calls open them"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an invocation. Returns whether it begins a reading.
    fn begins_reading(&self) -> bool {
        let mut state = self.state();
        state.invocations += 1;
        let every = Duration::from_secs(state.settings.refresh_secs);
        let is_due = state.begun_in.is_none()
            && (state.was_interrupted || clock::elapsed(state.read_at) >= every);
        if is_due {
            state.begun_in = Some(state.invocations);
            state.read_at = clock::now();
        }
        is_due
    }

    /// Reads the document, and replaces the pipeline where its text has changed.
    async fn read(self: Arc<Self>, source: DocumentSource) {
        let read = source.read(self.parameters.as_ref(), REFRESH_TIMEOUT).await;
        let mut state = self.state();
        let begun_in = state.begun_in.take();
        match read {
            Ok(Some(text)) => {
                state.was_interrupted = false;
                if text != state.text {
                    self.reload(&mut state, text);
                }
            }
            // The parameter does not exist. The next start begins with the preset alone.
            Ok(None) => {
                state.was_interrupted = false;
                if !state.text.is_empty() {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        %source,
                        "settings document gone: the last good settings stay until a new start"
                    );
                }
            }
            // A function that is frozen between two invocations loses its connections. The first
            // such failure is no evidence about the document: the next invocation reads again.
            Err(_) if begun_in != Some(state.invocations) && !state.was_interrupted => {
                state.was_interrupted = true;
            }
            Err(error) => {
                state.was_interrupted = false;
                self.errors.fetch_add(1, Ordering::Relaxed);
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    "settings document not read: the last good settings stay"
                );
            }
        }
    }

    /// Replaces the pipeline by that of a valid document, for the invocations that begin later. An
    /// invalid document changes nothing.
    fn reload(&self, state: &mut State, text: String) {
        let mut settings = match self.resources.load(&self.environment, &text) {
            Ok(settings) => settings,
            Err(error) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "settings document refused: the last good settings stay");
                return;
            }
        };
        keep_fixed(&mut settings, &state.settings);
        state.text = text;
        if settings == state.settings {
            return;
        }
        state.connections = self.resources.connect(&settings, &state.connections);
        state.pipeline = Arc::new(self.resources.pipeline(&settings, &state.connections));
        state.has_new_budgets = true;
        state.settings = settings;
        tracing::info!("settings changed: in force from the next invocation on");
    }
}

/// Restores the settings that are read at start only, because connections and caches depend on
/// them, and logs each that the document changes.
fn keep_fixed(settings: &mut Settings, former: &Settings) {
    for section in settings.systems.iter_mut() {
        if let Some(former) = former.systems.named(section.system.name) {
            let key = section.system.secret_key();
            let value = section.settings_mut().secret_id_mut();
            keep(&key, value, former.settings().secret_id());
        }
    }
    keep(
        "state.table",
        &mut settings.state.table,
        &former.state.table,
    );
}

/// Restores the value of `key`, and logs its change.
fn keep(key: &str, value: &mut String, former: &str) {
    if value != former {
        tracing::warn!(
            key,
            "this setting is read at start only: its change waits for the next deployment"
        );
        former.clone_into(value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::App;
    use super::*;
    use crate::secrets::Secrets;
    use crate::services::{Services as _, Unavailable};

    /// Makes a pipeline whose document is `file`, to be read again every `refresh_secs`.
    fn watched(file: &tempfile::NamedTempFile, refresh_secs: &str) -> Arc<ReloadablePipeline> {
        let document = format!("file:{}", file.path().display());
        let variables = [
            ("CONTACT_SYNC_PRESET", "test"),
            ("CONTACT_SYNC_CONFIG", &*document),
            ("CONTACT_SYNC__REFRESH_SECS", refresh_secs),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::from_variables(variables).expect("good variables");
        let app = App::default();
        let layers = environment.layers(app.registry, "").expect("TOML");
        let settings = layers.settings(&app.destinations()).expect("good settings");
        let secrets = Arc::new(Secrets::new(Unavailable.secrets(), true));
        let resources = Resources::new(app, secrets, &settings, &Unavailable).expect("a client");
        let text = String::new();
        Arc::new(ReloadablePipeline::new(
            &environment,
            Unavailable.parameters(),
            resources,
            settings,
            text,
        ))
    }

    fn writes_nothing(current: &Arc<ReloadablePipeline>) -> bool {
        Arc::clone(current)
            .pipeline()
            .connections
            .iter()
            .all(|connection| connection.dispatcher.dry_run.is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn a_kill_switch_is_seen_as_soon_as_refresh_secs_have_passed_on_the_wall() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let current = watched(&file, "60");
        std::fs::write(file.path(), "[pipeline]\ndry_run = true").expect("written");
        clock::freeze(Duration::from_secs(59));
        Arc::clone(&current).refresh(&Span::none);
        assert!(!writes_nothing(&current), "a second too early");
        clock::freeze(Duration::from_secs(1));
        Arc::clone(&current).refresh(&Span::none);
        assert!(writes_nothing(&current));
        std::fs::write(file.path(), "").expect("written");
        Arc::clone(&current).refresh(&Span::none);
        assert!(writes_nothing(&current), "read a moment ago");
        clock::freeze(Duration::from_hours(1));
        Arc::clone(&current).refresh(&Span::none);
        assert!(!writes_nothing(&current));
    }
}
