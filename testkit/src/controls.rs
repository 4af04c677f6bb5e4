//! Controls of a mock: scripted replies, injected faults, recorded protocol violations. Both mocks
//! share them.

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
    violations: Vec<String>,
    script: VecDeque<(Option<E>, Reply)>,
    lost_responses: u32,
    mangles: VecDeque<Mangle>,
    /// Error and remaining number of returns, by the contact's id in lower case.
    row_errors: HashMap<String, (Value, u32)>,
    offenders: BTreeSet<String>,
    /// Reply to each call with this id, or to each call.
    fixed_reply: Option<(Option<String>, Reply)>,
    discards_writes: bool,
    throttle_every: Option<u64>,
}

impl<E> Default for Controls<E> {
    fn default() -> Self {
        let state = State {
            calls: 0,
            refused_tokens: 0,
            violations: Vec::new(),
            script: VecDeque::new(),
            lost_responses: 0,
            mangles: VecDeque::new(),
            row_errors: HashMap::new(),
            offenders: BTreeSet::new(),
            fixed_reply: None,
            discards_writes: false,
            throttle_every: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

/// Controls that tests set and read.
impl<E> Controls<E> {
    /// Adds a reply to the next call of any endpoint but the token endpoint. Replies are used in
    /// order, one per call.
    pub fn next(&self, reply: impl Into<Reply>) {
        self.state().script.push_back((None, reply.into()));
    }

    /// Adds a reply to the next call of `endpoint`.
    pub fn next_of(&self, endpoint: E, reply: impl Into<Reply>) {
        self.state()
            .script
            .push_back((Some(endpoint), reply.into()));
    }

    /// Carries out the next call, and modifies its response.
    pub fn mangle(&self, mangle: Mangle) {
        self.state().mangles.push_back(mangle);
    }

    /// Carries out the next `times` calls, and drops the connection without a response.
    pub fn lose_answers(&self, times: u32) {
        self.state().lost_responses = times;
    }

    /// Fails the next `times` rows of the contact `id` with this error.
    pub fn fail_row(&self, id: &str, error: Value, times: u32) {
        self.state()
            .row_errors
            .insert(id.to_lowercase(), (error, times));
    }

    /// Rejects each batch or query with the contact `id` with a 400 that identifies no record.
    pub fn fail_batches_with(&self, id: &str) {
        self.state().offenders.insert(id.to_lowercase());
    }

    /// Replies to each call with the contact `id` with `reply`.
    pub fn reply_to_each_with(&self, id: &str, reply: impl Into<Reply>) {
        self.state().fixed_reply = Some((Some(id.to_owned()), reply.into()));
    }

    /// Replies to each call with `reply`, until [`Self::reply_normally`].
    pub fn reply_to_each(&self, reply: impl Into<Reply>) {
        self.state().fixed_reply = Some((None, reply.into()));
    }

    /// Ends the effect of [`Self::reply_to_each`] and [`Self::reply_to_each_with`].
    pub fn reply_normally(&self) {
        self.state().fixed_reply = None;
    }

    /// Discards each further write that it acknowledges. No client can detect that: the tests of
    /// the harness have to.
    pub fn forget(&self) {
        self.state().discards_writes = true;
    }

    /// Throttles every `k`-th call.
    pub fn throttle_every(&self, k: u64) {
        self.state().throttle_every = Some(k);
    }

    /// Returns the number of calls with a rejected token.
    pub fn refused_tokens(&self) -> u32 {
        self.state().refused_tokens
    }

    /// Returns the protocol violations of the client.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }
}

/// Controls that the mock evaluates.
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

    pub(crate) fn record_violation(&self, violation: impl Into<String>) {
        self.state().violations.push(violation.into());
    }

    /// Takes the scripted reply to a call of `endpoint`. A call of the token endpoint, which
    /// `is_token` marks, gets no reply without an endpoint.
    pub(crate) fn scripted(&self, endpoint: E, is_token: bool) -> Option<Reply> {
        let mut state = self.state();
        let (only, _) = state.script.front()?;
        let is_due = match only {
            Some(only) => *only == endpoint,
            None => !is_token,
        };
        if is_due {
            state.script.pop_front().map(|(_, reply)| reply)
        } else {
            None
        }
    }

    /// Returns the reply to a call with the offending contact. `holds` tests whether the call
    /// contains an id.
    pub(crate) fn fixed_reply(&self, holds: impl FnOnce(&str) -> bool) -> Option<Reply> {
        let (id, reply) = self.state().fixed_reply.clone()?;
        id.is_none_or(|id| holds(&id)).then_some(reply)
    }

    pub(crate) fn is_throttled(&self) -> bool {
        let state = self.state();
        state
            .throttle_every
            .is_some_and(|k| state.calls.is_multiple_of(k))
    }

    pub(crate) fn fails_batches(&self, id: &str) -> bool {
        self.state().offenders.contains(&id.to_lowercase())
    }

    pub(crate) fn discards_writes(&self) -> bool {
        self.state().discards_writes
    }

    /// Returns the injected error of a row, and counts it as returned.
    pub(crate) fn row_error(&self, id: &str) -> Option<Value> {
        let mut state = self.state();
        let (error, times) = state.row_errors.get_mut(&id.to_lowercase())?;
        *times = times.checked_sub(1)?;
        Some(error.clone())
    }

    /// Returns whether the response to this call is lost, and counts it as lost.
    pub(crate) fn loses_response(&self) -> bool {
        let mut state = self.state();
        let is_lost = state.lost_responses > 0;
        state.lost_responses = state.lost_responses.saturating_sub(1);
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
