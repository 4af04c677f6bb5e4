//! The clients and caches of which pipelines are built.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;

use super::connections::SystemConnection;
use super::{App, AppError};
use crate::adapters::AdapterSpec;
use crate::dispatch::{ApiDispatcher, LeaseTable};
use crate::http_client;
use crate::pipeline::Pipeline;
use crate::route::Router;
use crate::secrets::Secrets;
use crate::settings::{Preset, Settings};
use crate::settle::{DeadLetters, SettledSet, Settler};

/// The resources that outlive a change of the settings.
pub(super) struct Resources {
    app: App,
    pub(super) http: reqwest::Client,
    pub(super) secrets: Secrets,
    sqs: aws_sdk_sqs::Client,
    /// Present where the settings name a state table.
    dynamodb: Option<aws_sdk_dynamodb::Client>,
    /// The name of the state table, which is read at start only.
    table: String,
}

impl Resources {
    pub(super) fn new(
        app: App,
        preset: Preset,
        settings: &Settings,
        aws: &SdkConfig,
    ) -> Result<Self, AppError> {
        let http = match &app.http {
            Some(client) => client.clone(),
            None => http_client::client()?,
        };
        let secrets = Secrets::new(secrets_manager(aws), preset.is_for_developers());
        let table = settings.state.table.clone();
        Ok(Self {
            app,
            http,
            secrets,
            sqs: sqs(aws),
            dynamodb: (!table.is_empty()).then(|| dynamodb(aws)),
            table,
        })
    }

    /// Returns the systems' names.
    pub(super) fn destinations(&self) -> Vec<&'static str> {
        self.app.destinations()
    }

    /// Connects every system. Keeps the parts of the connections `before` whose settings are equal.
    pub(super) fn connect(
        &self,
        settings: &Settings,
        before: &[SystemConnection],
    ) -> Arc<[SystemConnection]> {
        let mut connections = Vec::new();
        for (at, (name, spec)) in self.specs(settings).into_iter().enumerate() {
            let connected = SystemConnection::new(name, settings, spec, before.get(at));
            self.share_budget(&connected.connection.dispatcher);
            connections.push(connected);
        }
        connections.into()
    }

    /// Builds every system's adapter. The secret of a system without a route is not read at the
    /// start.
    fn specs(&self, settings: &Settings) -> Vec<(&'static str, AdapterSpec)> {
        let router = self.router(settings);
        let sections = settings.systems();
        let mut specs = Vec::new();
        for (at, system) in self.app.registry.iter().enumerate() {
            let id = (system.secret_id)(sections);
            let secret = if router.reaches(at) {
                self.secrets.get(id)
            } else {
                self.secrets.get_unused(id)
            };
            let spec = (system.build)(sections, self.http.clone(), secret);
            specs.push((system.name, spec));
        }
        specs.extend(self.app.others.iter().cloned());
        specs
    }

    /// Shares the destination's budget among all environments, through the state table.
    fn share_budget(&self, dispatcher: &ApiDispatcher) {
        if let Some(client) = &self.dynamodb {
            let destination = dispatcher.adapter.destination();
            dispatcher.rate_limiter.share_through(LeaseTable::new(
                client.clone(),
                &self.table,
                destination,
            ));
        }
    }

    /// Builds the pipeline of `settings`.
    pub(super) fn pipeline(
        &self,
        settings: &Settings,
        connections: &[SystemConnection],
    ) -> Pipeline {
        let connections: Arc<[_]> = connections
            .iter()
            .map(|connected| connected.connection.clone())
            .collect();
        let destinations = connections
            .iter()
            .map(|connection| connection.dispatcher.adapter.destination())
            .collect();
        Pipeline {
            filter: settings.filter.clone(),
            router: self.router(settings),
            version_source: settings.guard.version,
            settler: Settler {
                dead_letters: self.dead_letters(settings),
                settled_set: self.settled_set(settings),
                audit: settings.log.audit,
                destinations,
                guarded: connections
                    .iter()
                    .map(|connection| connection.guard.protects())
                    .collect(),
            },
            connections,
            settings: settings.pipeline,
        }
    }

    fn router(&self, settings: &Settings) -> Router {
        Router::new(
            &settings.routes,
            &settings.filter.types,
            &self.destinations(),
        )
    }

    fn dead_letters(&self, settings: &Settings) -> DeadLetters {
        match settings.dead_letter.queue_url.as_str() {
            "" => DeadLetters::LogOnly,
            url => DeadLetters::Queue(self.sqs.clone(), url.to_owned()),
        }
    }

    /// Returns the settled set, where there is a state table. A dry run has none: its records are
    /// not written, so that a later invocation has to send them.
    fn settled_set(&self, settings: &Settings) -> Option<SettledSet> {
        let client = self
            .dynamodb
            .clone()
            .filter(|_| !settings.pipeline.dry_run)?;
        Some(SettledSet::new(
            client,
            self.table.clone(),
            self.app.function.clone(),
            settings.state.ttl_hours,
        ))
    }
}

/// Makes the client of Secrets Manager. Its retries end within the time limit of a secret; the
/// SDK's default pauses are as long as that limit.
fn secrets_manager(aws: &SdkConfig) -> aws_sdk_secretsmanager::Client {
    use aws_sdk_secretsmanager::config::Builder;
    use aws_sdk_secretsmanager::config::retry::RetryConfig;
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(100));
    aws_sdk_secretsmanager::Client::from_conf(Builder::from(aws).retry_config(retries).build())
}

/// Makes the client of the state table. The table only saves work, so a call gets little time: a
/// second attempt where the first has no answer. A time limit that the configuration sets is kept.
fn dynamodb(aws: &SdkConfig) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::Builder;
    use aws_sdk_dynamodb::config::retry::RetryConfig;
    use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
    let retries = RetryConfig::standard()
        .with_max_attempts(2)
        .with_initial_backoff(Duration::from_millis(50));
    let limit = aws
        .timeout_config()
        .and_then(TimeoutConfig::operation_timeout)
        .unwrap_or(Duration::from_secs(1));
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(limit * 9 / 20)
        .operation_timeout(limit);
    let config = Builder::from(aws)
        .retry_config(retries)
        .timeout_config(timeouts.build())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// Makes the client of the dead-letter queue. A queue without an answer must not use up the
/// invocation's time: its records come again.
fn sqs(aws: &SdkConfig) -> aws_sdk_sqs::Client {
    use aws_sdk_sqs::config::Builder;
    use aws_sdk_sqs::config::timeout::TimeoutConfig;
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(10));
    aws_sdk_sqs::Client::from_conf(Builder::from(aws).timeout_config(timeouts.build()).build())
}
