//! The HubSpot adapter over real HTTP on loopback, against a mock that answers as the real one
//! does: what its calls cost, and its guard. What it owes to HubSpot case by case is in the adapter
//! contract suite.

mod deletes;
mod dispatched;
mod trouble;
mod upserts;
