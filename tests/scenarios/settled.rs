//! The settled set: what an earlier invocation settled is not sent again, and leaving it out never
//! changes what the systems hold in the end.

mod counts;
mod fenced;
mod harmless;
mod letters;
mod versions;
mod world;
