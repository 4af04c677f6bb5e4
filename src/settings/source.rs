//! Reads the settings document: a file, or a parameter of AWS Systems Manager.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_ssm::error::ProvideErrorMetadata;
use tokio::time::timeout;

use super::SettingsError;

/// The source of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentSource {
    /// `file:PATH`.
    File(PathBuf),
    /// `ssm:PARAMETER-NAME`.
    Parameter(String),
}

/// The document cannot be read.
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
    /// Formats the name for error messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Parameter(name) => write!(f, "the parameter {name}"),
        }
    }
}

impl DocumentSource {
    /// Reads the document.
    ///
    /// # Errors
    /// Where the document cannot be read, or takes longer than `longest`.
    pub async fn read(
        &self,
        ssm: &aws_sdk_ssm::Client,
        longest: Duration,
    ) -> Result<String, DocumentError> {
        let text = match self {
            Self::File(path) => std::fs::read_to_string(path).map_err(Into::into),
            Self::Parameter(name) => match timeout(longest, parameter(ssm, name)).await {
                Ok(result) => result,
                Err(_) => Err("no response in time".into()),
            },
        };
        text.map_err(|source| DocumentError {
            name: self.to_string(),
            source,
        })
    }
}

async fn parameter(ssm: &aws_sdk_ssm::Client, name: &str) -> Result<String, Cause> {
    let answer = ssm
        .get_parameter()
        .name(name)
        .with_decryption(true)
        .send()
        .await;
    let answer = answer.map_err(|error| {
        // The SDK prints the code of an error that it does not model, without the service's
        // message.
        let parts: Vec<&str> = error.code().into_iter().chain(error.message()).collect();
        if parts.is_empty() {
            Cause::from(error)
        } else {
            parts.join(": ").into()
        }
    })?;
    answer
        .parameter
        .and_then(|parameter| parameter.value)
        .ok_or_else(|| "the response has no value".into())
}
