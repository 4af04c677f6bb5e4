//! A third system, as small as can be: it keeps records in memory, and fails as it is told. It
//! shows that a new system needs no change anywhere else, and lets thousands of schedules of faults
//! run in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contact_sync::adapters::{
    Adapter, AdapterSpec, Body, Call, CallError, Cause, Code, Destination, FailureCause, Held,
    Limits, Lookup, Outcome, Payload, Rejection, Reply, Retry, RetryMode, Stop, Transformed,
};
use contact_sync::contact::{Attribute, ContactChange, Field};
use contact_sync::dispatch::settings::{RateLimit, Retry as RetrySettings};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

pub const NAME: &str = "memory";

/// An attribute of this name makes the system reject the record.
pub const POISON: &str = "poison";

/// An attribute of this name makes the system refuse the whole batch.
pub const BOMB: &str = "bomb";

/// How often, in percent, each fault strikes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// No answer; half of the time after the write was applied.
    pub lost: u32,
    /// Too many calls.
    pub throttled: u32,
    /// An answer that never comes.
    pub hanging: u32,
    /// Beyond calling, for a while.
    pub stopped: u32,
    /// A row that may succeed later.
    pub row: u32,
    /// An answer with too few rows.
    pub short: u32,
    /// A panic in the adapter.
    pub panic: u32,
    /// A lie, which no dispatcher can see: acknowledged and not written. It proves that the laws'
    /// tests can fail.
    pub forgotten: u32,
    /// Another lie: refused for good, and nothing is wrong with it.
    pub slandered: u32,
    /// Takes half of what its limits say, and calls more a mistake.
    pub is_petty: bool,
    /// Away for this long, from the start on: every call comes to nothing.
    pub away: Option<(Duration, Duration)>,
}

/// What the next call meets, whatever chance would have.
#[derive(Clone, Debug)]
pub enum Next {
    /// No answer, after the write was applied.
    Lost,
    /// This answer, and nothing is written.
    Error(CallError),
    /// This contact's row ends so.
    Row(String, Outcome),
    /// A batch with this contact is refused, now and later.
    Poison(String),
}

/// The system.
#[derive(Debug)]
pub struct Memory {
    name: &'static str,
    state: Mutex<State>,
    limits: Limits,
    started: Instant,
}

#[derive(Debug)]
struct State {
    records: BTreeMap<String, Map<String, Value>>,
    versions: BTreeMap<String, u64>,
    /// Writes over a newer version.
    older_over_newer: Vec<String>,
    /// The names of the fields that were written and acknowledged, and those that were written once
    /// more after it.
    acknowledged: BTreeSet<String>,
    written_again: BTreeSet<String>,
    lookups: usize,
    faults: Faults,
    random: fastrand::Rng,
    struck: u64,
    calls: usize,
    transformed: usize,
    written: Vec<String>,
    failing: BTreeMap<String, u32>,
    under_way: BTreeMap<String, usize>,
    mistakes: Vec<String>,
    error: Option<CallError>,
    loses_answer: bool,
    rows: BTreeMap<String, Outcome>,
    poison: BTreeSet<String>,
}

impl Memory {
    pub fn new(seed: u64, faults: Faults) -> Arc<Self> {
        Self::named(NAME, seed, faults)
    }

    /// The system as a factory opens it, with a budget and waits that fit virtual time.
    pub fn spec(self: &Arc<Self>, max_attempts: u32) -> AdapterSpec {
        AdapterSpec {
            adapter: Arc::clone(self) as _,
            rate_limit: RateLimit {
                requests: 1000,
                per_ms: 1000,
            },
            retry: RetrySettings {
                max_attempts,
                base_delay_ms: 20,
                max_delay_ms: 500,
            },
            max_in_flight: 3,
            keeps_versions: false,
        }
    }

