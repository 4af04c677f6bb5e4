//! Validates the values of well-formed settings.

mod names;
mod ranges;

use std::borrow::Cow;

use reqwest::Url;

use self::names::{fields, name};
use self::ranges::{inside, within};
pub(super) use self::ranges::{range, shown};
use super::layers::suggestion;
use super::{Preset, Settings, unguarded};
use crate::adapters::http::check_url;
use crate::adapters::{hubspot, salesforce};
use crate::model::limits::{RateLimit, Retry};
use crate::transform::GuardMode;

/// An invalid value: its key, and a message with the error and the allowed values.
pub(super) struct InvalidValue {
    pub(super) key: Cow<'static, str>,
    /// The key whose value contradicts this one.
    other: Option<Cow<'static, str>>,
    pub(super) message: String,
}

impl InvalidValue {
    fn new(key: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            other: None,
            message: message.into(),
        }
    }

    /// Adds `other` as a second key whose change would fix the error.
    fn with_other(self, other: &'static str) -> Self {
        Self {
            other: Some(other.into()),
            ..self
        }
    }

    /// Adds `other` as the key that sets the exceeded limit, and their relation to the message.
    fn limited_by(self, other: &'static str, relation: &str) -> Self {
        let message = format!("{} (because of `{other}`, {relation})", self.message);
        Self {
            message,
            ..self.with_other(other)
        }
    }

    /// Returns every key whose change would fix the error.
    pub(super) fn keys(&self) -> Vec<&str> {
        std::iter::once(&*self.key)
            .chain(self.other.as_deref())
            .collect()
    }
}

type CheckResult = Result<(), InvalidValue>;

/// Validates all values. Fails with the first invalid one.
pub(super) fn check(settings: &Settings, preset: Preset, destinations: &[&str]) -> CheckResult {
    within("refresh_secs", settings.refresh_secs)?;
    pipeline(settings)?;
    served(settings, destinations)?;
    filter(settings)?;
    routes(settings, destinations)?;
    salesforce_section(&settings.salesforce, preset)?;
    hubspot_section(&settings.hubspot, preset)?;
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
    within("pipeline.concurrency_share", pipeline.concurrency_share)?;
    within(
        "pipeline.transform_concurrency",
        pipeline.transform_concurrency,
    )?;
    within("pipeline.queue_capacity", pipeline.queue_capacity)?;
    let (margin, budget) = ("pipeline.deadline_margin_ms", "pipeline.fallback_budget_ms");
    within(budget, pipeline.fallback_budget_ms)?;
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

fn salesforce_section(section: &salesforce::Settings, preset: Preset) -> CheckResult {
    secret_id("salesforce.secret_id", &section.secret_id, preset)?;
    hosts("salesforce.allowed_hosts", &section.allowed_hosts)?;
    let version = section
        .api_version
        .strip_prefix('v')
        .and_then(|version| version.strip_suffix(".0"));
    let recent = version
        .and_then(|version| version.parse::<u32>().ok())
        .is_some_and(|version| version >= 52);
    ensure("salesforce.api_version", recent, || {
        format!("is `{}`; allowed: v52.0 or later", section.api_version)
    })?;
    name("salesforce.sobject", &section.sobject)?;
    let special = [
        ("salesforce.external_id_field", &*section.external_id_field),
        ("salesforce.version_field", &*section.version_field),
    ];
    name(special[0].0, special[0].1)?;
    fields(
        &salesforce::own_fields(),
        &special,
        "salesforce.attributes",
        &section.attributes,
    )?;
    within("salesforce.batch_size", section.batch_size)?;
    within("salesforce.max_in_flight", section.max_in_flight)?;
    within("salesforce.request_timeout_ms", section.request_timeout_ms)?;
    for (key, status) in [
        ("salesforce.status.lead", &section.status.lead),
        ("salesforce.status.prospect", &section.status.prospect),
    ] {
        let fits = status.chars().count() <= 40;
        ensure(key, fits, || {
            "is too long; allowed: at most 40 characters, and empty".to_owned()
        })?;
    }
    rate_limit(
        [
            "salesforce.rate_limit.requests",
            "salesforce.rate_limit.per_ms",
        ],
        section.rate_limit,
    )?;
    retry(
        [
            "salesforce.retry.max_attempts",
            "salesforce.retry.base_delay_ms",
            "salesforce.retry.max_delay_ms",
        ],
        section.retry,
    )
}

fn hubspot_section(section: &hubspot::Settings, preset: Preset) -> CheckResult {
    secret_id("hubspot.secret_id", &section.secret_id, preset)?;
    hosts("hubspot.allowed_hosts", &section.allowed_hosts)?;
    let url = Url::parse(&section.base_url);
    let invalid = |message| InvalidValue::new("hubspot.base_url", message);
    let url = url.map_err(|error| {
        invalid(format!(
            "is not a URL: {error}; allowed: scheme, host and port"
        ))
    })?;
    check_url(&url, &section.allowed_hosts).map_err(|reason| {
        invalid(format!("is refused: {reason}")).with_other("hubspot.allowed_hosts")
    })?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let bare = bare && url.username().is_empty() && url.password().is_none();
    ensure("hubspot.base_url", bare, || {
        "has a path, query or user; allowed: scheme, host and port".to_owned()
    })?;
    let dated = match section.api_version.split_once('-') {
        Some((year, month)) => {
            has_digits(year, 4) && has_digits(month, 2) && ("01"..="12").contains(&month)
        }
        None => false,
    };
    let known = dated || section.api_version == "v3";
    ensure("hubspot.api_version", known, || {
        format!("is `{}`; allowed: YYYY-MM or v3", section.api_version)
    })?;
    let special = [
        ("hubspot.id_property", &*section.id_property),
        ("hubspot.type_property", &*section.type_property),
        ("hubspot.version_property", &*section.version_property),
    ];
    name(special[0].0, special[0].1)?;
    fields(
        &hubspot::own_properties(),
        &special,
        "hubspot.attributes",
        &section.attributes,
    )?;
    within("hubspot.batch_size", section.batch_size)?;
    within("hubspot.max_in_flight", section.max_in_flight)?;
    within("hubspot.request_timeout_ms", section.request_timeout_ms)?;
    rate_limit(
        ["hubspot.rate_limit.requests", "hubspot.rate_limit.per_ms"],
        section.rate_limit,
    )?;
    retry(
        [
            "hubspot.retry.max_attempts",
            "hubspot.retry.base_delay_ms",
            "hubspot.retry.max_delay_ms",
        ],
        section.retry,
    )
}

/// Returns whether `text` has `length` digits and nothing else.
fn has_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_digit())
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
    within("state.ttl_hours", settings.state.ttl_hours)
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

