//! The HubSpot adapter over real HTTP on loopback, against a mock that responds as HubSpot does:
//! the number of its calls, and its guard. The adapter contract suite has the other cases.

mod support;

#[path = "hubspot/deletes.rs"]
mod deletes;
#[path = "hubspot/dispatched.rs"]
mod dispatched;
#[path = "hubspot/failures.rs"]
mod failures;
#[path = "hubspot/upserts.rs"]
mod upserts;

use support::portal;
