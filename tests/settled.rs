//! Tests of the settled set: a record that an earlier invocation settled is not sent again, and
//! skipping it never changes the final state of the systems.

mod support;

#[path = "settled/counts.rs"]
mod counts;
#[path = "settled/dead_letters.rs"]
mod dead_letters;
#[path = "settled/fenced.rs"]
mod fenced;
#[path = "settled/harmless.rs"]
mod harmless;
#[path = "settled/redelivery.rs"]
mod redelivery;
#[path = "settled/versions.rs"]
mod versions;
#[path = "settled/world.rs"]
mod world;