    pub fn named(name: &'static str, seed: u64, faults: Faults) -> Arc<Self> {
        let state = State {
            records: BTreeMap::new(),
            versions: BTreeMap::new(),
            older_over_newer: Vec::new(),
            acknowledged: BTreeSet::new(),
            written_again: BTreeSet::new(),
            lookups: 0,
            faults,
            random: fastrand::Rng::with_seed(seed),
            struck: 0,
            calls: 0,
            transformed: 0,
            written: Vec::new(),
            failing: BTreeMap::new(),
            under_way: BTreeMap::new(),
            mistakes: Vec::new(),
            error: None,
            loses_answer: false,
            rows: BTreeMap::new(),
            poison: BTreeSet::new(),
        };
        let limits = Limits {
            upsert: 5,
            upsert_calls: 1,
            delete: 3,
            delete_calls: 2,
            lookup: Lookup::UNBOUNDED,
        };
        Arc::new(Self {
            name,
            state: Mutex::new(state),
            limits,
            started: Instant::now(),
        })
    }

    pub fn records(&self) -> BTreeMap<String, Map<String, Value>> {
        self.lock().records.clone()
    }

    pub fn calls(&self) -> usize {
        self.lock().calls
    }

    /// How many look-ups of versions there were.
    pub fn lookups(&self) -> usize {
        self.lock().lookups
    }

    /// The writes of an older version over a newer one.
    pub fn older_over_newer(&self) -> Vec<String> {
        self.lock().older_over_newer.clone()
    }

    /// The names of the fields that were written once more after their write had been acknowledged.
    pub fn written_again(&self) -> BTreeSet<String> {
        self.lock().written_again.clone()
    }

    /// How many payloads were made.
    pub fn transformed(&self) -> usize {
        self.lock().transformed
    }

    /// The keys written, in order.
    pub fn written(&self) -> Vec<String> {
        self.lock().written.clone()
    }

    /// What the dispatcher did that no dispatcher may do.
    pub fn mistakes(&self) -> Vec<String> {
        self.lock().mistakes.clone()
    }

    pub fn next(&self, next: Next) {
        let mut state = self.lock();
        match next {
            Next::Lost => state.loses_answer = true,
            Next::Error(error) => state.error = Some(error),
            Next::Row(id, outcome) => drop(state.rows.insert(id.to_lowercase(), outcome)),
            Next::Poison(id) => drop(state.poison.insert(id.to_lowercase())),
        }
    }

    /// How often a fault struck.
    pub fn struck(&self) -> u64 {
        self.lock().struck
    }

    /// Writes of this key fail, so many times.
    pub fn fail(&self, key: &str, times: u32) {
        self.lock().failing.insert(key.to_owned(), times);
    }

    pub fn heal(&self) {
        self.lock().faults = Faults::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What is held of the versions of a batch, or a fault.
    async fn look_up(&self, batch: &[&Payload], call: Call<'_>) -> Result<Vec<Held>, CallError> {
        let latency = Duration::from_millis(self.lock().random.u64(1..50));
        sleep_until((Instant::now() + latency).min(call.give_up_at)).await;
        call.meter.api_call(latency, false);
        let mut state = self.lock();
        state.lookups += 1;
        let lost = state.faults.lost;
        if state.is_away(self.started.elapsed()) || state.strikes(lost) {
            return Err(gone());
        }
        let held = |payload: &&Payload| match state.versions.get(payload.id.key()) {
            Some(version) => Held::Record(Some(*version)),
            None => Held::Nowhere,
        };
        Ok(batch.iter().map(held).collect())
    }

    async fn exchange(
        &self,
        batch: &[&Payload],
        call: Call<'_>,
        limit: usize,
        write: fn(&mut State, &Payload),
    ) -> Reply {
        let latency = Duration::from_millis(self.lock().enter(batch, limit));
        let _under_way = UnderWay(self, batch);
        let arrived = Instant::now() + latency;
        sleep_until(arrived.min(call.give_up_at)).await;
        call.meter.api_call(latency, false);
        let (hangs, reply) = {
            let mut state = self.lock();
            let reply = if state.is_away(self.started.elapsed()) {
                Err(gone())
            } else if call.dry_run {
                Ok(batch.iter().map(|payload| state.look_at(payload)).collect())
            } else {
                state.answer(batch, write)
            };
            let percent = state.faults.hanging;
            (state.strikes(percent), reply)
        };
        if hangs || arrived > call.give_up_at {
            sleep_until(call.give_up_at).await;
        }
        let timeout = || CallError::Retry {
            code: Code::new("TIMEOUT"),
            after: None,
            pressure: true,
            cause: FailureCause::Size,
        };
        if hangs {
            return Err(timeout());
        }
        self.lock().acknowledge(batch, &reply);
        reply
    }
}

/// An outage in which no call reaches the system. One that begins between two calls of an
/// invocation, and answers each with an error of its own, is no different from a record that makes
/// its calls fail: `tests/scenarios/dispatch/isolation.rs` has those.
fn gone() -> CallError {
    CallError::Retry {
        code: Code::new("AWAY"),
        after: None,
        pressure: true,
        cause: FailureCause::Destination,
    }
}

/// A call, until it is answered or given up: the function may die in the middle of it.
struct UnderWay<'a>(&'a Memory, &'a [&'a Payload]);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().leave(self.1);
    }
}

