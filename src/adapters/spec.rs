//! What a system and the factory have to know of each other.

use std::sync::Arc;

use reqwest::Client;

use super::Adapter;
use crate::dispatch::settings::{RateLimit, Retry};
use crate::secrets::{Secret, Secrets};

/// An external system, ready to be called, and how it wants to be called.
pub struct AdapterSpec {
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

/// What systems are made with. It outlives every change of the settings.
#[derive(Debug)]
pub struct AdapterDeps {
    http: Client,
    secrets: Arc<Secrets>,
    /// Whether a change may be routed to the system that is made with them.
    is_used: bool,
}

impl AdapterDeps {
    /// The dependencies of one process.
    pub(crate) fn new(http: Client, secrets: Secrets) -> Self {
        Self {
            http,
            secrets: Arc::new(secrets),
            is_used: true,
        }
    }

    /// Returns the dependencies of a system that no change is routed to: its secret is not read at the
    /// start.
    pub(crate) fn of_unused(&self) -> Self {
        Self {
            http: self.http.clone(),
            secrets: Arc::clone(&self.secrets),
            is_used: false,
        }
    }

    /// The one HTTP client of the process.
    pub fn http(&self) -> Client {
        self.http.clone()
    }

    /// The secret of this name, ARN or, on a developer's machine, `file:PATH`.
    pub fn secret(&self, id: &str) -> Arc<Secret> {
        if self.is_used {
            self.secrets.get(id)
        } else {
            self.secrets.get_unused(id)
        }
    }

    /// Begins to read the secrets of every system in use that was made so far.
    pub(crate) fn prefetch_secrets(&self) {
        self.secrets.prefetch();
    }
}
