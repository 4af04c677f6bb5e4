//! The built-in layers: the defaults and the presets. The sections of the systems are in the
//! adapters' folders.

use super::Preset;
use crate::adapters::Registry;

/// Every key with its documentation, its allowed values and its default, without the systems'.
const DEFAULTS: &str = include_str!("defaults.toml");

/// The section before which the sections of the systems are inserted.
pub(super) const AFTER_SYSTEMS: &str = "dead_letter";

/// Returns the defaults of all settings as TOML, with the documentation of every key.
pub fn defaults(registry: Registry) -> String {
    let at = DEFAULTS
        .find(&format!("[{AFTER_SYSTEMS}]"))
        .unwrap_or(DEFAULTS.len());
    let (before, after) = DEFAULTS.split_at(at);
    let mut text = before.to_owned();
    for system in registry {
        text.push_str(system.defaults);
        text.push('\n');
    }
    text + after
}

/// Returns the differences of a preset from the defaults as TOML.
pub(super) fn differences(preset: Preset, registry: Registry) -> String {
    let mut text = match preset {
        Preset::Production => include_str!("presets/production.toml"),
        Preset::Staging => include_str!("presets/staging.toml"),
        Preset::HighThroughput => include_str!("presets/high-throughput.toml"),
        Preset::Local => include_str!("presets/local.toml"),
        Preset::Test => include_str!("presets/test.toml"),
    }
    .to_owned();
    for (name, section) in registry.iter().flat_map(|system| system.presets) {
        if *name == preset.name() {
            text.push('\n');
            text.push_str(section);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::REGISTRY;

    #[test]
    fn the_sections_of_the_systems_follow_the_base() {
        let text = defaults(&REGISTRY);
        let sections = ["[guard]", "[salesforce]", "[hubspot]", "[dead_letter]"];
        let places = sections.map(|header| text.find(header).expect(header));
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(defaults(&[]), DEFAULTS);
    }

    #[test]
    fn systems_differ_in_presets_that_exist() {
        for system in &REGISTRY {
            for (name, section) in system.presets {
                let preset = Preset::from_name(name).expect(name);
                assert!(differences(preset, &REGISTRY).contains(section));
            }
        }
    }
}
