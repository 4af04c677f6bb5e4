//! What the tests and `make run` share: mocks of both systems, a generator of streams, a harness.

#![allow(
    dead_code,
    reason = "each test binary uses its own part of this folder"
)]
#![allow(
    unused_imports,
    reason = "each test binary uses its own part of this folder"
)]
#![allow(
    unreachable_pub,
    reason = "the folder is a module of each test binary, and public to it"
)]
#![allow(missing_docs, reason = "test support: names and tests say it")]

pub mod cloud;
pub mod dispatching;
pub mod evidence;
pub mod generator;
pub mod harness;
pub mod kinesis;
pub mod listener;
pub mod memory;
pub mod mock_aws;
pub mod mock_hubspot;
pub mod mock_salesforce;
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
pub mod table;
pub mod words;
