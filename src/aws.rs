//! The AWS clients, as the services that the function calls, and their configuration: the SDK's
//! defaults, from the standard variables, with two exceptions. TLS is initialized by the first call
//! of AWS. Plain `http` uses no proxy of the environment, because it leads to an emulation or to a
//! service of the same machine, and its responses hold secrets.

mod dynamodb;
mod secrets_manager;
mod sqs;
mod ssm;

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::http_client::ExtraRoots;
use crate::services::{DeadLetterQueue, ParameterStore, SecretStore, Services, StateTable};

/// Loads the configuration from the process's environment. Its clients trust `extra` beside the
/// system's root certificates.
pub async fn config(extra: &ExtraRoots) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(LazyTlsClient {
            https: https(extra),
            plain: plain(),
        })
        .load()
        .await
}

/// Builds a client for `https` as the SDK does: its TLS library, and the proxy of the standard
/// variables.
fn https(extra: &ExtraRoots) -> SharedHttpClient {
    let mut trusted = TrustStore::default();
    if !extra.pem().is_empty() {
        trusted.add_pem_certificate(extra.pem());
    }
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        let connector = connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        let context = TlsContext::builder().with_trust_store(trusted.clone());
        match context.build() {
            Ok(context) => connector.tls_context(context).build(),
            Err(_) => connector.build(),
        }
    })
}

/// Builds a client for plain `http` without a proxy.
fn plain() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::disabled());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build_http()
    })
}

/// The SDK's HTTP client without `validate_base_client_config`. That method reads the system's root
/// certificates when a client is built, which takes 45 % of the instructions before the first poll.
#[derive(Debug)]
struct LazyTlsClient {
    https: SharedHttpClient,
    plain: SharedHttpClient,
}

impl HttpClient for LazyTlsClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let https = self.https.http_connector(settings, components);
        let plain = self.plain.http_connector(settings, components);
        SharedHttpConnector::new(ByScheme { https, plain })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.https.connector_metadata()
    }
}

/// Selects the connector by the scheme of a request.
#[derive(Debug)]
struct ByScheme {
    https: SharedHttpConnector,
    plain: SharedHttpConnector,
}

impl HttpConnector for ByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_plain = request
            .uri()
            .get(..5)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"));
        if is_plain {
            self.plain.call(request)
        } else {
            self.https.call(request)
        }
    }
}

impl Services for SdkConfig {
    /// Returns a client with short pauses between its attempts. The SDK's own pauses are as long as
    /// the time that the read of a secret has.
    fn secrets(&self) -> Arc<dyn SecretStore> {
        use aws_sdk_secretsmanager::config::Builder;
        let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(100));
        let config = Builder::from(self).retry_config(retries).build();
        Arc::new(aws_sdk_secretsmanager::Client::from_conf(config))
    }

    /// Returns a client with time limits. A queue that does not answer must not take the whole
    /// invocation: its records come again.
    fn queue(&self) -> Arc<dyn DeadLetterQueue> {
        use aws_sdk_sqs::config::Builder;
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(3))
            .operation_timeout(Duration::from_secs(10));
        let config = Builder::from(self).timeout_config(timeouts.build()).build();
        Arc::new(aws_sdk_sqs::Client::from_conf(config))
    }

    /// Returns a client with a time limit of a second for two attempts: the state table only saves
    /// work. A limit for an operation that the configuration sets itself is kept.
    fn table(&self) -> Arc<dyn StateTable> {
        use aws_sdk_dynamodb::config::Builder;
        let retries = RetryConfig::standard()
            .with_max_attempts(2)
            .with_initial_backoff(Duration::from_millis(50));
        let limit = self
            .timeout_config()
            .and_then(TimeoutConfig::operation_timeout)
            .unwrap_or(Duration::from_secs(1));
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(limit * 9 / 20)
            .operation_timeout(limit);
        let config = Builder::from(self)
            .retry_config(retries)
            .timeout_config(timeouts.build())
            .build();
        Arc::new(aws_sdk_dynamodb::Client::from_conf(config))
    }

    fn parameters(&self) -> Arc<dyn ParameterStore> {
        Arc::new(aws_sdk_ssm::Client::new(self))
    }
}
