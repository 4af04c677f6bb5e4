//! Connections to the systems, and the parts of them that outlive a change of the settings.

use std::sync::Arc;

use crate::adapters::{AdapterSpec, Section};
use crate::dispatch::{ApiDispatcher, Concurrency, DryRun, RateLimiter, RetryPolicy};
use crate::model::limits::RateLimit;
use crate::pipeline::Connection;
use crate::settings::Settings;
use crate::transform::DestinationGuard;

/// A connection, and the settings of which it was built.
pub(super) struct SystemConnection {
    pub(super) connection: Connection,
    section: Option<Section>,
    max_in_flight: usize,
    rate_limit: RateLimit,
    share: u32,
}

impl SystemConnection {
    /// Connects the system of `spec`. Keeps each part of `before` whose settings are equal: the
    /// concurrency limit that was learnt, and, where the system's whole section is equal, the
    /// breaker and the adapter with its token. A changed section may fix the cause of an open
    /// breaker. The rate limiter is always kept: the calls of the last window count for any budget.
    /// An invocation in progress uses the same limiter, so a new budget waits for
    /// [`Self::apply_budget`].
    pub(super) fn new(
        name: &str,
        settings: &Settings,
        spec: AdapterSpec,
        before: Option<&Self>,
    ) -> Self {
        let AdapterSpec {
            adapter,
            rate_limit,
            retry,
            max_in_flight,
            keeps_versions,
        } = spec;
        let share = settings.pipeline.concurrency_share;
        let section = settings.systems.named(name).cloned();
        let mut dispatcher = ApiDispatcher {
            adapter,
            retry: RetryPolicy::new(retry),
            rate_limiter: Arc::new(RateLimiter::new(rate_limit, share)),
            breaker: Arc::default(),
            concurrency: Arc::new(Concurrency::new(max_in_flight)),
            batch_sizes: Arc::default(),
            dry_run: settings.pipeline.dry_run.then(DryRun::logged),
        };
        if let Some(before) = before {
            let old = &before.connection.dispatcher;
            dispatcher.rate_limiter = Arc::clone(&old.rate_limiter);
            if before.max_in_flight == max_in_flight {
                dispatcher.concurrency = Arc::clone(&old.concurrency);
            }
            if before.section == section {
                dispatcher.adapter = Arc::clone(&old.adapter);
                dispatcher.breaker = Arc::clone(&old.breaker);
                dispatcher.batch_sizes = Arc::clone(&old.batch_sizes);
            }
        }
        let guard = if keeps_versions {
            DestinationGuard::Versions(settings.guard.mode)
        } else {
            DestinationGuard::NoVersions
        };
        Self {
            connection: Connection { dispatcher, guard },
            section,
            max_in_flight,
            rate_limit,
            share,
        }
    }

    /// Gives the rate limiter the budget of these settings.
    pub(super) fn apply_budget(&self) {
        self.connection
            .dispatcher
            .rate_limiter
            .set_budget(self.rate_limit, self.share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::DESTINATIONS;
    use crate::http_client;
    use crate::secrets::Secrets;
    use crate::services::{Services as _, Unavailable};
    use crate::settings::{Layer, Preset, load};

    fn secrets() -> Secrets {
        Secrets::new(Unavailable.secrets(), true)
    }

    /// Connects the first system with `document` over the preset.
    fn connected(
        document: &str,
        secrets: &Secrets,
        before: Option<&SystemConnection>,
    ) -> SystemConnection {
        let layer = Layer::from_toml("the test", document).expect("TOML");
        let settings = load(Preset::Test, &[layer], &DESTINATIONS).expect("allowed");
        let section = settings.systems.iter().next().expect("a section");
        let spec = section.settings().adapter(
            http_client::client().expect("a client"),
            secrets.get(section.settings().secret_id()),
        );
        SystemConnection::new(section.system.name, &settings, spec, before)
    }

    #[test]
    fn parts_with_equal_settings_are_kept() {
        let secrets = secrets();
        let before = connected("", &secrets, None);
        for (document, adapter_and_breaker, concurrency) in [
            ("[filter]\ntypes = [\"lead\"]", true, true),
            ("[hubspot]\nbatch_size = 7", true, true),
            ("[pipeline]\nqueue_capacity = 7", true, true),
            ("[pipeline]\ndry_run = true", true, true),
            ("[pipeline]\nconcurrency_share = 7", true, true),
            ("[salesforce]\nbatch_size = 7", false, true),
            ("[salesforce.attributes]\nplan = \"Plan__c\"", false, true),
            ("[salesforce]\nmax_in_flight = 7", false, false),
            ("[salesforce.rate_limit]\nrequests = 7", false, true),
        ] {
            let after = connected(document, &secrets, Some(&before));
            let (old, new) = (&before.connection.dispatcher, &after.connection.dispatcher);
            assert_eq!(
                Arc::ptr_eq(&old.adapter, &new.adapter),
                adapter_and_breaker,
                "adapter: {document}"
            );
            assert_eq!(
                Arc::ptr_eq(&old.breaker, &new.breaker),
                adapter_and_breaker,
                "breaker: {document}"
            );
            assert!(
                Arc::ptr_eq(&old.rate_limiter, &new.rate_limiter),
                "rate limiter: {document}"
            );
            assert_eq!(
                Arc::ptr_eq(&old.concurrency, &new.concurrency),
                concurrency,
                "concurrency: {document}"
            );
            assert_eq!(
                new.dry_run.is_some(),
                document.contains("dry_run"),
                "dry run: {document}"
            );
        }
    }
}
