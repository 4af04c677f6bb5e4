//! A destination that answers by a script and records its calls, for schedules in virtual time.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use contact_sync::adapters::{Adapter, AdapterSpec, Call};
use contact_sync::app::App;
use contact_sync::dispatch::WriteKind;
use contact_sync::lambda::Handler;
use contact_sync::model::limits::{Limits, Lookup, RateLimit, Retry as RetrySettings};
use contact_sync::model::{
    Body, CallError, Cause, Code, ContactChange, Destination, FailureCause, Outcome, Payload,
    Reply, Retry, RetryMode, Stop, Transformed, ValueCounts,
};
use contact_sync::settings::{Layer, Preset, load};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use testkit::aws::no_aws;
use testkit::harness::{CLIENT, Logs, batch, change};
use testkit::stream::{failures, invoke};
use tokio::time::{Instant, sleep_until};

pub const MILLI: Duration = Duration::from_millis(1);
pub const RETRY: RetrySettings = RetrySettings {
    max_attempts: 3,
    base_delay_ms: 100,
    max_delay_ms: 5_000,
};

pub fn leads(ids: impl IntoIterator<Item = &'static str>) -> Vec<Value> {
    ids.into_iter()
        .map(|id| change("create", id, "lead", json!({})))
        .collect()
}

pub fn many(kind: &str, count: usize) -> Vec<Value> {
    (0..count)
        .map(|at| change("create", &format!("{kind}-{at}"), kind, json!({})))
        .collect()
}

pub async fn failed_records(handler: &Handler, changes: &[Value]) -> usize {
    failures(&invoke(handler, &batch(changes), "r").await).len()
}

/// Returns contact and fate of the records that were not delivered, in all invocations.
pub fn undelivered(logs: &Logs) -> Vec<(String, String)> {
    let fates = logs.audit().into_iter().zip(logs.fates());
    let fates =
        fates.map(|(line, fate)| (line["contact_id"].as_str().expect("an id").to_owned(), fate));
    fates.filter(|(_, fate)| fate != "delivered").collect()
}

/// Returns the metric `BreakerOpen` of each invocation.
pub fn breaker_open(logs: &Logs) -> Vec<u64> {
    logs.metrics("one")
        .iter()
        .map(|line| line["BreakerOpen"].as_u64().expect("a number"))
        .collect()
}

/// A recorded call.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    pub kind: WriteKind,
    pub ids: Vec<String>,
    pub started: Instant,
    pub ended: Option<Instant>,
    pub give_up_at: Instant,
}

/// Latency and reply. Without a reply, the call hangs.
pub type TimedReply = (Duration, Option<Reply>);

type Script = Box<dyn Fn(&RecordedCall, usize) -> TimedReply + Send + Sync>;

pub struct Scripted {
    name: &'static str,
    limits: Limits,
    script: Mutex<Script>,
    calls: Mutex<Vec<RecordedCall>>,
}

impl Scripted {
    /// Creates a destination. The script gets each call and its number.
    pub fn new(
        name: &'static str,
        batch: usize,
        script: impl Fn(&RecordedCall, usize) -> TimedReply + Send + Sync + 'static,
    ) -> Arc<Self> {
        let limits = Limits {
            upsert: batch,
            upsert_calls: 1,
            delete: batch,
            delete_calls: 2,
            lookup: Lookup::UNBOUNDED,
        };
        Arc::new(Self {
            name,
            limits,
            script: Mutex::new(Box::new(script)),
            calls: Mutex::default(),
        })
    }

    /// Replaces the script.
    pub fn answer_with(
        &self,
        script: impl Fn(&RecordedCall, usize) -> TimedReply + Send + Sync + 'static,
    ) {
        *self.script.lock().expect("sound") = Box::new(script);
    }

    pub fn calls(&self) -> Vec<RecordedCall> {
        self.calls.lock().expect("sound").clone()
    }

    /// Returns the number of payloads of each call.
    pub fn sizes(&self) -> Vec<usize> {
        self.calls().iter().map(|call| call.ids.len()).collect()
    }

    /// Returns the number of calls that have ended.
    pub fn ended(&self) -> usize {
        self.calls()
            .iter()
            .filter(|call| call.ended.is_some())
            .count()
    }

    async fn send(&self, kind: WriteKind, batch: &[&Payload], call: Call<'_>) -> Reply {
        let ids = batch
            .iter()
            .map(|payload| payload.id.key().to_owned())
            .collect();
        let recorded = RecordedCall {
            kind,
            ids,
            started: Instant::now(),
            ended: None,
            give_up_at: call.give_up_at,
        };
        let number = {
            let mut all = self.calls.lock().expect("sound");
            all.push(recorded.clone());
            all.len() - 1
        };
        let (latency, reply) = (self.script.lock().expect("sound"))(&recorded, number);
        let answered_at = if reply.is_some() {
            recorded.started + latency
        } else {
            call.give_up_at
        };
        sleep_until(answered_at.min(call.give_up_at)).await;
        call.metrics.api_call(recorded.started.elapsed(), false);
        self.calls.lock().expect("sound")[number].ended = Some(Instant::now());
        reply.unwrap_or_else(|| failed("TIMEOUT", None, true))
    }
}

