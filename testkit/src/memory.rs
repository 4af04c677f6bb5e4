//! A minimal third destination: it keeps records in memory, and injects faults. It shows that a new
//! destination needs no change of other modules, and runs thousands of schedules of faults in
//! virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contact_sync::adapters::{Adapter, AdapterSpec, Call};
use contact_sync::model::limits::{Limits, Lookup, RateLimit, Retry as RetrySettings};
use contact_sync::model::{
    Attribute, Body, CallError, Cause, Code, ContactChange, Destination, FailureCause, Field, Held,
    HeldRecord, Outcome, Payload, Rejection, Reply, Retry, RetryMode, Stop, Transformed,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

pub const NAME: &str = "memory";

/// Attribute with which the destination rejects the record.
pub const POISON: &str = "poison";

/// Attribute with which the destination rejects the whole batch.
pub const BOMB: &str = "bomb";

/// Probability of each fault, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The response is lost; half of the time after the write.
    pub lost: u32,
    /// The call is throttled.
    pub throttled: u32,
    /// The response never arrives.
    pub hanging: u32,
    /// The destination stops all calls for a while.
    pub stopped: u32,
    /// A row fails with a retryable error.
    pub row: u32,
    /// The response has too few rows.
    pub short: u32,
    /// The adapter panics.
    pub panic: u32,
    /// A write is acknowledged and not applied, which no dispatcher can detect: the tests of the
    /// laws have to fail.
    pub forgotten: u32,
    /// A valid record is rejected, which no dispatcher can detect.
    pub falsely_rejected: u32,
    /// Records a protocol violation for batches of more than half of the limits.
    pub is_petty: bool,
    /// Outage, as times since the start: every call fails.
    pub away: Option<(Duration, Duration)>,
}

/// Fault of the next call.
#[derive(Clone, Debug)]
pub enum Next {
    /// The response is lost after the write.
    Lost,
    /// The call fails with this error, and nothing is written.
    Error(CallError),
    /// The row of this contact has this outcome.
    Row(String, Outcome),
    /// Each batch with this contact is rejected.
    OffendingRecord(String),
}

/// In-memory destination.
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
    /// Writes of an older version over a newer one.
    older_over_newer: Vec<String>,
    /// Names of the fields that were written and acknowledged, and of those that were written again
    /// afterwards.
    acknowledged: BTreeSet<String>,
    written_again: BTreeSet<String>,
    lookups: usize,
    faults: Faults,
    random: fastrand::Rng,
    injected: u64,
    calls: usize,
    transformed: usize,
    written: Vec<String>,
    failing: BTreeMap<String, u32>,
    in_flight: BTreeMap<String, usize>,
    violations: Vec<String>,
    error: Option<CallError>,
    loses_answer: bool,
    rows: BTreeMap<String, Outcome>,
    offenders: BTreeSet<String>,
}

impl Memory {
    pub fn new(seed: u64, faults: Faults) -> Arc<Self> {
        Self::named(NAME, seed, faults)
    }

    /// Returns the adapter as an app receives it, with a rate limit and backoffs for virtual
    /// time.
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
            injected: 0,
            calls: 0,
            transformed: 0,
            written: Vec::new(),
            failing: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            violations: Vec::new(),
            error: None,
            loses_answer: false,
            rows: BTreeMap::new(),
            offenders: BTreeSet::new(),
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

    /// Returns the number of look-ups of versions.
    pub fn lookups(&self) -> usize {
        self.lock().lookups
    }

    /// Returns the writes of an older version over a newer one.
    pub fn older_over_newer(&self) -> Vec<String> {
        self.lock().older_over_newer.clone()
    }

    /// Returns the names of the fields that were written again after an acknowledged write.
    pub fn written_again(&self) -> BTreeSet<String> {
        self.lock().written_again.clone()
    }

    /// Returns the number of transformations.
    pub fn transformed(&self) -> usize {
        self.lock().transformed
    }

    /// Returns the keys of the writes, in order.
    pub fn written(&self) -> Vec<String> {
        self.lock().written.clone()
    }

