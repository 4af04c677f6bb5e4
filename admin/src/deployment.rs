//! Deployment that a command works on: its settings and the configuration of its AWS account.

use std::ffi::OsString;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_lambda::types::{EnvironmentResponse, EventSourceMappingConfiguration};
use clap::Args;
use contact_sync::adapters::Registry;
use contact_sync::settings::{DocumentSource, Environment, Layer, Settings};

use super::failure::Failure;

/// Attempts of an AWS call. An operator can wait longer than an invocation: a throttled call gets
/// more attempts than the SDK's three.
const ATTEMPTS: u32 = 8;

/// Options of every command that select the deployment.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Use the settings and the stream of this deployed function (name or ARN)
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Use this settings document: `file:PATH` or `ssm:PARAMETER-NAME`
    #[arg(long, global = true, value_name = "SOURCE")]
    config: Option<DocumentSource>,
    /// Systems that the settings may name.
    #[arg(skip)]
    pub(crate) registry: Registry,
    /// Variables of the environment. Those of the function and of the process replace them.
    #[arg(skip)]
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Configuration of AWS clients; without one, that of the environment.
    #[arg(skip)]
    pub(crate) aws: Option<SdkConfig>,
}

/// Settings and AWS configuration of a deployment.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) registry: Registry,
    pub(crate) environment: Environment,
    pub(crate) aws: SdkConfig,
    /// Whether `--function` names the deployment.
    pub(crate) is_deployed: bool,
}

impl Target {
    /// Returns the configuration of AWS clients.
    pub(crate) async fn aws(&self) -> SdkConfig {
        match &self.aws {
            Some(aws) => aws.clone(),
            None => aws_of_environment().await,
        }
    }

    /// Reads the variables of the function, if one is named, and those of this process over them.
    pub(crate) async fn deployment(&self) -> Result<Deployment, Failure> {
        let aws = self.aws().await;
        let deployed = match &self.function {
            Some(function) => variables(function, &aws).await?,
            None => Vec::new(),
        };
        let deployed = deployed
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let variables = self.variables.iter().cloned().chain(deployed);
        let mut environment = Environment::read_over(variables)?;
        if let Some(source) = &self.config {
            environment.document = Some(source.clone());
        }
        Ok(Deployment {
            registry: self.registry,
            environment,
            aws,
            is_deployed: self.function.is_some(),
        })
    }
}

impl Target {
    /// Reads the variables and the text of the document that they name. Calls AWS only if a
    /// function is named or the document is a parameter.
    pub(crate) async fn document(&self) -> Result<(Environment, String), Failure> {
        let local = if self.function.is_none() {
            Some(self.local()?)
        } else {
            None
        };
        let is_local = |environment: &Environment| {
            !matches!(environment.document, Some(DocumentSource::Parameter(_)))
        };
        let Deployment {
            environment, aws, ..
        } = match local.filter(is_local) {
            Some(environment) => Deployment {
                registry: self.registry,
                environment,
                aws: SdkConfig::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .build(),
                is_deployed: false,
            },
            None => self.deployment().await?,
        };
        let text = environment
            .read_document(&aws_sdk_ssm::Client::new(&aws))
            .await?;
        Ok((environment, text))
    }

    /// Reads the variables of the function, if one is named, with those of this process over them.
    pub(crate) async fn environment(&self) -> Result<Environment, Failure> {
        if self.function.is_some() {
            Ok(self.deployment().await?.environment)
        } else {
            self.local()
        }
    }

    /// Reads the variables of this process alone.
    fn local(&self) -> Result<Environment, Failure> {
        let mut environment = Environment::read_over(self.variables.iter().cloned())?;
        if let Some(source) = &self.config {
            environment.document = Some(source.clone());
        }
        Ok(environment)
    }
}

impl Deployment {
    /// Merges and validates the settings. The queue may be missing: the deployment sets it.
    pub(crate) async fn settings(&self) -> Result<Settings, Failure> {
        let text = self
            .environment
            .read_document(&aws_sdk_ssm::Client::new(&self.aws))
            .await?;
        let layers = self.environment.layers(self.registry, &text)?;
        Ok(layers.draft(&names(self.registry))?)
    }
}

impl Deployment {
    /// Overrides the queue of the settings with `--queue-url`.
    pub(crate) fn set_queue(&mut self, url: &str) -> Result<(), Failure> {
        let text = format!("dead_letter.queue_url = {}", toml::Value::from(url));
        self.environment
            .overrides
            .push(Layer::from_toml("the option --queue-url", &text)?);
        Ok(())
    }

    /// Returns the URL of the dead-letter queue in the settings.
    pub(crate) async fn queue_url(&self) -> Result<String, Failure> {
        let url = self.settings().await?.dead_letter.queue_url;
        if url.is_empty() {
            return Err(Failure::new(
                "the settings name no dead-letter queue",
                self.or_function("name the queue with --queue-url"),
            ));
        }
        Ok(url)
    }

