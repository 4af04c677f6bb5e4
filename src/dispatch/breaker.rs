//! The circuit breaker of one destination. While it is open, no call is made, in this invocation
//! and in later ones of the same process.
//!
//! It opens by an answer that is about the account, by failed calls that did not reach the
//! destination, or by records that failed alone. A single record is no evidence: it may make every
//! call fail that carries it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::job::WriteKind;
use super::locks::Locks;
use super::pause::Pause;
use super::suspects::{Suspects, Suspicion};
use crate::model::{Cause, Code, Stop};

/// Consecutive failed calls that did not reach the destination, after which it counts as
/// unavailable. The retries of one transient failure make four.
const FAILURES_TO_OPEN: u32 = 8;

/// Records that failed alone, one after the other, after which the destination counts as
/// unavailable. If a tenth of the records makes its call fail, three random ones all do so once in
/// a thousand times.
const RECORDS_TO_OPEN: usize = 3;

/// Consecutive failed calls after which single records are sent as probes.
const FAILURES_TO_DOUBT: u32 = 2;

/// First pause. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Longest pause that the destination did not ask for: one call in five minutes is a probe. A daily
/// quota is restored call by call, because it covers a rolling day, and a corrected configuration
/// takes effect within this time.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Longest pause that a destination may ask for.
/// <https://developers.hubspot.com/docs/api-reference/error-handling>
pub(super) const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// Opens when a destination counts as unavailable, and closes when a probe succeeds.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
    /// Notified when a probe has ended.
    probed: Notify,
}

#[derive(Debug, Default)]
struct State {
    upserts: Writes,
    deletes: Writes,
    /// Calls that failed since the last answer.
    failures: u32,
    /// Failed calls since the last answer that did not reach the destination with their records.
    failures_unsent: u32,
    /// Openings since the last success.
    openings: u32,
    circuit: Circuit,
}

#[derive(Debug, Default)]
enum Circuit {
    /// Calls are made.
    #[default]
    Closed,
    /// No calls are made. The first one after the pause is a probe.
    Open(Opening),
    /// A probe is in flight. Other calls wait for its outcome.
    HalfOpen(Opening),
}

/// Cause and pause of an open circuit.
#[derive(Clone, Debug)]
struct Opening {
    pause: Pause,
    code: Code,
    /// Whether the destination's answer was about the account.
    is_stop: bool,
}

/// Evidence of the writes of one kind. The success of deletes proves nothing for upserts.
#[derive(Debug, Default)]
struct Writes {
    /// Calls in which a record was written.
    successes: u64,
    suspects: Suspects,
    locks: Locks,
}

/// Answer to a call that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A record was written.
    Written,
    /// Every record was refused, or was written before. The destination answers, but may be unable
    /// to write.
    Unwritten,
    /// The destination limits the rate. It answers, and nothing else is known.
    Throttled,
}

/// Evidence of a failed call about the destination.
#[derive(Clone, Copy, Debug)]
pub enum Evidence<'a> {
    /// No record reached the destination.
    Unsent,
    /// Several records reached the destination. Each of them may be the cause.
    Batch,
    /// One record reached the destination.
    Record {
        /// The key of its contact.
        key: &'a str,
        /// Successes of its kind before the first failed call that carried it.
        since: u64,
    },
}

/// Permission to make one call and to report its outcome. A permit that is dropped without a report
/// is no evidence: the call was not made, or its answer was not awaited.
#[derive(Debug)]
pub struct CallPermit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

/// Answer to a request for a call.
#[derive(Debug)]
pub enum Permit<'a> {
    /// The call may be made.
    Given(CallPermit<'a>),
    /// A probe is in flight: wait for its outcome.
    Wait,
    /// The circuit is open, for this reason.
    Refused(Code),
}

