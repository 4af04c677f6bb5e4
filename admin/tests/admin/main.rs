//! Tests of the operator's tool: the real binary, with emulations of AWS and of both destinations.

mod dead_letters;
mod doctor;
mod kafka;
mod killed;
mod preview;
mod profiles;
mod rejected;
mod replay;
mod settings;
mod source;
mod stage;
mod terminal;
mod third_system;
mod throttled;
