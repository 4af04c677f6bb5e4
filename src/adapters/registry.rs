//! The registry of external systems: one entry per system. Everything else that depends on the
//! systems reads it.

use super::{System, hubspot, salesforce};

/// The external systems, in the order in which positions refer to them.
pub const REGISTRY: [System; 2] = [salesforce::SYSTEM, hubspot::SYSTEM];

/// The names that routes may use.
pub const DESTINATIONS: [&str; REGISTRY.len()] = {
    let mut names = [""; REGISTRY.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = REGISTRY[at].name;
        at += 1;
    }
    names
};
