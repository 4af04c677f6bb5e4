//! contact-sync keeps Salesforce and HubSpot equal to a company's contact database, from its
//! Kinesis stream of changes. Data goes one way; no stage knows the one before it, none reaches
//! past the next:
//!
//! ```text
//!  Kinesis batch                                                       the shard is the durable raw queue
//!    │
//!    ▼  handler      one invocation: its deadline, one fate for each record, one answer
//!  consume           raw record  ─►  ContactChange            decode, validate, filter
//!    │  queue: processed changes (bounded)
//!    ▼
//!  route + fold      ContactChange  ─►  one Step per contact and destination   (upsert | delete | delete, then upsert)
//!    ▼
//!  transform         Step  ─►  Payload in the destination's own schema         join_all, limited by a semaphore
//!    │  queue: transformed payloads, one per destination (bounded: a slow system stops only its own senders)
//!    ▼
//!  dispatch          payloads ─► batches ─► rate limit ─► adapter ─► outcome per payload ─► retry | settle
//!    ▼
//!  settle            rejected ─► dead letter;  failed ─► batchItemFailures;  settled-but-comes-again ─► state table
//! ```
//!
//! The rooms, in the order of the drawing:
//!
//! - [`runtime`]: Lambda's own, with a shorter way for the body
//! - [`handler`]: an invocation in, an answer out
//! - [`pipeline`]: the stages, and the queues between them
//! - [`consume`]: a record's bytes to a change that is allowed
//! - [`route`], [`fold`]: where a change goes, and the fewest writes that do; both pure
//! - [`transform`]: changes to payloads in the destination's own schema
//! - [`dispatch`]: batches, rate limits, retries: the only room that waits
//! - [`adapters`]: the external systems, and the words in which they answer; the only room that
//!   speaks HTTP to them
//! - [`settle`]: fates, dead letters, the settled set, the audit trail
//!
//! and beside it:
//!
//! - `clock`: time limits that outlive an invocation
//! - [`contact`]: the contact and its changes; knows nobody
//! - `json`: what serde leaves open
//! - [`settings`]: settings from outside; the only reader of the environment
//! - [`services`]: the AWS services that the function calls, as traits
//! - `aws`: their clients, and how these are configured (feature `aws`)
//! - [`secrets`]: credentials, kept for a while
//! - [`telemetry`]: logs and metrics; the only room that prints
//! - [`factory`]: a preset and settings to a handler: the one place where parts meet
//!
//! The promises at the edges (events, fates, calls, settings, metrics) are in `CONTRACT.md`.

pub mod adapters;
#[cfg(feature = "aws")]
pub mod aws;
mod clock;
pub mod consume;
pub mod contact;
pub mod dispatch;
pub mod factory;
pub mod fold;
pub mod handler;
mod json;
pub mod pipeline;
pub mod route;
pub mod runtime;
pub mod secrets;
pub mod services;
pub mod settings;
pub mod settle;
pub mod telemetry;
pub mod transform;

/// A record takes some eighty small allocations: with the C library's allocator they were a sixth
/// of all its work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
