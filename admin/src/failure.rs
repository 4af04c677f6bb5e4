//! Failure of a command: its cause and the remedy, in one line.

use std::error::Error;
use std::fmt;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use contact_sync::app::AppError;
use contact_sync::settings::{DocumentError, SettingsError};

/// Failure of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: String,
    remedy: String,
    /// Whether the options contradict each other.
    pub(crate) is_usage: bool,
}

impl Failure {
    /// Builds a failure from its cause and remedy.
    pub(crate) fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            remedy: remedy.into(),
            is_usage: false,
        }
    }

    /// Builds the failure of options that contradict each other.
    pub(crate) fn usage(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            is_usage: true,
            ..Self::new(cause, remedy)
        }
    }

    /// Builds the failure of an AWS call that needs `permission`; `doing` describes the call.
    pub(crate) fn aws<E, R>(doing: &str, permission: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: fmt::Debug,
    {
        let Some(code) = error.code() else {
            if let Some(failure) = no_credentials(error) {
                return failure;
            }
            let remedy =
                "set AWS_PROFILE and AWS_REGION, and check that the service can be reached";
            return Self::new(format!("{doing}: {}", root_cause(error)), remedy);
        };
        let cause = match error.message() {
            Some(message) => format!("{doing}: {code}: {message}"),
            None => format!("{doing}: {code}"),
        };
        Self::new(
            cause,
            format!("check the name, the region and your permission {permission}"),
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format!("{}: {}", self.cause, self.remedy);
        f.write_str(&line.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::new(error.to_string(), "correct it where it is written")
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        if let Some(failure) = no_credentials(&error) {
            return failure;
        }
        match error {
            AppError::Settings(error) => error.into(),
            other => Self::new(root_cause(&other), other.to_string()),
        }
    }
}

impl From<DocumentError> for Failure {
    fn from(error: DocumentError) -> Self {
        AppError::from(error).into()
    }
}

/// Builds the failure of credentials that could not be loaded: the session of the profile has
/// ended, or never began, or its process failed. Returns `None` for any other error.
fn no_credentials(error: &dyn Error) -> Option<Failure> {
    let messages = messages(error);
    if !messages.contains("loading credentials") {
        return None;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "names the profile of the person in a message, and configures nothing"
    )]
    let profile = std::env::var("AWS_PROFILE").unwrap_or_else(|_| "default".to_owned());
    Some(match login_command(&messages) {
        Some(command) => Failure::new(
            format!("the profile {profile} has no valid session"),
            format!("run `{command} --profile {profile}`"),
        ),
        None => Failure::new(
            format!(
                "the profile {profile} gives no credentials: {}",
                root_cause(error)
            ),
            format!("check it with `aws sts get-caller-identity --profile {profile}`"),
        ),
    })
}

/// Returns the command that begins the session which the messages of an error are about. The SDK
/// has no type for these errors: the messages name the cached token.
fn login_command(messages: &str) -> Option<&'static str> {
    let is_of = |word| messages.contains(word);
    if ["Login token", "login/cache"].into_iter().any(is_of) {
        Some("aws login")
    } else if ["SSO", "access token", "UnauthorizedException"]
        .into_iter()
        .any(is_of)
    {
        Some("aws sso login")
    } else {
        None
    }
}

/// Returns the messages of all errors of a chain.
fn messages(error: &dyn Error) -> String {
    let mut messages = error.to_string();
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
        messages.push_str(": ");
        messages.push_str(&error.to_string());
    }
    messages
}

/// Returns the message of the innermost error of a chain. The outer errors only name the layers
/// that passed it on.
fn root_cause(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
