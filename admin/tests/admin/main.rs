//! Tests of the operator's tool: the real binary, with emulations of AWS and of both destinations.

mod dead_letters;
mod doctor;
mod kafka;
mod killed;
mod preview;
mod rejected;
mod replay;
mod settings;
mod stage;
mod third_system;
mod throttled;
