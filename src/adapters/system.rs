//! An external system as the composition and the operator's tool see it: its section of the
//! settings with its checks, and the adapter that is built of them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use figment::value::Value;
use reqwest::Client;
use serde::de::DeserializeOwned;
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};

use super::Adapter;
use crate::checks::{CheckResult, Ranges};
use crate::model::codes::CodeEntry;
use crate::model::limits::{RateLimit, Retry};
use crate::secrets::Secret;

/// The systems that a process knows, in the order in which positions refer to them.
pub type Registry = &'static [System];

/// The error of a section that cannot be parsed.
pub type ParseError = Box<figment::Error>;

/// An external system: its names and texts, and the parser of its section.
#[derive(Clone, Copy, Debug)]
pub struct System {
    /// The name in routes, logs and metrics, and of the section in the settings.
    pub name: &'static str,
    /// The name in sentences for operators.
    pub label: &'static str,
    /// The section as TOML, which documents every key and has its default.
    pub defaults: &'static str,
    /// The sections of the presets that differ from the defaults, by the preset's name.
    pub presets: &'static [(&'static str, &'static str)],
    /// The range of each number.
    pub ranges: &'static Ranges,
    /// The key of the field that stores the version of a record.
    pub version_key: &'static str,
    /// The system's codes.
    pub codes: &'static [CodeEntry],
    /// The families of codes that are derived from the system's responses.
    pub code_patterns: &'static [CodeEntry],
    /// The calls that a preview cannot count, as a list of nouns; empty where it counts all.
    pub uncounted_calls: &'static str,
    /// Parses the section: [`parse_section`] of its type.
    pub parse: fn(&Value) -> Result<Box<dyn SystemSettings>, ParseError>,
    /// Returns the JSON Schema of the section: [`section_schema`] of its type.
    pub schema: fn() -> Option<serde_json::Value>,
}

impl System {
    /// Returns the key of the secret's name, which is read at start only.
    pub fn secret_key(&self) -> String {
        format!("{}.secret_id", self.name)
    }
}

/// The parsed section of a system.
pub trait SystemSettings: AnySettings {
    /// Validates the values. A secret may be a file where `files_allowed`.
    ///
    /// # Errors
    /// Returns the first invalid value.
    fn check(&self, files_allowed: bool) -> CheckResult;

    /// Returns the name of the secret.
    fn secret_id(&self) -> &str;

    /// Returns the name of the secret, to be replaced.
    fn secret_id_mut(&mut self) -> &mut String;

    /// Returns the field that stores the version of a record; empty where none does.
    fn version_field(&self) -> &str;

    /// Builds the adapter with the process's HTTP client and the system's secret.
    fn adapter(&self, client: Client, secret: Arc<Secret>) -> AdapterSpec;
}

/// Clones, compares and serializes sections of any type. Implemented for every section.
pub trait AnySettings: Any + fmt::Debug + Send + Sync {
    /// Clones the section.
    fn boxed(&self) -> Box<dyn SystemSettings>;

    /// Returns whether the sections have the same type and values.
    fn equals(&self, other: &dyn SystemSettings) -> bool;

    /// Returns the section as TOML.
    ///
    /// # Errors
    /// Where TOML has no form of a value.
    fn to_toml(&self) -> Result<toml::Value, toml::ser::Error>;
}

impl<T: SystemSettings + Clone + PartialEq + Serialize> AnySettings for T {
    fn boxed(&self) -> Box<dyn SystemSettings> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn SystemSettings) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref() == Some(self)
    }

    fn to_toml(&self) -> Result<toml::Value, toml::ser::Error> {
        toml::Value::try_from(self)
    }
}

/// Parses a section of the type `T`.
///
/// # Errors
/// Where a key is unknown, or a value has another type; the path begins inside the section.
pub fn parse_section<T: SystemSettings + DeserializeOwned>(
    section: &Value,
) -> Result<Box<dyn SystemSettings>, ParseError> {
    match T::deserialize(section) {
        Ok(settings) => Ok(Box::new(settings)),
        Err(error) => Err(error.into()),
    }
}

/// Returns the JSON Schema of a section of the type `T`.
#[cfg(feature = "schema")]
pub fn section_schema<T: schemars::JsonSchema>() -> Option<serde_json::Value> {
    let generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.remove("$schema");
    schema.remove("title");
    Some(schema.to_value())
}

/// Returns no JSON Schema: the types have one with the feature `schema` only.
#[cfg(not(feature = "schema"))]
pub fn section_schema<T>() -> Option<serde_json::Value> {
    None
}

/// The section of one system.
#[derive(Debug)]
pub struct Section {
    /// The system.
    pub system: &'static System,
    settings: Box<dyn SystemSettings>,
}

impl Section {
    /// Parses the section of `system`.
    ///
    /// # Errors
    /// As those of [`parse_section`].
    pub fn parse(system: &'static System, section: &Value) -> Result<Self, ParseError> {
        Ok(Self {
            system,
            settings: (system.parse)(section)?,
        })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &dyn SystemSettings {
        &*self.settings
    }

    /// Returns the settings, to be changed.
    pub fn settings_mut(&mut self) -> &mut dyn SystemSettings {
        &mut *self.settings
    }
}

impl Clone for Section {
    fn clone(&self) -> Self {
        Self {
            system: self.system,
            settings: self.settings.boxed(),
        }
    }
}

impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        self.system.name == other.system.name && self.settings.equals(&*other.settings)
    }
}

impl Eq for Section {}

/// The sections of all systems, in the order of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections(Vec<Section>);

impl Sections {
    /// Returns the section of the system called `name`.
    pub fn named(&self, name: &str) -> Option<&Section> {
        self.0.iter().find(|section| section.system.name == name)
    }

    /// Returns the section of the type `T`.
    pub fn of<T: SystemSettings>(&self) -> Option<&T> {
        self.0.iter().find_map(|section| {
            let settings: &dyn Any = section.settings();
            settings.downcast_ref()
        })
    }

    /// Iterates over the sections.
    pub fn iter(&self) -> impl Iterator<Item = &Section> {
        self.0.iter()
    }

    /// Iterates over the sections, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Section> {
        self.0.iter_mut()
    }
}

impl FromIterator<Section> for Sections {
    fn from_iter<I: IntoIterator<Item = Section>>(sections: I) -> Self {
        Self(sections.into_iter().collect())
    }
}

impl Serialize for Sections {
    /// Serializes a table with the section of each system under its name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_map(Some(self.0.len()))?;
        for section in &self.0 {
            let values = section.settings.to_toml().map_err(S::Error::custom)?;
            table.serialize_entry(section.system.name, &values)?;
        }
        table.end()
    }
}

/// An adapter, and the limits within which `dispatch` calls it.
#[derive(Clone)]
pub struct AdapterSpec {
    /// The adapter.
    pub adapter: Arc<dyn Adapter>,
    /// The account's budget of calls.
    pub rate_limit: RateLimit,
    /// The retry policy.
    pub retry: Retry,
    /// Concurrent calls.
    pub max_in_flight: usize,
    /// Whether the system keeps the version of each record, so that a guard can compare.
    pub keeps_versions: bool,
}
