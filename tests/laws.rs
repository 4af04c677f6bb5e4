//! The laws of contract section 2, over random streams and schedules of faults in virtual time, against a third system
//! that the factory takes like the other two.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use contact_sync::adapters::{External, http};
use contact_sync::dispatch::settings::{RateLimit, Retry};
use contact_sync::factory::Factory;
use contact_sync::handler::Handler;
use contact_sync::settings::{Layer, Preset, load};
use serde_json::{Map, Value, json};
use support::harness::no_aws;
use support::memory::{BOMB, Faults, Memory, NAME, POISON};
use support::stream::{self, Shard, record};

/// One client for thousands of handlers, which never use it: each would read the root certificates.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| http::client().expect("a client"));

/// The factory's own handler, with the third system added as the others are.
fn handler(memory: &Arc<Memory>, extra: &str) -> Handler {
    let factory = factory(memory);
    let routes = ["lead", "prospect", "customer", "vendor"].map(|kind| format!("{kind} = [\"{NAME}\"]\n")).concat();
    let layer = Layer::from_toml("the test", &format!("[routes]\n{routes}{extra}")).expect("TOML");
    let settings = load(Preset::Test, &[layer], &factory.destinations()).expect("allowed");
    factory.build(Preset::Test, &settings, &no_aws()).expect("a handler")
}

fn factory(memory: &Arc<Memory>) -> Factory {
    let memory = Arc::clone(memory);
    Factory::default().with_http(CLIENT.clone()).with(NAME, move |_, _| External {
        adapter: Arc::clone(&memory) as _,
        rate_limit: RateLimit { requests: 1000, per_ms: 1000 },
        retry: Retry { max_attempts: 4, base_delay_ms: 20, max_delay_ms: 500 },
        max_in_flight: 3,
        keeps_versions: false,
    })
}

fn change(at: usize, operation: &str, id: usize, attributes: &Map<String, Value>) -> Value {
    json!({
        "event_id": format!("e-{at}"), "operation": operation, "occurred_at": "2026-11-20T10:15:00Z",
        "contact": {"id": format!("c-{id}"), "type": "lead", "attributes": attributes},
    })
}

/// A stream of changes of few contacts, some of which the system refuses.
fn changes(random: &mut fastrand::Rng, count: usize) -> Vec<Value> {
    (0..count)
        .map(|at| {
            let operation = ["create", "update", "update", "update", "delete"][random.usize(..5)];
            let mut attributes = Map::new();
            for name in ["a", "b", "c"] {
                if random.bool() {
                    attributes.insert(name.to_owned(), if random.u32(..8) == 0 { Value::Null } else { at.into() });
                }
            }
            if operation != "delete" {
                match random.u32(..40) {
                    0 => drop(attributes.insert(POISON.to_owned(), true.into())),
                    1 => drop(attributes.insert(BOMB.to_owned(), true.into())),
                    _ => {}
                }
            }
            change(at, operation, random.usize(..12), &attributes)
        })
        .collect()
}

/// The changes applied one by one, without those that the system refuses.
fn one_by_one(changes: &[Value]) -> BTreeMap<String, Map<String, Value>> {
    let mut records: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for change in changes {
        let id = change["contact"]["id"].as_str().expect("an id").to_owned();
        let attributes = change["contact"]["attributes"].as_object().expect("an object");
        if change["operation"] == "delete" {
            records.remove(&id);
        } else if !attributes.contains_key(POISON) && !attributes.contains_key(BOMB) {
            records.entry(id).or_default().extend(attributes.clone());
        }
    }
    records
}

fn shard(changes: &[Value]) -> Shard {
    let record = |(at, change): (usize, &Value)| record(0, at, "key", change.to_string().as_bytes());
    Shard {
        name: "shardId-000000000000".into(),
        records: changes.iter().enumerate().map(record).collect(),
        checkpoint: 0,
    }
}

