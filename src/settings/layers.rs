//! Merges the layers, and finds the layer and line of each value.

mod errors;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml::de::{DeTable, DeValue};

pub(super) use self::errors::suggestion;
use super::built_in::{self, AFTER_SYSTEMS};
use super::environment::EXTRA_CA_FILE;
use super::{Preset, Settings, SettingsError, check};
use crate::adapters::{REGISTRY, Registry, Section};
use crate::checks;

/// One source of settings: its name in messages, and its values.
#[derive(Clone, Debug)]
pub struct Layer {
    name: String,
    values: Dict,
    /// The text of the source, to find lines in; empty for a source without lines.
    text: String,
}

impl Layer {
    /// Parses a TOML text, named `name` in errors.
    ///
    /// # Errors
    /// Where the text is not TOML; the message has the line.
    pub fn from_toml(name: impl Into<String>, text: &str) -> Result<Self, SettingsError> {
        let name = name.into();
        let table: toml::Table =
            toml::from_str(text).map_err(|error| no_toml(&name, text, &error))?;
        Ok(Self::of(name, &table, text))
    }

    /// Parses the valid parts of a TOML text. Returns every syntax error besides, with its line.
    pub fn recover(name: impl Into<String>, text: &str) -> (Self, Vec<SettingsError>) {
        let name = name.into();
        let (table, errors) = DeTable::parse_recoverable(text);
        let table: toml::Table =
            serde::Deserialize::deserialize(toml::Deserializer::from(table)).unwrap_or_default();
        let errors = errors
            .iter()
            .map(|error| no_toml(&name, text, error))
            .collect();
        (Self::of(name, &table, text), errors)
    }

    /// Creates a layer of a document's values, trimmed.
    fn of(name: String, table: &toml::Table, text: &str) -> Self {
        let values = match Value::serialize(table).map(trimmed) {
            Ok(Value::Dict(_, values)) => values,
            _ => Dict::new(),
        };
        Self {
            name,
            values,
            text: text.to_owned(),
        }
    }

    /// Parses one environment variable: `CONTACT_SYNC__SECTION__KEY` with a TOML value. A value
    /// that is not TOML is a text.
    ///
    /// # Errors
    /// Where the name has no key.
    pub fn from_variable(variable: &str, value: &str) -> Result<Self, SettingsError> {
        let path = variable
            .strip_prefix("CONTACT_SYNC__")
            .unwrap_or_default()
            .to_ascii_lowercase();
        if path.split("__").any(str::is_empty) {
            let form = "the form is CONTACT_SYNC__SECTION__KEY";
            return Err(SettingsError(format!(
                "the variable {variable}: names no setting; {form}"
            )));
        }
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
        let one_value = parsed
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"));
        let value = one_value.unwrap_or_else(|| toml::Value::String(value.to_owned()));
        let value = Value::serialize(&value).map(trimmed);
        let value =
            value.map_err(|error| SettingsError(format!("the variable {variable}: {error}")))?;
        let nested = path.rsplit("__").fold(value, |inner, key| {
            Dict::from([(key.to_owned(), inner)]).into()
        });
        let values = nested.into_dict().unwrap_or_default();
        Ok(Self {
            name: format!("the variable {variable}"),
            values,
            text: String::new(),
        })
    }

    fn sets(&self, path: &[&str]) -> bool {
        path.is_empty() || self.value(path).is_some()
    }

    /// Returns the value at `path`.
    pub(super) fn value(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let start = self.values.get(*first)?;
        rest.iter().try_fold(start, |value, key| inner(value, key))
    }

    /// Checks that a settings document leaves out the keys that are read before it.
    ///
    /// # Errors
    /// Where it sets one; the message has the line.
    pub fn check_as_document(&self) -> Result<(), SettingsError> {
        let key = ["tls", "extra_ca_file"];
        if !self.sets(&key) {
            return Ok(());
        }
        Err(SettingsError(format!(
            "{}: `tls.extra_ca_file` is read before the document: set the variable {EXTRA_CA_FILE}",
            self.place(&key)
        )))
    }

