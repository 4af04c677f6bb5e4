//! Tests of the adapter contract, over real HTTP on loopback, against mocks that respond as the
//! destinations do; of the registries of codes and of systems, and of the layers of the modules.

mod adapters;
mod codes;
mod hubspot;
mod layers;
mod salesforce;
mod systems;
