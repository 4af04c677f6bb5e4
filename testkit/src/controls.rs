//! Controls of a mock: scripted replies, injected faults, recorded mistakes. Both mocks share them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::server::{Mangle, Reply};

/// Controls of a mock whose endpoints are named by `E`.
#[derive(Debug)]
pub struct Controls<E> {
    state: Mutex<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    calls: u64,
    refused_tokens: u32,
    mistakes: Vec<String>,
    script: VecDeque<(Option<E>, Reply)>,
    lost_answers: u32,
    mangles: VecDeque<Mangle>,
    /// By the contact's id in lower case: the error, and how often it is still returned.
    row_errors: HashMap<String, (Value, u32)>,
    poison: BTreeSet<String>,
    /// The reply to each call that holds this id, or to each call.
    offending: Option<(Option<String>, Reply)>,
    is_forgetful: bool,
    throttle_every: Option<u64>,
}

impl<E> Default for Controls<E> {
    fn default() -> Self {
        let state = State {
            calls: 0,
            refused_tokens: 0,
            mistakes: Vec::new(),
            script: VecDeque::new(),
            lost_answers: 0,
            mangles: VecDeque::new(),
            row_errors: HashMap::new(),
            poison: BTreeSet::new(),
            offending: None,
            is_forgetful: false,
            throttle_every: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

/// The part for tests.
impl<E> Controls<E> {
    /// Scripts the reply to the next call, of any endpoint but that of tokens. Replies are taken in
    /// order, one for each call.
    pub fn next(&self, reply: impl Into<Reply>) {
        self.state().script.push_back((None, reply.into()));
    }

    /// Scripts the reply to the next call of `endpoint`.
    pub fn next_of(&self, endpoint: E, reply: impl Into<Reply>) {
        self.state()
            .script
            .push_back((Some(endpoint), reply.into()));
    }

    /// Carries out the next call, and changes the answer.
    pub fn mangle(&self, mangle: Mangle) {
        self.state().mangles.push_back(mangle);
    }

    /// Carries out the next `times` calls, and drops the connection instead of answering.
    pub fn lose_answers(&self, times: u32) {
        self.state().lost_answers = times;
    }

    /// Fails rows of the contact `id` with this error, `times` times.
    pub fn fail_row(&self, id: &str, error: Value, times: u32) {
        self.state()
            .row_errors
            .insert(id.to_lowercase(), (error, times));
    }

    /// Refuses each call with the contact `id` as a whole, with a 400 that names no record.
    pub fn poison(&self, id: &str) {
        self.state().poison.insert(id.to_lowercase());
    }

    /// Replies so to each call that holds the contact `id`, and to no other.
    pub fn offend(&self, id: &str, reply: impl Into<Reply>) {
        self.state().offending = Some((Some(id.to_owned()), reply.into()));
    }

    /// Replies so to each call, until [`Self::behave`].
    pub fn misbehave(&self, reply: impl Into<Reply>) {
        self.state().offending = Some((None, reply.into()));
    }

    /// Ends [`Self::misbehave`] and [`Self::offend`].
    pub fn behave(&self) {
        self.state().offending = None;
    }

    /// Keeps nothing of what is acknowledged. No client can see that: it tests the tests.
    pub fn forget(&self) {
        self.state().is_forgetful = true;
    }

    /// Lets every `k`-th call exceed a rate limit.
    pub fn throttle_every(&self, k: u64) {
        self.state().throttle_every = Some(k);
    }

    /// Returns how many calls had a refused token.
    pub fn refused_tokens(&self) -> u32 {
        self.state().refused_tokens
    }

    /// Returns the calls of ours that no client should make.
    pub fn mistakes(&self) -> Vec<String> {
        self.state().mistakes.clone()
    }
}

/// The part for the mock.
impl<E: Copy + PartialEq> Controls<E> {
    pub(crate) fn count_call(&self) {
        self.state().calls += 1;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(crate) fn count_refused_token(&self) {
        self.state().refused_tokens += 1;
    }

    pub(crate) fn note_mistake(&self, mistake: impl Into<String>) {
        self.state().mistakes.push(mistake.into());
    }

    /// Takes the scripted reply to a call of `endpoint`. `is_token` excepts it from the replies
    /// that name no endpoint.
    pub(crate) fn scripted(&self, endpoint: E, is_token: bool) -> Option<Reply> {
        let mut state = self.state();
        let (only, _) = state.script.front()?;
        let is_due = only.map_or(!is_token, |only| only == endpoint);
        if is_due {
            state.script.pop_front().map(|(_, reply)| reply)
        } else {
            None
        }
    }

    /// Returns the reply to a call that holds the offending contact. `holds` looks for an id.
    pub(crate) fn offended(&self, holds: impl FnOnce(&str) -> bool) -> Option<Reply> {
        let (id, reply) = self.state().offending.clone()?;
        id.is_none_or(|id| holds(&id)).then_some(reply)
    }

    pub(crate) fn is_throttled(&self) -> bool {
        let state = self.state();
        state
            .throttle_every
            .is_some_and(|k| state.calls.is_multiple_of(k))
    }

    pub(crate) fn is_poisoned(&self, id: &str) -> bool {
        self.state().poison.contains(&id.to_lowercase())
    }

    pub(crate) fn is_forgetful(&self) -> bool {
        self.state().is_forgetful
    }

    /// Takes the error of a row.
    pub(crate) fn row_error(&self, id: &str) -> Option<Value> {
        let mut state = self.state();
        let (error, times) = state.row_errors.get_mut(&id.to_lowercase())?;
        *times = times.checked_sub(1)?;
        Some(error.clone())
    }

    /// Returns whether the answer to this call is lost.
    pub(crate) fn loses_answer(&self) -> bool {
        let mut state = self.state();
        let is_lost = state.lost_answers > 0;
        state.lost_answers = state.lost_answers.saturating_sub(1);
        is_lost
    }

    pub(crate) fn take_mangle(&self) -> Option<Mangle> {
        self.state().mangles.pop_front()
    }
}

impl<E> Controls<E> {
    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
