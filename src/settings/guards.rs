//! Finds the systems without a guard in force.

use super::Settings;
use crate::transform::GuardMode;

/// Returns the systems in use without a version field, each with the key of that field.
pub(super) fn unguarded(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for (name, key, field) in version_fields(settings) {
        if field.is_empty() {
            found.push((name, key));
        }
    }
    found
}

/// Returns the systems in use, each with the key of its version field and the field.
fn version_fields(settings: &Settings) -> Vec<(&'static str, &'static str, &str)> {
    let mut fields = Vec::new();
    for section in settings.systems.iter() {
        let system = section.system;
        if is_used(settings, system.name) {
            let field = section.settings().version_field();
            fields.push((system.name, system.version_key, field));
        }
    }
    fields
}

/// Returns whether this function serves the system, and a type that the filter passes is routed to
/// it.
fn is_used(settings: &Settings, name: &str) -> bool {
    let served = &settings.pipeline.destinations;
    let is_mine = served.is_empty() || served.iter().any(|destination| destination == name);
    is_mine && is_routed(settings, name)
}

/// Returns whether a type that the filter passes is routed to the system.
fn is_routed(settings: &Settings, name: &str) -> bool {
    settings
        .routes
        .entries()
        .iter()
        .any(|(_, kind, destinations)| {
            settings.filter.types.contains(kind)
                && destinations.iter().any(|destination| destination == name)
        })
}

/// Returns the systems in use where an older change may overwrite a newer one, each with the
/// reason.
pub fn missing_guards(settings: &Settings) -> Vec<(&'static str, String)> {
    let is_off = settings.guard.mode == GuardMode::Off;
    let mut found = Vec::new();
    for (name, key, field) in version_fields(settings) {
        if is_off {
            found.push((name, "guard.mode is off".to_owned()));
        } else if field.is_empty() {
            found.push((name, format!("{key} is empty")));
        }
    }
    found
}
