//! Reads the environment. No other module does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;
use tracing::Level;

use super::{DocumentError, DocumentSource, Layer, Layers, Preset, SettingsError};
use crate::adapters::Registry;
use crate::services::ParameterStore;
use crate::telemetry::LogFormat;

const TRACES_TO: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const FUNCTION: &str = "AWS_LAMBDA_FUNCTION_NAME";
pub(super) const EXTRA_CA_FILE: &str = "CONTACT_SYNC__TLS__EXTRA_CA_FILE";

/// The time limit of the document. With that of the connections, a start stays below the 10 s after
/// which Lambda ends it, without a log line of ours; the SDK itself waits for an answer without a
/// limit. <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The work that a function is deployed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// `sync`: delivers contact changes.
    #[default]
    Sync,
    /// `doctor`: runs the checks that a schedule starts.
    Doctor,
}

/// The settings in the environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `CONTACT_SYNC_PRESET`.
    pub preset: Preset,
    /// `CONTACT_SYNC_CONFIG`.
    pub document: Option<DocumentSource>,
    /// Every `CONTACT_SYNC__…`, sorted by name.
    pub overrides: Vec<Layer>,
    /// `AWS_LAMBDA_LOG_LEVEL`, which the function's logging configuration sets.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>
    pub log_level: Level,
    /// `AWS_LAMBDA_LOG_FORMAT`. Lambda sets `Text` where no format is configured. Without the
    /// variable, the format is text on a terminal and JSON elsewhere.
    pub log_format: Option<LogFormat>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector of traces, which a layer runs at
    /// `http://localhost:4318`. <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>
    pub traces_to: Option<String>,
    /// `CONTACT_SYNC_TASK`.
    pub task: Task,
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets: the settled set belongs to this function.
    /// Empty elsewhere.
    pub function: String,
    /// `CONTACT_SYNC__TLS__EXTRA_CA_FILE`. The document itself may come over TLS, so that no other
    /// layer sets it.
    pub extra_ca_file: PathBuf,
}

impl Environment {
    /// Reads the text of the settings document. Empty where the environment names none, or a
    /// parameter that does not exist: the preset alone is in force.
    ///
    /// # Errors
    /// Where it cannot be read in time.
    pub async fn read_document(&self, store: &dyn ParameterStore) -> Result<String, DocumentError> {
        let Some(source) = &self.document else {
            return Ok(String::new());
        };
        let text = source.read(store, READ_TIMEOUT).await?;
        if text.is_none() {
            tracing::info!(%source, "settings document not found: the preset alone is in force");
        }
        Ok(text.unwrap_or_default())
    }

    /// Returns the ids of the secrets that the variables name, of the systems that they let this
    /// function serve. No document changes them.
    pub fn secret_ids(&self, registry: Registry) -> Vec<String> {
        let served = self.value(&["pipeline", "destinations"]);
        let served = served.and_then(Value::as_array).unwrap_or_default();
        let is_served =
            |name| served.is_empty() || served.iter().any(|served| served.as_str() == Some(name));
        let systems = registry.iter().filter(|system| is_served(system.name));
        let ids = systems.filter_map(|system| self.value(&[system.name, "secret_id"])?.as_str());
        ids.filter(|id| !id.is_empty()).map(str::to_owned).collect()
    }

    /// Returns the value of a setting that a variable sets.
    fn value(&self, path: &[&str]) -> Option<&Value> {
        self.overrides
            .iter()
            .rev()
            .find_map(|layer| layer.value(path))
    }

    /// Returns the layers of this environment, whose document has the text `document`, with a
    /// section for each system of `registry`.
    ///
    /// # Errors
    /// Where the text is not TOML.
    pub fn layers(&self, registry: Registry, document: &str) -> Result<Layers, SettingsError> {
        let name = match &self.document {
            Some(source) => source.to_string(),
            None => String::new(),
        };
        let document = Layer::from_toml(name, document)?;
        document.check_as_document()?;
        Layers::new(
            registry,
            self.preset,
            std::iter::once(document).chain(self.overrides.iter().cloned()),
        )
    }

    /// Reads the process's environment.
    ///
    /// # Errors
    /// Where a variable of contact-sync is invalid.
    pub fn read() -> Result<Self, SettingsError> {
        Self::from_variables(std::env::vars_os())
    }

    /// Reads the process's environment over `variables`, for example those of a deployed function.
    ///
    /// # Errors
    /// Where a variable of contact-sync is invalid.
    pub fn read_over(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let all: BTreeMap<OsString, OsString> =
            variables.into_iter().chain(std::env::vars_os()).collect();
        Self::from_variables(all)
    }

