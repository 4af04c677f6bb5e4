//! Logs and metrics.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What one invocation's calls to one destination add up to.
#[derive(Debug, Default)]
pub struct Meter {
    api_calls: AtomicU64,
    api_errors: AtomicU64,
    auth_failures: AtomicU64,
    unknown_codes: AtomicU64,
    latencies_ms: Mutex<Vec<u32>>,
    quota: Mutex<Quota>,
}

/// What a system tells of our quota in its answers. Every part may be missing, and none is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quota {
    /// Calls allowed in a rolling window, and its length.
    pub window: Option<(u32, Duration)>,
    /// Calls left in the window.
    pub window_remaining: Option<u32>,
    /// Calls used today.
    pub daily_used: Option<u64>,
    /// Calls allowed a day.
    pub daily_max: Option<u64>,
}

impl Meter {
    /// Counts one HTTP exchange.
    pub fn api_call(&self, latency: Duration, failed: bool) {
        self.api_calls.fetch_add(1, Relaxed);
        self.api_errors.fetch_add(u64::from(failed), Relaxed);
        let millis = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        self.latencies_ms.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(millis);
    }

    /// Counts a refused credential.
    pub fn auth_failure(&self) {
        self.auth_failures.fetch_add(1, Relaxed);
    }

    /// Counts a row error whose code no table knows.
    pub fn unknown_code(&self) {
        self.unknown_codes.fetch_add(1, Relaxed);
    }

    /// Takes note of what an answer tells of the quota; the latest word counts.
    pub fn note_quota(&self, quota: Quota) {
        *self.quota.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = quota;
    }

    /// The latest word on the quota.
    pub fn quota(&self) -> Quota {
        *self.quota.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// HTTP exchanges so far.
    pub fn api_calls(&self) -> u64 {
        self.api_calls.load(Relaxed)
    }
}
