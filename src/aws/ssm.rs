//! AWS Systems Manager Parameter Store as the store of the settings document.

use aws_sdk_ssm::Client;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ssm::operation::get_parameter::GetParameterError;
use futures_util::FutureExt;

use crate::services::{ParameterStore, ServiceCall, ServiceError};

impl ParameterStore for Client {
    fn get<'a>(&'a self, name: &'a str) -> ServiceCall<'a, Option<String>> {
        async move {
            let call = self.get_parameter().name(name).with_decryption(true);
            let answer = match call.send().await {
                Ok(answer) => answer,
                Err(error) if is_not_found(&error) => return Ok(None),
                Err(error) => return Err(service_error(error)),
            };
            match answer.parameter.and_then(|parameter| parameter.value) {
                Some(value) => Ok(Some(value)),
                None => Err("the answer holds no value".into()),
            }
        }
        .boxed()
    }
}

/// Returns whether Parameter Store answered that the parameter does not exist.
fn is_not_found(error: &SdkError<GetParameterError>) -> bool {
    error
        .as_service_error()
        .is_some_and(GetParameterError::is_parameter_not_found)
}

/// Describes an error. One of a kind that the SDK does not know prints the service's code, and
/// keeps its message for itself.
fn service_error(error: SdkError<GetParameterError>) -> ServiceError {
    let words: Vec<&str> = error.code().into_iter().chain(error.message()).collect();
    if words.is_empty() {
        error.into()
    } else {
        words.join(": ").into()
    }
}