/// Validates the name or ARN of an AWS resource: letters, digits and some `others`.
fn aws_name(key: &'static str, text: &str, is_free: bool, others: &str, kind: &str) -> CheckResult {
    let is_name = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte));
    ensure(key, is_free || is_name, || {
        format!("is `{text}`; allowed: {kind}, of letters, digits and {others}")
    })
}

fn rate_limit(keys: [&'static str; 2], limit: RateLimit) -> CheckResult {
    within(keys[0], limit.requests)?;
    within(keys[1], limit.per_ms)
}

fn retry(keys: [&'static str; 3], retry: Retry) -> CheckResult {
    within(keys[0], retry.max_attempts)?;
    within(keys[2], retry.max_delay_ms)?;
    inside(keys[1], retry.base_delay_ms, &(1..=retry.max_delay_ms))
        .map_err(|invalid| invalid.limited_by(keys[2], "which must not be less"))
}

fn secret_id(key: &'static str, id: &str, preset: Preset) -> CheckResult {
    ensure(key, !id.is_empty(), || {
        "is empty; allowed: a secret's name or ARN".to_owned()
    })?;
    let allowed = !id.starts_with("file:") || preset.is_for_developers();
    ensure(key, allowed, || {
        "is a file; allowed: a secret's name or ARN (files in the presets local and test only)"
            .to_owned()
    })?;
    aws_name(
        key,
        id,
        id.starts_with("file:"),
        "/_+=.@-!:",
        "a secret's name or ARN",
    )
}

fn hosts(key: &'static str, hosts: &[String]) -> CheckResult {
    ensure(key, !hosts.is_empty(), || {
        "is empty; allowed: at least one host".to_owned()
    })?;
    let bad = hosts.iter().find(|host| {
        let parsed = Url::parse(&format!("https://{host}/"));
        !parsed.is_ok_and(|url| url.host_str() == Some(host.as_str()) && url.port().is_none())
    });
    ensure(key, bad.is_none(), || {
        "names something other than a host; allowed: hosts in lower case, no port".to_owned()
    })
}

/// Fails with the value of `key` and `message` unless `condition` is true.
fn ensure(
    key: impl Into<Cow<'static, str>>,
    condition: bool,
    message: impl FnOnce() -> String,
) -> CheckResult {
    if condition {
        Ok(())
    } else {
        Err(InvalidValue::new(key, message()))
    }
}
