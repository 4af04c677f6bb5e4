//! What the tests and `make run` share: mocks of both systems, a generator of streams, a harness.

#![allow(dead_code, reason = "each test binary uses its own part of this folder")]
#![allow(missing_docs, reason = "test support: names and tests say it")]

pub mod server;
