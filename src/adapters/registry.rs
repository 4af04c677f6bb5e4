//! The registry of external systems: one line per system.

use std::sync::Arc;

use reqwest::Client;

use super::Adapter;
use super::hubspot::{self, HubSpot};
use super::salesforce::{self, Salesforce};
use crate::model::limits::{RateLimit, Retry};
use crate::secrets::Secret;

/// The external systems, in the order in which positions refer to them.
pub const REGISTRY: [System; 2] = [
    System {
        name: "salesforce",
        secret_id: |sections| &sections.salesforce.secret_id,
        build: |sections, http, secret| Salesforce::spec(sections.salesforce, http, secret),
    },
    System {
        name: "hubspot",
        secret_id: |sections| &sections.hubspot.secret_id,
        build: |sections, http, secret| HubSpot::spec(sections.hubspot, http, secret),
    },
];

/// The names that routes may use.
pub const DESTINATIONS: [&str; REGISTRY.len()] = {
    let mut names = [""; REGISTRY.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = REGISTRY[at].name;
        at += 1;
    }
    names
};

/// An external system, and how its adapter is built.
pub struct System {
    /// The name in routes, logs and metrics, and of the section in the settings.
    pub name: &'static str,
    /// Returns the name of the system's secret.
    pub secret_id: for<'a> fn(Sections<'a>) -> &'a str,
    /// Builds the adapter with the process's HTTP client and the system's secret.
    pub build: fn(Sections<'_>, Client, Arc<Secret>) -> AdapterSpec,
}

/// The sections of all systems in the settings.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    /// The section `[salesforce]`.
    pub salesforce: &'a salesforce::Settings,
    /// The section `[hubspot]`.
    pub hubspot: &'a hubspot::Settings,
}

/// An adapter, and the limits within which `dispatch` calls it.
#[derive(Clone)]
pub struct AdapterSpec {
    /// The adapter.
    pub adapter: Arc<dyn Adapter>,
    /// The account's budget of calls.
    pub rate_limit: RateLimit,
    /// The retry policy.
    pub retry: Retry,
    /// Concurrent calls.
    pub max_in_flight: usize,
    /// Whether the system keeps the version of each record, so that a guard can compare.
    pub keeps_versions: bool,
}
