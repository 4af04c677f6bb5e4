//! The destinations at which no guard keeps an older change from overwriting a newer one.

use contact_sync::settings::Settings;
use contact_sync::transform::GuardMode;

/// Returns each destination without a guard, and why it has none.
pub(crate) fn missing(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let is_off = settings.guard.mode == GuardMode::Off;
    let versions = [
        ("salesforce", &settings.salesforce.version_field, "salesforce.version_field is empty"),
        ("hubspot", &settings.hubspot.version_property, "hubspot.version_property is empty"),
    ];
    let mut found = Vec::new();
    for (destination, version, why) in versions {
        if is_off {
            found.push((destination, "guard.mode is off"));
        } else if version.is_empty() {
            found.push((destination, why));
        }
    }
    found
}

/// Returns the lines that tell of them.
pub(crate) fn notes(settings: &Settings) -> Vec<String> {
    let note = |(destination, why): (&str, &str)| {
        format!("no guard holds for {destination} ({why}): an older change can overwrite a newer one there")
    };
    missing(settings).into_iter().map(note).collect()
}
