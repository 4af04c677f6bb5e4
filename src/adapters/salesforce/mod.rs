//! Salesforce.

mod settings;

pub use settings::{ConvertedLeads, Settings, Status};
