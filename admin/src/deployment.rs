//! The deployment that a command is about: its settings, and the way to its AWS account.

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_lambda::types::EventSourceMappingConfiguration;
use clap::Args;
use contact_sync::factory::{self, DESTINATIONS};
use contact_sync::settings::{DocumentSource, Environment, Layer, Settings};

use super::failure::Failure;

/// An operator waits longer than an invocation may: throttled calls get more tries than the SDK's
/// three.
const ATTEMPTS: u32 = 8;

/// Which deployment, for every command.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Take the settings, and the stream, of this deployed function (name or ARN)
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Take this settings document: `file:PATH` or `ssm:PARAMETER-NAME`
    #[arg(long, global = true, value_name = "SOURCE")]
    config: Option<DocumentSource>,
}

/// A deployment.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) environment: Environment,
    pub(crate) aws: SdkConfig,
    /// It is that of a deployed function.
    pub(crate) is_deployed: bool,
}

impl Target {
    /// Reads the variables of the function, where one is named, and of this process.
    pub(crate) async fn deployment(&self) -> Result<Deployment, Failure> {
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(retries)
            .load()
            .await;
        let deployed = match &self.function {
            Some(function) => variables(function, &aws).await?,
            None => Vec::new(),
        };
        let deployed = deployed
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let mut environment = Environment::read_over(deployed)?;
        if let Some(source) = &self.config {
            environment.document = Some(source.clone());
        }
        Ok(Deployment {
            environment,
            aws,
            is_deployed: self.function.is_some(),
        })
    }
}

impl Target {
    /// The variables, and the text of the document that they name. AWS is asked only where the
    /// function or the document is there.
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
                environment,
                aws: SdkConfig::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .build(),
                is_deployed: false,
            },
            None => self.deployment().await?,
        };
        let text = factory::document(&environment, &aws_sdk_ssm::Client::new(&aws)).await?;
        Ok((environment, text))
    }

    /// The variables: those of the function, where one is named, with this process's over them.
    pub(crate) async fn environment(&self) -> Result<Environment, Failure> {
        if self.function.is_some() {
            Ok(self.deployment().await?.environment)
        } else {
            self.local()
        }
    }

    /// The variables of this process alone.
    fn local(&self) -> Result<Environment, Failure> {
        let mut environment = Environment::read()?;
        if let Some(source) = &self.config {
            environment.document = Some(source.clone());
        }
        Ok(environment)
    }
}

impl Deployment {
    /// The merged and judged settings. The queue may be missing: it is the deployment that brings
    /// it.
    pub(crate) async fn settings(&self) -> Result<Settings, Failure> {
        let text =
            factory::document(&self.environment, &aws_sdk_ssm::Client::new(&self.aws)).await?;
        Ok(factory::layers(&self.environment, &text)?.draft(&DESTINATIONS)?)
    }
}

impl Deployment {
    /// Lays `--queue-url` over the settings.
    pub(crate) fn set_queue(&mut self, url: &str) -> Result<(), Failure> {
        let text = format!("dead_letter.queue_url = {}", toml::Value::from(url));
        self.environment
            .overrides
            .push(Layer::from_toml("the option --queue-url", &text)?);
        Ok(())
    }

    /// The dead-letter queue in the settings.
    pub(crate) async fn queue_url(&self) -> Result<String, Failure> {
        let url = self.settings().await?.dead_letter.queue_url;
        if url.is_empty() {
            let what = "the settings name no dead-letter queue";
            return Err(Failure::new(
                what,
                self.or_function("name the queue with --queue-url"),
            ));
        }
        Ok(url)
    }

    /// A remedy, and where no function is named the one to name it.
    fn or_function(&self, remedy: &str) -> String {
        if self.is_deployed {
            remedy.to_owned()
        } else {
            format!("{remedy}, or a deployed function with --function")
        }
    }

    /// The stream that the function's mapping reads.
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

    /// The function's Kinesis mappings.
    pub(crate) async fn mappings(
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
        let is_kinesis = |mapping: &EventSourceMappingConfiguration| {
            mapping
                .event_source_arn
                .as_ref()
                .is_some_and(|arn| arn.contains(":kinesis:"))
        };
        mappings.retain(is_kinesis);
        Ok(mappings)
    }
}

/// The variables of a deployed function.
async fn variables(function: &str, aws: &SdkConfig) -> Result<Vec<(String, String)>, Failure> {
    let lambda = aws_sdk_lambda::Client::new(aws);
    let answer = lambda
        .get_function_configuration()
        .function_name(function)
        .send()
        .await;
    let answer = answer.map_err(|error| {
        Failure::aws(
            &format!("reading the configuration of the function {function}"),
            "lambda:GetFunctionConfiguration",
            &error,
        )
    })?;
    let variables = answer
        .environment
        .and_then(|environment| environment.variables);
    Ok(variables.unwrap_or_default().into_iter().collect())
}
