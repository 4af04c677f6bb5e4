//! Validates the names of fields: their form, and that each field has one purpose.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{CheckResult, InvalidValue, ensure};

/// A field in use, and the key that names it; `None` for a field of the adapter's fixed mapping.
type Taken<'a> = (&'a str, Option<Cow<'static, str>>);

/// Validates that the fields of one system differ: those of a contact's `own` values, those that
/// settings name for a special value (the first is the identity's; the others may be empty), and
/// those of the attributes at the key `section`. Of two values in one field, one would silently
/// overwrite the other, for example the version the identity. Both systems ignore letter case in
/// names.
pub(super) fn fields(
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
pub(super) fn name(key: impl Into<Cow<'static, str>>, text: &str) -> CheckResult {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    ensure(key, plain, || {
        format!("is `{text}`; allowed: an API name of letters, digits and underscores")
    })
}
