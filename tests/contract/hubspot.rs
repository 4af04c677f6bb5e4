//! The HubSpot adapter over real HTTP on loopback, against a mock that responds as HubSpot does:
//! the number of its calls, and its guard. The adapter contract suite has the other cases.

mod deletes;
mod dispatched;
mod failures;
mod upserts;
