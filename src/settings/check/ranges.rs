//! The range of each number.

use std::ops::RangeInclusive;

use super::{CheckResult, ensure};
use crate::adapters::{hubspot, salesforce};

/// The range of each number. A margin and the first delays have a second limit, the value of
/// another key.
const RANGES: [(&str, RangeInclusive<u64>); 23] = [
    ("refresh_secs", 0..=86_400),
    ("pipeline.concurrency_share", 1..=10_000),
    ("pipeline.transform_concurrency", 1..=10_000),
    ("pipeline.queue_capacity", 1..=100_000),
    ("pipeline.deadline_margin_ms", 1..=899_999),
    ("pipeline.fallback_budget_ms", 1..=900_000),
    (
        "salesforce.batch_size",
        1..=salesforce::Settings::LARGEST_BATCH as u64,
    ),
    ("salesforce.max_in_flight", 1..=100),
    ("salesforce.request_timeout_ms", 1..=600_000),
    ("salesforce.rate_limit.requests", 1..=1_000_000),
    ("salesforce.rate_limit.per_ms", 1..=86_400_000),
    ("salesforce.retry.max_attempts", 1..=20),
    ("salesforce.retry.base_delay_ms", 1..=900_000),
    ("salesforce.retry.max_delay_ms", 1..=900_000),
    (
        "hubspot.batch_size",
        1..=hubspot::Settings::LARGEST_BATCH as u64,
    ),
    ("hubspot.max_in_flight", 1..=100),
    ("hubspot.request_timeout_ms", 1..=600_000),
    ("hubspot.rate_limit.requests", 1..=1_000_000),
    ("hubspot.rate_limit.per_ms", 1..=86_400_000),
    ("hubspot.retry.max_attempts", 1..=20),
    ("hubspot.retry.base_delay_ms", 1..=900_000),
    ("hubspot.retry.max_delay_ms", 1..=900_000),
    ("state.ttl_hours", 1..=8760),
];

/// Returns the range of the number at `key`; `None` where the value is not a number.
pub(in crate::settings) fn range(key: &str) -> Option<&'static RangeInclusive<u64>> {
    RANGES
        .iter()
        .find(|(known, _)| *known == key)
        .map(|(_, range)| range)
}

/// Formats a range for error messages.
pub(in crate::settings) fn shown(range: &RangeInclusive<u64>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// Validates a number by its key's range in [`RANGES`].
pub(super) fn within<T: TryInto<u64>>(key: &'static str, value: T) -> CheckResult {
    inside(
        key,
        value.try_into().unwrap_or(u64::MAX),
        range(key).unwrap_or(&(0..=u64::MAX)),
    )
}

pub(super) fn inside(key: &'static str, value: u64, range: &RangeInclusive<u64>) -> CheckResult {
    ensure(key, range.contains(&value), || {
        format!("is {value}; allowed: {}", shown(range))
    })
}
