//! Records that failed their calls alone, remembered across the invocations of a process.
//!
//! A record that fails alone proves nothing while nothing else succeeds: the destination may be unavailable. Once another
//! record has succeeded since, its failures count against it.

use std::collections::HashMap;
use std::time::Duration;

use super::pause::Pause;
use crate::adapters::Code;

/// The most records that are remembered. More than these fail alone only in an outage, which opens the breaker.
const MOST_SUSPECTS: usize = 1_000;

/// The fewest failures alone, while others succeed, for which a record is rejected.
const FEWEST_FAILURES: u32 = 2;

/// The first pause of a record that was given up; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause of a record.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Remembers records that failed alone, by their contact's key.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    by_key: HashMap<Box<str>, Suspect>,
}

#[derive(Debug)]
struct Suspect {
    /// Answers of the destination before its first failure.
    since: u64,
    /// Answers of the destination before its last failure.
    last: u64,
    failures: u32,
    /// Those of them before which another record had succeeded.
    proven: u32,
    /// How often it was given up.
    given_up: u32,
    hold: Option<(Pause, Code)>,
}

/// What is known of a record before it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Nothing.
    None,
    /// It failed alone: send it alone, after the others.
    Alone,
    /// It failed alone a moment ago, and nothing has succeeded since: do not send it.
    Held(Code),
}

impl Suspects {
    /// Counts a failure alone of the record `key`, before whose first failed call `since` answers had come. `answers` have
    /// come by now. Says whether another record has succeeded in between, so that the failure says nothing about the
    /// destination.
    pub(super) fn count(&mut self, key: &str, since: u64, answers: u64) -> bool {
        if !self.by_key.contains_key(key) && self.by_key.len() >= MOST_SUSPECTS {
            self.by_key.clear();
        }
        let new = || Suspect { since, last: answers, failures: 0, proven: 0, given_up: 0, hold: None };
        let suspect = self.by_key.entry(key.into()).or_insert_with(new);
        suspect.last = answers;
        let is_proven = answers > suspect.since;
        suspect.failures += 1;
        suspect.proven += u32::from(is_proven);
        is_proven
    }

    /// Says whether the record `key` has failed alone at least `enough` times, more than once while others succeeded.
    pub(super) fn is_offending(&self, key: &str, enough: u32) -> bool {
        let of = |suspect: &Suspect| suspect.proven >= FEWEST_FAILURES && suspect.failures >= enough;
        self.by_key.get(key).is_some_and(of)
    }

    /// Returns how many records failed alone since the last of `answers` answers, without another one's success since
    /// they failed first.
    pub(super) fn unproven(&self, answers: u64) -> usize {
        self.by_key.values().filter(|suspect| suspect.last == answers && suspect.since >= answers).count()
    }

    /// Holds the record back for a while, unless another one succeeds.
    pub(super) fn hold(&mut self, key: &str, code: Code) {
        if let Some(suspect) = self.by_key.get_mut(key) {
            let length = (FIRST_PAUSE * 2_u32.saturating_pow(suspect.given_up.min(16))).min(LONGEST_PAUSE);
            suspect.given_up += 1;
            suspect.hold = Some((Pause::of(length), code));
        }
    }

    /// Forgets the record: it has ended.
    pub(super) fn forget(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// Returns what is known of the record `key` after `answers` answers of the destination.
    pub(super) fn suspicion(&self, key: &str, answers: u64) -> Suspicion {
        match self.by_key.get(key) {
            None => Suspicion::None,
            Some(Suspect { last, hold: Some((pause, code)), .. }) if *last == answers && !pause.is_over() => {
                Suspicion::Held(code.clone())
            }
            Some(_) => Suspicion::Alone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_offends_that_failed_alone_more_than_once_while_others_succeeded() {
        let mut suspects = Suspects::default();
        assert!(!suspects.count("a", 3, 3) && !suspects.count("a", 3, 3), "nothing succeeds");
        assert!(!suspects.is_offending("a", 1));
        assert_eq!(suspects.unproven(3), 1);
        assert!(suspects.count("a", 3, 4), "another record succeeded");
        assert!(!suspects.is_offending("a", 1), "once is not enough");
        assert!(suspects.count("a", 4, 4));
        assert!(suspects.is_offending("a", 4));
        assert!(!suspects.is_offending("a", 5), "settings allow another attempt");
        assert!(suspects.count("b", 3, 4), "another record of its batch succeeded");
        assert_eq!(suspects.unproven(4), 0);
        suspects.forget("a");
        assert!(!suspects.count("a", 4, 4));
        assert_eq!((suspects.unproven(4), suspects.unproven(5)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_is_held_until_its_pause_is_over_or_another_one_succeeds() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.suspicion("a", 0), Suspicion::None);
        suspects.count("a", 0, 0);
        assert_eq!(suspects.suspicion("a", 0), Suspicion::Alone);
        for seconds in [5, 10, 20] {
            suspects.hold("a", Code::new("HTTP_500"));
            tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert_eq!(suspects.suspicion("a", 0), Suspicion::Held(Code::new("HTTP_500")));
            assert_eq!(suspects.suspicion("a", 1), Suspicion::Alone, "another record succeeded");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(suspects.suspicion("a", 0), Suspicion::Alone);
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut suspects = Suspects::default();
        for at in 0..3 * MOST_SUSPECTS {
            suspects.count(&at.to_string(), 0, 0);
        }
        assert!(suspects.by_key.len() <= MOST_SUSPECTS);
    }
}
