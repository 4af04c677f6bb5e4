//! The composition: builds the function's handler from a preset and settings. The only module that
//! names both ends of every seam.

mod connections;
mod doctor;
mod reload;
mod resources;
mod start;

use std::sync::Arc;

use futures_util::future::join_all;

pub use self::doctor::Doctor;
use self::resources::Resources;
use self::start::Start;
use crate::adapters::doctor::Check;
use crate::adapters::{Adapter, AdapterSpec, Call, REGISTRY, Registry};
use crate::http_client::ExtraRoots;
use crate::lambda::Handler;
use crate::pipeline::Pipeline;
use crate::secrets::Secrets;
use crate::services::Services;
use crate::settings::{DocumentError, Environment, Preset, Settings, SettingsError};

/// Builds handlers for a set of external systems.
#[derive(Clone)]
pub struct App {
    /// Systems of the registry.
    registry: Registry,
    /// Systems beside the registry, with their names.
    others: Vec<(&'static str, AdapterSpec)>,
    http: Option<reqwest::Client>,
    extra_roots: ExtraRoots,
    function: String,
}

/// The name of a system, and its adapter where a change can be routed to it.
type NamedAdapter = (&'static str, Option<Arc<dyn Adapter>>);

/// Why no handler could be built.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings document cannot be read.
    #[error(
        "the settings document cannot be read: check CONTACT_SYNC_CONFIG, the function's \
         permissions and, in a VPC, its way to Parameter Store"
    )]
    Document(#[from] DocumentError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be made")]
    Http(#[from] reqwest::Error),
    /// The settings have no section for a system: they were loaded with another registry.
    #[error("the settings have no section [{0}]")]
    Section(&'static str),
}

impl Default for App {
    /// Starts with the systems of [`REGISTRY`].
    fn default() -> Self {
        Self::of(&REGISTRY)
    }
}

impl App {
    /// Starts with the systems of `registry`.
    pub fn of(registry: Registry) -> Self {
        Self {
            registry,
            ..Self::empty()
        }
    }

    /// Starts without any system.
    pub fn empty() -> Self {
        Self {
            registry: &[],
            others: Vec::new(),
            http: None,
            extra_roots: ExtraRoots::default(),
            function: String::new(),
        }
    }

    /// Adds a system. Its section in the settings, where it has one, has the same name.
    #[must_use]
    pub fn with(mut self, name: &'static str, spec: AdapterSpec) -> Self {
        self.others.push((name, spec));
        self
    }

    /// Uses an existing HTTP client, for a process that builds many handlers.
    #[must_use]
    pub fn with_http(self, client: reqwest::Client) -> Self {
        Self {
            http: Some(client),
            ..self
        }
    }

    /// Trusts further root certificates in the calls of the systems.
    #[must_use]
    pub fn trusting(self, extra_roots: ExtraRoots) -> Self {
        Self {
            extra_roots,
            ..self
        }
    }

    /// Names the function. Several functions may share a state table and a stream, and settle
    /// nothing for each other.
    #[must_use]
    pub fn with_function(self, name: &str) -> Self {
        Self {
            function: name.to_owned(),
            ..self
        }
    }

    /// Returns the names that routes may use.
    pub fn destinations(&self) -> Vec<&'static str> {
        let registered = self.registry.iter().map(|system| system.name);
        let others = self.others.iter().map(|(name, _)| *name);
        registered.chain(others).collect()
    }

    /// Starts the function from its environment. Reads the settings document, where one is named,
    /// and reads it again while the handler runs. A parameter that cannot be read fails no start:
    /// each invocation reads it again, and fails its records while it cannot.
    ///
    /// # Errors
    /// Where the settings are wrong, or the document is a file that cannot be read.
    pub async fn start(
        self,
        environment: &Environment,
        aws: Arc<dyn Services>,
    ) -> Result<Handler, Arc<AppError>> {
        let start = Arc::new(Start::new(self, environment, aws));
        start.run().await?;
        Ok(Handler::new(start))
    }

    /// Builds the handler of `preset` and `settings`, which stay the same.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built.
    pub fn build(
        self,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
    ) -> Result<Handler, AppError> {
        let pipeline = self.pipeline(preset, settings, aws)?;
        Ok(Handler::new(Arc::new(pipeline)))
    }

    /// Builds the pipeline of `preset` and `settings`.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built.
    pub fn pipeline(
        self,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
    ) -> Result<Pipeline, AppError> {
        let resources = self.resources(preset, settings, aws)?;
        let connections = resources.connect(settings, &[]);
        Ok(resources.pipeline(settings, &connections))
    }

    /// Runs the checks of each system's account for the operator, all systems at once. Returns them
    /// with the system's name; `None` for a system that no change can be routed to, which needs no
    /// secret.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built, or the settings have no section for a system.
    pub async fn examine(
        self,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
        call: Call<'_>,
    ) -> Result<Vec<(&'static str, Option<Vec<Check>>)>, AppError> {
        let systems = self.systems_in_use(preset, settings, aws)?;
        let examined = systems.iter().map(async |(name, adapter)| match adapter {
            Some(adapter) => (*name, Some(adapter.examine(call).await)),
            None => (*name, None),
        });
        Ok(join_all(examined).await)
    }

    /// Compares the mapping of each system in use with the fields of its account, all systems at
    /// once. Returns the checks with the system's name, or the failed check because of which the
    /// fields are not known.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built, or the settings have no section for a system.
    pub async fn compare_mappings(
        self,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
        call: Call<'_>,
    ) -> Result<Vec<(&'static str, Result<Vec<Check>, Check>)>, AppError> {
        let systems = self.systems_in_use(preset, settings, aws)?;
        let in_use = systems
            .iter()
            .filter_map(|(name, adapter)| Some((*name, adapter.as_ref()?)));
        let compared =
            in_use.map(async |(name, adapter)| (name, adapter.compare_mapping(call).await));
        Ok(join_all(compared).await)
    }

    fn resources(
        self,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
    ) -> Result<Resources, AppError> {
        let secrets = Secrets::new(aws.secrets(), preset.is_for_developers());
        Resources::new(self, Arc::new(secrets), settings, aws)
    }

    /// Builds the adapter of each system; `None` for a system that no change can be routed to.
    fn systems_in_use(
        self,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
    ) -> Result<Vec<NamedAdapter>, AppError> {
        let resources = self.resources(preset, settings, aws)?;
        let router = resources.router(settings);
        let mut systems = Vec::new();
        for (at, (name, spec)) in resources.specs(settings).into_iter().enumerate() {
            systems.push((name, router.reaches(at).then_some(spec.adapter)));
        }
        Ok(systems)
    }
}
