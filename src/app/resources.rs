//! What the parts of a pipeline are made with.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;

use super::wiring::WiredSystem;
use super::{Factory, FactoryError, System};
use crate::adapters::{AdapterDeps, http};
use crate::dispatch::{ApiDispatcher, LeaseTable};
use crate::pipeline::Pipeline;
use crate::route::Router;
use crate::secrets::Secrets;
use crate::settings::{Preset, Settings};
use crate::settle::{DeadLetters, SettledSet, Settler};

/// What outlives a change of the settings.
pub(super) struct Resources {
    systems: Vec<System>,
    pub(super) deps: AdapterDeps,
    sqs: aws_sdk_sqs::Client,
    /// Where there is a table.
    dynamodb: Option<aws_sdk_dynamodb::Client>,
    /// Its name, which is read at start only.
    table: String,
    function: String,
}

impl Resources {
    pub(super) fn new(
        factory: Factory,
        preset: Preset,
        settings: &Settings,
        aws: &SdkConfig,
    ) -> Result<Self, FactoryError> {
        let Factory {
            systems,
            http,
            function,
        } = factory;
        let http = http.map_or_else(http::client, Ok)?;
        let secrets = Secrets::new(secrets_manager(aws), preset.is_for_developers());
        let table = settings.state.table.clone();
        Ok(Self {
            systems,
            deps: AdapterDeps::new(http, secrets),
            sqs: sqs(aws),
            dynamodb: (!table.is_empty()).then(|| dynamodb(aws)),
            table,
            function,
        })
    }

    pub(super) fn destinations(&self) -> Vec<&'static str> {
        self.systems.iter().map(|system| system.name).collect()
    }

    /// Every system's connection. What was learnt with the same settings `before` is kept.
    pub(super) fn wire(&self, settings: &Settings, before: &[WiredSystem]) -> Arc<[WiredSystem]> {
        let router = self.router(settings);
        let unused = self.deps.of_unused();
        let wire = |(at, system): (usize, &System)| {
            let deps = if router.reaches(at) {
                &self.deps
            } else {
                &unused
            };
            let wired = WiredSystem::new(
                system.name,
                settings,
                (system.open)(settings, deps),
                before.get(at),
            );
            self.share_budget(&wired.connection.dispatcher);
            wired
        };
        self.systems.iter().enumerate().map(wire).collect()
    }

    /// With a state table, all environments share each destination's budget through it.
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

    pub(super) fn pipeline(&self, settings: &Settings, wired: &[WiredSystem]) -> Pipeline {
        let connections: Arc<[_]> = wired.iter().map(|wired| wired.connection.clone()).collect();
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

    /// None in a dry run: what it only pretends to write has to be written one day.
    fn settled_set(&self, settings: &Settings) -> Option<SettledSet> {
        let client = self
            .dynamodb
            .clone()
            .filter(|_| !settings.pipeline.dry_run)?;
        Some(SettledSet::new(
            client,
            self.table.clone(),
            self.function.clone(),
            settings.state.ttl_hours,
        ))
    }
}

/// A service that cannot be reached is known for it within the time that a secret has: the SDK's
/// own pauses are as long.
fn secrets_manager(aws: &SdkConfig) -> aws_sdk_secretsmanager::Client {
    use aws_sdk_secretsmanager::config::Builder;
    use aws_sdk_secretsmanager::config::retry::RetryConfig;
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(100));
    aws_sdk_secretsmanager::Client::from_conf(Builder::from(aws).retry_config(retries).build())
}

/// The state table only saves work, so it is given little time: a second try where the first did
/// not come back. A limit for an operation that the configuration sets itself is kept.
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

/// A queue that does not answer must not take the whole invocation: its records come again.
fn sqs(aws: &SdkConfig) -> aws_sdk_sqs::Client {
    use aws_sdk_sqs::config::Builder;
    use aws_sdk_sqs::config::timeout::TimeoutConfig;
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(10));
    aws_sdk_sqs::Client::from_conf(Builder::from(aws).timeout_config(timeouts.build()).build())
}
