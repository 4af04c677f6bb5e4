//! The circuit breaker of one destination: once it is known that nothing will succeed, nothing is
//! sent, in this invocation and for a while after it.
//!
//! It opens by an answer that is about the account, by calls that failed without a record in them,
//! or by records that failed alone. One record is no evidence: it may be the cause of every call
//! that it is in.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::job::WriteKind;
use super::locks::Locks;
use super::pause::Pause;
use super::suspects::{Suspects, Suspicion};
use crate::model::{Cause, Code, Stop};

/// Calls without a record in them that failed, one after the other, after which the destination
/// counts as unavailable. Retries of one hiccup make four.
const FAILURES_TO_OPEN: u32 = 8;

/// Records that failed alone, one after the other, after which the destination counts as
/// unavailable. Of records of which a tenth makes its call fail, three at random do so once in a
/// thousand times.
const RECORDS_TO_OPEN: usize = 3;

/// Failed calls, one after the other, after which single records are sent as probes.
const FAILURES_TO_DOUBT: u32 = 2;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause of our own choice. A day's quota comes back call by call (it is a rolling
/// day), and a corrected configuration should take effect soon: every five minutes one call probes.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The longest pause that a system may ask for.
/// <https://developers.hubspot.com/docs/api-reference/error-handling>
pub(super) const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// Remembers the outcome of a destination's last calls.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
    probed: Notify,
}

#[derive(Debug, Default)]
struct State {
    upserts: Writes,
    deletes: Writes,
    /// Calls that failed since the last answer.
    failures: u32,
    /// Those of them in which no record reached the destination.
    failures_unsent: u32,
    openings: u32,
    open: Option<Open>,
}

/// What is known of the writes of one kind. That deletes succeed proves nothing of a system that
/// takes no upserts.
#[derive(Debug, Default)]
struct Writes {
    /// Calls in which a record was written.
    successes: u64,
    suspects: Suspects,
    locks: Locks,
}

/// What a call brought that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A record was written.
    Written,
    /// Every record was refused, or was written before: the destination answers, and may yet write
    /// nothing.
    Unwritten,
    /// The destination asks for less. It is there, and nothing else is known.
    Throttled,
}

#[derive(Debug)]
struct Open {
    pause: Pause,
    code: Code,
    /// The destination said so itself.
    is_stop: bool,
    /// One call is under way to see whether the trouble is over.
    is_probed: bool,
}

/// What a failed call says about the destination.
#[derive(Clone, Copy, Debug)]
pub enum Evidence<'a> {
    /// No record reached it.
    Unsent,
    /// Several records did: any of them may be the cause.
    Batch,
    /// One record did.
    Record {
        /// Its contact's key.
        key: &'a str,
        /// The successes of its kind before the first failed call that it was part of.
        since: u64,
    },
}

/// Permission to make one call, and to report its outcome. Dropped without a report, the call was
/// not made after all, or its answer is not waited for any more: that says nothing.
#[derive(Debug)]
pub struct CallPermit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

/// Whether a call may be made.
#[derive(Debug)]
pub enum Permit<'a> {
    /// It may.
    Given(CallPermit<'a>),
    /// Another call is under way to see whether the trouble is over: wait for its outcome.
    Wait,
    /// It may not, for this reason.
    Refused(Code),
}

