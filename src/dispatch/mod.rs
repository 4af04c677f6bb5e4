//! The only room that waits.

pub mod settings;
