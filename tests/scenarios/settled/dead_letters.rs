//! Tests of the dead letters of redelivered records: each rejection has one, with any number of
//! deliveries. Tests of settling after the deadline, too.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::model::{Code, Destination};
use contact_sync::settings::{Layer, Preset, load};
use contact_sync::settle::{Batch, DeadLetters, Entry, PriorOutcomes, Settler};
use contact_sync::telemetry::Audit;
use serde_json::{Value, json};
use testkit::harness::{CLIENT, Logs, in_virtual_time};
use testkit::kinesis::{Invocation, Mapping, Stream};
use testkit::memory::{self, Memory, POISON};
use testkit::mock_aws::{Faults, MockAws};
use testkit::stream::{failures, invoke, record, sequence_number};
use tokio::time::Instant;

use super::harmless::create;

/// A system, a queue, and the function between them, without a state table.
struct World {
    system: Arc<Memory>,
    aws: Arc<MockAws>,
    handler: Handler,
}

fn world(faults: Faults, document: &str) -> World {
    let (system, aws) = (
        Memory::named("one", 1, memory::Faults::default()),
        MockAws::new(1, faults),
    );
    let routes = ["lead", "prospect", "customer", "vendor"]
        .map(|kind| format!("{kind} = [\"one\"]\n"))
        .concat();
    let text = format!(
        "[routes]\n{routes}[dead_letter]\nqueue_url = \"http://127.0.0.1:9/letters\"\n{document}"
    );
    let layer = Layer::from_toml("the test", &text).expect("TOML");
    let settings = load(Preset::Test, &[layer], &["one"]).expect("allowed");
    let memory = Arc::clone(&system);
    let app = App::empty()
        .with_http(CLIENT.clone())
        .with("one", memory.spec(1));
    let handler = app
        .build(Preset::Test, &settings, &aws.config())
        .expect("a handler");
    World {
        system,
        aws,
        handler,
    }
}

/// Returns the number of each record's dead letters, by sequence number.
fn dead_letters(aws: &MockAws) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for dead_letter in aws.dead_letters() {
        let number = dead_letter["record"]["sequence_number"]
            .as_str()
            .expect("a number")
            .to_owned();
        *counts.entry(number).or_default() += 1;
    }
    counts
}

fn one_each(places: &[usize]) -> BTreeMap<String, usize> {
    places
        .iter()
        .map(|at| (sequence_number(0, *at), 1))
        .collect()
}

#[test]
fn without_a_state_table_a_redelivered_record_has_one_dead_letter() {
    in_virtual_time(async {
        let World {
            system,
            aws,
            handler,
        } = world(Faults::default(), "");
        let records = [
            record(0, 0, "key", b"not json"),
            create(1, "customer", "c-1", &json!({})),
            record(0, 2, "key", b"not json either"),
            create(3, "lead", "c-3", &json!({POISON: true})),
            create(4, "lead", "c-4", &json!({})),
        ];
        system.fail("c-1", u32::MAX);
        let logs = Logs::listen();
        let answer = invoke(&handler, &records, "r").await;
        assert_eq!(
            failures(&answer),
            [1, 2, 3].map(|at| sequence_number(0, at))
        );
        let fates = [
            "rejected INVALID_JSON",
            "failed LOCKED",
            "failed DEAD_LETTER_WAITS",
            "failed POISON",
            "delivered",
        ];
        assert_eq!(logs.fates(), fates);
        let metrics = &logs.metrics("")[0];
        assert_eq!(
            (&metrics["RecordsRejected"], &metrics["RecordsFailed"]),
            (&json!(1), &json!(3))
        );
        for _ in 0..4 {
            invoke(&handler, &records[1..], "r").await;
            assert_eq!(
                dead_letters(&aws),
                one_each(&[0]),
                "the dead letters after the failed record wait"
            );
        }
        system.fail("c-1", 0);
        assert!(failures(&invoke(&handler, &records[1..], "r").await).is_empty());
        assert_eq!(dead_letters(&aws), one_each(&[0, 2, 3]));
    });
}

