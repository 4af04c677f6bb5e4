//! Records that failed their calls alone, remembered across the invocations of a process.
//!
//! A record that fails alone proves nothing while nothing else succeeds: the destination may be
//! unavailable. Once another record has succeeded since, its failures count against it. How many
//! are enough depends on how often other calls fail: in a brownout a healthy record may fail
//! several times in a row.

use std::collections::HashMap;
use std::time::Duration;

use super::pause::Pause;
use crate::model::Code;

/// The most records that are remembered. More than these fail alone only in an outage, which opens
/// the breaker.
const MOST_SUSPECTS: usize = 1_000;

/// The fewest failures alone, while others succeed, for which a record is rejected.
const FEWEST_FAILURES: u32 = 2;

/// How improbable it has to be that a healthy record fails so often.
const COINCIDENCE: f64 = 1e-6;

/// Calls that the background remembers. Then the older half counts for less.
const MEMORY: f64 = 256.0;

/// How long a record is remembered after its last failure: the next one may be of other content, or
/// of another trouble.
const MEMORY_OF_A_RECORD: Duration = Duration::from_mins(10);

/// The first pause of a record that was given up twice; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause of a record.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Remembers records that failed alone, by their contact's key.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    by_key: HashMap<Box<str>, Suspect>,
    background: Background,
}

/// How often calls fail of which no record is the cause.
#[derive(Debug, Default)]
struct Background {
    answers: f64,
    failures: f64,
}

impl Background {
    fn count(&mut self, answers: f64, failures: f64) {
        self.answers += answers;
        self.failures += failures;
        if self.answers + self.failures > MEMORY {
            self.answers /= 2.0;
            self.failures /= 2.0;
        }
    }

    /// Returns the probability that a call without an offending record fails `times` times in a
    /// row. The rate is estimated by the rule of succession: with few calls known, it is high.
    fn coincidence(&self, times: u32) -> f64 {
        let rate = (self.failures + 1.0) / (self.answers + self.failures + 2.0);
        rate.powf(f64::from(times))
    }
}

#[derive(Debug)]
struct Suspect {
    /// Successes before its first failure in the last invocation.
    since: u64,
    /// Successes before its last failure.
    last: u64,
    /// As long as it is remembered.
    memory: Pause,
    failures: u32,
    /// Those of them before which another record had succeeded.
    proven: u32,
    /// Failures alone since the first of those.
    since_proof: u32,
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
    /// Counts a failure alone of the record `key`, before whose first failed call in this
    /// invocation there were `since` successes. By now there are `successes`. Says whether another
    /// record has succeeded in between, in this invocation or since its last failure, so that this
    /// one says nothing about the destination.
    pub(super) fn count(&mut self, key: &str, since: u64, successes: u64) -> bool {
        if self
            .by_key
            .get(key)
            .is_some_and(|suspect| suspect.memory.is_over())
        {
            self.by_key.remove(key);
        }
        if !self.by_key.contains_key(key) && self.by_key.len() >= MOST_SUSPECTS {
            self.by_key.clear();
        }
        let memory = || Pause::of(MEMORY_OF_A_RECORD);
        let new = || Suspect {
            since,
            last: successes,
            memory: memory(),
            failures: 0,
            proven: 0,
            since_proof: 0,
            given_up: 0,
            hold: None,
        };
        let suspect = self.by_key.entry(key.into()).or_insert_with(new);
        let is_proven = successes > since || successes > suspect.last;
        (suspect.since, suspect.last, suspect.memory) = (since, successes, memory());
        suspect.failures += 1;
        suspect.proven += u32::from(is_proven);
        suspect.since_proof += u32::from(suspect.proven > 0);
        is_proven
    }

    /// Says whether the record `key` is the cause of its failures. With `enough` its answers name
    /// it, so many failures are enough, more than one of them while others succeeded. Without, they
    /// have to be no coincidence.
    pub(super) fn is_offending(&self, key: &str, enough: Option<u32>) -> bool {
        let Some(suspect) = self.by_key.get(key) else {
            return false;
        };
        suspect.proven >= FEWEST_FAILURES
            && match enough {
                Some(enough) => suspect.failures >= enough,
                None => self.background.coincidence(suspect.since_proof) < COINCIDENCE,
            }
    }

    /// Says whether another record has succeeded since the record `key` failed first.
    pub(super) fn is_proven(&self, key: &str) -> bool {
        self.by_key
            .get(key)
            .is_some_and(|suspect| suspect.proven > 0)
    }

    /// Counts a call that did not fail, after so many of the same batch that failed. It counts as
    /// an answer where it wrote a record.
    pub(super) fn count_answer(&mut self, is_written: bool, failed_before: u32) {
        self.background
            .count(if is_written { 1.0 } else { 0.0 }, f64::from(failed_before));
    }

    /// Counts a call that failed without a record in it.
    pub(super) fn count_unsent(&mut self) {
        self.background.count(0.0, 1.0);
    }

