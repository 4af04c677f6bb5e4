//! Loads the settings: the defaults, a preset, a document and the environment, merged into one
//! typed value and validated before the start. The only module that reads the environment.
//!
//! Each section's type is defined beside the code that uses it. `defaults.toml` documents each key;
//! each system has a `defaults.toml` of its own section in its folder.

mod built_in;
mod check;
mod effective;
mod environment;
mod guards;
mod layers;
#[cfg(feature = "schema")]
mod schema;
mod source;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use built_in::defaults;
pub use effective::{Effective, effective};
pub use environment::{Environment, Task};
pub use guards::missing_guards;
use guards::unguarded;
pub use layers::{Layer, Layers, load};
#[cfg(feature = "schema")]
pub use schema::schema;
pub use source::{DocumentError, DocumentSource};

use crate::adapters::Sections;
use crate::source::{Filter, SourceSettings};
use crate::{http_client, pipeline, route, settle, telemetry, transform};

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "`defaults.toml` documents every key")]
pub struct Settings {
    pub refresh_secs: u64,
    pub pipeline: pipeline::Settings,
    pub source: SourceSettings,
    pub filter: Filter,
    pub routes: route::Routes,
    pub guard: transform::Guard,
    /// The sections of the external systems, each under its system's name.
    #[serde(flatten, skip_deserializing)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub systems: Sections,
    pub dead_letter: settle::DeadLetterSettings,
    pub state: settle::StateSettings,
    pub log: telemetry::LogSettings,
    pub tls: http_client::TlsSettings,
}

/// A named set of settings, the layer over the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// The defaults; refuses to start without a dead-letter queue.
    #[default]
    Production,
    /// As production, with the lower limits of sandboxes.
    Staging,
    /// For backlogs and many shards.
    HighThroughput,
    /// A developer's machine, against mocks.
    Local,
    /// As local, with short waits.
    Test,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 5] = [
        Self::Production,
        Self::Staging,
        Self::HighThroughput,
        Self::Local,
        Self::Test,
    ];

    /// Returns the name in `CONTACT_SYNC_PRESET`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::HighThroughput => "high-throughput",
            Self::Local => "local",
            Self::Test => "test",
        }
    }

    /// Returns the preset of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// Returns whether the preset is for a developer's machine, where secrets may be files and a
    /// queue of dead letters is optional.
    pub fn is_for_developers(self) -> bool {
        matches!(self, Self::Local | Self::Test)
    }
}

/// Settings are invalid. The message has one line: the source of the value, the key, the error and
/// the allowed values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(pub(crate) String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}
