//! Settings from outside: the defaults, a preset, a document and the environment, merged into one
//! typed whole and judged before anything starts. The only room that reads the environment.
//!
//! Each section's type lives beside the code that obeys it. `defaults.toml` says what each key
//! means, once.

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

pub use effective::{Effective, effective};
pub use environment::Environment;
pub use guards::missing_guards;
use guards::unguarded;
pub use layers::{Layer, Layers, load};
#[cfg(feature = "schema")]
pub use schema::schema;
pub use source::{DocumentError, DocumentSource};

use crate::adapters::{hubspot, salesforce};
use crate::{consume, pipeline, route, settle, telemetry, transform};

/// Every key: what it means, what it may be, and its default.
const DEFAULTS: &str = include_str!("defaults.toml");

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "`defaults.toml` documents every key")]
pub struct Settings {
    pub refresh_secs: u64,
    pub pipeline: pipeline::Settings,
    pub filter: consume::Filter,
    pub routes: route::Routes,
    pub guard: transform::Guard,
    pub salesforce: salesforce::Settings,
    pub hubspot: hubspot::Settings,
    pub dead_letter: settle::DeadLetterSettings,
    pub state: settle::StateSettings,
    pub log: telemetry::LogSettings,
}

/// A named set of settings, to start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// The defaults; refuses to start without a dead-letter queue.
    #[default]
    Production,
    /// As production, gentle with sandboxes.
    Staging,
    /// For backlogs and many shards.
    HighThroughput,
    /// A developer's machine, against mocks.
    Local,
    /// As local, with waits too short to be felt.
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

    /// The name in `CONTACT_SYNC_PRESET`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::HighThroughput => "high-throughput",
            Self::Local => "local",
            Self::Test => "test",
        }
    }

    /// The preset of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// Whether secrets may be files and dead letters may only be logged: on a developer's machine.
    pub fn is_for_developers(self) -> bool {
        matches!(self, Self::Local | Self::Test)
    }

    fn differences(self) -> &'static str {
        match self {
            Self::Production => include_str!("presets/production.toml"),
            Self::Staging => include_str!("presets/staging.toml"),
            Self::HighThroughput => include_str!("presets/high-throughput.toml"),
            Self::Local => include_str!("presets/local.toml"),
            Self::Test => include_str!("presets/test.toml"),
        }
    }
}

/// Why settings were refused: where the value comes from, which key, what is wrong and what is
/// allowed, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(pub(crate) String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}
