//! SDK configurations for tests.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};

/// Builds an SDK configuration with an unreachable endpoint.
pub fn no_aws() -> SdkConfig {
    at("http://127.0.0.1:9")
}

/// Builds an SDK configuration for an emulation on loopback.
pub fn at(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// Sets a time limit of one minute for each call to the state table. The function's own limit of
/// one second is too short for an emulation on a busy machine: a test that counts the calls saved
/// by the table fails if the function continues without the table.
pub fn with_a_patient_table(config: SdkConfig) -> SdkConfig {
    let limit = TimeoutConfig::builder().operation_timeout(Duration::from_mins(1));
    config.into_builder().timeout_config(limit.build()).build()
}
