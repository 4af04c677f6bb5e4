//! AWS Systems Manager Parameter Store as the store of the settings document.

use aws_sdk_ssm::Client;
use aws_sdk_ssm::error::ProvideErrorMetadata;
use futures_util::FutureExt;

use crate::services::{ParameterStore, ServiceCall, ServiceError};

impl ParameterStore for Client {
    fn get<'a>(&'a self, name: &'a str) -> ServiceCall<'a, String> {
        async move {
            let call = self.get_parameter().name(name).with_decryption(true);
            let answer = call.send().await.map_err(|error| {
                // An error of a kind that the SDK does not know prints the service's code, and
                // keeps its message for itself.
                let words: Vec<&str> = error.code().into_iter().chain(error.message()).collect();
                if words.is_empty() {
                    ServiceError::from(error)
                } else {
                    words.join(": ").into()
                }
            })?;
            answer
                .parameter
                .and_then(|parameter| parameter.value)
                .ok_or_else(|| "the answer holds no value".into())
        }
        .boxed()
    }
}
