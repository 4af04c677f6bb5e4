//! Decides when a lock is permanent. Pure.
//!
//! A transaction holds a lock for ten minutes at most, so a locked record is sent again until the
//! lock has ended. A record that is still locked after [`LONGEST_LOCK`], alone in its call and
//! while other records succeed, has a lock that does not end by itself: of an approval, or of a
//! trigger that words its refusal as a lock. The record is rejected then, so that its shard
//! continues.
//! <https://developer.salesforce.com/docs/atlas.en-us.apexcode.meta/apexcode/apex_gov_limits.htm>

use std::time::Duration;

use super::memory::Memory;
use super::pause::Pause;

/// Time after which a lock counts as permanent: longer than any transaction.
pub(super) const LONGEST_LOCK: Duration = Duration::from_mins(15);

/// Remembers the records that were locked alone, by their contact's key.
#[derive(Debug, Default)]
pub(super) struct Locks(Memory<Locked>);

#[derive(Debug)]
struct Locked {
    /// Successes of its kind before its first such answer.
    since: u64,
    outlasts: Pause,
}

impl Locks {
    /// Counts an answer that the record `key` is locked, alone in its call, after `successes` of
    /// its kind. Returns whether the lock has outlasted every transaction, and another record has
    /// succeeded in this time.
    pub(super) fn count(&mut self, key: &str, successes: u64) -> bool {
        let locked = self.0.renew(key, || Locked {
            since: successes,
            outlasts: Pause::of(LONGEST_LOCK),
        });
        locked.outlasts.is_over() && successes > locked.since
    }

    /// Forgets the record `key`, which is settled.
    pub(super) fn forget(&mut self, key: &str) {
        self.0.forget(key);
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
}