    /// Returns the protocol violations of the dispatcher.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    pub fn next(&self, next: Next) {
        let mut state = self.lock();
        match next {
            Next::Lost => state.loses_answer = true,
            Next::Error(error) => state.error = Some(error),
            Next::Row(id, outcome) => drop(state.rows.insert(id.to_lowercase(), outcome)),
            Next::OffendingRecord(id) => drop(state.offenders.insert(id.to_lowercase())),
        }
    }

    /// Returns the number of injected faults.
    pub fn injected_faults(&self) -> u64 {
        self.lock().injected
    }

    /// Makes the next writes of this key fail.
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

    /// Looks up the versions of a batch, or injects a fault.
    async fn look_up(&self, batch: &[&Payload], call: Call<'_>) -> Result<Vec<Held>, CallError> {
        let latency = Duration::from_millis(self.lock().random.u64(1..50));
        sleep_until((Instant::now() + latency).min(call.give_up_at)).await;
        call.metrics.api_call(latency, false);
        let mut state = self.lock();
        state.lookups += 1;
        let lost = state.faults.lost;
        if state.is_down(self.started.elapsed()) || state.injects(lost) {
            return Err(unreachable());
        }
        let held = |payload: &&Payload| match state.versions.get(payload.id.key()) {
            Some(version) => Held::Record(HeldRecord {
                version: Some(*version),
                ..HeldRecord::default()
            }),
            None => Held::Nowhere,
        };
        Ok(batch.iter().map(held).collect())
    }

    /// Carries out one call, or injects faults.
    async fn send(
        &self,
        batch: &[&Payload],
        call: Call<'_>,
        limit: usize,
        write: fn(&mut State, &Payload),
    ) -> Reply {
        let latency = Duration::from_millis(self.lock().enter(batch, limit));
        let _in_flight = InFlight(self, batch);
        let arrived = Instant::now() + latency;
        sleep_until(arrived.min(call.give_up_at)).await;
        call.metrics.api_call(latency, false);
        let (hangs, reply) = {
            let mut state = self.lock();
            let reply = if state.is_down(self.started.elapsed()) {
                Err(unreachable())
            } else if call.dry_run {
                Ok(batch.iter().map(|payload| state.dry_run(payload)).collect())
            } else {
                state.reply(batch, write)
            };
            let percent = state.faults.hanging;
            (state.injects(percent), reply)
        };
        if hangs || arrived > call.give_up_at {
            sleep_until(call.give_up_at).await;
        }
        if hangs {
            return Err(CallError::Retry {
                code: Code::new("TIMEOUT"),
                after: None,
                pressure: true,
                cause: FailureCause::Size,
            });
        }
        self.lock().acknowledge(batch, &reply);
        reply
    }
}

/// Returns the error of an outage in which no call reaches the destination. An outage that begins
/// between two calls of an invocation and answers each with its own error cannot be distinguished
/// from a record that makes its calls fail: `tests/scenarios/dispatch/isolation.rs` tests those.
fn unreachable() -> CallError {
    CallError::Retry {
        code: Code::new("AWAY"),
        after: None,
        pressure: true,
        cause: FailureCause::Destination,
    }
}

/// Call in flight, until it is answered or dropped: the function can die during the call.
struct InFlight<'a>(&'a Memory, &'a [&'a Payload]);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().leave(self.1);
    }
}

impl State {
    /// Decides at random whether to inject a fault, and counts it.
    fn injects(&mut self, percent: u32) -> bool {
        let injects = self.random.u32(..100) < percent;
        self.injected += u64::from(injects);
        injects
    }

