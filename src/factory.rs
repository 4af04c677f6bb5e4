//! The one place where parts meet: a preset and settings to a [`Handler`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use tokio::time::{Instant, timeout};

use crate::adapters::hubspot::HubSpot;
use crate::adapters::salesforce::Salesforce;
use crate::adapters::{Adapter, Destination, http};
use crate::dispatch::settings::{RateLimit, Retry};
use crate::dispatch::{ApiDispatcher, Breaker, Concurrency, RateLimiter, RetryPolicy};
use crate::handler::Handler;
use crate::pipeline::{Connection, Pipeline};
use crate::route::Router;
use crate::secrets::{Secret, SecretSource};
use crate::settings::{Environment, Layer, Preset, Settings, SettingsError, load};
use crate::settle::{DeadLetters, Settler};
use crate::transform::GuardMode;

/// The systems that routes may name.
pub const DESTINATIONS: [&str; 2] = ["salesforce", "hubspot"];

/// Reading the document beside an invocation's work may take this long, and no longer.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

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
    #[error("the HTTP client cannot be made: the root certificates are missing or unreadable")]
    Http(#[from] reqwest::Error),
}

/// An external system, ready to be called, and how it wants to be called.
pub struct External {
    /// The adapter.
    pub adapter: Arc<dyn Adapter>,
    /// The account's budget of calls.
    pub rate_limit: RateLimit,
    /// When to try again.
    pub retry: Retry,
    /// Calls at once.
    pub max_in_flight: usize,
    /// Whether it keeps the version of what was written, so that a guard can compare.
    pub keeps_versions: bool,
}

/// Builds the handler of `preset` and `settings`.
///
/// # Errors
/// Where the HTTP client cannot be made.
pub fn build(preset: Preset, settings: &Settings, aws: &SdkConfig) -> Result<Handler, FactoryError> {
    let parts = Parts::new(preset, settings, aws)?;
    let pipeline = assemble(settings, parts.externals(settings), parts.dead_letters(settings));
    Ok(Handler::new(Current::fixed(pipeline)))
}

/// The same, from the environment; a document is read again while running.
///
/// # Errors
/// Where the settings are wrong, or the document cannot be read.
pub async fn from_environment(environment: &Environment, aws: &SdkConfig) -> Result<Handler, FactoryError> {
    let ssm = aws_sdk_ssm::Client::new(aws);
    let text = match &environment.document {
        Some(source) => source.read(&ssm).await?,
        None => String::new(),
    };
    let settings = merged(environment, &text)?;
    let parts = Parts::new(environment.preset, &settings, aws)?;
    let pipeline = assemble(&settings, parts.externals(&settings), parts.dead_letters(&settings));
    let watch = Watch { environment: environment.clone(), ssm, parts };
    Ok(Handler::new(Current::watched(pipeline, watch, settings, text)))
}

fn merged(environment: &Environment, document: &str) -> Result<Settings, SettingsError> {
    let name = environment.document.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut layers = vec![Layer::from_toml(name, document)?];
    layers.extend(environment.overrides.iter().cloned());
    load(environment.preset, &layers, &DESTINATIONS)
}

/// The pipeline of these systems. A third system is one more in the list.
pub fn assemble(settings: &Settings, externals: Vec<External>, dead_letters: DeadLetters) -> Pipeline {
    let names: Vec<Destination> = externals.iter().map(|external| external.adapter.destination()).collect();
    let plain: Vec<&str> = names.iter().map(|name| name.0).collect();
    let connections = externals.into_iter().map(|external| connection(settings, external)).collect();
    Pipeline {
        filter: settings.filter.clone(),
        router: Router::new(&settings.routes, &plain),
        connections,
        settler: Settler { dead_letters, audit: settings.log.audit, destinations: names },
        settings: settings.pipeline,
    }
}

fn connection(settings: &Settings, external: External) -> Connection {
    let External { adapter, rate_limit, retry, max_in_flight, keeps_versions } = external;
    Connection {
        dispatcher: ApiDispatcher {
            adapter,
            retry: RetryPolicy::new(retry),
            rate_limiter: Arc::new(RateLimiter::new(rate_limit, settings.pipeline.concurrency_share)),
            breaker: Arc::new(Breaker::default()),
            concurrency: Arc::new(Concurrency::new(max_in_flight)),
            dry_run: settings.pipeline.dry_run,
        },
        guard: if keeps_versions { settings.guard.mode } else { GuardMode::Off },
    }
}

/// What outlives a change of the settings.
struct Parts {
    http: reqwest::Client,
    sqs: aws_sdk_sqs::Client,
    salesforce_secret: Arc<Secret>,
    hubspot_secret: Arc<Secret>,
}

impl Parts {
    fn new(preset: Preset, settings: &Settings, aws: &SdkConfig) -> Result<Self, FactoryError> {
        let secrets = aws_sdk_secretsmanager::Client::new(aws);
        let secret = |id: &str| {
            let file = id.strip_prefix("file:").filter(|_| preset.is_for_developers());
            Arc::new(Secret::new(match file {
                Some(path) => SecretSource::File(path.into()),
                None => SecretSource::SecretsManager(secrets.clone(), id.to_owned()),
            }))
        };
        Ok(Self {
            http: http::client()?,
            sqs: aws_sdk_sqs::Client::new(aws),
            salesforce_secret: secret(&settings.salesforce.secret_id),
            hubspot_secret: secret(&settings.hubspot.secret_id),
        })
    }

