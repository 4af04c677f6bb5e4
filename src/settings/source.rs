//! The settings document: a file, or a parameter of AWS Systems Manager.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

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
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl FromStr for DocumentSource {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("ssm", name)) if !name.is_empty() => Ok(Self::Parameter(name.to_owned())),
            _ => Err(SettingsError("allowed: file:PATH or ssm:PARAMETER-NAME".to_owned())),
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
    /// What to say where reading takes too long.
    pub(crate) fn late(&self) -> DocumentError {
        DocumentError { name: self.to_string(), source: "no answer in time".into() }
    }

    /// The document's text as it is now.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn read(&self, ssm: &aws_sdk_ssm::Client) -> Result<String, DocumentError> {
        let failed = |source| DocumentError { name: self.to_string(), source };
        match self {
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| failed(error.into())),
            Self::Parameter(name) => {
                let answer = ssm.get_parameter().name(name).with_decryption(true).send().await;
                let answer = answer.map_err(|error| failed(error.into_service_error().into()))?;
                let text = answer.parameter.and_then(|parameter| parameter.value);
                text.ok_or_else(|| failed("the answer holds no value".into()))
            }
        }
    }
}
