//! The start of the function: its settings and its first calls. Where Parameter Store does not
//! return the settings document, each invocation asks for it again.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};
use tokio::sync::OnceCell;
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

/// A function, and its pipeline as soon as its settings are known.
pub(super) struct Start {
    app: App,
    environment: Environment,
    aws: Arc<dyn Services>,
    secrets: Arc<Secrets>,
    started: OnceCell<Arc<ReloadablePipeline>>,
    errors: AtomicU64,
}

impl PipelineSource for Start {
    fn pipeline(self: Arc<Self>, limit: Duration) -> BoxFuture<'static, Option<Arc<Pipeline>>> {
        async move {
            // An environment may run several invocations at once: one of them reads.
            let loading = self.started.get_or_try_init(|| self.load());
            let error: Box<dyn Error> = match timeout(limit, loading).await {
                Ok(Ok(started)) => return Some(started.pipeline()),
                Ok(Err(error)) => error.into(),
                Err(elapsed) => elapsed.into(),
            };
            self.errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                error = &*error,
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
        let started = self
            .started
            .get()
            .map_or(0, |started| started.take_errors());
        self.errors.swap(0, Ordering::Relaxed) + started
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
            started: OnceCell::new(),
            errors: AtomicU64::new(0),
        }
    }

    /// Reads the settings document, and beside it the secrets that a variable names, which the
    /// document cannot change. Then prepares the first invocation. A parameter that cannot be read
    /// is left to the invocations.
    ///
    /// # Errors
    /// Where the settings are wrong, or the document is a file that cannot be read.
    pub(super) async fn run(&self) -> Result<(), AppError> {
        let ids = self.environment.secret_ids(self.app.registry);
        let secrets = pin!(self.secrets.read_ahead(&ids));
        let loading = self.started.get_or_try_init(|| self.load());
        let (loaded, secrets) = match select(pin!(loading), secrets).await {
            Either::Left((loaded, secrets)) => (loaded, secrets.left_future()),
            Either::Right(((), loading)) => (loading.await, async {}.right_future()),
        };
        match loaded {
            Ok(started) => started.prepare(secrets).await,
            Err(AppError::Document(error)) if self.reads_a_parameter() => {
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

    fn reads_a_parameter(&self) -> bool {
        matches!(
            self.environment.document,
            Some(DocumentSource::Parameter(_))
        )
    }

    /// Reads the settings document, and builds the pipeline of its settings.
    async fn load(&self) -> Result<Arc<ReloadablePipeline>, AppError> {
        let parameters = self.aws.parameters();
        let text = self.environment.read_document(parameters.as_ref()).await?;
        let settings = self
            .environment
            .layers(self.app.registry, &text)?
            .settings(&self.app.destinations())?;
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
