//! contact-sync keeps Salesforce and HubSpot equal to a company's contact database, from its stream
//! of changes in Kinesis or Kafka. Data goes one way:
//!
//! ```text
//!  batch of Kinesis or Kafka                 the shard or the partition is the durable raw queue
//!    │
//!    ▼
//!  lambda         event ─► records; the deadline; the response
//!    │
//!    ▼
//!  source         record ─► ContactChange                layers, decode, validate, filter
//!    │  queue: changes (bounded)
//!    ▼
//!  route, fold    ContactChange ─► one Step per contact and destination
//!    │
//!    ▼
//!  transform      Step ─► Payload in the destination's schema; limited by a semaphore
//!    │  queue: payloads, one per destination (bounded: a slow system stops only its own senders)
//!    ▼
//!  dispatch       payloads ─► batches ─► rate limit ─► adapter ─► outcomes ─► retry | settle
//!    │
//!    ▼
//!  settle         rejected ─► dead letter; failed ─► batchItemFailures; settled ─► state table
//! ```
//!
//! A module imports modules of the layers below its own, none of its own layer or above. The test
//! `tests/contract/layers.rs` reads this drawing and the imports, and fails where they differ:
//!
//! ```layers
//! app
//! lambda settings
//! pipeline
//! source route transform
//! dispatch
//! adapters settle
//! telemetry fold policy secrets
//! aws
//! http_client clock json checks
//! services
//! model
//! ```
//!
//! - [`app`]: the composition: builds the handler of a preset and settings, and reloads settings
//! - [`lambda`]: the Lambda runtime, the envelope of events, the handler of invocations
//! - [`settings`]: merges and checks the settings; the only reader of the environment
//! - [`pipeline`]: the stages, and the queues between them
//! - [`source`]: removes the transport layers of records, decodes them into changes, validates them
//! - [`route`], [`fold`]: the destinations of a change, and the fewest writes; both pure
//! - `policy`: the fields that are written, by the record at the destination; pure
//! - [`transform`]: transforms changes into payloads of the destination's schema
//! - [`dispatch`]: batches, rate limits, retries: the only module that waits
//! - [`adapters`]: the external systems; the only module that calls them
//! - [`settle`]: fates, dead letters, the settled set, the audit trail
//! - [`telemetry`]: logs, metrics and traces; the only module that prints
//! - [`secrets`]: credentials, cached for a while
//! - `aws` (feature `aws`), [`http_client`]: the AWS clients and the HTTP clients
//! - `clock`: time limits that outlive an invocation
//! - [`services`]: the AWS services that the function calls, as traits
//! - `json`: additions to serde's JSON
//! - [`checks`]: checks of values of the settings, which sections share
//! - [`model`]: the shared vocabulary
//!
//! The promises at the edges (events, fates, calls, settings, metrics) are in
//! `docs/reference/contract.md`.

pub mod adapters;
pub mod app;
#[cfg(feature = "aws")]
pub mod aws;
pub mod checks;
mod clock;
pub mod dispatch;
pub mod fold;
pub mod http_client;
mod json;
pub mod lambda;
pub mod model;
pub mod pipeline;
mod policy;
pub mod route;
pub mod secrets;
pub mod services;
pub mod settings;
pub mod settle;
pub mod source;
pub mod telemetry;
pub mod transform;

/// The allocator of the process. A record takes some eighty small allocations, which the C
/// library's allocator makes a sixth of all its work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
