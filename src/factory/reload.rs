//! The pipeline in force, and how a changed document replaces it while the function runs.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::wiring::WiredSystem;
use super::{Resources, layers};
use crate::clock;
use crate::pipeline::Pipeline;
use crate::services::ParameterStore;
use crate::settings::{DocumentSource, Environment, Settings};

/// Reading the document may take this long, and no longer.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

type Key = (&'static str, fn(&mut Settings) -> &mut String);

/// What can't change while running, as `defaults.toml` says of each: connections and what is cached
/// belong to it.
const FIXED: [Key; 3] = [
    ("salesforce.secret_id", |settings| {
        &mut settings.salesforce.secret_id
    }),
    ("hubspot.secret_id", |settings| {
        &mut settings.hubspot.secret_id
    }),
    ("state.table", |settings| &mut settings.state.table),
];

/// The pipeline in force, and what may replace it.
pub struct ReloadablePipeline {
    next: Mutex<Next>,
    watch: Option<SettingsWatcher>,
    errors: AtomicU64,
}

/// What the next invocation uses.
struct Next {
    pipeline: Arc<Pipeline>,
    /// The connections whose new budgets come into force as soon as an invocation takes it.
    changed: Option<Arc<[WiredSystem]>>,
}

/// Where new settings come from.
pub(super) struct SettingsWatcher {
    environment: Environment,
    parameters: Arc<dyn ParameterStore>,
    resources: Resources,
    state: Mutex<State>,
}

/// The document as it was last read, and what came of it.
struct State {
    read_at: Instant,
    text: String,
    settings: Settings,
    wired: Arc<[WiredSystem]>,
    /// A reading is under way, in this invocation (by their count) or an earlier one.
    begun_in: Option<u64>,
    invocations: u64,
    /// The last reading outlived its invocation and failed.
    was_interrupted: bool,
}

impl fmt::Debug for ReloadablePipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadablePipeline")
            .field("is_watched", &self.watch.is_some())
            .finish_non_exhaustive()
    }
}