    /// Returns whether an outage is in progress, and counts it as a fault.
    fn is_down(&mut self, now: Duration) -> bool {
        let is_down = self
            .faults
            .away
            .is_some_and(|(from, until)| (from..until).contains(&now));
        self.injected += u64::from(is_down);
        is_down
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
        match self.failing.get_mut(payload.id.key()) {
            Some(times) if *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    fn enter(&mut self, batch: &[&Payload], limit: usize) -> u64 {
        self.calls += 1;
        let limit = if self.faults.is_petty {
            limit / 2
        } else {
            limit
        };
        if batch.is_empty() || batch.len() > limit {
            self.violations
                .push(format!("{} payloads in one call", batch.len()));
        }
        for payload in batch {
            let in_flight = self
                .in_flight
                .entry(payload.id.key().to_owned())
                .or_default();
            *in_flight += 1;
            if *in_flight > 1 {
                self.violations
                    .push(format!("{} in two concurrent writes", payload.id.key()));
            }
        }
        self.random.u64(1..200)
    }

    fn leave(&mut self, batch: &[&Payload]) {
        for payload in batch {
            self.in_flight
                .entry(payload.id.key().to_owned())
                .and_modify(|count| *count -= 1);
        }
    }

    /// Returns the outcome of a payload in a dry run.
    fn dry_run(&self, payload: &Payload) -> Outcome {
        if payload.body.is_none() && !self.records.contains_key(payload.id.key()) {
            return Outcome::Delivered(Some(Code::new("ALREADY_GONE")));
        }
        if self.is_stale(payload) {
            Outcome::Stale
        } else {
            Outcome::dry_run()
        }
    }

    /// Returns whether a delete is stale. Its look-up is part of the call; upserts are compared
    /// before the call.
    fn is_stale(&self, payload: &Payload) -> bool {
        payload.guarded
            && payload.body.is_none()
            && self.versions.get(payload.id.key()) > Some(&payload.version)
    }

    /// Writes a batch and injects faults.
    fn reply(&mut self, batch: &[&Payload], write: fn(&mut Self, &Payload)) -> Reply {
        let faults = self.faults;
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        assert!(!self.injects(faults.panic), "a fault in the adapter");
        if self.injects(faults.stopped) {
            return Err(CallError::Stop(Stop {
                cause: Cause::Unavailable,
                code: Code::new("AWAY"),
                remedy: "wait".to_owned(),
                after: Some(Duration::from_secs(3)),
            }));
        }
        if self.injects(faults.throttled) {
            let after = Some(Duration::from_millis(300));
            return Err(CallError::Throttled {
                code: Code::new("TOO_MANY"),
                after,
            });
        }
        let applies_first = std::mem::take(&mut self.loses_answer);
        let is_lost = applies_first || self.injects(faults.lost);
        if is_lost && !applies_first && self.random.bool() {
            return Err(CallError::Retry {
                code: Code::new("LOST"),
                after: None,
                pressure: false,
                cause: FailureCause::Record,
            });
        }
        let has = |payload: &Payload, attribute: &str| body(payload).contains_key(attribute);
        if batch
            .iter()
            .any(|payload| has(payload, BOMB) || self.offenders.contains(payload.id.key()))
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
            } else if has(payload, POISON) || self.injects(faults.falsely_rejected) {
                Outcome::Rejected(Rejection::new(Code::new("POISON"), "refused"))
            } else if self.is_stale(payload) {
                Outcome::Stale
            } else if self.fails(payload) || self.injects(faults.row) {
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
                if !self.injects(faults.forgotten) {
                    write(self, payload);
                }
                Outcome::Delivered(finds_nothing.then(|| Code::new("ALREADY_GONE")))
            });
        }
        if self.injects(faults.short) {
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
    for (name, _) in body(payload) {
        if state.acknowledged.contains(&name) {
            state.written_again.insert(name);
        }
    }
    state
        .versions
        .insert(payload.id.key().to_owned(), payload.version);
    state
        .records
        .entry(payload.id.key().to_owned())
        .or_default()
        .extend(body(payload));
}

/// Records a write of an older version over a newer one.
fn note_older(state: &mut State, payload: &Payload) {
    let (key, version) = (payload.id.key(), payload.version);
    match state.versions.get(key) {
        Some(held) if *held > version => {
            let kind = if payload.body.is_some() {
                "upsert"
            } else {
                "delete"
            };
            state
                .older_over_newer
                .push(format!("{kind} of {key} in version {version} over {held}"));
        }
        _ => {}
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
            let contact = &change.contact;
            for (name, field) in [("company", &contact.company), ("title", &contact.job_title)] {
                let value = match field {
                    Field::Absent => continue,
                    Field::Null => Value::Null,
                    Field::Value(text) => (**text).into(),
                };
                record.insert(name.into(), value);
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
        _fields: &'a [&'a str],
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<Vec<Held>, CallError>> {
        self.look_up(batch, call).boxed()
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.send(batch, call, self.limits.upsert, merge).boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.send(batch, call, self.limits.delete, remove).boxed()
    }
}
