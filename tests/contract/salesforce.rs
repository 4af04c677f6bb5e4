//! The Salesforce adapter over real HTTP on loopback, against a mock that answers as the real one
//! does.

mod support;

#[path = "salesforce/assertions.rs"]
mod assertions;
#[path = "salesforce/configuration.rs"]
mod configuration;
#[path = "salesforce/defaults.rs"]
mod defaults;
#[path = "salesforce/deletes.rs"]
mod deletes;
#[path = "salesforce/dispatched.rs"]
mod dispatched;
#[path = "salesforce/moved.rs"]
mod moved;
#[path = "salesforce/refusals.rs"]
mod refusals;
#[path = "salesforce/rows.rs"]
mod rows;
#[path = "salesforce/tokens.rs"]
mod tokens;
#[path = "salesforce/trouble.rs"]
mod trouble;
#[path = "salesforce/upserts.rs"]
mod upserts;

use support::org;
