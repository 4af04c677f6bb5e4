//! A dry run: everything but the calls, the look-ups before a delete or a guarded write among them. No credential is
//! needed for it, and none is used.

use std::fmt;
use std::sync::Arc;

use super::{Job, Kind};
use crate::adapters::Destination;

/// A call that would be made.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// To whom.
    pub destination: Destination,
    /// What it would do.
    pub kind: Kind,
    /// The API calls that it would take, look-ups included.
    pub calls: u32,
    /// What it would carry.
    pub jobs: &'a [Job],
}

/// Is told of every call that would be made.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(&Planned<'_>) + Send + Sync>);

impl Listener {
    /// Tells `listen`.
    pub fn new(listen: impl Fn(&Planned<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listen))
    }

    /// Writes a line for each call: how many records, and nothing of what they hold.
    pub fn log() -> Self {
        Self::new(|planned| {
            let Planned { destination, kind, calls, jobs } = planned;
            let operation = kind.name();
            tracing::info!(%destination, operation, calls, records = jobs.len(), "dry run: not sent");
        })
    }

    pub(super) fn tell(&self, planned: &Planned<'_>) {
        (self.0)(planned);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
