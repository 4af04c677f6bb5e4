//! Records that failed alone in their calls, remembered across the invocations of a process.
//!
//! A record that fails alone proves nothing while no other record succeeds: the destination may be
//! unavailable. Once another record has succeeded since, the failures count as the record's own.
//! The number of failures that is enough depends on the failure rate of other calls: in a partial
//! outage a valid record may fail several times in a row.

use std::time::Duration;

use super::memory::Memory;
use super::pause::Pause;
use crate::model::Code;

/// The fewest failures alone, while others succeed, for which a record is rejected.
const FEWEST_FAILURES: u32 = 2;

/// Probability below which the failures of a valid record are no coincidence.
const COINCIDENCE: f64 = 1e-6;

/// Calls after which older ones count half in the failure rate.
const RECENT_CALLS: f64 = 256.0;

/// First pause of a record that was given up twice. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Longest pause of a record.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Remembers records that failed alone, by their contact's key.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    by_key: Memory<Suspect>,
    failure_rate: FailureRate,
}

/// Rate of the failures of which no record is the cause.
#[derive(Debug, Default)]
struct FailureRate {
    answers: f64,
    failures: f64,
}

impl FailureRate {
    fn count(&mut self, answers: f64, failures: f64) {
        self.answers += answers;
        self.failures += failures;
        if self.answers + self.failures > RECENT_CALLS {
            self.answers /= 2.0;
            self.failures /= 2.0;
        }
    }

    /// Returns the probability that a call without an offending record fails `times` times in a
    /// row. Estimates the rate by the rule of succession, which is high after few calls.
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
    failures: u32,
    /// Failures before which another record had succeeded.
    proven: u32,
    /// Failures alone since the first proven one.
    since_proof: u32,
    /// Times that it was given up.
    given_up: u32,
    hold: Option<(Pause, Code)>,
}

impl Suspect {
    fn new(since: u64, successes: u64) -> Self {
        Self {
            since,
            last: successes,
            failures: 0,
            proven: 0,
            since_proof: 0,
            given_up: 0,
            hold: None,
        }
    }
}

/// Suspicion against a record before it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// The record may be batched with others.
    None,
    /// The record failed alone: send it alone, after the others.
    Alone,
    /// The record failed alone recently, and no other has succeeded since: do not send it.
    Held(Code),
}

impl Suspects {
    /// Counts a failure alone of the record `key`. `since` is the number of successes before its
    /// first failed call in this invocation, `successes` the present number. Returns whether
    /// another record has succeeded in this invocation or since the last failure of `key`, so that
    /// this failure is no evidence about the destination.
    pub(super) fn count(&mut self, key: &str, since: u64, successes: u64) -> bool {
        let suspect = self.by_key.renew(key, || Suspect::new(since, successes));
        let is_proven = successes > since || successes > suspect.last;
        suspect.since = since;
        suspect.last = successes;
        suspect.failures += 1;
        suspect.proven += u32::from(is_proven);
        suspect.since_proof += u32::from(suspect.proven > 0);
        is_proven
    }

    /// Returns whether the record `key` is the cause of its failures. `enough` is given if the
    /// answers name the record: that number of failures is enough, at least two of them while
    /// others succeeded. Without `enough`, the failures must be no coincidence.
    pub(super) fn is_offending(&self, key: &str, enough: Option<u32>) -> bool {
        let Some(suspect) = self.by_key.get(key) else {
            return false;
        };
        suspect.proven >= FEWEST_FAILURES
            && match enough {
                Some(enough) => suspect.failures >= enough,
                None => self.failure_rate.coincidence(suspect.since_proof) < COINCIDENCE,
            }
    }

    /// Returns whether another record has succeeded since the first failure of the record `key`.
    pub(super) fn is_proven(&self, key: &str) -> bool {
        self.by_key
            .get(key)
            .is_some_and(|suspect| suspect.proven > 0)
    }

    /// Counts a call that did not fail, after `failed_before` failed calls of the same batch. It
    /// counts as an answer if it wrote a record.
    pub(super) fn count_answer(&mut self, is_written: bool, failed_before: u32) {
        let answers = if is_written { 1.0 } else { 0.0 };
        self.failure_rate.count(answers, f64::from(failed_before));
    }

    /// Counts a failed call that did not reach the destination.
    pub(super) fn count_unsent(&mut self) {
        self.failure_rate.count(0.0, 1.0);
    }

    /// Returns the number of records that failed alone since the last of `successes`, without an
    /// earlier failure.
    pub(super) fn unproven(&self, successes: u64) -> usize {
        let is_unproven =
            |suspect: &&Suspect| suspect.last == successes && suspect.since == successes;
        self.by_key.values().filter(is_unproven).count()
    }

    /// Holds a record back for a pause if it was given up before. The success of another record
    /// ends the pause.
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

    /// Forgets the record, which is settled.
    pub(super) fn forget(&mut self, key: &str) {
        self.by_key.forget(key);
    }

    /// Returns the suspicion against the record `key` after `successes`.
    pub(super) fn suspicion(&self, key: &str, successes: u64) -> Suspicion {
        match self.by_key.get(key) {
            None => Suspicion::None,
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
    use super::super::memory::REMEMBERED_FOR;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_record_is_offending_after_two_failures_alone_while_others_succeeded() {
        let mut suspects = Suspects::default();
        assert!(
            !suspects.count("a", 3, 3) && !suspects.count("a", 3, 3),
            "no record succeeds"
        );
        assert!(!suspects.is_offending("a", Some(1)));
        assert_eq!(suspects.unproven(3), 1);
        assert!(
            suspects.count("a", 4, 4),
            "another record succeeded since its last failure"
        );
        assert!(
            !suspects.is_offending("a", Some(1)),
            "one failure is not enough"
        );
        assert!(
            !suspects.count("a", 4, 4),
            "no success in this invocation or since"
        );
        assert!(suspects.count("a", 5, 6), "one success in this invocation");
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
    async fn a_higher_failure_rate_requires_more_failures_of_a_record() {
        for (answers, failed_before, expected) in [
            (2, 0, 10),
            (20, 0, 5),
            (250, 0, 3),
            (100, 1, 20),
            (20, 9, 126),
        ] {
            let mut suspects = Suspects::default();
            for _ in 0..answers {
                suspects.count_answer(true, failed_before);
            }
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
            "the first failure may be transient"
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
    async fn a_record_is_forgotten_ten_minutes_after_its_last_failure() {
        let mut suspects = Suspects::default();
        for _ in 0..5 {
            suspects.count("a", 0, 1);
            tokio::time::advance(REMEMBERED_FOR / 2).await;
        }
        assert!(suspects.is_offending("a", Some(5)));
        tokio::time::advance(REMEMBERED_FOR / 2).await;
        assert_eq!(suspects.suspicion("a", 1), Suspicion::None);
        suspects.count("a", 0, 1);
        assert!(
            !suspects.is_offending("a", Some(1)),
            "its count starts again"
        );
    }
}