    /// Adds the option `--function` to a remedy if no function is named.
    fn or_function(&self, remedy: &str) -> String {
        if self.is_deployed {
            remedy.to_owned()
        } else {
            format!("{remedy}, or a deployed function with --function")
        }
    }

    /// Returns the ARN of the stream that the function's event source mapping reads.
    pub(crate) async fn stream(&self, target: &Target) -> Result<String, Failure> {
        let remedy = self.or_function("name the stream with --stream");
        let Some(function) = &target.function else {
            return Err(Failure::new("no stream is named", remedy));
        };
        let mut streams: Vec<String> = self
            .mappings(function)
            .await?
            .into_iter()
            .filter_map(|mapping| mapping.event_source_arn)
            .collect();
        streams.dedup();
        match streams.as_slice() {
            [stream] => Ok(stream.clone()),
            [] => Err(Failure::new(
                format!("the function {function} reads no stream"),
                remedy,
            )),
            _ => Err(Failure::new(
                format!("the function {function} reads several streams"),
                remedy,
            )),
        }
    }

    /// Lists the function's event source mappings of Kinesis streams.
    pub(crate) async fn mappings(
        &self,
        function: &str,
    ) -> Result<Vec<EventSourceMappingConfiguration>, Failure> {
        let mut mappings = self.all_mappings(function).await?;
        mappings.retain(|mapping| {
            mapping
                .event_source_arn()
                .is_some_and(|arn| arn.contains(":kinesis:"))
        });
        Ok(mappings)
    }

    /// Lists the function's event source mappings.
    pub(crate) async fn all_mappings(
        &self,
        function: &str,
    ) -> Result<Vec<EventSourceMappingConfiguration>, Failure> {
        let lambda = aws_sdk_lambda::Client::new(&self.aws);
        let mut pages = lambda
            .list_event_source_mappings()
            .function_name(function)
            .into_paginator()
            .send();
        let mut mappings = Vec::new();
        while let Some(page) = pages.next().await {
            let doing = format!("listing the event source mappings of {function}");
            let page = page
                .map_err(|error| Failure::aws(&doing, "lambda:ListEventSourceMappings", &error))?;
            mappings.extend(page.event_source_mappings.unwrap_or_default());
        }
        Ok(mappings)
    }
}

/// Reads the configuration of AWS clients from the environment.
async fn aws_of_environment() -> SdkConfig {
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(retries)
        .load()
        .await
}

/// Returns the names of the systems, which routes may use.
pub(crate) fn names(registry: Registry) -> Vec<&'static str> {
    registry.iter().map(|system| system.name).collect()
}

/// Reads the environment variables of a deployed function.
async fn variables(function: &str, aws: &SdkConfig) -> Result<Vec<(String, String)>, Failure> {
    let lambda = aws_sdk_lambda::Client::new(aws);
    let response = lambda
        .get_function_configuration()
        .function_name(function)
        .send()
        .await;
    let response = response.map_err(|error| {
        Failure::aws(
            &format!("reading the configuration of the function {function}"),
            "lambda:GetFunctionConfiguration",
            &error,
        )
    })?;
    readable(function, response.environment)
}

/// Returns the variables of the answer, or the error that it carries in their place.
fn readable(
    function: &str,
    environment: Option<EnvironmentResponse>,
) -> Result<Vec<(String, String)>, Failure> {
    let Some(environment) = environment else {
        return Ok(Vec::new());
    };
    // Lambda answers without the variables where the caller may not use their key.
    if let Some(error) = environment.error {
        let message = error.message.or(error.error_code).unwrap_or_default();
        return Err(Failure::new(
            format!("Lambda cannot decrypt the variables of the function {function}: {message}"),
            "allow yourself kms:Decrypt on the function's key (KmsKeyArn)",
        ));
    }
    Ok(environment
        .variables
        .unwrap_or_default()
        .into_iter()
        .collect())
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::types::EnvironmentError;

    use super::*;

    #[test]
    fn variables_that_lambda_cannot_decrypt_are_an_error_and_not_none() {
        let good = EnvironmentResponse::builder().variables("NAME", "value");
        let found = readable("crm", Some(good.build())).expect("variables");
        assert_eq!(found, [("NAME".to_owned(), "value".to_owned())]);
        assert!(readable("crm", None).expect("no environment").is_empty());
        let error = EnvironmentError::builder()
            .error_code("AccessDeniedException")
            .message("the key refuses");
        let refused = EnvironmentResponse::builder().error(error.build());
        let failure = readable("crm", Some(refused.build())).expect_err("an unreadable key");
        let text = failure.to_string();
        assert!(
            text.contains("the key refuses") && text.contains("kms:Decrypt"),
            "{text}"
        );
    }
}