#[test]
fn a_record_with_the_number_of_a_failed_one_is_redelivered_with_it() {
    in_virtual_time(async {
        let World {
            system,
            aws,
            handler,
        } = world(Faults::default(), "");
        let records = [
            record(0, 0, "key", b"first"),
            record(0, 1, "key", b"a part"),
            create(1, "lead", "c-1", &json!({})),
        ];
        system.fail("c-1", 1);
        assert_eq!(
            failures(&invoke(&handler, &records, "r").await),
            [sequence_number(0, 1)]
        );
        assert_eq!(dead_letters(&aws), one_each(&[0]));
        assert!(failures(&invoke(&handler, &records[1..], "r").await).is_empty());
        assert_eq!(dead_letters(&aws), one_each(&[0, 1]));
    });
}

/// Returns a stream of which every third record is rejected, by the contract and by the system in
/// turn.
fn stream_with_rejections() -> Stream {
    let mut stream = Stream::new(1);
    for at in 0..30 {
        let attributes = if at % 6 == 5 {
            json!({POISON: true})
        } else {
            json!({})
        };
        let change = json!({
            "event_id": format!("e-{at}"), "operation": "create",
            "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {"id": format!("c-{at}"), "type": "lead", "attributes": attributes},
        });
        let data = if at % 6 == 2 {
            "not json".to_owned()
        } else {
            change.to_string()
        };
        stream.append(
            0,
            &sequence_number(0, at),
            "key",
            data.as_bytes(),
            Duration::ZERO,
        );
    }
    stream
}

#[test]
fn each_rejection_in_bisected_batches_has_one_dead_letter() {
    in_virtual_time(async {
        for (bisect, failing) in [(true, "c-1"), (false, "c-1"), (true, "c-0"), (true, "c-16")] {
            let World {
                system,
                aws,
                handler,
            } = world(Faults::default(), "");
            system.fail(failing, u32::MAX);
            let stream = stream_with_rejections();
            let mapping = Mapping {
                bisect,
                batch_size: 20,
                ..Mapping::default()
            };
            let deliveries = Cell::new(0);
            let function = async |invocation: Invocation| {
                deliveries.set(deliveries.get() + 1);
                if deliveries.get() == 20 {
                    system.fail(failing, 0);
                }
                invocation.handle(&handler).await
            };
            let report = mapping.drain(&stream, function).await;
            assert_eq!(report.lost(&stream), 0);
            assert!(deliveries.get() > 20);
            let rejected: Vec<usize> = (0..30).filter(|at| at % 6 == 2 || at % 6 == 5).collect();
            assert_eq!(
                dead_letters(&aws),
                one_each(&rejected),
                "bisect: {bisect}, failing: {failing}"
            );
        }
    });
}

#[test]
fn a_record_whose_dead_letter_waits_is_discarded_with_the_failed_record_before_it() {
    in_virtual_time(async {
        let World {
            system,
            aws,
            handler,
        } = world(Faults::default(), "");
        system.fail("c-0", u32::MAX);
        let mut stream = Stream::new(1);
        for (at, data) in [
            r#"{"event_id":"e-0","operation":"create","occurred_at":"2026-11-20T10:15:00Z",
            "contact":{"id":"c-0","type":"lead"}}"#,
            "not json",
        ]
        .iter()
        .enumerate()
        {
            stream.append(
                0,
                &sequence_number(0, at),
                "key",
                data.as_bytes(),
                Duration::ZERO,
            );
        }
        let mapping = Mapping {
            max_age: Some(Duration::from_hours(1)),
            bisect: false,
            ..Mapping::default()
        };
        let function = async |invocation: Invocation| invocation.handle(&handler).await;
        let report = mapping.drain(&stream, function).await;
        let discarded: Vec<usize> = report
            .discarded
            .iter()
            .map(|discarded| discarded.records.len())
            .collect();
        assert_eq!((discarded, dead_letters(&aws)), (vec![2], BTreeMap::new()));
    });
}

#[test]
fn after_an_unstored_dead_letter_no_redelivered_one_is_stored() {
    in_virtual_time(async {
        let World { aws, handler, .. } = world(
            Faults {
                refused: 100,
                ..Faults::default()
            },
            "",
        );
        let records: Vec<Value> = (0..500)
            .map(|at| record(0, at, "key", b"not json"))
            .collect();
        let logs = Logs::listen();
        assert_eq!(failures(&invoke(&handler, &records, "r").await).len(), 500);
        assert_eq!(not_stored(&logs).len(), 1);
        let attempts = aws.injected_faults();
        assert!(attempts <= 8 * 3, "{attempts} attempts for 50 calls");
        aws.heal();
        assert!(failures(&invoke(&handler, &records, "r").await).is_empty());
        assert_eq!(dead_letters(&aws), one_each(&(0..500).collect::<Vec<_>>()));
    });
}

