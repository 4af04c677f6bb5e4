//! The circuit breaker of one destination: once it is known that nothing will succeed, nothing is sent, in this
//! invocation and for a while after it.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

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
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// Whether a call may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Yes.
    Go,
    /// No, for this reason.
    Refused(Code),
}

/// Remembers what a destination's last calls came to.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    openings: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    code: Code,
    /// One call is under way to see whether the trouble is over.
    probing: bool,
}

impl Breaker {
    /// Asks for a call. Where the pause is over, one call goes ahead alone.
    pub fn permit(&self) -> Permit {
        let mut state = self.lock();
        match &mut state.open {
            None => Permit::Go,
            Some(open) if open.probing || Instant::now() < open.until => Permit::Refused(open.code.clone()),
            Some(open) => {
                open.probing = true;
                Permit::Go
            }
        }
    }

    /// Whether calls are refused now.
    pub fn is_open(&self) -> bool {
        self.lock().open.is_some()
    }

    /// A call was answered.
    pub fn answered(&self) {
        *self.lock() = State::default();
    }

    /// A permitted call was not made after all.
    pub fn not_used(&self) {
        if let Some(open) = &mut self.lock().open {
            open.probing = false;
        }
    }

    /// A call came to nothing, for a reason that may pass.
    pub fn failed(&self, code: &Code) {
        let mut state = self.lock();
        state.failures += 1;
        let was_probe = state.open.as_ref().is_some_and(|open| open.probing);
        if was_probe || state.failures >= FAILURES_TO_OPEN {
            state.open(code.clone(), None);
        }
    }

    /// Nothing will succeed for now. Says whether this is news.
    pub fn stop(&self, stop: &Stop) -> bool {
        let mut state = self.lock();
        let is_news = state.open.as_ref().is_none_or(|open| open.probing);
        if is_news {
            let asked = stop.after.map(|after| after.min(LONGEST_ASKED));
            let pause = if stop.cause == Cause::Quota { Some(asked.unwrap_or(LONGEST_PAUSE)) } else { asked };
            state.open(stop.code.clone(), pause);
        }
        is_news
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, code: Code, pause: Option<Duration>) {
        let own = (FIRST_PAUSE * 2_u32.saturating_pow(self.openings.min(16))).min(LONGEST_PAUSE);
        self.openings += 1;
        self.failures = 0;
        self.open = Some(Open { until: Instant::now() + pause.unwrap_or(own), code, probing: false });
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

    #[tokio::test(start_paused = true)]
    async fn opens_after_repeated_failures_and_lets_one_call_look() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            breaker.failed(&GONE);
        }
        assert_eq!(breaker.permit(), Permit::Go);
        breaker.failed(&GONE);
        assert_eq!(breaker.permit(), Permit::Refused(GONE));
        seconds(5).await;
        assert_eq!(breaker.permit(), Permit::Go);
        assert_eq!(breaker.permit(), Permit::Refused(GONE), "one call looks, the others wait for what it sees");
        breaker.failed(&GONE);
        seconds(5).await;
        assert_eq!(breaker.permit(), Permit::Refused(GONE), "the second pause is longer");
        seconds(5).await;
        assert_eq!(breaker.permit(), Permit::Go);
        breaker.answered();
        assert_eq!(breaker.permit(), Permit::Go);
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_opens_at_once_and_is_news_once() {
        let breaker = Breaker::default();
        assert!(breaker.stop(&stop(Cause::Credential, None)));
        assert!(!breaker.stop(&stop(Cause::Credential, None)));
        assert_eq!(breaker.permit(), Permit::Refused(Code::new("STOPPED")));
        seconds(5).await;
        assert_eq!(breaker.permit(), Permit::Go);
        breaker.not_used();
        assert_eq!(breaker.permit(), Permit::Go, "a probe that was not made leaves its place");
    }

    #[tokio::test(start_paused = true)]
    async fn the_systems_own_word_sets_the_pause() {
        for (asked, pause) in [(None, 300), (Some(42), 42), (Some(100_000), 3600)] {
            let breaker = Breaker::default();
            breaker.stop(&stop(Cause::Quota, asked.map(Duration::from_secs)));
            seconds(pause - 1).await;
            assert_ne!(breaker.permit(), Permit::Go);
            seconds(1).await;
            assert_eq!(breaker.permit(), Permit::Go);
        }
    }
}
