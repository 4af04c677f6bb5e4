//! Batch sizes that a destination handles in time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::job::WriteKind;
use super::pause::Pause;
use crate::model::limits::Limits;

/// Time for which a size is remembered. Then a full batch is sent once more.
const MEMORY: Duration = Duration::from_hours(1);

/// Remembers the sizes that succeeded after a larger batch exceeded its time. One process keeps
/// them for one destination.
#[derive(Debug, Default)]
pub struct BatchSizes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    upsert: Option<(usize, Pause)>,
    delete: Option<(usize, Pause)>,
}

impl BatchSizes {
    /// Returns `limits`, lowered to the remembered sizes.
    pub(super) fn bound(&self, limits: Limits) -> Limits {
        let State { upsert, delete } = &*self.lock();
        Limits {
            upsert: lower(limits.upsert, upsert.as_ref()),
            delete: lower(limits.delete, delete.as_ref()),
            ..limits
        }
    }

    /// Remembers that `size` payloads succeed in one call and more do not. A smaller size that is
    /// learnt later expires with the first one, so that the full size is tried again after an hour
    /// at most. Returns whether the size has changed.
    pub(super) fn remember(&self, kind: WriteKind, size: usize) -> bool {
        let mut state = self.lock();
        let known = match kind {
            WriteKind::Upsert => &mut state.upsert,
            WriteKind::Delete => &mut state.delete,
        };
        match known {
            Some((old, memory)) if !memory.is_over() => std::mem::replace(old, size) != size,
            _ => {
                *known = Some((size, Pause::of(MEMORY)));
                true
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the smaller of `limit` and a size that is still remembered.
fn lower(limit: usize, known: Option<&(usize, Pause)>) -> usize {
    match known {
        Some((size, memory)) if !memory.is_over() => limit.min(*size),
        _ => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::Lookup;

    #[tokio::test(start_paused = true)]
    async fn a_size_is_remembered_for_an_hour_and_for_its_kind_of_write() {
        let limits = Limits {
            upsert: 200,
            upsert_calls: 1,
            delete: 200,
            delete_calls: 2,
            lookup: Lookup::UNBOUNDED,
        };
        let sizes = BatchSizes::default();
        let bounds = || (sizes.bound(limits).upsert, sizes.bound(limits).delete);
        assert_eq!(bounds(), (200, 200));
        assert!(sizes.remember(WriteKind::Upsert, 50));
        assert!(!sizes.remember(WriteKind::Upsert, 50), "unchanged");
        assert_eq!(bounds(), (50, 200));
        tokio::time::advance(MEMORY / 2).await;
        assert!(sizes.remember(WriteKind::Upsert, 25));
        assert_eq!(bounds(), (25, 200));
        tokio::time::advance(MEMORY / 2).await;
        assert_eq!(bounds(), (200, 200), "an hour after the first size");
        assert!(sizes.remember(WriteKind::Upsert, 50), "forgotten before");
    }
}