    /// Returns how many records failed alone since the last of so many successes, without another
    /// one's success since they failed first.
    pub(super) fn unproven(&self, successes: u64) -> usize {
        let is_unproven =
            |suspect: &&Suspect| suspect.last == successes && suspect.since == successes;
        self.by_key
            .values()
            .filter(|suspect| !suspect.memory.is_over())
            .filter(is_unproven)
            .count()
    }

    /// Holds back for a while a record that was given up more than once, unless another one
    /// succeeds.
    pub(super) fn hold(&mut self, key: &str, code: Code) {
        let Some(suspect) = self.by_key.get_mut(key) else {
            return;
        };
        if suspect.given_up > 0 {
            let doubled = FIRST_PAUSE * 2_u32.saturating_pow((suspect.given_up - 1).min(16));
            suspect.hold = Some((Pause::of(doubled.min(LONGEST_PAUSE)), code));
        }
        suspect.given_up += 1;
    }

    /// Forgets the record: it has ended.
    pub(super) fn forget(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// Returns what is known of the record `key` after so many successes.
    pub(super) fn suspicion(&self, key: &str, successes: u64) -> Suspicion {
        match self.by_key.get(key) {
            None => Suspicion::None,
            Some(Suspect { memory, .. }) if memory.is_over() => Suspicion::None,
            Some(Suspect {
                last,
                hold: Some((pause, code)),
                ..
            }) if *last == successes && !pause.is_over() => Suspicion::Held(code.clone()),
            Some(_) => Suspicion::Alone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_record_offends_that_failed_alone_more_than_once_while_others_succeeded() {
        let mut suspects = Suspects::default();
        assert!(
            !suspects.count("a", 3, 3) && !suspects.count("a", 3, 3),
            "nothing succeeds"
        );
        assert!(!suspects.is_offending("a", Some(1)));
        assert_eq!(suspects.unproven(3), 1);
        assert!(
            suspects.count("a", 4, 4),
            "another record succeeded since its last failure"
        );
        assert!(!suspects.is_offending("a", Some(1)), "once is not enough");
        assert!(
            !suspects.count("a", 4, 4),
            "none in this invocation, and none since"
        );
        assert!(suspects.count("a", 5, 6), "one in this invocation");
        assert!(suspects.is_offending("a", Some(5)));
        assert!(
            !suspects.is_offending("a", Some(6)),
            "settings allow another attempt"
        );
        assert!(
            suspects.count("b", 5, 6),
            "another record of its batch succeeded"
        );
        assert_eq!(suspects.unproven(6), 0);
        suspects.forget("a");
        assert!(!suspects.count("a", 6, 6));
        assert_eq!((suspects.unproven(6), suspects.unproven(7)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_calls_fail_of_themselves_the_more_failures_it_takes() {
        for (answers, failed_before, expected) in [
            (2, 0, 10),
            (20, 0, 5),
            (250, 0, 3),
            (100, 1, 20),
            (20, 9, 126),
        ] {
            let mut suspects = Suspects::default();
            (0..answers).for_each(|_| suspects.count_answer(true, failed_before));
            let mut failures = 0;
            while !suspects.is_offending("a", None) {
                suspects.count("a", 0, 1);
                failures += 1;
            }
            assert_eq!(
                failures, expected,
                "{answers} answers, {failed_before} failures before each"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_is_held_until_its_pause_is_over_or_another_one_succeeds() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.suspicion("a", 0), Suspicion::None);
        suspects.count("a", 0, 0);
        suspects.hold("a", Code::new("HTTP_500"));
        assert_eq!(
            suspects.suspicion("a", 0),
            Suspicion::Alone,
            "once may be a hiccup"
        );
        for seconds in [5, 10, 20] {
            suspects.hold("a", Code::new("HTTP_500"));
            tokio::time::advance(Duration::from_millis(1000 * seconds - 1)).await;
            assert_eq!(
                suspects.suspicion("a", 0),
                Suspicion::Held(Code::new("HTTP_500"))
            );
            assert_eq!(
                suspects.suspicion("a", 1),
                Suspicion::Alone,
                "another record succeeded"
            );
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(suspects.suspicion("a", 0), Suspicion::Alone);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_is_forgotten_some_time_after_its_last_failure() {
        let mut suspects = Suspects::default();
        for _ in 0..5 {
            suspects.count("a", 0, 1);
            tokio::time::advance(MEMORY_OF_A_RECORD / 2).await;
        }
        assert!(suspects.is_offending("a", Some(5)));
        tokio::time::advance(MEMORY_OF_A_RECORD / 2).await;
        assert_eq!(suspects.suspicion("a", 1), Suspicion::None);
        suspects.count("a", 0, 1);
        assert!(!suspects.is_offending("a", Some(1)), "it starts anew");
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded() {
        let mut suspects = Suspects::default();
        for at in 0..3 * MOST_SUSPECTS {
            suspects.count(&at.to_string(), 0, 0);
        }
        assert!(suspects.by_key.len() <= MOST_SUSPECTS);
    }
}
