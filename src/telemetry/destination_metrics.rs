//! Counts one invocation's calls to one destination.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::model::limits::Quota;
use crate::model::{Cause, ValueCounts};

/// The metrics of one invocation's calls to one destination.
#[derive(Debug, Default)]
pub struct DestinationMetrics {
    api_calls: AtomicU64,
    api_errors: AtomicU64,
    retries: AtomicU64,
    rate_limited: AtomicU64,
    auth_failures: AtomicU64,
    lease_failures: AtomicU64,
    config_errors: AtomicU64,
    unknown_codes: AtomicU64,
    values_cut: AtomicU64,
    values_unrecognised: AtomicU64,
    unchanged: AtomicU64,
    partial: AtomicU64,
    is_stopped: AtomicBool,
    latencies_ms: Mutex<Vec<u32>>,
    lags_ms: Mutex<Vec<u64>>,
    quota: Mutex<Quota>,
}

impl DestinationMetrics {
    /// Counts one HTTP call.
    pub fn api_call(&self, latency: Duration, failed: bool) {
        self.api_calls.fetch_add(1, Relaxed);
        self.api_errors.fetch_add(u64::from(failed), Relaxed);
        let millis = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        lock(&self.latencies_ms).push(millis);
    }

    /// Records the lag of a change that the destination has taken.
    pub fn delivered(&self, occurred_at: OffsetDateTime) {
        self.delivered_at(occurred_at, OffsetDateTime::now_utc());
    }

    /// Records the lag of a change whose write was answered at `now`. A change from the future has
    /// no lag.
    fn delivered_at(&self, occurred_at: OffsetDateTime, now: OffsetDateTime) {
        let millis = u64::try_from((now - occurred_at).whole_milliseconds()).unwrap_or(0);
        lock(&self.lags_ms).push(millis);
    }

    /// Counts a call or payload that is sent again.
    pub fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Counts a response that limits the rate.
    pub fn rate_limited(&self) {
        self.rate_limited.fetch_add(1, Relaxed);
    }

    /// Counts a refused credential.
    pub fn auth_failure(&self) {
        self.auth_failures.fetch_add(1, Relaxed);
    }

    /// Counts a failed lease of the shared rate limit.
    pub fn lease_failed(&self) {
        self.lease_failures.fetch_add(1, Relaxed);
    }

    /// Counts a row error with an unknown code.
    pub fn unknown_code(&self) {
        self.unknown_codes.fetch_add(1, Relaxed);
    }

    /// Counts values that were shortened to fit their field, and values without a normal form.
    pub fn count_values(&self, counts: ValueCounts) {
        self.values_cut.fetch_add(u64::from(counts.cut), Relaxed);
        self.values_unrecognised
            .fetch_add(u64::from(counts.unrecognised), Relaxed);
    }

    /// Counts a record whose write would have changed nothing.
    pub fn unchanged(&self) {
        self.unchanged.fetch_add(1, Relaxed);
    }

    /// Counts a record that was written without the fields that the system refused.
    pub fn partial(&self) {
        self.partial.fetch_add(1, Relaxed);
    }

    /// Counts that the destination was stopped for this cause.
    pub fn stopped(&self, cause: Cause) {
        self.is_stopped.store(true, Relaxed);
        self.config_errors
            .fetch_add(u64::from(cause == Cause::Configuration), Relaxed);
    }

    /// Counts a response that refuses some records because of the settings or the account.
    pub fn config_error(&self) {
        self.config_errors.fetch_add(1, Relaxed);
    }

    /// Counts a call that was not made because the circuit breaker is open.
    pub fn met_open_breaker(&self) {
        self.is_stopped.store(true, Relaxed);
    }

    /// Replaces the quota by that of the latest response.
    pub fn note_quota(&self, quota: Quota) {
        *lock(&self.quota) = quota;
    }

    /// Returns the quota of the latest response.
    pub fn quota(&self) -> Quota {
        *lock(&self.quota)
    }

    /// Returns the number of HTTP calls.
    pub fn api_calls(&self) -> u64 {
        self.api_calls.load(Relaxed)
    }

    /// Returns the number of retries.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Returns the number of refusals of the configuration.
    pub fn config_errors(&self) -> u64 {
        self.config_errors.load(Relaxed)
    }

    /// Returns the number of row errors with an unknown code.
    pub fn unknown_codes(&self) -> u64 {
        self.unknown_codes.load(Relaxed)
    }

    pub(super) fn values_cut(&self) -> u64 {
        self.values_cut.load(Relaxed)
    }

    /// Returns the sums that a line has only where they are not 0, by the names of the metrics.
    pub(super) fn rare_sums(&self) -> [(&'static str, u64); 3] {
        [
            ("RecordsUnchanged", &self.unchanged),
            ("RecordsPartial", &self.partial),
            ("ValuesUnrecognised", &self.values_unrecognised),
        ]
        .map(|(name, count)| (name, count.load(Relaxed)))
    }

    /// Returns the sums by the names of the metrics.
    pub(super) fn sums(&self) -> [(&'static str, u64); 6] {
        [
            ("ApiCalls", &self.api_calls),
            ("ApiErrors", &self.api_errors),
            ("Retries", &self.retries),
            ("RateLimited", &self.rate_limited),
            ("AuthFailures", &self.auth_failures),
            ("LeaseFailures", &self.lease_failures),
        ]
        .map(|(name, count)| (name, count.load(Relaxed)))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Relaxed)
    }

    /// Returns the calls' durations in milliseconds, [thinned] to `most`.
    pub(super) fn latencies_ms(&self, most: usize) -> Vec<u32> {
        thinned(lock(&self.latencies_ms).clone(), most)
    }

    /// Returns the times from the changes to the destination's answers in milliseconds,
    /// [thinned] to `most`.
    pub(super) fn lags_ms(&self, most: usize) -> Vec<u64> {
        thinned(lock(&self.lags_ms).clone(), most)
    }
}

/// Sorts `values`. Of more than `most` it selects that many at even distances, which preserves the
/// percentiles.
fn thinned<T: Copy + Ord>(mut values: Vec<T>, most: usize) -> Vec<T> {
    values.sort_unstable();
    if values.len() <= most {
        return values;
    }
    (0..most)
        .map(|at| values[at * (values.len() - 1) / (most - 1)])
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_latencies_keep_the_least_and_the_greatest() {
        let metrics = DestinationMetrics::default();
        for millis in 0..1000 {
            metrics.api_call(Duration::from_millis(millis), millis % 10 == 0);
        }
        let thinned = metrics.latencies_ms(100);
        assert_eq!((thinned.len(), thinned[0], thinned[99]), (100, 0, 999));
        assert_eq!(
            metrics.sums()[..2],
            [("ApiCalls", 1000), ("ApiErrors", 100)]
        );
    }

    #[test]
    fn a_lag_is_the_time_from_the_change_to_the_answer_and_never_negative() {
        let metrics = DestinationMetrics::default();
        let occurred_at = OffsetDateTime::UNIX_EPOCH;
        for millis in [2_500, 0, -1, 90 * 86_400_000] {
            metrics.delivered_at(
                occurred_at,
                occurred_at + time::Duration::milliseconds(millis),
            );
        }
        assert_eq!(metrics.lags_ms(100), [0, 0, 2_500, 7_776_000_000]);
        assert_eq!(metrics.lags_ms(2), [0, 7_776_000_000]);
    }
}
