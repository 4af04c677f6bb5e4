//! What a well-formed document may still get wrong: impossible values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use reqwest::Url;

use super::{Preset, Settings};
use crate::adapters::http::check_url;
use crate::adapters::{hubspot, salesforce};
use crate::dispatch::settings::{RateLimit, Retry};

/// What each number may be. A margin and the first delays have a second limit besides, in the value of another key.
pub(super) const RANGES: [(&str, RangeInclusive<u64>); 23] = [
    ("refresh_secs", 0..=86_400),
    ("pipeline.concurrency_share", 1..=10_000),
    ("pipeline.transform_concurrency", 1..=10_000),
    ("pipeline.queue_capacity", 1..=100_000),
    ("pipeline.deadline_margin_ms", 1..=899_999),
    ("pipeline.fallback_budget_ms", 1..=900_000),
    ("salesforce.batch_size", 1..=salesforce::Settings::LARGEST_BATCH as u64),
    ("salesforce.max_in_flight", 1..=100),
    ("salesforce.request_timeout_ms", 1..=600_000),
    ("salesforce.rate_limit.requests", 1..=1_000_000),
    ("salesforce.rate_limit.per_ms", 1..=86_400_000),
    ("salesforce.retry.max_attempts", 1..=20),
    ("salesforce.retry.base_delay_ms", 1..=900_000),
    ("salesforce.retry.max_delay_ms", 1..=900_000),
    ("hubspot.batch_size", 1..=hubspot::Settings::LARGEST_BATCH as u64),
    ("hubspot.max_in_flight", 1..=100),
    ("hubspot.request_timeout_ms", 1..=600_000),
    ("hubspot.rate_limit.requests", 1..=1_000_000),
    ("hubspot.rate_limit.per_ms", 1..=86_400_000),
    ("hubspot.retry.max_attempts", 1..=20),
    ("hubspot.retry.base_delay_ms", 1..=900_000),
    ("hubspot.retry.max_delay_ms", 1..=900_000),
    ("state.ttl_hours", 1..=8760),
];

/// A value that cannot be: its key, what is wrong and what is allowed.
pub(super) struct Problem {
    pub(super) key: Cow<'static, str>,
    /// The key whose value it does not go together with.
    other: Option<&'static str>,
    pub(super) trouble: String,
}

impl Problem {
    /// The same, where `other` is as much to blame.
    fn beside(self, other: &'static str) -> Self {
        Self { other: Some(other), ..self }
    }

    /// The same, with a word on the limit that comes from `other`.
    fn against(self, other: &'static str, relation: &str) -> Self {
        let trouble = format!("{} (because of `{other}`, {relation})", self.trouble);
        Self { trouble, ..self.beside(other) }
    }

    /// Every key that may be the one to change.
    pub(super) fn keys(&self) -> Vec<&str> {
        std::iter::once(&*self.key).chain(self.other).collect()
    }
}

type Verdict = Result<(), Problem>;

/// The first impossible value, if there is one.
pub(super) fn check(settings: &Settings, preset: Preset, destinations: &[&str]) -> Verdict {
    within("refresh_secs", settings.refresh_secs)?;
    pipeline(settings)?;
    filter(settings)?;
    routes(settings, destinations)?;
    salesforce_section(&settings.salesforce, preset)?;
    hubspot_section(&settings.hubspot, preset)?;
    settle(settings, preset)
}

fn pipeline(settings: &Settings) -> Verdict {
    let pipeline = &settings.pipeline;
    within("pipeline.concurrency_share", pipeline.concurrency_share)?;
    within("pipeline.transform_concurrency", pipeline.transform_concurrency)?;
    within("pipeline.queue_capacity", pipeline.queue_capacity)?;
    let (margin, budget) = ("pipeline.deadline_margin_ms", "pipeline.fallback_budget_ms");
    within(budget, pipeline.fallback_budget_ms)?;
    let below = pipeline.fallback_budget_ms.saturating_sub(1).max(1);
    inside(margin, pipeline.deadline_margin_ms, &(1..=below))
        .map_err(|problem| problem.against(budget, "which has to be greater"))
}

fn filter(settings: &Settings) -> Verdict {
    let all_types = "lead, prospect, customer, vendor";
    holds("filter.types", !settings.filter.types.is_empty(), || format!("is empty; allowed: some of {all_types}"))?;
    let operations = "create, update, delete";
    let filled = !settings.filter.operations.is_empty();
    holds("filter.operations", filled, || format!("is empty; allowed: some of {operations}"))
}

