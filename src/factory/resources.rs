//! What the parts of a pipeline are made with.

use std::sync::Arc;

use super::wiring::WiredSystem;
use super::{Factory, FactoryError, System};
use crate::adapters::{AdapterDeps, http};
use crate::dispatch::{ApiDispatcher, LeaseTable};
use crate::pipeline::Pipeline;
use crate::route::Router;
use crate::secrets::Secrets;
use crate::services::{DeadLetterQueue, Services, StateTable};
use crate::settings::{Preset, Settings};
use crate::settle::{DeadLetters, SettledSet, Settler};

/// What outlives a change of the settings.
pub(super) struct Resources {
    systems: Vec<System>,
    pub(super) deps: AdapterDeps,
    queue: Arc<dyn DeadLetterQueue>,
    /// Where there is a table.
    state_table: Option<Arc<dyn StateTable>>,
    /// Its name, which is read at start only.
    table: String,
    function: String,
}

impl Resources {
    pub(super) fn new(
        factory: Factory,
        preset: Preset,
        settings: &Settings,
        aws: &dyn Services,
    ) -> Result<Self, FactoryError> {
        let Factory {
            systems,
            http,
            function,
        } = factory;
        let http = http.map_or_else(http::client, Ok)?;
        let secrets = Secrets::new(aws.secrets(), preset.is_for_developers());
        let table = settings.state.table.clone();
        Ok(Self {
            systems,
            deps: AdapterDeps::new(http, secrets),
            queue: aws.queue(),
            state_table: (!table.is_empty()).then(|| aws.table()),
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
        if let Some(client) = &self.state_table {
            let destination = dispatcher.adapter.destination();
            dispatcher.rate_limiter.share_through(LeaseTable::new(
                Arc::clone(client),
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
            url => DeadLetters::Queue(Arc::clone(&self.queue), url.to_owned()),
        }
    }

    /// None in a dry run: what it only pretends to write has to be written one day.
    fn settled_set(&self, settings: &Settings) -> Option<SettledSet> {
        let client = self
            .state_table
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
