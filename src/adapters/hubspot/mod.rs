//! HubSpot.

mod settings;

pub use settings::{LifecycleStage, Settings};
