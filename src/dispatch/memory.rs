//! A bounded memory of records, by their contact's key, across the invocations of a process.

use std::collections::HashMap;
use std::time::Duration;

use super::pause::Pause;

/// Bound of the memory, in records. More records fail alone only in an outage, which opens the
/// breaker.
const MOST_RECORDS: usize = 1_000;

/// Time for which a record is remembered after its last failure. A redelivery comes sooner; a later
/// failure may have another content or another cause.
pub(super) const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// Remembers a value of each record.
#[derive(Debug)]
pub(super) struct Memory<V>(HashMap<Box<str>, Remembered<V>>);

#[derive(Debug)]
struct Remembered<V> {
    value: V,
    time: Pause,
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<V> Memory<V> {
    /// Returns the value of the record `key`, made by `new` where the record is not remembered.
    /// Remembers it for [`REMEMBERED_FOR`] from this moment on. A full memory drops every record.
    pub(super) fn renew(&mut self, key: &str, new: impl FnOnce() -> V) -> &mut V {
        if self.get(key).is_none() {
            self.forget(key);
            self.evict();
        }
        let time = Pause::of(REMEMBERED_FOR);
        let remembered = self
            .0
            .entry(key.into())
            .or_insert_with(|| Remembered { value: new(), time });
        remembered.time = time;
        &mut remembered.value
    }

    /// Returns the value of the record `key`; `None` where the record is not remembered.
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        let remembered = self.0.get(key)?;
        (!remembered.time.is_over()).then_some(&remembered.value)
    }

    /// Returns the value of the record `key`, to be changed.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let remembered = self.0.get_mut(key)?;
        (!remembered.time.is_over()).then_some(&mut remembered.value)
    }

    /// Iterates over the values of all records.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        let present = self.0.values().filter(|value| !value.time.is_over());
        present.map(|remembered| &remembered.value)
    }

    /// Forgets the record `key`.
    pub(super) fn forget(&mut self, key: &str) {
        if !self.0.is_empty() {
            self.0.remove(key);
        }
    }

    /// Removes expired records where the memory is full, and then all where it is still full.
    fn evict(&mut self) {
        if self.0.len() >= MOST_RECORDS {
            self.0.retain(|_, remembered| !remembered.time.is_over());
        }
        if self.0.len() >= MOST_RECORDS {
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_record_is_forgotten_some_time_after_it_was_renewed() {
        let mut memory = Memory::default();
        for _ in 0..5 {
            *memory.renew("a", || 0) += 1;
            tokio::time::advance(REMEMBERED_FOR / 2).await;
        }
        assert_eq!(memory.get("a"), Some(&5));
        tokio::time::advance(REMEMBERED_FOR / 2).await;
        assert_eq!((memory.get("a"), memory.values().count()), (None, 0));
        assert_eq!(*memory.renew("a", || 0), 0, "it begins again");
        memory.forget("a");
        assert_eq!(memory.get_mut("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_remembered_records_is_bounded() {
        let mut memory = Memory::default();
        for at in 0..3 * MOST_RECORDS {
            memory.renew(&at.to_string(), || at);
            assert!(memory.0.len() <= MOST_RECORDS);
        }
        memory.renew("last", || 0);
        assert_eq!(memory.get("last"), Some(&0));
    }
}
