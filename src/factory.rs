//! The one place where parts meet: a preset and settings to a [`Handler`].

mod reload;
mod resources;
mod wiring;

use std::time::Duration;

pub use self::reload::ReloadablePipeline;
use self::reload::SettingsWatcher;
use self::resources::Resources;
use crate::adapters::hubspot::HubSpot;
use crate::adapters::salesforce::Salesforce;
use crate::adapters::{AdapterDeps, AdapterSpec};
use crate::handler::Handler;
use crate::pipeline::Pipeline;
use crate::services::{ParameterStore, Services};
use crate::settings::{Environment, Layer, Layers, Preset, Settings, SettingsError};

/// At the start, a document that has not come by then does not come: Lambda ends a start after 10
/// s, without a word of ours. The SDK itself waits for an answer without end.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
const LONGEST_READ: Duration = Duration::from_secs(5);

/// A system's name, and how it is made of the settings.
type AdapterBuilder = (&'static str, fn(&Settings, &AdapterDeps) -> AdapterSpec);

/// The external systems: one line each.
const SYSTEMS: [AdapterBuilder; 2] = [
    ("salesforce", |settings, deps| {
        Salesforce::spec(&settings.salesforce, deps)
    }),
    ("hubspot", |settings, deps| {
        HubSpot::spec(&settings.hubspot, deps)
    }),
];

/// The systems that routes may name.
pub const DESTINATIONS: [&str; SYSTEMS.len()] = {
    let mut names = [""; SYSTEMS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = SYSTEMS[at].0;
        at += 1;
    }
    names
};

/// Why nothing could be built.
#[derive(Debug, thiserror::Error)]
pub enum FactoryError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings document cannot be read.
    #[error(
        "the settings document cannot be read: check CONTACT_SYNC_CONFIG, the function's permissions and, in a VPC, its way to \
         Parameter Store"
    )]
    Document(#[from] crate::settings::DocumentError),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Http(#[from] reqwest::Error),
}

type BuildAdapter = Box<dyn Fn(&Settings, &AdapterDeps) -> AdapterSpec + Send + Sync>;

/// The same, where it is not known before the process starts.
struct System {
    name: &'static str,
    open: BuildAdapter,
}

/// Makes handlers that know a set of external systems.
pub struct Factory {
    systems: Vec<System>,
    http: Option<reqwest::Client>,
    function: String,
}

impl Default for Factory {
    /// A factory of the systems that contact-sync comes with.
    fn default() -> Self {
        let system = |(name, open): AdapterBuilder| System {
            name,
            open: Box::new(open),
        };
        Self {
            systems: SYSTEMS.into_iter().map(system).collect(),
            ..Self::empty()
        }
    }
}

impl Factory {
    /// A factory that knows no system yet.
    pub fn empty() -> Self {
        Self {
            systems: Vec::new(),
            http: None,
            function: String::new(),
        }
    }

    /// The same, with one system more. Its section in the settings, where it has one, is called by
    /// its name.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        open: impl Fn(&Settings, &AdapterDeps) -> AdapterSpec + Send + Sync + 'static,
    ) -> Self {
        self.systems.push(System {
            name,
            open: Box::new(open),
        });
        self
    }

    /// The same, with an HTTP client that is at hand: for a process that makes many handlers.
    #[must_use]
    pub fn with_http(self, client: reqwest::Client) -> Self {
        Self {
            http: Some(client),
            ..self
        }
    }

    /// The same, for the function of this name: several may share a state table and a stream, and
    /// settle nothing for each other.
    #[must_use]
    pub fn with_function(self, name: &str) -> Self {
        Self {
            function: name.to_owned(),
            ..self
        }
    }

    /// The names that routes may use.
    pub fn destinations(&self) -> Vec<&'static str> {
        self.systems.iter().map(|system| system.name).collect()
    }

    /// Builds the handler of `preset` and `settings`.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn build(
        self,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
    ) -> Result<Handler, FactoryError> {
        Ok(Handler::new(ReloadablePipeline::fixed(
            self.pipeline(preset, settings, aws)?,
        )))
    }

    /// The same handler's pipeline.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn pipeline(
        self,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
    ) -> Result<Pipeline, FactoryError> {
        let resources = Resources::new(self, preset, settings, aws)?;
        let wired = resources.wire(settings, &[]);
        Ok(resources.pipeline(settings, &wired))
    }

    /// The same, from the environment; a document is read again while running.
    ///
    /// # Errors
    /// Where the settings are wrong, or the document cannot be read.
    pub async fn from_environment(
        self,
        environment: &Environment,
        aws: &dyn Services,
    ) -> Result<Handler, FactoryError> {
        let parameters = aws.parameters();
        let text = document(environment, parameters.as_ref()).await?;
        let settings = layers(environment, &text)?.settings(&self.destinations())?;
        let resources = Resources::new(
            self.with_function(&environment.function),
            environment.preset,
            &settings,
            aws,
        )?;
        let wired = resources.wire(&settings, &[]);
        resources.deps.prefetch_secrets();
        let pipeline = resources.pipeline(&settings, &wired);
        let watch = SettingsWatcher::new(environment, parameters, resources, wired, settings, text);
        Ok(Handler::new(ReloadablePipeline::watched(pipeline, watch)))
    }
}

/// Builds the handler of `preset` and `settings`.
///
/// # Errors
/// Where the HTTP client cannot be made.
pub fn build(
    preset: Preset,
    settings: &Settings,
    aws: &dyn Services,
) -> Result<Handler, FactoryError> {
    Factory::default().build(preset, settings, aws)
}

/// The same, from the environment; a document is read again while running.
///
/// # Errors
/// Where the settings are wrong, or the document cannot be read.
pub async fn from_environment(
    environment: &Environment,
    aws: &dyn Services,
) -> Result<Handler, FactoryError> {
    Factory::default().from_environment(environment, aws).await
}

/// The settings as they are now, and the text of their document.
///
/// # Errors
/// Where the settings are wrong, or the document cannot be read.
pub async fn read_settings(
    environment: &Environment,
    store: &dyn ParameterStore,
) -> Result<(Settings, String), FactoryError> {
    let text = document(environment, store).await?;
    Ok((layers(environment, &text)?.settings(&DESTINATIONS)?, text))
}

/// The text of the document that an environment names; empty where it names none.
///
/// # Errors
/// Where it cannot be read in time.
pub async fn document(
    environment: &Environment,
    store: &dyn ParameterStore,
) -> Result<String, FactoryError> {
    Ok(match &environment.document {
        Some(source) => source.read(store, LONGEST_READ).await?,
        None => String::new(),
    })
}

/// The layers of an environment whose document has this text.
///
/// # Errors
/// Where the text is not TOML.
pub fn layers(environment: &Environment, document: &str) -> Result<Layers, SettingsError> {
    let name = environment
        .document
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let document = Layer::from_toml(name, document)?;
    Layers::new(
        environment.preset,
        std::iter::once(document).chain(environment.overrides.iter().cloned()),
    )
}

/// The systems themselves, for a look at them.
///
/// # Errors
/// Where the HTTP client cannot be made.
pub fn systems(
    preset: Preset,
    settings: &Settings,
    aws: &dyn Services,
) -> Result<(Salesforce, HubSpot), FactoryError> {
    let deps = Resources::new(Factory::default(), preset, settings, aws)?.deps;
    let Settings {
        salesforce,
        hubspot,
        ..
    } = settings;
    Ok((
        Salesforce::new(salesforce, deps.http(), deps.secret(&salesforce.secret_id)),
        HubSpot::new(hubspot, deps.http(), deps.secret(&hubspot.secret_id)),
    ))
}
