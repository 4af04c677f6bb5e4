//! Merging the layers, each value remembering where it came from.

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Preset, Settings, SettingsError, check};

/// One source of settings: its name for people, and what it sets.
#[derive(Clone, Debug)]
pub struct Layer {
    name: String,
    values: Dict,
}

impl Layer {
    /// A TOML text, called `name` in errors.
    ///
    /// # Errors
    /// Where it is not TOML, with the line.
    pub fn from_toml(name: impl Into<String>, text: &str) -> Result<Self, SettingsError> {
        let name = name.into();
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            SettingsError(format!("{name}, line {line}: not valid TOML: {}", one_line(error.message())))
        })?;
        let values = match Value::serialize(&table) {
            Ok(Value::Dict(_, values)) => values,
            _ => Dict::new(),
        };
        Ok(Self { name, values })
    }

    /// One environment variable: `CONTACT_SYNC__SECTION__KEY` and a TOML value; what is no TOML value is a text.
    ///
    /// # Errors
    /// Where the name has no key.
    pub fn from_variable(variable: &str, value: &str) -> Result<Self, SettingsError> {
        let path = variable.strip_prefix("CONTACT_SYNC__").unwrap_or_default().to_ascii_lowercase();
        if path.split("__").any(str::is_empty) {
            let form = "the form is CONTACT_SYNC__SECTION__KEY";
            return Err(SettingsError(format!("{variable}: names no setting; {form}")));
        }
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
        let one_value = parsed.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
        let value = one_value.unwrap_or_else(|| toml::Value::String(value.to_owned()));
        let value = Value::serialize(&value).map_err(|error| SettingsError(format!("{variable}: {error}")))?;
        let nested = path.rsplit("__").fold(value, |inner, key| Dict::from([(key.to_owned(), inner)]).into());
        let values = nested.into_dict().unwrap_or_default();
        Ok(Self { name: format!("the variable {variable}"), values })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// The merged and judged settings: the defaults, then `preset`, then `layers`, the later over the earlier.
/// `destinations` are the systems that routes may name.
///
/// # Errors
/// The first key that is unknown, of the wrong type or impossible, as the operator wrote it.
pub fn load(preset: Preset, layers: &[Layer], destinations: &[&str]) -> Result<Settings, SettingsError> {
    let built_in = [
        Layer::from_toml("the defaults", include_str!("defaults.toml"))?,
        Layer::from_toml(format!("the preset {}", preset.name()), preset.differences())?,
    ];
    let merged = built_in.into_iter().chain(layers.iter().cloned()).fold(Figment::new(), Figment::merge);
    let settings: Settings = merged.extract().map_err(|error| refused(&error))?;
    check::check(&settings, preset, destinations).map_err(|problem| {
        let origin = merged.find_metadata(problem.key).map_or("the settings", |metadata| &metadata.name);
        SettingsError(format!("{origin}: `{}` {}", problem.key, problem.trouble))
    })?;
    Ok(settings)
}

fn refused(error: &figment::Error) -> SettingsError {
    let origin = error.metadata.as_ref().map_or("the settings", |metadata| &metadata.name);
    let mut path = error.path.clone();
    let trouble = match &error.kind {
        figment::error::Kind::UnknownField(name, allowed) => {
            if path.last() != Some(name) {
                path.push(name.clone());
            }
            format!("is unknown; allowed here: {}", allowed.join(", "))
        }
        figment::error::Kind::UnknownVariant(name, allowed) => {
            format!("is `{name}`; allowed: {}", allowed.join(", "))
        }
        figment::error::Kind::InvalidType(actual, expected) | figment::error::Kind::InvalidValue(actual, expected) => {
            format!("is {actual}; allowed: {expected}")
        }
        other => one_line(&other.to_string()),
    };
    SettingsError(format!("{origin}: `{}` {trouble}", path.join(".")))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
