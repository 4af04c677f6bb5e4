//! The start of the function: its settings and its first calls. Where Parameter Store does not
//! return the settings document, each invocation asks for it again.

use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Shared, WeakShared, ready, select};
use tokio::time::timeout;
use tracing::Span;

use super::reload::ReloadablePipeline;
use super::resources::Resources;
use super::{App, AppError};
use crate::lambda::PipelineSource;
use crate::pipeline::Pipeline;
use crate::secrets::Secrets;
use crate::services::Services;
use crate::settings::{DocumentSource, Environment};

/// Attempt to read the settings.
type Attempt = BoxFuture<'static, Result<Arc<ReloadablePipeline>, Arc<AppError>>>;

/// A function, and its pipeline as soon as its settings are known.
pub(super) struct Start {
    app: App,
    environment: Environment,
    aws: Arc<dyn Services>,
    secrets: Arc<Secrets>,
    started: OnceLock<Arc<ReloadablePipeline>>,
    /// The last attempt, as long as an invocation waits for it.
    attempt: Mutex<Option<WeakShared<Attempt>>>,
    errors: AtomicU64,
}

impl PipelineSource for Start {
    fn pipeline(self: Arc<Self>, limit: Duration) -> BoxFuture<'static, Option<Arc<Pipeline>>> {
        if let Some(started) = self.started.get() {
            return ready(Some(started.pipeline())).boxed();
        }
        async move {
            let error: Box<dyn Error + Send + Sync> = match timeout(limit, self.attempt()).await {
                Ok(Ok(started)) => return Some(started.pipeline()),
                Ok(Err(error)) => error.into(),
                Err(_) => "the settings document is not read within half of the time left".into(),
            };
            self.errors.fetch_add(1, Ordering::Relaxed);
            let error: &dyn Error = &*error;
            tracing::error!(
                error,
                "no settings yet: all records of the batch come again"
            );
            None
        }
        .boxed()
    }

    fn refresh(self: Arc<Self>, span: &dyn Fn() -> Span) {
        if let Some(started) = self.started.get() {
            Arc::clone(started).refresh(span);
        }
    }

    fn function(&self) -> &str {
        &self.environment.function
    }

    fn take_errors(&self) -> u64 {
        let started = self.started.get();
        let refreshes = started.map_or(0, |started| started.take_errors());
        self.errors.swap(0, Ordering::Relaxed) + refreshes
    }
}

impl Start {
    /// Makes a function without settings.
    pub(super) fn new(app: App, environment: &Environment, aws: Arc<dyn Services>) -> Self {
        let files_allowed = environment.preset.is_for_developers();
        Self {
            app: app.with_function(&environment.function),
            environment: environment.clone(),
            secrets: Arc::new(Secrets::new(aws.secrets(), files_allowed)),
            aws,
            started: OnceLock::new(),
            attempt: Mutex::default(),
            errors: AtomicU64::new(0),
        }
    }

    /// Reads the settings document, and beside it the secrets that the variables name, which the
    /// document cannot change. Then prepares the first invocation. A parameter that cannot be read
    /// is left to the invocations.
    ///
    /// # Errors
    /// Where the settings are wrong, or the document is a file that cannot be read.
    pub(super) async fn run(self: &Arc<Self>) -> Result<(), Arc<AppError>> {
        for id in self.environment.secret_ids(self.app.registry) {
            self.secrets.get(&id);
        }
        let secrets = pin!(self.secrets.prefetch());
        let (loaded, secrets) = match select(self.attempt(), secrets).await {
            Either::Left((loaded, secrets)) => (loaded, secrets.left_future()),
            Either::Right(((), attempt)) => (attempt.await, async {}.right_future()),
        };
        match loaded {
            Ok(started) => started.prepare(secrets).await,
            Err(error) if self.is_left_to_invocations(&error) => {
                let error: &dyn Error = &error;
                tracing::warn!(
                    error,
                    "settings document not read: each invocation tries again"
                );
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn is_left_to_invocations(&self, error: &AppError) -> bool {
        let source = &self.environment.document;
        matches!(error, AppError::Document(_))
            && matches!(source, Some(DocumentSource::Parameter(_)))
    }

    /// Returns the attempt in progress, or a new one. An environment may run several invocations at
    /// once: they share its result.
    fn attempt(self: &Arc<Self>) -> Shared<Attempt> {
        let last = self.attempt.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        let in_progress = last.as_ref().and_then(WeakShared::upgrade);
        if let Some(attempt) = in_progress.filter(|attempt| attempt.peek().is_none()) {
            return attempt;
        }
        let start = Arc::clone(self);
        let attempt = async move {
            let loaded = start.load().await?;
            Ok(Arc::clone(start.started.get_or_init(|| loaded)))
        };
        let attempt = attempt.boxed().shared();
        *last = attempt.downgrade();
        attempt
    }

    /// Reads the settings document, and builds the pipeline of its settings.
    async fn load(&self) -> Result<Arc<ReloadablePipeline>, AppError> {
        let parameters = self.aws.parameters();
        let text = self.environment.read_document(&*parameters).await?;
        let layers = self.environment.layers(self.app.registry, &text)?;
        let settings = layers.settings(&self.app.destinations())?;
        let secrets = Arc::clone(&self.secrets);
        let resources = Resources::new(self.app.clone(), secrets, &settings, &*self.aws)?;
        Ok(Arc::new(ReloadablePipeline::new(
            &self.environment,
            parameters,
            resources,
            settings,
            text,
        )))
    }
}
