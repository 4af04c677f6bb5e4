//! What a well-formed document may still get wrong: impossible values.

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

/// A value that cannot be: its key, what is wrong and what is allowed.
pub(super) struct Finding {
    pub(super) key: Cow<'static, str>,
    /// The key whose value it does not go together with.
    other: Option<Cow<'static, str>>,
    pub(super) trouble: String,
}

impl Finding {
    /// The same, where `other` is as much to blame.
    fn beside(self, other: &'static str) -> Self {
        Self {
            other: Some(other.into()),
            ..self
        }
    }

    /// The same, with a word on the limit that comes from `other`.
    fn against(self, other: &'static str, relation: &str) -> Self {
        let trouble = format!("{} (because of `{other}`, {relation})", self.trouble);
        Self {
            trouble,
            ..self.beside(other)
        }
    }

    /// Every key that may be the one to change.
    pub(super) fn keys(&self) -> Vec<&str> {
        std::iter::once(&*self.key)
            .chain(self.other.as_deref())
            .collect()
    }
}

type CheckResult = Result<(), Finding>;

/// The first impossible value, if there is one.
pub(super) fn check(settings: &Settings, preset: Preset, destinations: &[&str]) -> CheckResult {
    within("refresh_secs", settings.refresh_secs)?;
    pipeline(settings)?;
    filter(settings)?;
    routes(settings, destinations)?;
    salesforce_section(&settings.salesforce, preset)?;
    hubspot_section(&settings.hubspot, preset)?;
    guard(settings)?;
    settle(settings)
}

/// What the deployment itself has to bring, and may not be missing where a function starts.
pub(super) fn complete(settings: &Settings, preset: Preset) -> CheckResult {
    let has_queue = !settings.dead_letter.queue_url.is_empty() || preset.is_for_developers();
    let trouble = || {
        format!(
            "is empty, but the preset {} needs one; allowed: the URL of an SQS queue",
            preset.name()
        )
    };
    holds("dead_letter.queue_url", has_queue, trouble)
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
        .map_err(|problem| problem.against(budget, "which has to be greater"))
}

fn filter(settings: &Settings) -> CheckResult {
    let all_types = "lead, prospect, customer, vendor";
    holds("filter.types", !settings.filter.types.is_empty(), || {
        format!("is empty; allowed: some of {all_types}")
    })?;
    let operations = "create, update, delete";
    let filled = !settings.filter.operations.is_empty();
    holds("filter.operations", filled, || {
        format!("is empty; allowed: some of {operations}")
    })
}

