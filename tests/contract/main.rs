//! The contract of an adapter, over real HTTP on loopback, against mocks that answer as the real
//! systems do.

mod adapters;
mod hubspot;
mod salesforce;