impl Adapter for Scripted {
    fn destination(&self) -> Destination {
        Destination(self.name)
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn transform(&self, _: &[&ContactChange]) -> Transformed {
        Transformed {
            body: Some(Body::of(Map::new())),
            counts: ValueCounts {
                cut: 1,
                unrecognised: 0,
            },
            ..Transformed::default()
        }
    }

    fn upsert<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.send(WriteKind::Upsert, batch, call).boxed()
    }

    fn delete<'a>(&'a self, batch: &'a [&'a Payload], call: Call<'a>) -> BoxFuture<'a, Reply> {
        self.send(WriteKind::Delete, batch, call).boxed()
    }
}

/// Returns a reply in which all payloads are delivered.
#[expect(clippy::unnecessary_wraps, reason = "a reply like the others")]
pub fn good(call: &RecordedCall) -> Reply {
    Ok(call.ids.iter().map(|_| Outcome::Delivered(None)).collect())
}

/// Returns a reply in which all payloads are delivered but `id`, which is to be sent again.
pub fn good_but(call: &RecordedCall, id: &str, after: Option<Duration>) -> Reply {
    each(call, |sent| {
        (sent == id).then(|| {
            Outcome::Retry(Retry {
                code: "LOCKED".into(),
                after,
                how: RetryMode::Same,
            })
        })
    })
}

/// Returns a reply in which all payloads are delivered but those with another outcome.
#[expect(clippy::unnecessary_wraps, reason = "a reply like the others")]
pub fn each(call: &RecordedCall, outcome: impl Fn(&str) -> Option<Outcome>) -> Reply {
    Ok(call
        .ids
        .iter()
        .map(|id| outcome(id).unwrap_or(Outcome::Delivered(None)))
        .collect())
}

/// Returns the outcome of a payload that is to be sent again.
#[expect(clippy::unnecessary_wraps, reason = "for `each`")]
pub fn later(code: &'static str, how: RetryMode) -> Option<Outcome> {
    Some(Outcome::Retry(Retry {
        code: code.into(),
        after: None,
        how,
    }))
}

pub fn throttled(code: &'static str, after: Option<Duration>) -> Reply {
    Err(CallError::Throttled {
        code: code.into(),
        after,
    })
}

pub fn failed(code: &'static str, after: Option<Duration>, pressure: bool) -> Reply {
    Err(CallError::Retry {
        code: Code::new(code),
        after,
        pressure,
        cause: FailureCause::Record,
    })
}

/// Returns a reply without a usable answer, for this cause.
pub fn failed_for(cause: FailureCause) -> Reply {
    Err(CallError::Retry {
        code: Code::new("NO_ANSWER"),
        after: None,
        pressure: false,
        cause,
    })
}

pub fn stopped(cause: Cause) -> Reply {
    Err(CallError::Stop(Stop {
        cause,
        code: Code::new("STOPPED"),
        remedy: "wait".to_owned(),
        after: None,
    }))
}

/// Builds the handler of these destinations. It sends leads to the first and customers to the last.
pub fn handler(
    systems: &[&Arc<Scripted>],
    max_in_flight: usize,
    retry: RetrySettings,
    extra: &str,
) -> Handler {
    let (first, last) = (systems[0].name, systems[systems.len() - 1].name);
    let routes = format!(
        "[routes]\nlead = [\"{first}\"]\nprospect = [\"{first}\"]\ncustomer = [\"{last}\"]\n\
         vendor = [\"{last}\"]\n{extra}"
    );
    let app = systems
        .iter()
        .fold(App::default().with_http(CLIENT.clone()), |app, system| {
            let adapter: Arc<dyn Adapter> = Arc::clone(system) as _;
            let rate_limit = RateLimit {
                requests: 1000,
                per_ms: 1000,
            };
            app.with(
                system.name,
                AdapterSpec {
                    adapter: Arc::clone(&adapter),
                    rate_limit,
                    retry,
                    max_in_flight,
                    keeps_versions: false,
                },
            )
        });
    let layer = Layer::from_toml("the test", &routes).expect("TOML");
    let settings = load(Preset::Test, &[layer], &app.destinations()).expect("allowed");
    app.build(Preset::Test, &settings, &no_aws())
        .expect("a handler")
}