impl Breaker {
    /// Requests a call. The first one after the pause of an open circuit is the probe.
    pub fn permit(&self) -> Permit<'_> {
        let mut state = self.lock();
        let is_probe = match &state.circuit {
            Circuit::Closed => false,
            Circuit::HalfOpen(_) => return Permit::Wait,
            Circuit::Open(opening) if !opening.pause.is_over() => {
                return Permit::Refused(opening.code.clone());
            }
            Circuit::Open(opening) => {
                state.circuit = Circuit::HalfOpen(opening.clone());
                true
            }
        };
        Permit::Given(CallPermit {
            breaker: self,
            is_probe,
        })
    }

    /// Waits until no probe is in flight.
    ///
    /// # Errors
    /// Returns the reason if the circuit is open, or if the probe has not ended before `until`.
    pub async fn wait_until_ready(&self, until: Instant) -> Result<(), Code> {
        loop {
            let probed = self.probed.notified();
            let code = match &self.lock().circuit {
                Circuit::HalfOpen(opening) => opening.code.clone(),
                Circuit::Open(opening) if !opening.pause.is_over() => {
                    return Err(opening.code.clone());
                }
                Circuit::Open(_) | Circuit::Closed => return Ok(()),
            };
            timeout_at(until, probed).await.map_err(|_| code)?;
        }
    }

    /// Returns whether the availability is in doubt: calls failed after their records had reached
    /// the destination, and none has succeeded since. Then single records are sent, one at a time.
    pub(super) fn is_in_doubt(&self) -> bool {
        let state = self.lock();
        let may_probe = match &state.circuit {
            Circuit::Closed | Circuit::HalfOpen(_) => true,
            Circuit::Open(opening) => opening.pause.is_over(),
        };
        may_probe && state.failures >= FAILURES_TO_DOUBT && state.failures > state.failures_unsent
    }

    /// Returns the number of calls of this kind that have written a record.
    pub(super) fn successes(&self, kind: WriteKind) -> u64 {
        self.lock().of(kind).successes
    }

    /// Returns the suspicion against the record `key`.
    pub(super) fn suspicion(&self, kind: WriteKind, key: &str) -> Suspicion {
        let mut state = self.lock();
        let Writes {
            successes,
            suspects,
            ..
        } = state.of(kind);
        suspects.suspicion(key, *successes)
    }

    /// Returns whether the record `key` is the cause of its failures alone. `enough` is the number
    /// of failures that is enough, given if the answers name the record.
    pub(super) fn is_offending(&self, kind: WriteKind, key: &str, enough: Option<u32>) -> bool {
        self.lock().of(kind).suspects.is_offending(key, enough)
    }

    /// Returns whether another record has succeeded since the first failure of the record `key`.
    pub(super) fn is_proven(&self, kind: WriteKind, key: &str) -> bool {
        self.lock().of(kind).suspects.is_proven(key)
    }

    /// Holds the record `key` back for a pause, after it was given up.
    pub(super) fn hold(&self, kind: WriteKind, key: &str, code: Code) {
        self.lock().of(kind).suspects.hold(key, code);
    }

    /// Counts an answer that the record `key` is locked, alone in its call. Returns whether the
    /// lock is permanent: see [`super::locks`].
    pub(super) fn outlasts_locks(&self, kind: WriteKind, key: &str) -> bool {
        let mut state = self.lock();
        let Writes {
            successes, locks, ..
        } = state.of(kind);
        locks.count(key, *successes)
    }

    /// Forgets the record `key`, which is settled.
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
    /// Reports the answer to a call of this kind, after `failed_before` failed calls of the same
    /// batch. An answer to a call that was in flight when the circuit opened does not close it.
    pub fn answered(self, kind: WriteKind, answer: Answer, failed_before: u32) {
        let mut state = self.breaker.lock();
        let is_written = answer == Answer::Written;
        state
            .of(kind)
            .suspects
            .count_answer(is_written, failed_before);
        if self.is_probe || matches!(state.circuit, Circuit::Closed) {
            state.of(kind).successes += u64::from(is_written);
            state.failures_unsent = 0;
            state.circuit = Circuit::Closed;
            if is_written {
                state.openings = 0;
            }
            if answer != Answer::Throttled {
                state.failures = 0;
            }
        }
    }

    /// Reports a call of this kind without a usable answer, for a temporary reason. Returns whether
    /// this opens the breaker.
    pub fn failed(self, kind: WriteKind, code: &Code, evidence: Evidence<'_>) -> bool {
        let mut state = self.breaker.lock();
        let state = &mut *state;
        let Writes {
            successes,
            suspects,
            ..
        } = state.of(kind);
        match evidence {
            // Another record has succeeded since the first failure of this one: its failures are
            // its own.
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
        if !matches!(state.circuit, Circuit::Closed) {
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

    /// Reports an answer about the account, by which no call will succeed for some time. Returns
    /// whether this is new.
    pub fn stop(self, stop: &Stop) -> bool {
        let mut state = self.breaker.lock();
        let is_new = match &state.circuit {
            Circuit::Closed => true,
            Circuit::Open(opening) | Circuit::HalfOpen(opening) => {
                self.is_probe || !opening.is_stop
            }
        };
        if is_new {
            (state.failures, state.failures_unsent) = (0, 0);
            let asked = stop.after.map(|after| after.min(LONGEST_ASKED));
            let pause = if stop.cause == Cause::Quota {
                Some(asked.unwrap_or(LONGEST_PAUSE))
            } else {
                asked
            };
            state.open(stop.code.clone(), pause, true);
        }
        is_new
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        let mut state = self.breaker.lock();
        // The probe was not reported, or is no evidence: the next call is a probe again.
        if let Circuit::HalfOpen(opening) = &state.circuit {
            state.circuit = Circuit::Open(opening.clone());
        }
        drop(state);
        self.breaker.probed.notify_waiters();
    }
}

impl State {
    fn of(&mut self, kind: WriteKind) -> &mut Writes {
        match kind {
            WriteKind::Upsert => &mut self.upserts,
            WriteKind::Delete => &mut self.deletes,
        }
    }

    /// Returns the number of records that failed alone since the last success of their kind.
    fn unproven(&self) -> usize {
        let Self {
            upserts, deletes, ..
        } = self;
        upserts.suspects.unproven(upserts.successes) + deletes.suspects.unproven(deletes.successes)
    }

    fn open(&mut self, code: Code, pause: Option<Duration>, is_stop: bool) {
        let own = (FIRST_PAUSE * 2_u32.saturating_pow(self.openings.min(16))).min(LONGEST_PAUSE);
        self.openings += 1;
        self.circuit = Circuit::Open(Opening {
            pause: Pause::of(pause.unwrap_or(own)),
            code,
            is_stop,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNAVAILABLE: Code = Code::new("HTTP_503");

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

    fn permit(breaker: &Breaker) -> CallPermit<'_> {
        match breaker.permit() {
            Permit::Given(permit) => permit,
            other => panic!("no permit: {other:?}"),
        }
    }

    fn waits(breaker: &Breaker) -> bool {
        matches!(breaker.permit(), Permit::Wait)
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_opens_after_repeated_failures_and_makes_one_probe() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            assert!(!permit(&breaker).failed(WriteKind::Upsert, &UNAVAILABLE, Evidence::Unsent));
        }
        assert!(permit(&breaker).failed(WriteKind::Upsert, &UNAVAILABLE, Evidence::Unsent));
        assert_eq!(refused(&breaker), Some(UNAVAILABLE));
        seconds(5).await;
        let probe = permit(&breaker);
        assert!(
            waits(&breaker),
            "other calls wait for the outcome of the probe"
        );
        assert!(
            !probe.failed(WriteKind::Upsert, &UNAVAILABLE, Evidence::Unsent),
            "the breaker was open before"
        );
        seconds(5).await;
        assert_eq!(
            refused(&breaker),
            Some(UNAVAILABLE),
            "the second pause is longer"
        );
        seconds(5).await;
        permit(&breaker).answered(WriteKind::Upsert, Answer::Written, 0);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_for_a_probe_get_its_outcome() {
        let breaker = Breaker::default();
        let far = Instant::now() + Duration::from_mins(1);
        permit(&breaker).stop(&stop(Cause::Quota, Some(Duration::from_secs(1))));
        assert_eq!(
            breaker.wait_until_ready(far).await,
            Err(Code::new("STOPPED")),
            "at once, before the pause is over"
        );
        seconds(1).await;
        let (result, ()) = tokio::join!(breaker.wait_until_ready(far), async {
            let probe = permit(&breaker);
            seconds(1).await;
            assert!(!probe.failed(WriteKind::Upsert, &UNAVAILABLE, Evidence::Unsent));
        });
        assert_eq!(result, Ok(()), "the wait began before the probe");
        assert_eq!(breaker.wait_until_ready(far).await, Err(UNAVAILABLE));
        seconds(10).await;
        let probe = permit(&breaker);
        let soon = Instant::now() + Duration::from_secs(1);
        assert_eq!(
            breaker.wait_until_ready(soon).await,
            Err(UNAVAILABLE),
            "the probe takes longer"
        );
        let (result, ()) = tokio::join!(breaker.wait_until_ready(far), async {
            probe.answered(WriteKind::Upsert, Answer::Written, 0);
        });
        assert_eq!(result, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_resets_the_count_of_failures() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES_TO_OPEN {
                assert!(!permit(&breaker).failed(
                    WriteKind::Upsert,
                    &UNAVAILABLE,
                    Evidence::Unsent
                ));
            }
            permit(&breaker).answered(WriteKind::Upsert, Answer::Written, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_opens_the_breaker_at_once_and_is_reported_once() {
        let breaker = Breaker::default();
        let (first, second) = (permit(&breaker), permit(&breaker));
        assert!(first.stop(&stop(Cause::Credential, None)));
        assert!(!second.stop(&stop(Cause::Credential, None)));
        assert_eq!(refused(&breaker), Some(Code::new("STOPPED")));
        seconds(5).await;
        assert!(
            permit(&breaker).stop(&stop(Cause::Credential, None)),
            "the stop of a probe is reported again"
        );
    }

    /// Checks that a known offending record is no evidence about the destination, even as probe.
    #[tokio::test(start_paused = true)]
    async fn the_failed_probe_of_a_known_offending_record_is_followed_by_another_probe() {
        let breaker = Breaker::default();
        let kind = WriteKind::Upsert;
        permit(&breaker).answered(kind, Answer::Written, 0);
        let offending = Evidence::Record { key: "a", since: 0 };
        assert!(!permit(&breaker).failed(kind, &UNAVAILABLE, offending));
        permit(&breaker).stop(&stop(Cause::Quota, Some(Duration::from_secs(1))));
        seconds(1).await;
        assert!(!permit(&breaker).failed(kind, &UNAVAILABLE, offending));
        let probe = permit(&breaker);
        assert!(waits(&breaker), "another record is the probe");
        probe.answered(kind, Answer::Written, 0);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_dropped_is_followed_by_another_one() {
        let breaker = Breaker::default();
        permit(&breaker).stop(&stop(Cause::Configuration, None));
        seconds(5).await;
        drop(permit(&breaker));
        permit(&breaker).answered(WriteKind::Upsert, Answer::Written, 0);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_before_the_opening_neither_close_the_breaker_nor_prolong_its_pause() {
        let breaker = Breaker::default();
        let (early, late, later) = (permit(&breaker), permit(&breaker), permit(&breaker));
        early.stop(&stop(Cause::Quota, None));
        late.answered(WriteKind::Upsert, Answer::Written, 0);
        assert_eq!(refused(&breaker), Some(Code::new("STOPPED")));
        seconds(300).await;
        let probe = permit(&breaker);
        assert!(!later.failed(WriteKind::Upsert, &UNAVAILABLE, Evidence::Unsent));
        assert!(waits(&breaker), "the probe is still in flight");
        probe.answered(WriteKind::Upsert, Answer::Written, 0);
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_destination_sets_the_pause_up_to_an_hour() {
        for (asked, pause) in [(None, 300), (Some(42), 42), (Some(100_000), 3600)] {
            let breaker = Breaker::default();
            permit(&breaker).stop(&stop(Cause::Quota, asked.map(Duration::from_secs)));
            seconds(pause - 1).await;
            assert_eq!(refused(&breaker), Some(Code::new("STOPPED")));
            seconds(1).await;
            assert_eq!(refused(&breaker), None);
        }
    }
}
