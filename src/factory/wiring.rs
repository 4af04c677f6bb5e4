//! One system's connection, and what of it survives a change of the settings.

use std::sync::Arc;

use crate::adapters::AdapterSpec;
use crate::dispatch::settings::RateLimit;
use crate::dispatch::{ApiDispatcher, Concurrency, DryRun, RateLimiter, RetryPolicy};
use crate::pipeline::Connection;
use crate::settings::Settings;
use crate::transform::DestinationGuard;

/// A connection, and the settings that it was made of.
pub(super) struct WiredSystem {
    pub(super) connection: Connection,
    section: Option<toml::Value>,
    max_in_flight: usize,
    rate_limit: RateLimit,
    share: u32,
}

impl WiredSystem {
    /// The connection to `external`. Each part of `before` whose settings are the same is kept: a
    /// limit with what it has learnt, and, where the system's whole section is the same, the
    /// breaker and the adapter with its token. A changed section may be the cure that an open
    /// breaker waits for. The rate limiter is kept in any case: whatever the new budget is, the
    /// calls of the last window were made. An invocation under way uses the same one, so that a new
    /// budget waits for [`Self::put_in_force`].
    pub(super) fn new<'a>(
        name: &str,
        settings: &Settings,
        external: AdapterSpec,
        before: Option<&'a Self>,
    ) -> Self {
        let AdapterSpec {
            adapter,
            rate_limit,
            retry,
            max_in_flight,
            keeps_versions,
        } = external;
        let share = settings.pipeline.concurrency_share;
        let section = section(name, settings);
        let dispatcher_of = |before: &'a Self| &before.connection.dispatcher;
        let limiter = before.map(|before| Arc::clone(&dispatcher_of(before).rate_limiter));
        let of_concurrency = before
            .filter(|before| before.max_in_flight == max_in_flight)
            .map(dispatcher_of);
        let of_section = before
            .filter(|before| before.section == section)
            .map(dispatcher_of);
        let dispatcher = ApiDispatcher {
            adapter: of_section.map_or(adapter, |old| Arc::clone(&old.adapter)),
            retry: RetryPolicy::new(retry),
            rate_limiter: limiter.unwrap_or_else(|| Arc::new(RateLimiter::new(rate_limit, share))),
            breaker: of_section.map_or_else(Arc::default, |old| Arc::clone(&old.breaker)),
            concurrency: of_concurrency.map_or_else(
                || Arc::new(Concurrency::new(max_in_flight)),
                |old| Arc::clone(&old.concurrency),
            ),
            batch_sizes: of_section.map_or_else(Arc::default, |old| Arc::clone(&old.batch_sizes)),
            dry_run: settings.pipeline.dry_run.then(DryRun::logged),
        };
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

    /// The limiter takes the budget of these settings.
    pub(super) fn put_in_force(&self) {
        self.connection
            .dispatcher
            .rate_limiter
            .set_budget(self.rate_limit, self.share);
    }
}

/// The section that is called by the system's name.
fn section(name: &str, settings: &Settings) -> Option<toml::Value> {
    let mut all = toml::Table::try_from(settings).ok()?;
    all.remove(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::{AdapterDeps, http, salesforce::Salesforce};
    use crate::secrets::Secrets;
    use crate::services::{Services as _, Unavailable};
    use crate::settings::{Layer, Preset, load};

    fn deps() -> AdapterDeps {
        AdapterDeps::new(
            http::client().expect("a client"),
            Secrets::new(Unavailable.secrets(), true),
        )
    }

    /// The connection to Salesforce with `document` over the preset.
    fn wired(document: &str, deps: &AdapterDeps, before: Option<&WiredSystem>) -> WiredSystem {
        let layer = Layer::from_toml("the test", document).expect("TOML");
        let settings = load(Preset::Test, &[layer], &["salesforce", "hubspot"]).expect("allowed");
        WiredSystem::new(
            "salesforce",
            &settings,
            Salesforce::spec(&settings.salesforce, deps),
            before,
        )
    }

    #[test]
    fn what_was_learnt_is_kept_where_its_settings_are_the_same() {
        let deps = deps();
        let before = wired("", &deps, None);
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
            let after = wired(document, &deps, Some(&before));
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
                "what is set is in force: {document}"
            );
        }
    }
}
