//! The operator's tool: the real binary, against emulations of AWS and of both systems.

mod dead_letters;
mod doctor;
mod killed;
mod preview;
mod rejected;
mod replay;
mod settings;
mod stage;
mod throttled;