fn routes(settings: &Settings, destinations: &[&str]) -> Verdict {
    for (key, kind, named) in settings.routes.entries() {
        let known = destinations.join(", ");
        if let Some(unknown) = named.iter().find(|name| !destinations.contains(&name.as_str())) {
            return holds(key, false, || format!("names `{unknown}`; allowed: {known}"));
        }
        let twice = named.iter().enumerate().find(|(at, name)| named[..*at].contains(name));
        holds(key, twice.is_none(), || "names a destination twice; allowed: each once".to_owned())?;
        let needed = settings.filter.types.contains(&kind);
        let trouble = || format!("is empty, though filter.types lets the type through; allowed: some of {known}");
        holds(key, !named.is_empty() || !needed, trouble).map_err(|problem| problem.beside("filter.types"))?;
    }
    Ok(())
}

fn salesforce_section(section: &salesforce::Settings, preset: Preset) -> Verdict {
    secret_id("salesforce.secret_id", &section.secret_id, preset)?;
    hosts("salesforce.allowed_hosts", &section.allowed_hosts)?;
    let version = section.api_version.strip_prefix('v').and_then(|version| version.strip_suffix(".0"));
    let recent = version.and_then(|version| version.parse::<u32>().ok()).is_some_and(|version| version >= 46);
    holds("salesforce.api_version", recent, || format!("is `{}`; allowed: v46.0 or later", section.api_version))?;
    name("salesforce.sobject", &section.sobject)?;
    name("salesforce.external_id_field", &section.external_id_field)?;
    optional_name("salesforce.version_field", &section.version_field)?;
    let reserved = [
        ("salesforce.external_id_field", &*section.external_id_field),
        ("salesforce.version_field", &*section.version_field),
    ];
    attributes("salesforce.attributes", &section.attributes, reserved)?;
    within("salesforce.batch_size", section.batch_size)?;
    within("salesforce.max_in_flight", section.max_in_flight)?;
    within("salesforce.request_timeout_ms", section.request_timeout_ms)?;
    for (key, status) in
        [("salesforce.status.lead", &section.status.lead), ("salesforce.status.prospect", &section.status.prospect)]
    {
        let fits = (1..=40).contains(&status.chars().count());
        holds(key, fits, || "has the wrong length; allowed: 1 to 40 characters".to_owned())?;
    }
    rate_limit(["salesforce.rate_limit.requests", "salesforce.rate_limit.per_ms"], section.rate_limit)?;
    retry(
        ["salesforce.retry.max_attempts", "salesforce.retry.base_delay_ms", "salesforce.retry.max_delay_ms"],
        section.retry,
    )
}