impl Breaker {
    /// Asks for a call. Where the pause is over, one call goes ahead alone.
    pub fn permit(&self) -> Permit<'_> {
        let mut state = self.lock();
        let is_probe = match &mut state.open {
            None => false,
            Some(open) if open.is_probed => return Permit::Wait,
            Some(open) if !open.pause.is_over() => return Permit::Refused(open.code.clone()),
            Some(open) => {
                open.is_probed = true;
                true
            }
        };
        Permit::Given(CallPermit {
            breaker: self,
            is_probe,
        })
    }

    /// Waits until it is known whether there is use in asking for a call.
    ///
    /// # Errors
    /// The reason for which no call may be made, now or before `until`.
    pub async fn wait_until_ready(&self, until: Instant) -> Result<(), Code> {
        loop {
            let probed = self.probed.notified();
            let code = match &self.lock().open {
                Some(open) if open.is_probed => open.code.clone(),
                Some(open) if !open.pause.is_over() => return Err(open.code.clone()),
                _ => return Ok(()),
            };
            timeout_at(until, probed).await.map_err(|_| code)?;
        }
    }

    /// Says whether single records are to be sent, one at a time, until one succeeds: calls with
    /// records in them failed, and nothing has succeeded since.
    pub(super) fn is_in_doubt(&self) -> bool {
        let state = self.lock();
        let may_probe = state
            .open
            .as_ref()
            .is_none_or(|open| open.is_probed || open.pause.is_over());
        may_probe && state.failures >= FAILURES_TO_DOUBT && state.failures > state.failures_unsent
    }

    /// Returns how many calls of this kind have written a record.
    pub(super) fn successes(&self, kind: WriteKind) -> u64 {
        self.lock().of(kind).successes
    }

    /// Returns what is known of the record `key`.
    pub(super) fn suspicion(&self, kind: WriteKind, key: &str) -> Suspicion {
        let mut state = self.lock();
        let Writes {
            successes,
            suspects,
            ..
        } = state.of(kind);
        suspects.suspicion(key, *successes)
    }

    /// Says whether the record `key` is the cause of its failures alone. With `enough` its answers
    /// name it, and so many failures are enough.
    pub(super) fn is_offending(&self, kind: WriteKind, key: &str, enough: Option<u32>) -> bool {
        self.lock().of(kind).suspects.is_offending(key, enough)
    }

    /// Says whether another record has succeeded since the record `key` failed first.
    pub(super) fn is_proven(&self, kind: WriteKind, key: &str) -> bool {
        self.lock().of(kind).suspects.is_proven(key)
    }

    /// Holds the record `key`, which was given up, back for a while.
    pub(super) fn hold(&self, kind: WriteKind, key: &str, code: Code) {
        self.lock().of(kind).suspects.hold(key, code);
    }

    /// Counts an answer that the record `key` is locked, alone in its call. Returns whether the lock
    /// is the record's own: see [`super::locks`].
    pub(super) fn outlasts_locks(&self, kind: WriteKind, key: &str) -> bool {
        let mut state = self.lock();
        let Writes {
            successes, locks, ..
        } = state.of(kind);
        locks.count(key, *successes)
    }

    /// Forgets the record `key`, which has ended.
    pub(super) fn forget(&self, kind: WriteKind, key: &str) {
        let mut state = self.lock();
        let Writes {
            suspects, locks, ..
        } = state.of(kind);
        suspects.forget(key);
        locks.forget(key);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallPermit<'_> {
    /// Reports a call of this kind that did not fail, after so many of the same batch that failed.
    /// An answer to a call from before the trouble does not end it.
    pub fn answered(self, kind: WriteKind, answer: Answer, failed_before: u32) {
        let mut state = self.breaker.lock();
        let is_written = answer == Answer::Written;
        state
            .of(kind)
            .suspects
            .count_answer(is_written, failed_before);
        if self.is_probe || state.open.is_none() {
            state.of(kind).successes += u64::from(is_written);
            state.failures_unsent = 0;
            state.open = None;
            if is_written {
                state.openings = 0;
            }
            if answer != Answer::Throttled {
                state.failures = 0;
            }
        }
    }

    /// Reports a call of this kind without a usable answer, for a reason that may pass. Says
    /// whether this opens the breaker.
    pub fn failed(self, kind: WriteKind, code: &Code, evidence: Evidence<'_>) -> bool {
        let mut state = self.breaker.lock();
        let state = &mut *state;
        let Writes {
            successes,
            suspects,
            ..
        } = state.of(kind);
        match evidence {
            // Another record has succeeded since this one failed first: its failure is its own.
            Evidence::Record { key, since } if suspects.count(key, since, *successes) => {
                return false;
            }
            Evidence::Unsent => {
                suspects.count_unsent();
                state.failures_unsent += 1;
            }
            Evidence::Batch | Evidence::Record { .. } => {}
        }
        state.failures += 1;
        if state.open.is_some() {
            if self.is_probe {
                state.open(code.clone(), None, false);
            }
            return false;
        }
        let opens =
            state.failures_unsent >= FAILURES_TO_OPEN || state.unproven() >= RECORDS_TO_OPEN;
        if opens {
            state.open(code.clone(), None, false);
        }
        opens
    }

    /// Reports that nothing will succeed for now. Says whether this is news.
    pub fn stop(self, stop: &Stop) -> bool {
        let mut state = self.breaker.lock();
        let is_news = self.is_probe || state.open.as_ref().is_none_or(|open| !open.is_stop);
        if is_news {
            (state.failures, state.failures_unsent) = (0, 0);
            let asked = stop.after.map(|after| after.min(LONGEST_ASKED));
            let pause = if stop.cause == Cause::Quota {
                Some(asked.unwrap_or(LONGEST_PAUSE))
            } else {
                asked
            };
            state.open(stop.code.clone(), pause, true);
        }
        is_news
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            if let Some(open) = &mut self.breaker.lock().open {
                open.is_probed = false;
            }
            self.breaker.probed.notify_waiters();
        }
    }
}