/// Runs one schedule to its end; what differs from the law, if anything.
async fn run(seed: u64, forgotten: u32) -> Result<usize, String> {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut percent = |most: u32| random.u32(..=most);
    let faults = Faults {
        lost: percent(20),
        throttled: percent(20),
        hanging: percent(3),
        stopped: percent(3),
        row: percent(15),
        short: percent(10),
        panic: percent(3),
        forgotten,
    };
    let count = random.usize(1..80);
    let changes = changes(&mut random, count);
    let memory = Memory::new(seed, faults);
    let handler = handler(&memory, "");
    let mut shard = shard(&changes);
    let mut invocations = 0;
    while !shard.is_drained() {
        invocations += 1;
        if invocations == 60 {
            memory.heal();
        }
        if invocations > 200 {
            return Err(format!("stuck at record {} of {count}", shard.checkpoint));
        }
        let size = random.usize(1..40);
        shard.deliver(&handler, size, "r").await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let (held, expected) = (memory.records(), one_by_one(&changes));
    if held != expected {
        return Err(format!("held {held:?}\nexpected {expected:?}"));
    }
    match memory.mistakes().first() {
        Some(mistake) => Err(mistake.clone()),
        None => Ok(count),
    }
}

fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(work)
}

#[test]
fn whatever_goes_wrong_the_system_ends_equal_to_the_changes_one_by_one() {
    // The panics are wanted: thousands of backtraces would only hide a failure.
    std::panic::set_hook(Box::new(|_| {}));
    #[expect(clippy::disallowed_methods, reason = "replays one failing schedule: SEED=n cargo test --test laws")]
    let only = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = only.map_or(0..1500, |seed| seed..seed + 1);
    let (mut records, mut failures) = (0, Vec::new());
    for seed in seeds.clone() {
        match in_virtual_time(run(seed, 0)) {
            Ok(count) => records += count,
            Err(trouble) => failures.push(format!("SEED={seed}: {trouble}")),
        }
    }
    drop(std::panic::take_hook());
    assert!(failures.is_empty(), "{} of {} schedules: {}", failures.len(), seeds.end - seeds.start, failures[0]);
    assert!(records > 0);
}

#[test]
fn a_system_that_forgets_what_it_acknowledged_is_found_out() {
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..20).filter(|seed| in_virtual_time(run(*seed, 20)).is_err()).count();
    drop(std::panic::take_hook());
    assert!(found >= 10, "{found} of 20");
}

#[test]
fn full_batches_are_sent_and_nothing_is_sent_twice() {
    in_virtual_time(async {
        let memory = Memory::new(1, Faults::default());
        let handler = handler(&memory, "");
        let changes: Vec<Value> = (0..53).map(|at| change(at, "create", at, &Map::new())).collect();
        let answer = stream::invoke(&handler, &shard(&changes).records, "r").await;
        assert!(stream::failures(&answer).is_empty());
        assert_eq!((memory.calls(), memory.written().len()), (11, 53));
    });
}

#[test]
fn a_panic_in_one_transformation_rejects_that_record_alone() {
    in_virtual_time(async {
        let memory = Memory::new(1, Faults::default());
        let handler = handler(&memory, "");
        let mut changes: Vec<Value> =
            (0..6).map(|at| change(at, "create", at / 2, &Map::from_iter([("a".to_owned(), at.into())]))).collect();
        changes[2]["contact"]["company"] = "PANIC".into();
        let answer = stream::invoke(&handler, &shard(&changes).records, "r").await;
        assert!(stream::failures(&answer).is_empty());
        let held = memory.records();
        assert_eq!(held.len(), 3);
        assert_eq!(held["c-1"]["a"], 3);
    });
}

#[test]
fn a_dry_run_calls_nobody_and_fails_nothing() {
    in_virtual_time(async {
        let memory = Memory::new(1, Faults::default());
        let handler = handler(&memory, "[pipeline]\ndry_run = true");
        let changes: Vec<Value> = (0..10).map(|at| change(at, "create", at, &Map::new())).collect();
        let answer = stream::invoke(&handler, &shard(&changes).records, "r").await;
        assert!(stream::failures(&answer).is_empty());
        assert_eq!(memory.calls(), 0);
    });
}

#[test]
fn a_system_that_never_answers_costs_its_records_one_delivery_and_no_more_time_than_there_is() {
    in_virtual_time(async {
        let memory = Memory::new(1, Faults { hanging: 100, ..Faults::default() });
        let handler = handler(&memory, "[pipeline]\nfallback_budget_ms = 4000");
        let changes: Vec<Value> = (0..10).map(|at| change(at, "create", at, &Map::new())).collect();
        let start = tokio::time::Instant::now();
        let answer = stream::invoke(&handler, &shard(&changes).records, "r").await;
        assert_eq!(stream::failures(&answer).len(), 10);
        assert!(start.elapsed() <= Duration::from_secs(4), "{:?}", start.elapsed());
    });
}
