//! The names of fields: each has to look like one, and to serve one purpose.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{CheckResult, Finding, holds};

/// A field that has its purpose, and the key that names it; `None` where the adapter itself does.
type Taken<'a> = (&'a str, Option<Cow<'static, str>>);

/// The fields of one system: those of a contact's `own` values, those that settings name for a
/// special value (the first is the identity's; the others may be empty), and those of the
/// attributes at the key `section`. Where two values went to one field, one would silently take the
/// place of the other: the version that of the identity, say. Both systems compare names without
/// regard to letter case.
pub(super) fn fields(
    own: &[&'static str],
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
        free(&taken, Cow::clone(&key), field)?;
        taken.push((field, Some(key)));
    }
    Ok(())
}

fn free(taken: &[Taken<'_>], key: Cow<'static, str>, field: &str) -> CheckResult {
    let Some((_, other)) = taken
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(field))
    else {
        return Ok(());
    };
    let by = other.as_ref().map_or_else(
        || "the contact's own values".to_owned(),
        |key| format!("`{key}`"),
    );
    let trouble =
        format!("is `{field}`, which is taken by {by}; allowed: a field that nothing else goes to");
    Err(Finding {
        key,
        other: other.clone(),
        trouble,
    })
}

/// Names go into URLs, queries and JSON keys: the systems themselves allow nothing else in them.
pub(super) fn name(key: impl Into<Cow<'static, str>>, text: &str) -> CheckResult {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    holds(key, plain, || {
        format!("is `{text}`; allowed: an API name of letters, digits and underscores")
    })
}
