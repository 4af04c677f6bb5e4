//! Passes dependencies to a system's adapter, and the adapter with its limits to the factory.

use std::sync::Arc;

use reqwest::Client;

use super::Adapter;
use crate::dispatch::settings::{RateLimit, Retry};
use crate::secrets::{Secret, Secrets};

/// An adapter with the limits under which the dispatcher calls it.
pub struct AdapterSpec {
    /// The adapter.
    pub adapter: Arc<dyn Adapter>,
    /// Rate limit of the account's API calls.
    pub rate_limit: RateLimit,
    /// Backoff of repeated calls.
    pub retry: Retry,
    /// Most calls at a time.
    pub max_in_flight: usize,
    /// The destination stores the version of each record, so that a guard can compare it.
    pub keeps_versions: bool,
}

/// Dependencies of the adapters. They outlive every reload of the settings.
#[derive(Debug)]
pub struct AdapterDeps {
    http: Client,
    secrets: Arc<Secrets>,
    /// A change may be routed to the system that is built with them.
    is_used: bool,
}

impl AdapterDeps {
    /// Builds the dependencies of one process.
    pub(crate) fn new(http: Client, secrets: Secrets) -> Self {
        Self {
            http,
            secrets: Arc::new(secrets),
            is_used: true,
        }
    }

    /// Returns the dependencies of a system that no change is routed to. Its secret is not read at
    /// the start.
    pub(crate) fn of_unused(&self) -> Self {
        Self {
            http: self.http.clone(),
            secrets: Arc::clone(&self.secrets),
            is_used: false,
        }
    }

    /// Returns the one HTTP client of the process.
    pub fn http(&self) -> Client {
        self.http.clone()
    }

    /// Returns the secret with this name, ARN or, on a developer's machine, `file:PATH`.
    pub fn secret(&self, id: &str) -> Arc<Secret> {
        if self.is_used {
            self.secrets.get(id)
        } else {
            self.secrets.get_unused(id)
        }
    }

    /// Starts to read the secrets of every system in use that was built so far.
    pub(crate) fn prefetch_secrets(&self) {
        self.secrets.prefetch();
    }
}
