//! Shared code of the tests and `make run`: mocks of both destinations, a generator of streams, a
//! harness. The feature `aws` adds the emulations of AWS.

#![allow(missing_docs, reason = "test support: the names describe the items")]
#![allow(
    clippy::missing_panics_doc,
    reason = "a test fails where its support panics"
)]

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "aws")]
pub mod cloud;
pub mod controls;
#[cfg(feature = "aws")]
pub mod deployment;
pub mod dispatching;
pub mod evidence;
pub mod feed;
pub mod generator;
pub mod harness;
pub mod kafka;
pub mod kinesis;
pub mod kpl;
pub mod listener;
pub mod memory;
#[cfg(feature = "aws")]
pub mod mock_aws;
pub mod mock_hubspot;
pub mod mock_salesforce;
#[cfg(feature = "aws")]
pub mod moto;
pub mod mutate;
pub mod orders;
pub mod org;
pub mod portal;
pub mod proxy;
pub mod runtime_api;
pub mod server;
pub mod source;
pub mod stream;
pub mod system;
#[cfg(feature = "aws")]
pub mod table;
pub mod tinycrm;
#[cfg(feature = "aws")]
pub mod tls;
pub mod words;
