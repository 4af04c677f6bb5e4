//! The settled set: what an earlier invocation settled is not sent again, and leaving it out never
//! changes what the systems hold in the end.

mod support;

#[path = "settled/counts.rs"]
mod counts;
#[path = "settled/fenced.rs"]
mod fenced;
#[path = "settled/harmless.rs"]
mod harmless;
#[path = "settled/letters.rs"]
mod letters;
#[path = "settled/redelivery.rs"]
mod redelivery;
#[path = "settled/versions.rs"]
mod versions;
#[path = "settled/world.rs"]
mod world;
