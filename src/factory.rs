//! The one place where parts meet: a preset and settings to a [`Handler`].

mod current;
mod wiring;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;

pub use self::current::Current;
use self::current::Watch;
use self::wiring::Wired;
use crate::adapters::hubspot::HubSpot;
use crate::adapters::salesforce::Salesforce;
use crate::adapters::{External, Tools, http};
use crate::dispatch::{ApiDispatcher, LeaseTable};
use crate::handler::Handler;
use crate::pipeline::Pipeline;
use crate::route::Router;
use crate::secrets::Secrets;
use crate::settings::{Environment, Layer, Layers, Preset, Settings, SettingsError};
use crate::settle::{DeadLetters, SettledSet, Settler};

/// A system's name, and how it is made of the settings.
type Known = (&'static str, fn(&Settings, &Tools) -> External);

/// The external systems: one line each.
const SYSTEMS: [Known; 2] = [
    ("salesforce", |settings, tools| Salesforce::external(&settings.salesforce, tools)),
    ("hubspot", |settings, tools| HubSpot::external(&settings.hubspot, tools)),
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
    #[error("the settings document cannot be read: check CONTACT_SYNC_CONFIG and the function's permissions")]
    Document(#[from] crate::settings::DocumentError),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Http(#[from] reqwest::Error),
}

type Open = Box<dyn Fn(&Settings, &Tools) -> External + Send + Sync>;

/// The same, where it is not known before the process starts.
struct System {
    name: &'static str,
    open: Open,
}

/// Makes handlers that know a set of external systems.
pub struct Factory {
    systems: Vec<System>,
    http: Option<reqwest::Client>,
}

impl Default for Factory {
    /// A factory of the systems that contact-sync comes with.
    fn default() -> Self {
        let system = |(name, open): Known| System { name, open: Box::new(open) };
        Self { systems: SYSTEMS.into_iter().map(system).collect(), http: None }
    }
}

impl Factory {
    /// A factory that knows no system yet.
    pub fn empty() -> Self {
        Self { systems: Vec::new(), http: None }
    }

    /// The same, with one system more. Its section in the settings, where it has one, is called by its name.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        open: impl Fn(&Settings, &Tools) -> External + Send + Sync + 'static,
    ) -> Self {
        self.systems.push(System { name, open: Box::new(open) });
        self
    }

    /// The same, with an HTTP client that is at hand: for a process that makes many handlers.
    #[must_use]
    pub fn with_http(self, client: reqwest::Client) -> Self {
        Self { http: Some(client), ..self }
    }

    /// The names that routes may use.
    pub fn destinations(&self) -> Vec<&'static str> {
        self.systems.iter().map(|system| system.name).collect()
    }

    /// Builds the handler of `preset` and `settings`.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn build(self, preset: Preset, settings: &Settings, aws: &SdkConfig) -> Result<Handler, FactoryError> {
        Ok(Handler::new(Current::fixed(self.pipeline(preset, settings, aws)?)))
    }

    /// The same handler's pipeline.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn pipeline(self, preset: Preset, settings: &Settings, aws: &SdkConfig) -> Result<Pipeline, FactoryError> {
        let plant = Plant::new(self, preset, settings, aws)?;
        let wired = plant.wire(settings, &[]);
        Ok(plant.pipeline(settings, &wired))
    }

    /// The same, from the environment; a document is read again while running.
    ///
    /// # Errors
    /// Where the settings are wrong, or the document cannot be read.
    pub async fn from_environment(self, environment: &Environment, aws: &SdkConfig) -> Result<Handler, FactoryError> {
        let ssm = aws_sdk_ssm::Client::new(aws);
        let text = document(environment, &ssm).await?;
        let settings = layers(environment, &text)?.settings(&self.destinations())?;
        let plant = Plant::new(self, environment.preset, &settings, aws)?;
        let wired = plant.wire(&settings, &[]);
        let pipeline = plant.pipeline(&settings, &wired);
        let watch = Watch::new(environment, ssm, plant, wired, settings, text);
        Ok(Handler::new(Current::watched(pipeline, watch)))
    }
}

/// Builds the handler of `preset` and `settings`.
///
/// # Errors
/// Where the HTTP client cannot be made.
pub fn build(preset: Preset, settings: &Settings, aws: &SdkConfig) -> Result<Handler, FactoryError> {
    Factory::default().build(preset, settings, aws)
}

/// The same, from the environment; a document is read again while running.
///
/// # Errors
/// Where the settings are wrong, or the document cannot be read.
pub async fn from_environment(environment: &Environment, aws: &SdkConfig) -> Result<Handler, FactoryError> {
    Factory::default().from_environment(environment, aws).await
}

/// The settings as they are now, and the text of their document.
///
/// # Errors
/// Where the settings are wrong, or the document cannot be read.
pub async fn read_settings(
    environment: &Environment,
    ssm: &aws_sdk_ssm::Client,
) -> Result<(Settings, String), FactoryError> {
    let text = document(environment, ssm).await?;
    Ok((layers(environment, &text)?.settings(&DESTINATIONS)?, text))
}

