//! The Salesforce adapter over real HTTP on loopback, against a mock that responds as Salesforce
//! does.

mod assertions;
mod composite;
mod configuration;
mod defaults;
mod deletes;
mod dispatched;
mod failures;
mod moved;
mod refusals;
mod rows;
mod tokens;
mod upserts;
