//! The operator's tool: the real binary, against emulations of AWS and of both systems.

#[path = "admin/dead_letters.rs"]
mod dead_letters;
#[path = "admin/doctor.rs"]
mod doctor;
#[path = "admin/killed.rs"]
mod killed;
#[path = "admin/preview.rs"]
mod preview;
#[path = "admin/rejected.rs"]
mod rejected;
#[path = "admin/replay.rs"]
mod replay;
#[path = "admin/settings.rs"]
mod settings;
#[path = "admin/stage.rs"]
mod stage;
mod support;
#[path = "admin/throttled.rs"]
mod throttled;
