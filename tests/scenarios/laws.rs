//! Tests of the dispatcher and the stages before it, in virtual time, against a third system that
//! the factory accepts like the other two. `convergence.rs` tests random streams and faults.

use std::sync::Arc;
use std::time::Duration;

use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::{Layer, Preset, load};
use serde_json::{Map, Value, json};
use testkit::aws::no_aws;
use testkit::harness::{CLIENT, Logs, batch, in_virtual_time};
use testkit::memory::{Faults, Memory, NAME};
use testkit::stream;

/// Builds the factory's handler, with the third system added like the others.
fn handler(memory: &Arc<Memory>, extra: &str) -> Handler {
    let app = app(memory);
    let routes = ["lead", "prospect", "customer", "vendor"]
        .map(|kind| format!("{kind} = [\"{NAME}\"]\n"))
        .concat();
    let layer = Layer::from_toml("the test", &format!("[routes]\n{routes}{extra}")).expect("TOML");
    let settings = load(Preset::Test, &[layer], &app.destinations()).expect("allowed");
    app.build(Preset::Test, &settings, &no_aws())
        .expect("a handler")
}

fn app(memory: &Arc<Memory>) -> App {
    let memory = Arc::clone(memory);
    App::default()
        .with_http(CLIENT.clone())
        .with(NAME, memory.spec(4))
}

fn change(at: usize, operation: &str, id: usize, attributes: &Map<String, Value>) -> Value {
    json!({
        "event_id": format!("e-{at}"), "operation": operation,
        "occurred_at": "2026-11-20T10:15:00Z",
        "contact": {"id": format!("c-{id}"), "type": "lead", "attributes": attributes},
    })
}

#[test]
fn full_batches_are_sent_and_no_record_is_sent_twice() {
    in_virtual_time(async {
        let memory = Memory::new(1, Faults::default());
        let handler = handler(&memory, "");
        let changes: Vec<Value> = (0..53)
            .map(|at| change(at, "create", at, &Map::new()))
            .collect();
        let answer = stream::invoke(&handler, &batch(&changes), "r").await;
        assert!(stream::failures(&answer).is_empty());
        assert_eq!((memory.calls(), memory.written().len()), (11, 53));
    });
}

#[test]
fn a_panic_in_one_transformation_rejects_that_record_alone() {
    in_virtual_time(async {
        let memory = Memory::new(1, Faults::default());
        let handler = handler(&memory, "");
        let mut changes: Vec<Value> = (0..6)
            .map(|at| {
                change(
                    at,
                    "create",
                    at / 2,
                    &Map::from_iter([("a".to_owned(), at.into())]),
                )
            })
            .collect();
        changes[2]["contact"]["company"] = "PANIC".into();
        let answer = stream::invoke(&handler, &batch(&changes), "r").await;
        assert!(stream::failures(&answer).is_empty());
        let held = memory.records();
        assert_eq!(held.len(), 3);
        assert_eq!(held["c-1"]["a"], 3);
    });
}

#[test]
fn a_dry_run_makes_the_look_ups_of_deletes_and_no_writes() {
    in_virtual_time(async {
        let memory = Memory::new(1, Faults::default());
        let held = batch(&[change(9, "create", 9, &Map::new())]);
        stream::invoke(&handler(&memory, ""), &held, "r").await;
        let (records, handler) = (
            memory.records(),
            handler(&memory, "[pipeline]\ndry_run = true"),
        );
        let logs = Logs::listen();
        let mut changes: Vec<Value> = (0..9)
            .map(|at| change(at, "create", at, &Map::new()))
            .collect();
        changes.extend([9, 10].map(|at| change(at, "delete", at, &Map::new())));
        changes[0]["contact"]["last_name"] = "Lovelace".into();
        let answer = stream::invoke(&handler, &batch(&changes), "r").await;
        assert!(stream::failures(&answer).is_empty());
        let mut expected = ["delivered DRY_RUN"; 11];
        expected[10] = "delivered ALREADY_GONE";
        assert_eq!(logs.fates(), expected);
        let lines = logs.lines();
        let mut calls = Vec::new();
        for line in &lines {
            if line["message"] != "dry run: not sent" {
                continue;
            }
            assert_eq!(
                (&line["destination"], &line["level"]),
                (&json!(NAME), &json!("INFO"))
            );
            calls.push((
                line["operation"].as_str().expect("a name"),
                line["records"].as_u64(),
                line["calls"].as_u64(),
            ));
        }
        calls.sort_unstable();
        assert_eq!(
            calls,
            [
                ("delete", Some(1), Some(1)),
                ("upsert", Some(4), Some(1)),
                ("upsert", Some(5), Some(1))
            ],
            "a line for each call that would be made"
        );
        assert!(
            lines
                .iter()
                .all(|line| !line.to_string().contains("Lovelace"))
        );
        assert_eq!(
            (memory.calls(), memory.records()),
            (2, records),
            "the first write, and the look-up of the deletes"
        );
    });
}

#[test]
fn a_system_without_a_response_fails_its_records_within_the_time_budget() {
    in_virtual_time(async {
        let memory = Memory::new(
            1,
            Faults {
                hanging: 100,
                ..Faults::default()
            },
        );
        let handler = handler(&memory, "[pipeline]\nfallback_budget_ms = 4000");
        let changes: Vec<Value> = (0..10)
            .map(|at| change(at, "create", at, &Map::new()))
            .collect();
        let start = tokio::time::Instant::now();
        let answer = stream::invoke(&handler, &batch(&changes), "r").await;
        assert_eq!(stream::failures(&answer).len(), 10);
        assert!(
            start.elapsed() <= Duration::from_secs(4),
            "{:?}",
            start.elapsed()
        );
    });
}

fn narrow(queue: usize, permits: usize) -> String {
    format!(
        "[pipeline]\nqueue_capacity = {queue}\ntransform_concurrency = {permits}\n\
         fallback_budget_ms = 20000"
    )
}

#[test]
fn queues_and_a_semaphore_of_one_deliver_every_record() {
    in_virtual_time(async {
        let memory = Memory::new(1, Faults::default());
        let handler = handler(&memory, &narrow(1, 1));
        let changes: Vec<Value> = (0..53)
            .map(|at| change(at, "create", at, &Map::new()))
            .collect();
        let answer = stream::invoke(&handler, &batch(&changes), "r").await;
        assert!(stream::failures(&answer).is_empty());
        assert_eq!((memory.written().len(), memory.transformed()), (53, 53));
    });
}

#[test]
fn a_system_without_a_response_stops_its_own_transformations() {
    // Three calls of five in flight, a waiting batch of five, the queue, and the payloads that wait
    // to enter it.
    for (queue, permits, most) in [(1, 1, 22), (7, 2, 29), (512, 64, 200)] {
        in_virtual_time(async {
            let memory = Memory::new(
                1,
                Faults {
                    hanging: 100,
                    ..Faults::default()
                },
            );
            let handler = handler(&memory, &narrow(queue, permits));
            let changes: Vec<Value> = (0..200)
                .map(|at| change(at, "create", at, &Map::new()))
                .collect();
            let records = batch(&changes);
            let answer = tokio::time::timeout(
                Duration::from_secs(1),
                stream::invoke(&handler, &records, "r"),
            )
            .await;
            assert!(answer.is_err(), "no response");
            let made = memory.transformed();
            assert!(
                made <= most && made > queue.min(100),
                "{made} payloads with a queue of {queue}"
            );
        });
    }
}
