//! The Salesforce adapter over real HTTP on loopback, against a mock that responds as Salesforce
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
#[path = "salesforce/failures.rs"]
mod failures;
#[path = "salesforce/moved.rs"]
mod moved;
#[path = "salesforce/refusals.rs"]
mod refusals;
#[path = "salesforce/rows.rs"]
mod rows;
#[path = "salesforce/tokens.rs"]
mod tokens;
#[path = "salesforce/upserts.rs"]
mod upserts;

use support::org;