/// The text of the document that an environment names; empty where it names none.
///
/// # Errors
/// Where it cannot be read.
pub async fn document(environment: &Environment, ssm: &aws_sdk_ssm::Client) -> Result<String, FactoryError> {
    Ok(match &environment.document {
        Some(source) => source.read(ssm).await?,
        None => String::new(),
    })
}

/// The layers of an environment whose document has this text.
///
/// # Errors
/// Where the text is not TOML.
pub fn layers(environment: &Environment, document: &str) -> Result<Layers, SettingsError> {
    let name = environment.document.as_ref().map(ToString::to_string).unwrap_or_default();
    let document = Layer::from_toml(name, document)?;
    Layers::new(environment.preset, std::iter::once(document).chain(environment.overrides.iter().cloned()))
}

/// The systems themselves, for a look at them.
///
/// # Errors
/// Where the HTTP client cannot be made.
#[cfg(feature = "admin")]
pub fn systems(preset: Preset, settings: &Settings, aws: &SdkConfig) -> Result<(Salesforce, HubSpot), FactoryError> {
    let tools = Plant::new(Factory::default(), preset, settings, aws)?.tools;
    let Settings { salesforce, hubspot, .. } = settings;
    Ok((
        Salesforce::new(salesforce, tools.http(), tools.secret(&salesforce.secret_id)),
        HubSpot::new(hubspot, tools.http(), tools.secret(&hubspot.secret_id)),
    ))
}

/// What outlives a change of the settings.
struct Plant {
    systems: Vec<System>,
    tools: Tools,
    sqs: aws_sdk_sqs::Client,
    /// Where there is a table.
    dynamodb: Option<aws_sdk_dynamodb::Client>,
    /// Its name, which is read at start only.
    table: String,
}

impl Plant {
    fn new(factory: Factory, preset: Preset, settings: &Settings, aws: &SdkConfig) -> Result<Self, FactoryError> {
        let Factory { systems, http } = factory;
        let http = http.map_or_else(http::client, Ok)?;
        let secrets = Secrets::new(aws_sdk_secretsmanager::Client::new(aws), preset.is_for_developers());
        let table = settings.state.table.clone();
        Ok(Self {
            systems,
            tools: Tools::new(http, secrets),
            sqs: sqs(aws),
            dynamodb: (!table.is_empty()).then(|| dynamodb(aws)),
            table,
        })
    }

    fn destinations(&self) -> Vec<&'static str> {
        self.systems.iter().map(|system| system.name).collect()
    }

    /// Every system's connection. What was learnt with the same settings `before` is kept.
    fn wire(&self, settings: &Settings, before: &[Wired]) -> Vec<Wired> {
        let wire = |(at, system): (usize, &System)| {
            let wired = Wired::new(system.name, settings, (system.open)(settings, &self.tools), before.get(at));
            self.share_budget(&wired.connection.dispatcher);
            wired
        };
        self.systems.iter().enumerate().map(wire).collect()
    }

    /// With a state table, all environments share each destination's budget through it.
    fn share_budget(&self, dispatcher: &ApiDispatcher) {
        if let Some(client) = &self.dynamodb {
            let destination = dispatcher.adapter.destination();
            dispatcher.rate_limiter.share_through(LeaseTable::new(client.clone(), &self.table, destination));
        }
    }

    fn pipeline(&self, settings: &Settings, wired: &[Wired]) -> Pipeline {
        let connections: Arc<[_]> = wired.iter().map(|wired| wired.connection.clone()).collect();
        let destinations = connections.iter().map(|connection| connection.dispatcher.adapter.destination()).collect();
        Pipeline {
            filter: settings.filter.clone(),
            router: Router::new(&settings.routes, &self.destinations()),
            settler: Settler {
                dead_letters: self.dead_letters(settings),
                settled_set: self.settled_set(settings),
                audit: settings.log.audit,
                destinations,
            },
            connections,
            settings: settings.pipeline,
        }
    }

    fn dead_letters(&self, settings: &Settings) -> DeadLetters {
        match settings.dead_letter.queue_url.as_str() {
            "" => DeadLetters::LogOnly,
            url => DeadLetters::Queue(self.sqs.clone(), url.to_owned()),
        }
    }

    /// None in a dry run: what it only pretends to write has to be written one day.
    fn settled_set(&self, settings: &Settings) -> Option<SettledSet> {
        let client = self.dynamodb.clone().filter(|_| !settings.pipeline.dry_run)?;
        Some(SettledSet::new(client, self.table.clone(), settings.state.ttl_hours))
    }
}

/// The state table only saves work, so it is given little time: a second try where the first did not come back.
fn dynamodb(aws: &SdkConfig) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::Builder;
    use aws_sdk_dynamodb::config::retry::RetryConfig;
    use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
    let retries = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(50));
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(450))
        .operation_timeout(Duration::from_secs(1));
    let config = Builder::from(aws).retry_config(retries).timeout_config(timeouts.build()).build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// A queue that does not answer must not take the whole invocation: its records come again.
fn sqs(aws: &SdkConfig) -> aws_sdk_sqs::Client {
    use aws_sdk_sqs::config::Builder;
    use aws_sdk_sqs::config::timeout::TimeoutConfig;
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(10));
    aws_sdk_sqs::Client::from_conf(Builder::from(aws).timeout_config(timeouts.build()).build())
}