fn routes(settings: &Settings, destinations: &[&str]) -> CheckResult {
    for (key, kind, named) in settings.routes.entries() {
        let known = destinations.join(", ");
        if let Some(unknown) = named
            .iter()
            .find(|name| !destinations.contains(&name.as_str()))
        {
            let meant = suggestion(unknown, destinations);
            return holds(key, false, || {
                format!("names `{unknown}`; allowed: {known}{meant}")
            });
        }
        let twice = named
            .iter()
            .enumerate()
            .find(|(at, name)| named[..*at].contains(name));
        holds(key, twice.is_none(), || {
            "names a destination twice; allowed: each once".to_owned()
        })?;
        let needed = settings.filter.types.contains(&kind);
        let trouble = || {
            format!("is empty, though filter.types lets the type through; allowed: some of {known}")
        };
        holds(key, !named.is_empty() || !needed, trouble)
            .map_err(|problem| problem.beside("filter.types"))?;
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
    holds("salesforce.api_version", recent, || {
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
        holds(key, fits, || {
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
    let problem = |trouble| Finding {
        key: "hubspot.base_url".into(),
        other: None,
        trouble,
    };
    let url = url.map_err(|error| {
        problem(format!(
            "is no URL: {error}; allowed: scheme, host and port"
        ))
    })?;
    check_url(&url, &section.allowed_hosts).map_err(|trouble| {
        problem(format!("is refused: {trouble}")).beside("hubspot.allowed_hosts")
    })?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let bare = bare && url.username().is_empty() && url.password().is_none();
    holds("hubspot.base_url", bare, || {
        "has a path, query or user; allowed: scheme, host and port".to_owned()
    })?;
    let dated = section
        .api_version
        .split_once('-')
        .is_some_and(|(year, month)| {
            let digits = |text: &str, length| {
                text.len() == length && text.bytes().all(|b| b.is_ascii_digit())
            };
            digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month)
        });
    let known = dated || section.api_version == "v3";
    holds("hubspot.api_version", known, || {
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

/// A guard that is wanted for all changes has to be in force wherever a change goes.
fn guard(settings: &Settings) -> CheckResult {
    if settings.guard.mode != GuardMode::Always {
        return Ok(());
    }
    for (_, key) in unguarded(settings) {
        let trouble = || {
            "is empty; allowed: a version field (because of `guard.mode`, which is `always`)"
                .to_owned()
        };
        holds(key, false, trouble).map_err(|problem| problem.beside("guard.mode"))?;
    }
    Ok(())
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

/// A FIFO queue wants a message group for each message, and would store no dead letter.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html>
fn queue_url(text: &str) -> CheckResult {
    const KEY: &str = "dead_letter.queue_url";
    let bare =
        |url: &Url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let is_web =
        |url: &Url| url.has_host() && matches!(url.scheme(), "https" | "http") && bare(url);
    let url = Url::parse(text)
        .ok()
        .filter(|url| is_web(url) && text.bytes().all(|b| b.is_ascii_graphic()));
    let name = url
        .as_ref()
        .and_then(|url| url.path_segments()?.next_back())
        .unwrap_or_default();
    let is_plain = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let trouble = "is a FIFO queue; allowed: the URL of a standard SQS queue, whose name does not end in .fifo";
    let is_fifo = name
        .rsplit_once('.')
        .is_some_and(|(_, kind)| kind.eq_ignore_ascii_case("fifo"));
    holds(KEY, !is_fifo, || trouble.to_owned())?;
    let is_queue = text.is_empty() || is_plain(name);
    holds(KEY, is_queue, || {
        "is no URL of a queue; allowed: the URL of an SQS queue".to_owned()
    })
}

/// The name or ARN of something in AWS: letters, digits and some `others`.
fn aws_name(key: &'static str, text: &str, is_free: bool, others: &str, what: &str) -> CheckResult {
    let is_name = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte));
    holds(key, is_free || is_name, || {
        format!("is `{text}`; allowed: {what}, of letters, digits and {others}")
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
        .map_err(|problem| problem.against(keys[2], "which must not be less"))
}

fn secret_id(key: &'static str, id: &str, preset: Preset) -> CheckResult {
    holds(key, !id.is_empty(), || {
        "is empty; allowed: a secret's name or ARN".to_owned()
    })?;
    let allowed = !id.starts_with("file:") || preset.is_for_developers();
    let trouble = || {
        "is a file; allowed: a secret's name or ARN (files in the presets local and test only)"
            .to_owned()
    };
    holds(key, allowed, trouble)?;
    aws_name(
        key,
        id,
        id.starts_with("file:"),
        "/_+=.@-!:",
        "a secret's name or ARN",
    )
}

fn hosts(key: &'static str, hosts: &[String]) -> CheckResult {
    holds(key, !hosts.is_empty(), || {
        "is empty; allowed: at least one host".to_owned()
    })?;
    let bad = hosts.iter().find(|host| {
        let parsed = Url::parse(&format!("https://{host}/"));
        !parsed.is_ok_and(|url| url.host_str() == Some(host.as_str()) && url.port().is_none())
    });
    holds(key, bad.is_none(), || {
        "names something else than a host; allowed: hosts in lower case, no port".to_owned()
    })
}

fn holds(
    key: impl Into<Cow<'static, str>>,
    condition: bool,
    trouble: impl FnOnce() -> String,
) -> CheckResult {
    if condition {
        Ok(())
    } else {
        Err(Finding {
            key: key.into(),
            other: None,
            trouble: trouble(),
        })
    }
}
