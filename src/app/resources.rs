//! The clients and caches of which pipelines are built.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::connections::SystemConnection;
use super::{App, AppError};
use crate::adapters::AdapterSpec;
use crate::dispatch::{ApiDispatcher, LeaseTable};
use crate::http_client;
use crate::pipeline::Pipeline;
use crate::route::Router;
use crate::secrets::Secrets;
use crate::services::{DeadLetterQueue, Services, StateTable};
use crate::settings::{Environment, Settings, SettingsError};
use crate::settle::{DeadLetters, SettledSet, Settler};
use crate::source::RecordDecoder;
use crate::transform::GuardMode;

/// The resources that outlive a change of the settings.
pub(super) struct Resources {
    app: App,
    http: reqwest::Client,
    secrets: Arc<Secrets>,
    queue: Arc<dyn DeadLetterQueue>,
    /// Present where the settings name a state table.
    state_table: Option<Arc<dyn StateTable>>,
    /// The name of the state table, which is read at start only.
    table: String,
}

impl Resources {
    pub(super) fn new(
        app: App,
        secrets: Arc<Secrets>,
        settings: &Settings,
        aws: &dyn Services,
    ) -> Result<Self, AppError> {
        for system in app.registry {
            if settings.systems.named(system.name).is_none() {
                return Err(AppError::Section(system.name));
            }
        }
        let http = match &app.http {
            Some(client) => client.clone(),
            None => http_client::client_trusting(&app.extra_roots)?,
        };
        let table = settings.state.table.clone();
        Ok(Self {
            app,
            http,
            secrets,
            queue: aws.queue(),
            state_table: (!table.is_empty()).then(|| aws.table()),
            table,
        })
    }

    /// Merges and validates the settings of a document, whose routes may name the app's systems.
    pub(super) fn load(
        &self,
        environment: &Environment,
        document: &str,
    ) -> Result<Settings, SettingsError> {
        let layers = environment.layers(self.app.registry, document)?;
        layers.settings(&self.destinations())
    }

    /// Returns the systems' names.
    fn destinations(&self) -> Vec<&'static str> {
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

    /// Builds every system's adapter. The secret of a system without a route, or of another
    /// function, is not read with the others.
    pub(super) fn specs(&self, settings: &Settings) -> Vec<(&'static str, AdapterSpec)> {
        let router = self.router(settings);
        let mut specs = Vec::new();
        for (at, system) in self.app.registry.iter().enumerate() {
            let Some(section) = settings.systems.named(system.name) else {
                continue;
            };
            let section = section.settings();
            let secret = if router.reaches(at) {
                self.secrets.get(section.secret_id())
            } else {
                self.secrets.get_unused(section.secret_id())
            };
            specs.push((system.name, section.adapter(self.http.clone(), secret)));
        }
        specs.extend(self.app.others.iter().cloned());
        specs
    }

    /// Shares the destination's budget among all environments, through the state table.
    fn share_budget(&self, dispatcher: &ApiDispatcher) {
        if let Some(client) = &self.state_table {
            let destination = dispatcher.adapter.destination();
            dispatcher.rate_limiter.share_through(LeaseTable::new(
                Arc::clone(client),
                &self.table,
                destination,
            ));
        }
    }

    /// Prepares the systems that have a route, and the AWS services, until `end`. The limiters
    /// lease their first calls from the state table, which opens the connection to it.
    pub(super) async fn prepare(
        &self,
        connections: &[SystemConnection],
        settings: &Settings,
        end: Instant,
    ) {
        let router = self.router(settings);
        let in_use = connections
            .iter()
            .enumerate()
            .filter(|(at, _)| router.reaches(*at));
        let systems = in_use.map(|(_, system)| system.connection.dispatcher.prepare(end));
        let dead_letters = self.dead_letters(settings);
        tokio::join!(
            self.secrets.prefetch(),
            join_all(systems),
            dead_letters.connect()
        );
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
            decoder: RecordDecoder::new(&settings.source),
            filter: settings.filter.clone(),
            router: self.router(settings),
            version_source: settings.guard.version,
            compares_all: settings.guard.mode == GuardMode::Always,
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
            function: self.app.function.as_str().into(),
            settings: settings.pipeline.clone(),
        }
    }

    pub(super) fn router(&self, settings: &Settings) -> Router {
        let destinations = self.destinations();
        Router::new(&settings.routes, &settings.filter.types, &destinations)
            .limited_to(&settings.pipeline.destinations, &destinations)
    }

    fn dead_letters(&self, settings: &Settings) -> DeadLetters {
        match settings.dead_letter.queue_url.as_str() {
            "" => DeadLetters::LogOnly,
            url => DeadLetters::Queue(Arc::clone(&self.queue), url.to_owned()),
        }
    }

    /// Returns the settled set, where there is a state table. A dry run has none: its records are
    /// not written, so that a later invocation has to send them.
    fn settled_set(&self, settings: &Settings) -> Option<SettledSet> {
        let client = self
            .state_table
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