    /// Reads the given variables.
    ///
    /// # Errors
    /// Where a variable of contact-sync is invalid.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut found = Self {
            preset: Preset::default(),
            document: None,
            overrides: Vec::new(),
            log_level: Level::INFO,
            log_format: None,
            traces_to: None,
            task: Task::default(),
            function: String::new(),
            extra_ca_file: PathBuf::new(),
        };
        let mut overrides = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| is_ours(name)) else {
                continue;
            };
            let value = value
                .to_str()
                .ok_or_else(|| SettingsError(format!("the variable {name} is not UTF-8")))?
                .trim();
            match name {
                "CONTACT_SYNC_PRESET" => found.preset = preset(value)?,
                "CONTACT_SYNC_CONFIG" if value.is_empty() => {}
                "CONTACT_SYNC_CONFIG" => found.document = Some(document(value)?),
                "CONTACT_SYNC_TASK" => found.task = task(value)?,
                "AWS_LAMBDA_LOG_LEVEL" => found.log_level = level(value),
                "AWS_LAMBDA_LOG_FORMAT" => found.log_format = format(value),
                FUNCTION => value.clone_into(&mut found.function),
                TRACES_TO => {
                    found.traces_to =
                        Some(value.to_owned()).filter(|endpoint| !endpoint.is_empty());
                }
                _ if name.starts_with("CONTACT_SYNC__") => {
                    if name == EXTRA_CA_FILE {
                        found.extra_ca_file = value.into();
                    }
                    overrides.push((name.to_owned(), value.to_owned()));
                }
                _ => {
                    let known = "CONTACT_SYNC_PRESET, CONTACT_SYNC_CONFIG, CONTACT_SYNC_TASK and \
                                 CONTACT_SYNC__SECTION__KEY";
                    return Err(SettingsError(format!(
                        "the variable {name} is unknown; allowed: {known}"
                    )));
                }
            }
        }
        overrides.sort();
        for (name, value) in overrides {
            found.overrides.push(Layer::from_variable(&name, &value)?);
        }
        Ok(found)
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("CONTACT_SYNC_")
        || matches!(
            name,
            "AWS_LAMBDA_LOG_LEVEL" | "AWS_LAMBDA_LOG_FORMAT" | TRACES_TO | FUNCTION
        )
}

fn preset(name: &str) -> Result<Preset, SettingsError> {
    Preset::from_name(name).ok_or_else(|| {
        let allowed = Preset::ALL.map(Preset::name).join(", ");
        SettingsError(format!(
            "the variable CONTACT_SYNC_PRESET is `{name}`; allowed: {allowed}"
        ))
    })
}

fn task(name: &str) -> Result<Task, SettingsError> {
    match name {
        "" | "sync" => Ok(Task::Sync),
        "doctor" => Ok(Task::Doctor),
        _ => Err(SettingsError(format!(
            "the variable CONTACT_SYNC_TASK is `{name}`; allowed: sync, doctor"
        ))),
    }
}

fn document(source: &str) -> Result<DocumentSource, SettingsError> {
    source.parse().map_err(|error| {
        SettingsError(format!(
            "the variable CONTACT_SYNC_CONFIG is `{source}`; {error}"
        ))
    })
}

/// Parses Lambda's names of log levels. An unknown name is INFO, so that a new one fails no start.
fn level(name: &str) -> Level {
    match name.to_ascii_uppercase().as_str() {
        "TRACE" => Level::TRACE,
        "DEBUG" => Level::DEBUG,
        "WARN" => Level::WARN,
        "ERROR" | "FATAL" => Level::ERROR,
        _ => Level::INFO,
    }
}

fn format(name: &str) -> Option<LogFormat> {
    match name.to_ascii_uppercase().as_str() {
        "JSON" => Some(LogFormat::Json),
        "TEXT" => Some(LogFormat::Text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, SettingsError> {
        Environment::from_variables(
            variables
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        )
    }

    #[test]
    fn variables_of_other_programs_are_ignored() {
        let found = read(&[("PATH", "/bin"), ("AWS_REGION", "eu-west-1")])
            .expect("no variable of contact-sync");
        assert_eq!(
            (found.preset, found.overrides.len()),
            (Preset::Production, 0)
        );
    }

    #[test]
    fn a_misspelt_variable_is_refused_by_its_name() {
        let error = read(&[("CONTACT_SYNC_PRESETS", "test")])
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("CONTACT_SYNC_PRESETS"), "{error}");
        let error = read(&[("CONTACT_SYNC_PRESET", "prod")])
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("allowed: production, staging"), "{error}");
        let error = read(&[("CONTACT_SYNC_TASK", "nurse")])
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("allowed: sync, doctor"), "{error}");
        let error = read(&[("CONTACT_SYNC__", "1")])
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("names no setting"), "{error}");
    }

    #[test]
    fn lambdas_log_level_is_parsed() {
        let level = |name| {
            read(&[("AWS_LAMBDA_LOG_LEVEL", name)])
                .expect("read")
                .log_level
        };
        assert_eq!(
            (level("DEBUG"), level("FATAL"), level("other")),
            (Level::DEBUG, Level::ERROR, Level::INFO)
        );
    }
}
