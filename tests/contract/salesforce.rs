//! The Salesforce adapter over real HTTP on loopback, against a mock that answers as the real one
//! does.

mod assertions;
mod configuration;
mod defaults;
mod deletes;
mod dispatched;
mod moved;
mod refusals;
mod rows;
mod tokens;
mod trouble;
mod upserts;