    /// Returns the layer's name, with the line where the layer has lines.
    fn place(&self, path: &[&str]) -> String {
        match line_of(&self.text, path) {
            Some(line) => format!("{}, line {line}", self.name),
            None => self.name.clone(),
        }
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

/// An unknown key, or a key with an invalid value.
struct KeyError {
    /// The key, and after it the keys whose values contradict its value.
    paths: Vec<Vec<String>>,
    message: String,
}

impl From<checks::InvalidValue> for KeyError {
    fn from(invalid: checks::InvalidValue) -> Self {
        let mut paths = Vec::new();
        for key in invalid.keys() {
            paths.push(key.split('.').map(str::to_owned).collect());
        }
        Self {
            paths,
            message: invalid.message,
        }
    }
}

/// All layers of one start: the defaults, the preset, and the layers above them.
#[derive(Clone, Debug)]
pub struct Layers {
    registry: Registry,
    preset: Preset,
    stack: Vec<Layer>,
}

impl Layers {
    /// Stacks the defaults, `preset` and `above`. A later layer overrides an earlier one. Each
    /// system of `registry` has a section.
    ///
    /// # Errors
    /// Where a built-in layer is not TOML, which a test rules out.
    pub fn new(
        registry: Registry,
        preset: Preset,
        above: impl IntoIterator<Item = Layer>,
    ) -> Result<Self, SettingsError> {
        let mut stack = vec![
            Layer::from_toml("the defaults", &built_in::defaults(registry))?,
            Layer::from_toml(
                format!("the preset {}", preset.name()),
                &built_in::differences(preset, registry),
            )?,
        ];
        stack.extend(above);
        Ok(Self {
            registry,
            preset,
            stack,
        })
    }

    /// Merges and validates the settings. Routes may name the systems of `destinations`.
    ///
    /// # Errors
    /// Where a key is unknown or has an invalid value. One line names all such keys, as the
    /// operator wrote them.
    pub fn settings(&self, destinations: &[&str]) -> Result<Settings, SettingsError> {
        let settings = self.draft(destinations)?;
        check::complete(&settings, self.preset).map_err(|invalid| self.error(&invalid.into()))?;
        Ok(settings)
    }

    /// Merges and validates settings that the deployment completes later: the queue may be missing.
    ///
    /// # Errors
    /// As those of [`Self::settings`].
    pub fn draft(&self, destinations: &[&str]) -> Result<Settings, SettingsError> {
        self.validate(destinations).map_err(|_| {
            let errors = self.errors(destinations);
            let texts: Vec<String> = errors.into_iter().map(|error| error.0).collect();
            SettingsError(texts.join("; also: "))
        })
    }

    /// Merges and validates the settings. Fails with the first error.
    fn validate(&self, destinations: &[&str]) -> Result<Settings, KeyError> {
        let settings = self.parse()?;
        check::check(&settings, self.preset, destinations)?;
        Ok(settings)
    }

    /// Merges the layers and parses all sections. Fails with the first error in the alphabet of the
    /// top-level keys.
    fn parse(&self) -> Result<Settings, KeyError> {
        let mut values = self.merged()?;
        let (mut sections, mut first) = (Vec::new(), None);
        for system in self.registry {
            let section = values
                .remove(system.name)
                .unwrap_or_else(|| Dict::new().into());
            match Section::parse(system, &section) {
                Ok(section) => sections.push(section),
                Err(mut error) => {
                    error.path.insert(0, system.name.to_owned());
                    first = Some(earlier(first, self.key_error(&error)));
                }
            }
        }
        let settings = match Value::from(values).deserialize::<Settings>() {
            Ok(settings) => settings,
            Err(error) => return Err(earlier(first, self.key_error(&error))),
        };
        match first {
            Some(error) => Err(error),
            None => Ok(Settings {
                systems: sections.into_iter().collect(),
                ..settings
            }),
        }
    }

    /// Merges the values of all layers.
    fn merged(&self) -> Result<Dict, KeyError> {
        let merged = self
            .stack
            .iter()
            .cloned()
            .fold(Figment::new(), Figment::merge);
        let mut profiles = merged.data().map_err(|error| self.key_error(&error))?;
        Ok(profiles.remove(&Profile::Default).unwrap_or_default())
    }

    fn error(&self, error: &KeyError) -> SettingsError {
        let place = self.place_of_any(&error.paths);
        SettingsError(format!(
            "{place}: `{}` {}",
            error.paths[0].join("."),
            error.message
        ))
    }

    /// Returns the layer of the value at `path`, with the line where the layer has lines. Where no
    /// layer sets the path itself, the place of the nearest table around it.
    pub fn place(&self, path: &[&str]) -> String {
        match self.highest(path) {
            Some((at, path)) => self.stack[at].place(path),
            None => "the settings".to_owned(),
        }
    }

    /// Returns the place of the key that the highest layer sets, among keys that contradict each
    /// other: that key is the one to change.
    fn place_of_any(&self, paths: &[Vec<String>]) -> String {
        let paths: Vec<Vec<&str>> = paths
            .iter()
            .map(|path| path.iter().map(String::as_str).collect())
            .collect();
        let found = paths
            .iter()
            .rev()
            .filter_map(|path| self.highest(path))
            .max_by_key(|(at, _)| *at);
        match found {
            Some((at, path)) => self.stack[at].place(path),
            None => "the settings".to_owned(),
        }
    }

    /// Returns the highest layer that sets `path`, or else the nearest table around it.
    fn highest<'p>(&self, path: &'p [&'p str]) -> Option<(usize, &'p [&'p str])> {
        let lengths = (1..=path.len()).rev();
        lengths.map(|length| &path[..length]).find_map(|path| {
            let at = self.stack.iter().rposition(|layer| layer.sets(path))?;
            Some((at, path))
        })
    }
}

impl Layers {
    /// Converts figment's error to the operator's terms.
    fn key_error(&self, error: &figment::Error) -> KeyError {
        let mut path = error.path.clone();
        let message = match &error.kind {
            Kind::UnknownField(name, allowed) => {
                if path.last() != Some(name) {
                    path.push(name.clone());
                }
                let mut allowed = allowed.to_vec();
                if path.len() == 1 {
                    self.insert_systems(&mut allowed);
                }
                format!(
                    "is unknown; allowed here: {}{}",
                    allowed.join(", "),
                    suggestion(name, &allowed)
                )
            }
            Kind::UnknownVariant(name, allowed) => {
                format!(
                    "is `{name}`; allowed: {}{}",
                    allowed.join(", "),
                    suggestion(name, allowed)
                )
            }
            Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
                let number = check::range(&path.join("."), self.registry)
                    .map(|range| format!("a whole number, {}", checks::shown(range)));
                let allowed = number.unwrap_or_else(|| wanted(expected).to_owned());
                format!("is {}; allowed: {allowed}", written(actual))
            }
            other => one_line(&other.to_string()),
        };
        KeyError {
            paths: vec![path],
            message,
        }
    }

    /// Adds the sections of the systems to the names of the other sections, in the order of the
    /// defaults.
    fn insert_systems(&self, sections: &mut Vec<&'static str>) {
        let at = sections.iter().position(|name| *name == AFTER_SYSTEMS);
        let at = at.unwrap_or(sections.len());
        let names = self.registry.iter().map(|system| system.name);
        sections.splice(at..at, names);
    }
}

/// Returns the error whose top-level key is the first in the alphabet.
fn earlier(first: Option<KeyError>, other: KeyError) -> KeyError {
    match first {
        Some(first) if first.paths[0].first() <= other.paths[0].first() => first,
        _ => other,
    }
}

/// Merges and validates the settings of a preset and the layers above it, with a section for each
/// system of [`REGISTRY`].
///
/// # Errors
/// As those of [`Layers::settings`].
pub fn load(
    preset: Preset,
    above: &[Layer],
    destinations: &[&str],
) -> Result<Settings, SettingsError> {
    Layers::new(&REGISTRY, preset, above.iter().cloned())?.settings(destinations)
}

/// Trims each text: copying leaves blanks and line ends around texts. The trimmed text is checked
/// and used.
fn trimmed(value: Value) -> Value {
    match value {
        Value::String(tag, text) => Value::String(tag, text.trim().to_owned()),
        Value::Dict(tag, dict) => Value::Dict(
            tag,
            dict.into_iter()
                .map(|(key, value)| (key, trimmed(value)))
                .collect(),
        ),
        Value::Array(tag, items) => Value::Array(tag, items.into_iter().map(trimmed).collect()),
        other => other,
    }
}

/// Formats a value of the document in TOML's terms.
fn written(actual: &Actual) -> String {
    match actual {
        Actual::Bool(value) => format!("`{value}`"),
        Actual::Unsigned(value) => format!("`{value}`"),
        Actual::Signed(value) => format!("`{value}`"),
        Actual::Float(value) => format!("`{value}`"),
        Actual::Str(text) => format!("the text {text:?}"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Translates the type that serde expects, other than a number, to TOML's terms.
fn wanted(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        _ if expected.starts_with("struct ") || expected == "a map" => "a table",
        _ if expected.starts_with("enum ") || expected.contains("identifier") => "a text",
        other => other,
    }
}

fn inner<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Dict(_, dict) => dict.get(key),
        Value::Array(_, items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Returns the line that sets `path` in a TOML text.
fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<(usize, &'t DeValue<'i>)> {
        let (name, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((name.span().start, value.get_ref()))
    }
    let (document, _) = DeTable::parse_recoverable(text);
    let (first, rest) = path.split_first()?;
    let (start, _) = rest.iter().try_fold(
        entry(document.get_ref(), first)?,
        |(_, value), key| match value {
            DeValue::Table(table) => entry(table, key),
            DeValue::Array(items) => {
                let item = items.get(key.parse::<usize>().ok()?)?;
                Some((item.span().start, item.get_ref()))
            }
            _ => None,
        },
    )?;
    Some(line_at(text, start))
}

fn no_toml(name: &str, text: &str, error: &toml::de::Error) -> SettingsError {
    let line = line_at(text, error.span().map_or(0, |span| span.start));
    SettingsError(format!(
        "{name}, line {line}: not valid TOML: {}",
        one_line(error.message())
    ))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