    /// A new external system is one entry here.
    fn externals(&self, settings: &Settings) -> Vec<External> {
        let Settings { salesforce, hubspot, .. } = settings;
        vec![
            External {
                adapter: Arc::new(Salesforce::new(salesforce, self.http.clone(), Arc::clone(&self.salesforce_secret))),
                rate_limit: salesforce.rate_limit,
                retry: salesforce.retry,
                max_in_flight: salesforce.max_in_flight,
                keeps_versions: !salesforce.version_field.is_empty(),
            },
            External {
                adapter: Arc::new(HubSpot::new(hubspot, self.http.clone(), Arc::clone(&self.hubspot_secret))),
                rate_limit: hubspot.rate_limit,
                retry: hubspot.retry,
                max_in_flight: hubspot.max_in_flight,
                keeps_versions: !hubspot.version_property.is_empty(),
            },
        ]
    }

    fn dead_letters(&self, settings: &Settings) -> DeadLetters {
        match settings.dead_letter.queue_url.as_str() {
            "" => DeadLetters::LogOnly,
            url => DeadLetters::Queue(self.sqs.clone(), url.to_owned()),
        }
    }
}

/// The pipeline in force, and what may replace it.
pub struct Current {
    pipeline: Mutex<Arc<Pipeline>>,
    watch: Option<Watch>,
    read: tokio::sync::Mutex<LastRead>,
}

/// Where new settings come from.
struct Watch {
    environment: Environment,
    ssm: aws_sdk_ssm::Client,
    parts: Parts,
}

/// The document as it was last read, and what came of it.
struct LastRead {
    at: Instant,
    text: String,
    settings: Option<Settings>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("is_watched", &self.watch.is_some()).finish_non_exhaustive()
    }
}

impl Current {
    /// A pipeline that stays.
    pub fn fixed(pipeline: Pipeline) -> Self {
        let read = LastRead { at: Instant::now(), text: String::new(), settings: None };
        Self { pipeline: Mutex::new(Arc::new(pipeline)), watch: None, read: read.into() }
    }

    fn watched(pipeline: Pipeline, watch: Watch, settings: Settings, text: String) -> Self {
        let read = LastRead { at: Instant::now(), text, settings: Some(settings) };
        Self { pipeline: Mutex::new(Arc::new(pipeline)), watch: Some(watch), read: read.into() }
    }

    /// The pipeline in force.
    pub fn pipeline(&self) -> Arc<Pipeline> {
        Arc::clone(&self.pipeline.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the document again, if it is time to, and puts a good one in force as a whole. `true` where it was a bad
    /// one, which leaves everything as it is.
    pub(crate) async fn refresh(&self, until: Instant) -> bool {
        let Some(watch) = &self.watch else { return false };
        let Some(source) = &watch.environment.document else {
            return false;
        };
        // Another invocation that is at it does it for this one too.
        let Ok(mut read) = self.read.try_lock() else {
            return false;
        };
        let every = Duration::from_secs(read.settings.as_ref().map_or(0, |settings| settings.refresh_secs));
        if read.at.elapsed() < every {
            return false;
        }
        read.at = Instant::now();
        let time = REFRESH_TIMEOUT.min(until.saturating_duration_since(Instant::now()));
        let text = match timeout(time, source.read(&watch.ssm)).await {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "settings document not read: the last good settings stay");
                return true;
            }
            Err(_) => {
                tracing::error!("settings document not read in time: the last good settings stay");
                return true;
            }
        };
        if text == read.text {
            return false;
        }
        let settings = match merged(&watch.environment, &text) {
            Ok(settings) => settings,
            Err(error) => {
                tracing::error!(%error, "settings document refused: the last good settings stay");
                return true;
            }
        };
        read.text = text;
        if let Some(before) = read.settings.replace(settings.clone()) {
            self.put_in_force(watch, &before, &settings);
        }
        false
    }

    /// Connections whose settings did not change keep all that they have learnt.
    fn put_in_force(&self, watch: &Watch, before: &Settings, settings: &Settings) {
        for (key, was, is) in [
            ("salesforce.secret_id", &before.salesforce.secret_id, &settings.salesforce.secret_id),
            ("hubspot.secret_id", &before.hubspot.secret_id, &settings.hubspot.secret_id),
            ("state.table", &before.state.table, &settings.state.table),
        ] {
            if was != is {
                tracing::warn!(key, "this setting is read at start only: its change waits for the next deployment");
            }
        }
        let old = self.pipeline();
        let mut new = assemble(settings, watch.parts.externals(settings), watch.parts.dead_letters(settings));
        let same_for_all = before.pipeline == settings.pipeline && before.guard == settings.guard;
        let same = [before.salesforce == settings.salesforce, before.hubspot == settings.hubspot];
        let pairs = new.connections.iter().zip(old.connections.iter()).zip(same);
        new.connections =
            pairs.map(|((new, old), same)| if same && same_for_all { old.clone() } else { new.clone() }).collect();
        *self.pipeline.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        tracing::info!("settings changed: in force from the next invocation on");
    }
}
