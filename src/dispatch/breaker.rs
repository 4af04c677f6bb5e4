//! The circuit breaker of one destination: once it is known that nothing will succeed, nothing is sent, in this
//! invocation and for a while after it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::pause::Pause;
use crate::adapters::{Cause, Code, Stop};

/// Calls without an answer, one after the other, after which the system is taken for gone. Retries of one hiccup make
/// four.
const FAILURES_TO_OPEN: u32 = 8;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause of our own choice. A day's quota comes back call by call (it is a rolling day), and a mended
/// configuration should take effect soon: every five minutes one call may look.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The longest pause that a system may ask for. <https://developers.hubspot.com/docs/api-reference/error-handling>
pub(super) const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// Remembers what a destination's last calls came to.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
    probed: Notify,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    openings: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    pause: Pause,
    code: Code,
    /// The system said so itself, and did not merely fall silent.
    is_stop: bool,
    /// One call is under way to see whether the trouble is over.
    is_probed: bool,
}

/// Leave to make one call, and to tell what came of it. Dropped without a word, it was not made after all, or nobody
/// waits for its answer any more: that tells nothing.
#[derive(Debug)]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

/// Whether a call may be made.
#[derive(Debug)]
pub enum Permit<'a> {
    /// It may.
    Given(Pass<'a>),
    /// Another call is under way to see whether the trouble is over: wait for what it sees.
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
        Permit::Given(Pass { breaker: self, is_probe })
    }

    /// Waits until it is known whether there is use in asking for a call.
    ///
    /// # Errors
    /// The reason for which no call may be made, now or before `until`.
    pub async fn hope(&self, until: Instant) -> Result<(), Code> {
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The call was answered. An answer to a call from before the trouble does not end it.
    pub fn answered(self) {
        let mut state = self.breaker.lock();
        if self.is_probe || state.open.is_none() {
            *state = State::default();
        }
    }

    /// The call came to nothing, for a reason that may pass. Says whether this opens the breaker.
    pub fn failed(self, code: &Code) -> bool {
        let mut state = self.breaker.lock();
        if state.open.is_some() {
            if self.is_probe {
                state.open(code.clone(), None, false);
            }
            return false;
        }
        state.failures += 1;
        let opens = state.failures >= FAILURES_TO_OPEN;
        if opens {
            state.open(code.clone(), None, false);
        }
        opens
    }

    /// Nothing will succeed for now. Says whether this is news.
    pub fn stop(self, stop: &Stop) -> bool {
        let mut state = self.breaker.lock();
        let is_news = self.is_probe || state.open.as_ref().is_none_or(|open| !open.is_stop);
        if is_news {
            let asked = stop.after.map(|after| after.min(LONGEST_ASKED));
            let pause = if stop.cause == Cause::Quota { Some(asked.unwrap_or(LONGEST_PAUSE)) } else { asked };
            state.open(stop.code.clone(), pause, true);
        }
        is_news
    }
}

impl Drop for Pass<'_> {
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
    fn open(&mut self, code: Code, pause: Option<Duration>, is_stop: bool) {
        let own = (FIRST_PAUSE * 2_u32.saturating_pow(self.openings.min(16))).min(LONGEST_PAUSE);
        self.openings += 1;
        self.failures = 0;
        self.open = Some(Open { pause: Pause::of(pause.unwrap_or(own)), code, is_stop, is_probed: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: Code = Code::new("HTTP_503");

    fn stop(cause: Cause, after: Option<Duration>) -> Stop {
        Stop { cause, code: Code::new("STOPPED"), remedy: String::new(), after }
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

    fn pass(breaker: &Breaker) -> Pass<'_> {
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
            assert!(!pass(&breaker).failed(&GONE));
        }
        assert!(pass(&breaker).failed(&GONE));
        assert_eq!(refused(&breaker), Some(GONE));
        seconds(5).await;
        let probe = pass(&breaker);
        assert!(waits(&breaker), "one call looks, the others wait for what it sees");
        assert!(!probe.failed(&GONE), "no news");
        seconds(5).await;
        assert_eq!(refused(&breaker), Some(GONE), "the second pause is longer");
        seconds(5).await;
        pass(&breaker).answered();
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_probe_hears_what_it_saw() {
        let breaker = Breaker::default();
        let far = Instant::now() + Duration::from_mins(1);
        pass(&breaker).stop(&stop(Cause::Quota, Some(Duration::from_secs(1))));
        assert_eq!(breaker.hope(far).await, Err(Code::new("STOPPED")), "at once, before the pause is over");
        seconds(1).await;
        let (heard, ()) = tokio::join!(breaker.hope(far), async {
            let probe = pass(&breaker);
            seconds(1).await;
            assert!(!probe.failed(&GONE));
        });
        assert_eq!(heard, Ok(()), "asked before there was a probe");
        assert_eq!(breaker.hope(far).await, Err(GONE));
        seconds(10).await;
        let probe = pass(&breaker);
        let soon = Instant::now() + Duration::from_secs(1);
        assert_eq!(breaker.hope(soon).await, Err(GONE), "as long as there is time");
        let (heard, ()) = tokio::join!(breaker.hope(far), async { probe.answered() });
        assert_eq!(heard, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_between_starts_the_count_anew() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES_TO_OPEN {
                assert!(!pass(&breaker).failed(&GONE));
            }
            pass(&breaker).answered();
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
        assert!(pass(&breaker).stop(&stop(Cause::Credential, None)), "it lasts: the operator is told again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_waits_for_leaves_its_place() {
        let breaker = Breaker::default();
        pass(&breaker).stop(&stop(Cause::Configuration, None));
        seconds(5).await;
        drop(pass(&breaker));
        pass(&breaker).answered();
        assert_eq!(refused(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_under_way_before_the_trouble_neither_ends_nor_prolongs_it() {
        let breaker = Breaker::default();
        let (early, late, later) = (pass(&breaker), pass(&breaker), pass(&breaker));
        early.stop(&stop(Cause::Quota, None));
        late.answered();
        assert_eq!(refused(&breaker), Some(Code::new("STOPPED")));
        seconds(300).await;
        let probe = pass(&breaker);
        assert!(!later.failed(&GONE));
        assert!(waits(&breaker), "the probe is still under way");
        probe.answered();
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
