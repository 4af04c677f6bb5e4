//! Validates the values of well-formed settings. Each system validates its own section.

use std::ops::RangeInclusive;

use reqwest::Url;

use super::layers::suggestion;
use super::{Preset, Settings, unguarded};
use crate::adapters::Registry;
use crate::checks::{self, CheckResult, InvalidValue, Ranges, aws_name, ensure, inside, within};
use crate::transform::GuardMode;

/// The range of each number. A margin has a second limit, the value of another key.
const RANGES: &Ranges = &[
    ("refresh_secs", 0..=86_400),
    ("pipeline.concurrency_share", 1..=10_000),
    ("pipeline.transform_concurrency", 1..=10_000),
    ("pipeline.queue_capacity", 1..=100_000),
    ("pipeline.deadline_margin_ms", 1..=899_999),
    ("pipeline.fallback_budget_ms", 1..=900_000),
    ("state.ttl_hours", 1..=8760),
];

/// Returns the range of the number at `key`, which may be in the section of a system; `None` where
/// the value is not a number.
pub(super) fn range(key: &str, registry: Registry) -> Option<&'static RangeInclusive<u64>> {
    let of_systems = registry.iter().map(|system| system.ranges);
    std::iter::once(RANGES)
        .chain(of_systems)
        .find_map(|ranges| checks::range(ranges, key))
}

/// Validates all values. Fails with the first invalid one.
pub(super) fn check(settings: &Settings, preset: Preset, destinations: &[&str]) -> CheckResult {
    within(RANGES, "refresh_secs", settings.refresh_secs)?;
    pipeline(settings)?;
    settings.source.check(settings.guard.version)?;
    served(settings, destinations)?;
    filter(settings)?;
    routes(settings, destinations)?;
    for section in settings.systems.iter() {
        section.settings().check(preset.is_for_developers())?;
    }
    guard(settings)?;
    settle(settings)
}

/// Validates that the settings have the values that only the deployment can provide.
pub(super) fn complete(settings: &Settings, preset: Preset) -> CheckResult {
    let has_queue = !settings.dead_letter.queue_url.is_empty() || preset.is_for_developers();
    ensure("dead_letter.queue_url", has_queue, || {
        format!(
            "is empty, but the preset {} needs one; allowed: the URL of an SQS queue",
            preset.name()
        )
    })
}

fn pipeline(settings: &Settings) -> CheckResult {
    let pipeline = &settings.pipeline;
    within(
        RANGES,
        "pipeline.concurrency_share",
        pipeline.concurrency_share,
    )?;
    within(
        RANGES,
        "pipeline.transform_concurrency",
        pipeline.transform_concurrency,
    )?;
    within(RANGES, "pipeline.queue_capacity", pipeline.queue_capacity)?;
    let (margin, budget) = ("pipeline.deadline_margin_ms", "pipeline.fallback_budget_ms");
    within(RANGES, budget, pipeline.fallback_budget_ms)?;
    let below = pipeline.fallback_budget_ms.saturating_sub(1).max(1);
    inside(margin, pipeline.deadline_margin_ms, &(1..=below))
        .map_err(|invalid| invalid.limited_by(budget, "which has to be greater"))
}

fn filter(settings: &Settings) -> CheckResult {
    let all_types = "lead, prospect, customer, vendor";
    ensure("filter.types", !settings.filter.types.is_empty(), || {
        format!("is empty; allowed: some of {all_types}")
    })?;
    let operations = "create, update, delete";
    let filled = !settings.filter.operations.is_empty();
    ensure("filter.operations", filled, || {
        format!("is empty; allowed: some of {operations}")
    })
}

/// Validates the destinations that this function serves.
fn served(settings: &Settings, destinations: &[&str]) -> CheckResult {
    let key = "pipeline.destinations";
    names_destinations(key, &settings.pipeline.destinations, destinations)
}

/// Validates that each of `named` is a destination, and named once.
fn names_destinations(key: &'static str, named: &[String], destinations: &[&str]) -> CheckResult {
    let unknown = named
        .iter()
        .find(|name| !destinations.contains(&name.as_str()));
    if let Some(unknown) = unknown {
        let known = destinations.join(", ");
        let meant = suggestion(unknown, destinations);
        return Err(InvalidValue::new(
            key,
            format!("names `{unknown}`; allowed: {known}{meant}"),
        ));
    }
    let twice = named
        .iter()
        .enumerate()
        .find(|(at, name)| named[..*at].contains(name));
    ensure(key, twice.is_none(), || {
        "names a destination twice; allowed: each once".to_owned()
    })
}

fn routes(settings: &Settings, destinations: &[&str]) -> CheckResult {
    for (key, kind, named) in settings.routes.entries() {
        let known = destinations.join(", ");
        names_destinations(key, named, destinations)?;
        let needed = settings.filter.types.contains(&kind);
        ensure(key, !named.is_empty() || !needed, || {
            format!("is empty, though filter.types lets the type through; allowed: some of {known}")
        })
        .map_err(|invalid| invalid.with_other("filter.types"))?;
    }
    Ok(())
}

/// Validates that each system in use has a version field where the guard compares all changes.
fn guard(settings: &Settings) -> CheckResult {
    if settings.guard.mode != GuardMode::Always {
        return Ok(());
    }
    match unguarded(settings).first() {
        Some((_, key)) => Err(InvalidValue::new(
            *key,
            "is empty; allowed: a version field (because of `guard.mode`, which is `always`)",
        )
        .with_other("guard.mode")),
        None => Ok(()),
    }
}

fn settle(settings: &Settings) -> CheckResult {
    queue_url(&settings.dead_letter.queue_url)?;
    let table = &settings.state.table;
    aws_name(
        "state.table",
        table,
        table.is_empty(),
        "_.-:/",
        "a table's name or ARN",
    )?;
    within(RANGES, "state.ttl_hours", settings.state.ttl_hours)
}

/// Validates the URL of the queue. A FIFO queue requires a message group for each message, and
/// would store no dead letter.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html>
fn queue_url(text: &str) -> CheckResult {
    const KEY: &str = "dead_letter.queue_url";
    let name = queue_name(text).unwrap_or_default();
    let is_fifo = name
        .rsplit_once('.')
        .is_some_and(|(_, kind)| kind.eq_ignore_ascii_case("fifo"));
    ensure(KEY, !is_fifo, || {
        "is a FIFO queue; allowed: the URL of a standard SQS queue, \
         whose name does not end in .fifo"
            .to_owned()
    })?;
    let is_plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let is_queue = text.is_empty() || (!name.is_empty() && is_plain);
    ensure(KEY, is_queue, || {
        "is not the URL of a queue; allowed: the URL of an SQS queue".to_owned()
    })
}

/// Returns the last segment of the URL `text`; `None` where it cannot be the URL of a queue.
fn queue_name(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let is_web = url.has_host() && matches!(url.scheme(), "https" | "http");
    if !is_bare || !is_web || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    url.path_segments()?.next_back().map(str::to_owned)
}