fn hubspot_section(section: &hubspot::Settings, preset: Preset) -> Verdict {
    secret_id("hubspot.secret_id", &section.secret_id, preset)?;
    hosts("hubspot.allowed_hosts", &section.allowed_hosts)?;
    let url = Url::parse(&section.base_url);
    let problem = |trouble| Problem { key: "hubspot.base_url".into(), other: None, trouble };
    let url = url.map_err(|error| problem(format!("is no URL: {error}; allowed: scheme, host and port")))?;
    check_url(&url, &section.allowed_hosts)
        .map_err(|trouble| problem(format!("is refused: {trouble}")).beside("hubspot.allowed_hosts"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let bare = bare && url.username().is_empty() && url.password().is_none();
    holds("hubspot.base_url", bare, || "has a path, query or user; allowed: scheme, host and port".to_owned())?;
    let dated = section.api_version.split_once('-').is_some_and(|(year, month)| {
        let digits = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
        digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month)
    });
    let known = dated || section.api_version == "v3";
    holds("hubspot.api_version", known, || format!("is `{}`; allowed: YYYY-MM or v3", section.api_version))?;
    name("hubspot.id_property", &section.id_property)?;
    optional_name("hubspot.type_property", &section.type_property)?;
    optional_name("hubspot.version_property", &section.version_property)?;
    let reserved =
        [("hubspot.id_property", &*section.id_property), ("hubspot.version_property", &*section.version_property)];
    attributes("hubspot.attributes", &section.attributes, reserved)?;
    within("hubspot.batch_size", section.batch_size)?;
    within("hubspot.max_in_flight", section.max_in_flight)?;
    within("hubspot.request_timeout_ms", section.request_timeout_ms)?;
    rate_limit(["hubspot.rate_limit.requests", "hubspot.rate_limit.per_ms"], section.rate_limit)?;
    retry(["hubspot.retry.max_attempts", "hubspot.retry.base_delay_ms", "hubspot.retry.max_delay_ms"], section.retry)
}

fn settle(settings: &Settings, preset: Preset) -> Verdict {
    let queue = &settings.dead_letter.queue_url;
    let needed = !preset.is_for_developers();
    let trouble = || format!("is empty, but the preset {} needs one; allowed: the URL of an SQS queue", preset.name());
    holds("dead_letter.queue_url", !queue.is_empty() || !needed, trouble)?;
    let is_web = |url: Url| url.has_host() && matches!(url.scheme(), "https" | "http");
    let is_url = queue.is_empty() || Url::parse(queue).is_ok_and(is_web);
    holds("dead_letter.queue_url", is_url, || "is no URL; allowed: the URL of an SQS queue".to_owned())?;
    within("state.ttl_hours", settings.state.ttl_hours)
}

fn rate_limit(keys: [&'static str; 2], limit: RateLimit) -> Verdict {
    within(keys[0], limit.requests)?;
    within(keys[1], limit.per_ms)
}

fn retry(keys: [&'static str; 3], retry: Retry) -> Verdict {
    within(keys[0], retry.max_attempts)?;
    within(keys[2], retry.max_delay_ms)?;
    inside(keys[1], retry.base_delay_ms, &(1..=retry.max_delay_ms))
        .map_err(|problem| problem.against(keys[2], "which must not be less"))
}

fn secret_id(key: &'static str, id: &str, preset: Preset) -> Verdict {
    holds(key, !id.is_empty(), || "is empty; allowed: a secret's name or ARN".to_owned())?;
    let allowed = !id.starts_with("file:") || preset.is_for_developers();
    let trouble = || "is a file; allowed: a secret's name or ARN (files in the presets local and test only)".to_owned();
    holds(key, allowed, trouble)
}

fn hosts(key: &'static str, hosts: &[String]) -> Verdict {
    holds(key, !hosts.is_empty(), || "is empty; allowed: at least one host".to_owned())?;
    let bad = hosts.iter().find(|host| {
        let parsed = Url::parse(&format!("https://{host}/"));
        !parsed.is_ok_and(|url| url.host_str() == Some(host.as_str()) && url.port().is_none())
    });
    holds(key, bad.is_none(), || "names something else than a host; allowed: hosts in lower case, no port".to_owned())
}

fn optional_name(key: &'static str, text: &str) -> Verdict {
    if text.is_empty() { Ok(()) } else { name(key, text) }
}

/// Custom fields have names of the system, each one attribute's, and none takes the place of the key or the version.
fn attributes(key: &str, named: &BTreeMap<String, String>, reserved: [(&'static str, &str); 2]) -> Verdict {
    let mut taken: Vec<(&str, &str)> = reserved.into_iter().filter(|(_, field)| !field.is_empty()).collect();
    for (attribute, field) in named {
        let at = |problem: Problem| Problem { key: format!("{key}.{attribute}").into(), ..problem };
        name("", field).map_err(at)?;
        let other = taken.iter().find(|(_, taken)| taken.eq_ignore_ascii_case(field)).map(|(other, _)| *other);
        let trouble = || format!("is `{field}`, which is taken by `{}`; allowed: each once", other.unwrap_or_default());
        holds("", other.is_none(), trouble).map_err(at)?;
        taken.push((attribute, field));
    }
    Ok(())
}

/// Names go into URLs, queries and JSON keys: the systems themselves allow nothing else in them.
fn name(key: &'static str, text: &str) -> Verdict {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    holds(key, plain, || format!("is `{text}`; allowed: an API name of letters, digits and underscores"))
}

/// Whether a number lies in its key's range of [`RANGES`].
fn within<T: TryInto<u64>>(key: &'static str, value: T) -> Verdict {
    let range = RANGES.iter().find(|(known, _)| *known == key).map_or(&(0..=u64::MAX), |(_, range)| range);
    inside(key, value.try_into().unwrap_or(u64::MAX), range)
}

fn inside(key: &'static str, value: u64, range: &RangeInclusive<u64>) -> Verdict {
    holds(key, range.contains(&value), || format!("is {value}; allowed: {} to {}", range.start(), range.end()))
}

fn holds(key: &'static str, condition: bool, trouble: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(Problem { key: key.into(), other: None, trouble: trouble() }) }
}