impl State {
    fn strikes(&mut self, percent: u32) -> bool {
        let strikes = self.random.u32(..100) < percent;
        self.struck += u64::from(strikes);
        strikes
    }

    fn is_away(&mut self, now: Duration) -> bool {
        let is_away = self
            .faults
            .away
            .is_some_and(|(from, until)| (from..until).contains(&now));
        self.struck += u64::from(is_away);
        is_away
    }

    fn acknowledge(&mut self, batch: &[&Payload], reply: &Reply) {
        for (payload, outcome) in batch.iter().zip(reply.iter().flatten()) {
            if matches!(outcome, Outcome::Delivered(_)) {
                self.acknowledged
                    .extend(body(payload).into_iter().map(|(name, _)| name));
            }
        }
    }

    fn fails(&mut self, payload: &Payload) -> bool {
        let Some(times) = self
            .failing
            .get_mut(payload.id.key())
            .filter(|times| **times > 0)
        else {
            return false;
        };
        *times -= 1;
        true
    }

    fn enter(&mut self, batch: &[&Payload], limit: usize) -> u64 {
        self.calls += 1;
        let limit = if self.faults.is_petty {
            limit / 2
        } else {
            limit
        };
        if batch.is_empty() || batch.len() > limit {
            self.mistakes
                .push(format!("{} payloads in one call", batch.len()));
        }
        for payload in batch {
            let under_way = self
                .under_way
                .entry(payload.id.key().to_owned())
                .or_default();
            *under_way += 1;
            if *under_way > 1 {
                self.mistakes
                    .push(format!("{} written twice at once", payload.id.key()));
            }
        }
        self.random.u64(1..200)
    }

    fn leave(&mut self, batch: &[&Payload]) {
        for payload in batch {
            self.under_way
                .entry(payload.id.key().to_owned())
                .and_modify(|count| *count -= 1);
        }
    }

    /// What a dry run finds.
    fn look_at(&self, payload: &Payload) -> Outcome {
        if payload.body.is_none() && !self.records.contains_key(payload.id.key()) {
            return Outcome::Delivered(Some(Code::new("ALREADY_GONE")));
        }
        if self.is_stale(payload) {
            Outcome::Stale
        } else {
            Outcome::dry_run()
        }
    }

    /// Of a delete, whose look-up is part of the call. Upserts are compared before.
    fn is_stale(&self, payload: &Payload) -> bool {
        payload.guarded
            && payload.body.is_none()
            && self.versions.get(payload.id.key()) > Some(&payload.version)
    }

