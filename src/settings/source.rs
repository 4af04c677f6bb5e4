//! Reads the settings document: a file, or a parameter of AWS Systems Manager.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::timeout;

use super::SettingsError;
use crate::services::{ParameterStore, ServiceError};

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
    source: ServiceError,
}

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
    /// Reads the document. A parameter that does not exist holds none.
    ///
    /// # Errors
    /// Where the document cannot be read, or takes longer than `longest`.
    pub async fn read(
        &self,
        store: &dyn ParameterStore,
        longest: Duration,
    ) -> Result<Option<String>, DocumentError> {
        let text = match self {
            Self::File(path) => std::fs::read_to_string(path).map(Some).map_err(Into::into),
            Self::Parameter(name) => match timeout(longest, store.get(name)).await {
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
