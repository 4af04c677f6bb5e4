//! Why a command came to nothing: what is wrong and what to do, in one line.

use std::error::Error;
use std::fmt;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use contact_sync::factory::FactoryError;
use contact_sync::settings::SettingsError;

/// What is wrong, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    remedy: String,
    /// The options contradict each other.
    pub(crate) is_usage: bool,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
            is_usage: false,
        }
    }

    /// Options that contradict each other.
    pub(crate) fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            is_usage: true,
            ..Self::new(what, remedy)
        }
    }

    /// An AWS call that failed while `doing` something for which `permission` is needed.
    pub(crate) fn aws<E, R>(doing: &str, permission: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: fmt::Debug,
    {
        let Some(code) = error.code() else {
            let remedy = "set AWS_PROFILE and AWS_REGION, and see that the service can be reached";
            return Self::new(format!("{doing}: {}", innermost(error)), remedy);
        };
        let what = match error.message() {
            Some(message) => format!("{doing}: {code}: {message}"),
            None => format!("{doing}: {code}"),
        };
        Self::new(
            what,
            format!("check the name and the region, and that you may {permission}"),
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format!("{}: {}", self.what, self.remedy);
        f.write_str(&line.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::new(error.to_string(), "correct it where it is written")
    }
}

impl From<FactoryError> for Failure {
    fn from(error: FactoryError) -> Self {
        match error {
            FactoryError::Settings(error) => error.into(),
            other => Self::new(innermost(&other), other.to_string()),
        }
    }
}

/// The last word of a chain of errors: the others repeat who passed it on.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
