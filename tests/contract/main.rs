//! Tests of the adapter contract, over real HTTP on loopback, against mocks that respond as the
//! destinations do; of the registries of codes and of systems, of the layers of the modules, and of
//! the examples in the pages of change feeds.

mod adapters;
mod codes;
mod feed_pages;
mod hubspot;
mod layers;
mod salesforce;
mod systems;