impl State {
    fn of(&mut self, kind: WriteKind) -> &mut Writes {
        match kind {
            WriteKind::Upsert => &mut self.upserts,
            WriteKind::Delete => &mut self.deletes,
        }
    }

    /// Returns how many records failed alone since the last success of their kind.
    fn unproven(&self) -> usize {
        let of = |writes: &Writes| writes.suspects.unproven(writes.successes);
        of(&self.upserts) + of(&self.deletes)
    }

    fn open(&mut self, code: Code, pause: Option<Duration>, is_stop: bool) {
        let own = (FIRST_PAUSE * 2_u32.saturating_pow(self.openings.min(16))).min(LONGEST_PAUSE);
        self.openings += 1;
        self.open = Some(Open {
            pause: Pause::of(pause.unwrap_or(own)),
            code,
            is_stop,
            is_probed: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: Code = Code::new("HTTP_503");

    fn stop(cause: Cause, after: Option<Duration>) -> Stop {
        Stop {
            cause,
            code: Code::new("STOPPED"),
            remedy: String::new(),
            after,
        }
    }

    async fn seconds(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn refused(breaker: &Breaker) -> Option<Code> {
        match breaker.permit() {
            Permit::Refused(code) => Some(code),
            Permit::Given(_) | Permit::Wait => None,
        }
    }

    fn pass(breaker: &Breaker) -> CallPermit<'_> {
        match breaker.permit() {
            Permit::Given(pass) => pass,
            other => panic!("no pass: {other:?}"),
        }
    }

    fn waits(breaker: &Breaker) -> bool {
        matches!(breaker.permit(), Permit::Wait)
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_repeated_failures_and_lets_one_call_look() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            assert!(!pass(&breaker).failed(WriteKind::Upsert, &GONE, Evidence::Unsent));
        }
        assert!(pass(&breaker).failed(WriteKind::Upsert, &GONE, Evidence::Unsent));
        assert_eq!(refused(&breaker), Some(GONE));
        seconds(5).await;
        let probe = pass(&breaker);
        assert!(
            waits(&breaker),
            "one call looks, the others wait for what it sees"
        );
        assert!(
            !probe.failed(WriteKind::Upsert, &GONE, Evidence::Unsent),
            "no news"
        );
        seconds(5).await;
        assert_eq!(refused(&breaker), Some(GONE), "the second pause is longer");
        seconds(5).await;
        pass(&breaker).answered(WriteKind::Upsert, Answer::Written, 0);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_probe_hears_what_it_saw() {
        let breaker = Breaker::default();
        let far = Instant::now() + Duration::from_mins(1);
        pass(&breaker).stop(&stop(Cause::Quota, Some(Duration::from_secs(1))));
        assert_eq!(
            breaker.wait_until_ready(far).await,
            Err(Code::new("STOPPED")),
            "at once, before the pause is over"
        );
        seconds(1).await;
        let (heard, ()) = tokio::join!(breaker.wait_until_ready(far), async {
            let probe = pass(&breaker);
            seconds(1).await;
            assert!(!probe.failed(WriteKind::Upsert, &GONE, Evidence::Unsent));
        });
        assert_eq!(heard, Ok(()), "asked before there was a probe");
        assert_eq!(breaker.wait_until_ready(far).await, Err(GONE));
        seconds(10).await;
        let probe = pass(&breaker);
        let soon = Instant::now() + Duration::from_secs(1);
        assert_eq!(
            breaker.wait_until_ready(soon).await,
            Err(GONE),
            "as long as there is time"
        );
        let (heard, ()) = tokio::join!(breaker.wait_until_ready(far), async {
            probe.answered(WriteKind::Upsert, Answer::Written, 0);
        });
        assert_eq!(heard, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_between_starts_the_count_anew() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES_TO_OPEN {
                assert!(!pass(&breaker).failed(WriteKind::Upsert, &GONE, Evidence::Unsent));
            }
            pass(&breaker).answered(WriteKind::Upsert, Answer::Written, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_opens_at_once_and_is_news_once() {
        let breaker = Breaker::default();
        let (first, second) = (pass(&breaker), pass(&breaker));
        assert!(first.stop(&stop(Cause::Credential, None)));
        assert!(!second.stop(&stop(Cause::Credential, None)));
        assert_eq!(refused(&breaker), Some(Code::new("STOPPED")));
        seconds(5).await;
        assert!(
            pass(&breaker).stop(&stop(Cause::Credential, None)),
            "it lasts: the operator is told again"
        );
    }

    /// One record decides nothing about the destination, as a probe neither.
    #[tokio::test(start_paused = true)]
    async fn the_probe_of_a_known_offender_leaves_the_next_one_to_another_record() {
        let breaker = Breaker::default();
        let kind = WriteKind::Upsert;
        pass(&breaker).answered(kind, Answer::Written, 0);
        let offender = Evidence::Record { key: "a", since: 0 };
        assert!(!pass(&breaker).failed(kind, &GONE, offender));
        pass(&breaker).stop(&stop(Cause::Quota, Some(Duration::from_secs(1))));
        seconds(1).await;
        assert!(!pass(&breaker).failed(kind, &GONE, offender));
        let probe = pass(&breaker);
        assert!(waits(&breaker), "another record is the probe");
        probe.answered(kind, Answer::Written, 0);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_waits_for_leaves_its_place() {
        let breaker = Breaker::default();
        pass(&breaker).stop(&stop(Cause::Configuration, None));
        seconds(5).await;
        drop(pass(&breaker));
        pass(&breaker).answered(WriteKind::Upsert, Answer::Written, 0);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_under_way_before_the_trouble_neither_ends_nor_prolongs_it() {
        let breaker = Breaker::default();
        let (early, late, later) = (pass(&breaker), pass(&breaker), pass(&breaker));
        early.stop(&stop(Cause::Quota, None));
        late.answered(WriteKind::Upsert, Answer::Written, 0);
        assert_eq!(refused(&breaker), Some(Code::new("STOPPED")));
        seconds(300).await;
        let probe = pass(&breaker);
        assert!(!later.failed(WriteKind::Upsert, &GONE, Evidence::Unsent));
        assert!(waits(&breaker), "the probe is still under way");
        probe.answered(WriteKind::Upsert, Answer::Written, 0);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_systems_own_word_sets_the_pause() {
        for (asked, pause) in [(None, 300), (Some(42), 42), (Some(100_000), 3600)] {
            let breaker = Breaker::default();
            pass(&breaker).stop(&stop(Cause::Quota, asked.map(Duration::from_secs)));
            seconds(pause - 1).await;
            assert_eq!(refused(&breaker), Some(Code::new("STOPPED")));
            seconds(1).await;
            assert_eq!(refused(&breaker), None);
        }
    }
}
