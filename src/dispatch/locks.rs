//! Decides when a lock is permanent. Pure.
//!
//! A transaction holds a lock for ten minutes at most, so a locked record is sent again until the
//! lock has ended. A record that is still locked after [`LONGEST_LOCK`], alone in its call and
//! while other records succeed, has a lock that does not end by itself: of an approval, or of a
//! trigger that words its refusal as a lock. The record is rejected then, so that its shard
//! continues.
//! <https://developer.salesforce.com/docs/atlas.en-us.apexcode.meta/apexcode/apex_gov_limits.htm>

use std::collections::HashMap;
use std::time::Duration;

use super::pause::Pause;

/// Time after which a lock counts as permanent: longer than any transaction.
pub(super) const LONGEST_LOCK: Duration = Duration::from_mins(15);

/// Time for which a locked record is remembered after its last answer. A redelivery comes sooner.
const MEMORY: Duration = Duration::from_mins(10);

/// Bound of the memory, in records.
const MOST_LOCKED: usize = 1000;

/// Remembers the records that were locked alone, by their contact's key.
#[derive(Debug, Default)]
pub(super) struct Locks(HashMap<Box<str>, Locked>);

#[derive(Debug)]
struct Locked {
    /// Successes of its kind before its first such answer.
    since: u64,
    outlasts: Pause,
    memory: Pause,
}

impl Locks {
    /// Counts an answer that the record `key` is locked, alone in its call, after `successes` of
    /// its kind. Returns whether the lock has outlasted every transaction, and another record has
    /// succeeded in this time.
    pub(super) fn count(&mut self, key: &str, successes: u64) -> bool {
        self.0.retain(|_, locked| !locked.memory.is_over());
        if self.0.len() >= MOST_LOCKED && !self.0.contains_key(key) {
            self.0.clear();
        }
        let locked = self.0.entry(key.into()).or_insert_with(|| Locked {
            since: successes,
            outlasts: Pause::of(LONGEST_LOCK),
            memory: Pause::of(MEMORY),
        });
        locked.memory = Pause::of(MEMORY);
        locked.outlasts.is_over() && successes > locked.since
    }

    /// Forgets the record `key`, which is settled.
    pub(super) fn forget(&mut self, key: &str) {
        if !self.0.is_empty() {
            self.0.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn minutes(minutes: u64) {
        tokio::time::advance(Duration::from_mins(minutes)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_permanent_after_the_longest_lock_while_others_succeed() {
        let mut locks = Locks::default();
        assert!(!locks.count("a", 1) && !locks.count("b", 1));
        minutes(8).await;
        assert!(!locks.count("a", 2) && !locks.count("b", 1));
        minutes(7).await;
        assert!(locks.count("a", 2));
        assert!(!locks.count("b", 1), "no other record succeeds");
        assert!(locks.count("b", 2));
        locks.forget("a");
        assert!(!locks.count("a", 3), "the count begins again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_is_not_locked_for_some_time_is_forgotten() {
        let mut locks = Locks::default();
        assert!(!locks.count("a", 1));
        minutes(11).await;
        assert!(!locks.count("a", 2));
        minutes(9).await;
        assert!(
            !locks.count("a", 3),
            "twenty minutes after the first lock, nine after this one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_remembered_records_is_bounded() {
        let mut locks = Locks::default();
        for at in 0..3 * MOST_LOCKED {
            locks.count(&at.to_string(), 0);
        }
        assert!(locks.0.len() <= MOST_LOCKED);
    }
}
