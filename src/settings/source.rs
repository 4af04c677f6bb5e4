//! The settings document: a file, or a parameter of AWS Systems Manager.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_ssm::error::ProvideErrorMetadata;
use aws_sdk_ssm::operation::get_parameter::GetParameterError;
use tokio::time::timeout;

use super::SettingsError;

/// Where the document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentSource {
    /// `file:PATH`.
    File(PathBuf),
    /// `ssm:PARAMETER-NAME`.
    Parameter(String),
}

/// Why the document cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the settings document {name}")]
pub struct DocumentError {
    name: String,
    #[source]
    source: Cause,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl FromStr for DocumentSource {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        match text
            .split_once(':')
            .map(|(kind, name)| (kind.trim(), name.trim()))
        {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("ssm", name)) if !name.is_empty() => Ok(Self::Parameter(name.to_owned())),
            _ => Err(SettingsError(
                "allowed: file:PATH or ssm:PARAMETER-NAME".to_owned(),
            )),
        }
    }
}

impl fmt::Display for DocumentSource {
    /// The name in errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Parameter(name) => write!(f, "the parameter {name}"),
        }
    }
}

impl DocumentSource {
    /// Returns the document's text as it is now. `None`: the parameter does not exist.
    ///
    /// # Errors
    /// Where it cannot be read, or does not come within `longest`.
    pub async fn read(
        &self,
        ssm: &aws_sdk_ssm::Client,
        longest: Duration,
    ) -> Result<Option<String>, DocumentError> {
        let text = match self {
            Self::File(path) => std::fs::read_to_string(path).map(Some).map_err(Into::into),
            Self::Parameter(name) => {
                let late = |_| Err("no answer in time".into());
                timeout(longest, parameter(ssm, name))
                    .await
                    .unwrap_or_else(late)
            }
        };
        text.map_err(|source| DocumentError {
            name: self.to_string(),
            source,
        })
    }
}

/// Returns the parameter's value. `None`: Parameter Store answers that it does not exist.
async fn parameter(ssm: &aws_sdk_ssm::Client, name: &str) -> Result<Option<String>, Cause> {
    let answer = ssm
        .get_parameter()
        .name(name)
        .with_decryption(true)
        .send()
        .await;
    let is_missing = |error: &GetParameterError| error.is_parameter_not_found();
    if answer
        .as_ref()
        .is_err_and(|error| error.as_service_error().is_some_and(is_missing))
    {
        return Ok(None);
    }
    let answer = answer.map_err(|error| {
        // An error of a kind that the SDK does not know prints the service's code, and keeps its
        // words for itself.
        let said: Vec<&str> = error.code().into_iter().chain(error.message()).collect();
        if said.is_empty() {
            Cause::from(error)
        } else {
            said.join(": ").into()
        }
    })?;
    answer
        .parameter
        .and_then(|parameter| parameter.value)
        .map(Some)
        .ok_or_else(|| "the answer holds no value".into())
}