#[test]
fn dead_letters_that_a_queue_refuses_within_a_call_are_logged_by_code() {
    in_virtual_time(async {
        let World { handler, .. } = world(
            Faults {
                entry: 100,
                ..Faults::default()
            },
            "",
        );
        let records: Vec<Value> = (0..25)
            .map(|at| record(0, at, "key", b"not json"))
            .collect();
        let logs = Logs::listen();
        assert_eq!(failures(&invoke(&handler, &records, "r").await).len(), 25);
        let lines = logs.lines();
        let refused: Vec<&Value> = lines
            .iter()
            .filter(|line| line["message"].to_string().contains("refused by the queue"))
            .collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(
            (&refused[0]["code"], &refused[0]["letters"]),
            (&json!("InternalError"), &json!(25))
        );
        assert_eq!(
            not_stored(&logs),
            [""; 0],
            "each dead letter is logged once"
        );
    });
}

/// Returns the number and the reason of each line about unstored dead letters.
fn not_stored(logs: &Logs) -> Vec<String> {
    let message = "dead letters not stored: their records are redelivered";
    let lines = logs.lines();
    lines
        .iter()
        .filter(|line| line["message"] == message)
        .map(|line| format!("{} {}", line["letters"], line["error"]))
        .collect()
}

#[test]
fn ten_thousand_rejected_records_and_a_hanging_queue_leave_the_margin_of_the_response() {
    for (budget, state) in [
        (9_000, ""),
        (30_000, ""),
        (9_000, "[state]\ntable = \"settled\"\n"),
    ] {
        in_virtual_time(async {
            let document = format!(
                "{state}[pipeline]\nfallback_budget_ms = {budget}\ndeadline_margin_ms = 1500\n\
                 [log]\naudit = \"off\""
            );
            let World { aws, handler, .. } = world(
                Faults {
                    hanging: 100,
                    ..Faults::default()
                },
                &document,
            );
            let records: Vec<Value> = (0..10_000)
                .map(|at| record(0, at, "key", b"{\"event_id\": 1}"))
                .collect();
            let (logs, started) = (Logs::listen(), Instant::now());
            let answer = invoke(&handler, &records, "r").await;
            let margin_left = Duration::from_millis(budget - 500);
            assert!(
                started.elapsed() <= margin_left + Duration::from_millis(5),
                "{:?}",
                started.elapsed()
            );
            assert_eq!(failures(&answer).len(), 10_000);
            let not_stored = not_stored(&logs);
            assert_eq!(not_stored.len(), 1, "{not_stored:?}");
            assert!(not_stored[0].starts_with("10000 "), "{not_stored:?}");
            let errors = logs
                .lines()
                .iter()
                .filter(|line| line["level"] == "ERROR")
                .count();
            assert_eq!(errors, 1);
            let attempts = aws.injected_faults();
            assert!(
                attempts <= 8 * 3 + 4,
                "{attempts} attempts, though no call is started after the deadline"
            );
        });
    }
}

#[test]
fn no_line_of_the_audit_trail_is_started_after_its_deadline() {
    in_virtual_time(async {
        let settler = Settler {
            dead_letters: DeadLetters::LogOnly,
            settled_set: None,
            audit: Audit::All,
            destinations: vec![Destination("one")],
            guarded: vec![false],
        };
        let filtered = Entry {
            filtered: Some(Code::new("FILTERED_TYPE")),
            ..Entry::default()
        };
        let (entries, changes) = (vec![filtered; 50], vec![None; 50]);
        let batch = Batch {
            records: &[],
            changes: &changes,
            entries: &entries,
            earlier: &PriorOutcomes::default(),
        };
        let now = Instant::now();
        for (lines_until, expected) in [(now, 0), (now + Duration::from_secs(1), 50)] {
            let logs = Logs::listen();
            let settled = settler.settle(batch, now, lines_until).await;
            assert_eq!(
                (settled.counts.filtered, logs.audit().len()),
                (50, expected),
                "each record is counted"
            );
            let warnings: Vec<Value> = logs
                .lines()
                .into_iter()
                .filter(|line| line["level"] == "WARN")
                .collect();
            assert_eq!(warnings.len(), usize::from(expected == 0), "{warnings:?}");
            assert!(warnings.iter().all(|line| line["records"] == 50));
        }
    });
}
