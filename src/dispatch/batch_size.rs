//! Remembers the size of a batch that a destination handles in time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::job::WriteKind;
use super::pause::Pause;
use crate::model::limits::Limits;

/// How long a size is remembered. Then a full batch is tried once more.
const MEMORY: Duration = Duration::from_hours(1);

/// The sizes that passed where a larger batch was too large for its time. Kept by one process for
/// one destination.
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
    /// Returns `limits` with the sizes that are known to pass.
    pub(super) fn bound(&self, limits: Limits) -> Limits {
        let State { upsert, delete } = &*self.lock();
        let bound = |most: usize, known: &Option<(usize, Pause)>| match known {
            Some((size, memory)) if !memory.is_over() => most.min(*size),
            _ => most,
        };
        Limits {
            upsert: bound(limits.upsert, upsert),
            delete: bound(limits.delete, delete),
            ..limits
        }
    }

    /// Remembers that `size` payloads pass in one call and more do not. A yet smaller size is
    /// forgotten with the first one: else sizes of a slow hour would follow each other for ever.
    /// Says whether this is news.
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
        assert!(!sizes.remember(WriteKind::Upsert, 50), "no news");
        assert_eq!(bounds(), (50, 200));
        tokio::time::advance(MEMORY / 2).await;
        assert!(sizes.remember(WriteKind::Upsert, 25));
        assert_eq!(bounds(), (25, 200));
        tokio::time::advance(MEMORY / 2).await;
        assert_eq!(bounds(), (200, 200), "an hour after the first");
        assert!(sizes.remember(WriteKind::Upsert, 50), "news again");
    }
}
