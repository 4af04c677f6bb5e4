//! The HubSpot adapter over real HTTP on loopback, against a mock that answers as the real one does.

mod support;

#[path = "hubspot/deletes.rs"]
mod deletes;
#[path = "hubspot/dispatched.rs"]
mod dispatched;
#[path = "hubspot/trouble.rs"]
mod trouble;
#[path = "hubspot/upserts.rs"]
mod upserts;

use support::portal;