    fn answer(&mut self, batch: &[&Payload], write: fn(&mut Self, &Payload)) -> Reply {
        let faults = self.faults;
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        assert!(!self.strikes(faults.panic), "a fault in the adapter");
        if self.strikes(faults.stopped) {
            return Err(CallError::Stop(Stop {
                cause: Cause::Unavailable,
                code: Code::new("AWAY"),
                remedy: "wait".to_owned(),
                after: Some(Duration::from_secs(3)),
            }));
        }
        if self.strikes(faults.throttled) {
            let after = Some(Duration::from_millis(300));
            return Err(CallError::Throttled {
                code: Code::new("TOO_MANY"),
                after,
            });
        }
        let applies_first = std::mem::take(&mut self.loses_answer);
        let is_lost = applies_first || self.strikes(faults.lost);
        if is_lost && !applies_first && self.random.bool() {
            return Err(CallError::Retry {
                code: Code::new("LOST"),
                after: None,
                pressure: false,
                cause: FailureCause::Record,
            });
        }
        let holds = |payload: &Payload, mark: &str| body(payload).contains_key(mark);
        if batch
            .iter()
            .any(|payload| holds(payload, BOMB) || self.poison.contains(payload.id.key()))
        {
            let rejection = Rejection::new(Code::new("BOMB"), "refused");
            return Err(CallError::Refused {
                rejection,
                suspects: Vec::new(),
            });
        }
        let mut outcomes: Vec<Outcome> = Vec::new();
        for payload in batch {
            outcomes.push(if let Some(outcome) = self.rows.remove(payload.id.key()) {
                outcome
            } else if holds(payload, POISON) || self.strikes(faults.slandered) {
                Outcome::Rejected(Rejection::new(Code::new("POISON"), "refused"))
            } else if self.is_stale(payload) {
                Outcome::Stale
            } else if self.fails(payload) || self.strikes(faults.row) {
                let how = if self.random.bool() {
                    RetryMode::Same
                } else {
                    RetryMode::SplitBatch
                };
                Outcome::Retry(Retry {
                    code: Code::new("LOCKED"),
                    after: None,
                    how,
                })
            } else {
                let finds_nothing =
                    payload.body.is_none() && !self.records.contains_key(payload.id.key());
                self.written.push(payload.id.key().to_owned());
                if !self.strikes(faults.forgotten) {
                    write(self, payload);
                }
                Outcome::Delivered(finds_nothing.then(|| Code::new("ALREADY_GONE")))
            });
        }
        if self.strikes(faults.short) {
            outcomes.pop();
        }
        if is_lost {
            return Err(CallError::Retry {
                code: Code::new("LOST"),
                after: None,
                pressure: false,
                cause: FailureCause::Record,
            });
        }
        Ok(outcomes)
    }
}

fn body(payload: &Payload) -> Map<String, Value> {
    payload
        .body
        .as_ref()
        .map(|body| serde_json::from_str(body.get()).expect("an object"))
        .unwrap_or_default()
}

fn merge(state: &mut State, payload: &Payload) {
    note_older(state, payload);
    let again: Vec<String> = body(payload).into_iter().map(|(name, _)| name).collect();
    state.written_again.extend(
        again
            .into_iter()
            .filter(|name| state.acknowledged.contains(name)),
    );
    state
        .versions
        .insert(payload.id.key().to_owned(), payload.version);
    state
        .records
        .entry(payload.id.key().to_owned())
        .or_default()
        .extend(body(payload));
}

fn note_older(state: &mut State, payload: &Payload) {
    if let Some(held) = state
        .versions
        .get(payload.id.key())
        .filter(|held| **held > payload.version)
    {
        let what = if payload.body.is_some() {
            "upsert"
        } else {
            "delete"
        };
        let note = format!(
            "{what} of {} in version {} over {held}",
            payload.id.key(),
            payload.version
        );
        state.older_over_newer.push(note);
    }
}

fn remove(state: &mut State, payload: &Payload) {
    note_older(state, payload);
    state.versions.remove(payload.id.key());
    state.records.remove(payload.id.key());
}

impl Adapter for Memory {
    fn destination(&self) -> Destination {
        Destination(self.name)
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn transform(&self, changes: &[&ContactChange]) -> Transformed {
        self.lock().transformed += 1;
        let mut record = Map::new();
        for change in changes {
            assert!(
                change
                    .contact
                    .company
                    .value()
                    .is_none_or(|name| &**name != "PANIC"),
                "a fault in the transformation"
            );
            match &change.contact.company {
                Field::Absent => {}
                Field::Null => drop(record.insert("company".into(), Value::Null)),
                Field::Value(name) => drop(record.insert("company".into(), (**name).into())),
            }
            for (name, value) in &change.contact.attributes.values {
                let value = match value {
                    Attribute::Null => Value::Null,
                    Attribute::Bool(value) => (*value).into(),
                    Attribute::Number(number) => {
                        serde_json::from_str(number.as_str()).expect("a number")
                    }
                    Attribute::Text(text) => (**text).into(),
                };
                record.insert(name.to_string(), value);
            }
        }
        Transformed {
            body: Some(Body::of(record)),
            ..Transformed::default()
        }
    }

    fn held<'a>(
        &'a self,
        batch: &'a [&'a Payload],
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        self.look_up(batch, call).boxed()
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.exchange(batch, call, self.limits.upsert, merge)
            .boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.exchange(batch, call, self.limits.delete, remove)
            .boxed()
    }
}
