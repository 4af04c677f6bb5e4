//! Checks that the sections of several systems need: secrets, hosts, names, limits.

use std::borrow::Cow;
use std::collections::BTreeMap;

use reqwest::Url;

use crate::checks::{CheckResult, InvalidValue, Ranges, aws_name, ensure, inside, within};
use crate::model::limits::{RateLimit, Retry};

/// Validates the name of a secret. A file (`file:PATH`) is a secret where `files_allowed`.
///
/// # Errors
/// Where the name is empty or cannot be that of a secret.
pub fn secret_id(key: &'static str, id: &str, files_allowed: bool) -> CheckResult {
    ensure(key, !id.is_empty(), || {
        "is empty; allowed: a secret's name or ARN".to_owned()
    })?;
    let allowed = !id.starts_with("file:") || files_allowed;
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

/// Validates a list of hosts: at least one, in lower case and without a port.
///
/// # Errors
/// Where the list is empty or an entry is no host.
pub fn hosts(key: &'static str, hosts: &[String]) -> CheckResult {
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

/// Validates a budget of calls. `keys` are those of `requests` and `per_ms`.
///
/// # Errors
/// Where a number is outside of its range.
pub fn rate_limit(ranges: &Ranges, keys: [&'static str; 2], limit: RateLimit) -> CheckResult {
    within(ranges, keys[0], limit.requests)?;
    within(ranges, keys[1], limit.per_ms)
}

/// Validates a retry policy. `keys` are those of `max_attempts`, `base_delay_ms` and
/// `max_delay_ms`.
///
/// # Errors
/// Where a number is outside of its range, or the first delay is longer than the longest.
pub fn retry(ranges: &Ranges, keys: [&'static str; 3], retry: Retry) -> CheckResult {
    within(ranges, keys[0], retry.max_attempts)?;
    within(ranges, keys[2], retry.max_delay_ms)?;
    inside(keys[1], retry.base_delay_ms, &(1..=retry.max_delay_ms))
        .map_err(|invalid| invalid.limited_by(keys[2], "which must not be less"))
}

/// A field in use, and the key that names it; `None` for a field of the adapter's fixed mapping.
type Taken<'a> = (&'a str, Option<Cow<'static, str>>);

/// Validates that the fields of one system differ: those of a contact's `own` values, those that
/// settings name for a special value (the first is the identity's; the others may be empty), and
/// those of the attributes at the key `section`. Of two values in one field, one would silently
/// overwrite the other, for example the version the identity. Systems ignore letter case in names.
///
/// # Errors
/// Where a name has another form, or is taken.
pub fn fields(
    own: &[&str],
    special: &[(&'static str, &str)],
    section: &str,
    attributes: &BTreeMap<String, String>,
) -> CheckResult {
    let special = special.iter().filter(|(_, field)| !field.is_empty());
    let special = special.map(|(key, field)| (Cow::Borrowed(*key), *field));
    let attributes = attributes
        .iter()
        .map(|(attribute, field)| (format!("{section}.{attribute}").into(), &**field));
    let mut taken: Vec<Taken<'_>> = own.iter().map(|field| (*field, None)).collect();
    for (key, field) in special.chain(attributes) {
        name(Cow::clone(&key), field)?;
        ensure_free(&taken, Cow::clone(&key), field)?;
        taken.push((field, Some(key)));
    }
    Ok(())
}

fn ensure_free(taken: &[Taken<'_>], key: Cow<'static, str>, field: &str) -> CheckResult {
    let Some((_, other)) = taken
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(field))
    else {
        return Ok(());
    };
    let by = match other {
        Some(key) => format!("`{key}`"),
        None => "the contact's own values".to_owned(),
    };
    let message = format!("is `{field}`, which is taken by {by}; allowed: a field of its own");
    Err(InvalidValue {
        other: other.clone(),
        ..InvalidValue::new(key, message)
    })
}

/// Validates the form of a name. Names are parts of URLs, queries and JSON keys; the systems
/// themselves allow no other characters.
///
/// # Errors
/// Where the name is empty or has another character.
pub fn name(key: impl Into<Cow<'static, str>>, text: &str) -> CheckResult {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    ensure(key, plain, || {
        format!("is `{text}`; allowed: an API name of letters, digits and underscores")
    })
}