impl SettingsWatcher {
    pub(super) fn new(
        environment: &Environment,
        parameters: Arc<dyn ParameterStore>,
        resources: Resources,
        wired: Arc<[WiredSystem]>,
        settings: Settings,
        text: String,
    ) -> Self {
        let state = State {
            read_at: clock::now(),
            text,
            settings,
            wired,
            begun_in: None,
            invocations: 0,
            was_interrupted: false,
        };
        Self {
            environment: environment.clone(),
            parameters,
            resources,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this invocation is to begin a reading.
    fn begins(&self) -> bool {
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
}

impl ReloadablePipeline {
    /// A pipeline that stays.
    pub fn fixed(pipeline: Pipeline) -> Self {
        let next = Next {
            pipeline: Arc::new(pipeline),
            changed: None,
        };
        Self {
            next: Mutex::new(next),
            watch: None,
            errors: AtomicU64::new(0),
        }
    }

    pub(super) fn watched(pipeline: Pipeline, watch: SettingsWatcher) -> Self {
        Self {
            watch: Some(watch),
            ..Self::fixed(pipeline)
        }
    }

    /// The pipeline of an invocation that begins now.
    pub fn pipeline(&self) -> Arc<Pipeline> {
        let mut next = self.next();
        if let Some(changed) = next.changed.take() {
            changed.iter().for_each(WiredSystem::put_in_force);
        }
        Arc::clone(&next.pipeline)
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Documents that could not be put in force since the last time this was asked.
    pub(crate) fn take_errors(&self) -> u64 {
        self.errors.swap(0, Ordering::Relaxed)
    }

    /// Begins to read the document again, if it is time to. Nobody waits for it: a file is read at
    /// once, a parameter by a task of its own, beside whatever the invocation does, and beside the
    /// next one's work if it takes longer. What it has to say is said in `span`.
    pub(crate) fn refresh(self: &Arc<Self>, span: impl FnOnce() -> Span) {
        let Some(watch) = &self.watch else { return };
        let Some(source) = &watch.environment.document else {
            return;
        };
        if !watch.begins() {
            return;
        }
        let reading = Arc::clone(self).read(source.clone()).instrument(span());
        match source {
            DocumentSource::File(_) => reading.now_or_never().unwrap_or_default(),
            DocumentSource::Parameter(_) => drop(tokio::spawn(reading)),
        }
    }

    async fn read(self: Arc<Self>, source: DocumentSource) {
        let Some(watch) = &self.watch else { return };
        let read = source
            .read(watch.parameters.as_ref(), REFRESH_TIMEOUT)
            .await;
        let mut state = watch.state();
        let begun_in = state.begun_in.take();
        match read {
            Ok(text) => {
                state.was_interrupted = false;
                if text != state.text {
                    self.take(watch, &mut state, text);
                }
            }
            // A function that is frozen between two invocations loses its connections: the first
            // time, that says nothing of the document, and the next invocation asks again.
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

    /// Puts a good document in force as a whole, for the invocations that begin from now on. A bad
    /// one changes nothing.
    fn take(&self, watch: &SettingsWatcher, state: &mut State, text: String) {
        let settings = layers(&watch.environment, &text)
            .and_then(|all| all.settings(&watch.resources.destinations()));
        let mut settings = match settings {
            Ok(settings) => settings,
            Err(error) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "settings document refused: the last good settings stay");
                return;
            }
        };
        for (key, value) in FIXED {
            let (is, was) = (value(&mut settings), value(&mut state.settings));
            if is != was {
                tracing::warn!(
                    key,
                    "this setting is read at start only: its change waits for the next deployment"
                );
                is.clone_from(was);
            }
        }
        state.text = text;
        if settings == state.settings {
            return;
        }
        state.wired = watch.resources.wire(&settings, &state.wired);
        let pipeline = watch.resources.pipeline(&settings, &state.wired);
        state.settings = settings;
        *self.next() = Next {
            pipeline: Arc::new(pipeline),
            changed: Some(Arc::clone(&state.wired)),
        };
        tracing::info!("settings changed: in force from the next invocation on");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Factory;
    use super::*;
    use crate::services::{Services as _, Unavailable};

    /// A pipeline whose document is `file`, to be read again every `refresh_secs`.
    fn watched(file: &tempfile::NamedTempFile, refresh_secs: &str) -> Arc<ReloadablePipeline> {
        let document = format!("file:{}", file.path().display());
        let variables = [
            ("CONTACT_SYNC_PRESET", "test"),
            ("CONTACT_SYNC_CONFIG", &*document),
            ("CONTACT_SYNC__REFRESH_SECS", refresh_secs),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::from_variables(variables).expect("good variables");
        let factory = Factory::default();
        let settings =
            layers(&environment, "").and_then(|all| all.settings(&factory.destinations()));
        let settings = settings.expect("good settings");
        let resources =
            Resources::new(factory, environment.preset, &settings, &Unavailable).expect("a client");
        let wired = resources.wire(&settings, &[]);
        let pipeline = resources.pipeline(&settings, &wired);
        let parameters = Unavailable.parameters();
        let text = String::new();
        let watch =
            SettingsWatcher::new(&environment, parameters, resources, wired, settings, text);
        Arc::new(ReloadablePipeline::watched(pipeline, watch))
    }

    fn writes_nothing(current: &ReloadablePipeline) -> bool {
        current
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
        current.refresh(Span::none);
        assert!(!writes_nothing(&current), "a second too early");
        clock::freeze(Duration::from_secs(1));
        current.refresh(Span::none);
        assert!(writes_nothing(&current));
        std::fs::write(file.path(), "").expect("written");
        current.refresh(Span::none);
        assert!(writes_nothing(&current), "read a moment ago");
        clock::freeze(Duration::from_hours(1));
        current.refresh(Span::none);
        assert!(!writes_nothing(&current));
    }
}
