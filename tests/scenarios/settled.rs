//! Tests of the settled set: a record that an earlier invocation settled is not sent again, and
//! skipping it never changes the final state of the systems.

mod counts;
mod dead_letters;
mod fenced;
mod harmless;
mod versions;
mod world;
