//! Configurations of the SDK for tests.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};

/// An SDK configuration that leads nowhere.
pub fn no_aws() -> SdkConfig {
    at("http://127.0.0.1:9")
}

/// An SDK configuration for an emulation on loopback.
pub fn at(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// Gives the state table a minute for each call. The function's own limit of a second is too short
/// for an emulation on a busy machine, and a test that counts what the table saves fails where the
/// function went on without it.
pub fn with_a_patient_table(config: SdkConfig) -> SdkConfig {
    let limit = TimeoutConfig::builder().operation_timeout(Duration::from_mins(1));
    config.into_builder().timeout_config(limit.build()).build()
}
