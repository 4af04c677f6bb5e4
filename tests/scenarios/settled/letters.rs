//! Dead letters of records that come again: each rejection has one, however often its record is
//! delivered. And what is left to do when the time is over.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::{Code, Destination};
use contact_sync::factory::Factory;
use contact_sync::handler::Handler;
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
struct Place {
    system: Arc<Memory>,
    aws: Arc<MockAws>,
    handler: Handler,
}

fn place(faults: Faults, document: &str) -> Place {
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
    let factory = Factory::empty()
        .with_http(CLIENT.clone())
        .with("one", move |_, _| memory.spec(1));
    let handler = factory
        .build(Preset::Test, &settings, &aws.config())
        .expect("a handler");
    Place {
        system,
        aws,
        handler,
    }
}

/// How many letters each record has, by its place in the stream.
fn letters(aws: &MockAws) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for letter in aws.letters() {
        let number = letter["record"]["sequence_number"]
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
fn without_a_state_table_a_record_that_comes_again_has_its_letter_once() {
    in_virtual_time(async {
        let Place {
            system,
            aws,
            handler,
        } = place(Faults::default(), "");
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
        let told = [
            "rejected INVALID_JSON",
            "failed LOCKED",
            "failed DEAD_LETTER_WAITS",
            "failed POISON",
            "delivered",
        ];
        assert_eq!(logs.fates(), told);
        let metrics = &logs.metrics("")[0];
        assert_eq!(
            (&metrics["RecordsRejected"], &metrics["RecordsFailed"]),
            (&json!(1), &json!(3))
        );
        for _ in 0..4 {
            invoke(&handler, &records[1..], "r").await;
            assert_eq!(
                letters(&aws),
                one_each(&[0]),
                "those behind the failed record wait"
            );
        }
        system.fail("c-1", 0);
        assert!(failures(&invoke(&handler, &records[1..], "r").await).is_empty());
        assert_eq!(letters(&aws), one_each(&[0, 2, 3]));
    });
}

#[test]
fn a_record_that_shares_the_failed_ones_number_comes_again_with_it() {
    in_virtual_time(async {
        let Place {
            system,
            aws,
            handler,
        } = place(Faults::default(), "");
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
        assert_eq!(letters(&aws), one_each(&[0]));
        assert!(failures(&invoke(&handler, &records[1..], "r").await).is_empty());
        assert_eq!(letters(&aws), one_each(&[0, 1]));
    });
}

/// A stream in which every third record is rejected, by the contract and by the system in turn, and
/// `c-1` is away for a while.
fn mixed() -> Stream {
    let mut stream = Stream::new(1);
    for at in 0..30 {
        let attributes = if at % 6 == 5 {
            json!({POISON: true})
        } else {
            json!({})
        };
        let change = json!({"event_id": format!("e-{at}"), "operation": "create", "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {"id": format!("c-{at}"), "type": "lead", "attributes": attributes}});
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
fn in_bisected_batches_each_rejection_has_one_letter() {
    in_virtual_time(async {
        for (bisect, failing) in [(true, "c-1"), (false, "c-1"), (true, "c-0"), (true, "c-16")] {
            let Place {
                system,
                aws,
                handler,
            } = place(Faults::default(), "");
            system.fail(failing, u32::MAX);
            let stream = mixed();
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
                letters(&aws),
                one_each(&rejected),
                "bisect: {bisect}, failing: {failing}"
            );
        }
    });
}

#[test]
fn a_record_whose_letter_waits_is_given_up_with_the_record_that_it_waits_for() {
    in_virtual_time(async {
        let Place {
            system,
            aws,
            handler,
        } = place(Faults::default(), "");
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
        let given_up: Vec<usize> = report
            .discarded
            .iter()
            .map(|discarded| discarded.records.len())
            .collect();
        assert_eq!((given_up, letters(&aws)), (vec![2], BTreeMap::new()));
    });
}

#[test]
fn behind_a_letter_that_is_not_stored_none_is_stored_that_comes_again() {
    in_virtual_time(async {
        let Place { aws, handler, .. } = place(
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
        let attempts = aws.struck();
        assert!(attempts <= 8 * 3, "{attempts} attempts for 50 calls");
        aws.heal();
        assert!(failures(&invoke(&handler, &records, "r").await).is_empty());
        assert_eq!(letters(&aws), one_each(&(0..500).collect::<Vec<_>>()));
    });
}

#[test]
fn letters_that_a_queue_refuses_one_by_one_are_reported_by_code() {
    in_virtual_time(async {
        let Place { handler, .. } = place(
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
        let told: Vec<&Value> = lines
            .iter()
            .filter(|line| line["message"].to_string().contains("refused by the queue"))
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            (&told[0]["code"], &told[0]["letters"]),
            (&json!("InternalError"), &json!(25))
        );
        assert_eq!(not_stored(&logs), [""; 0], "each letter is told of once");
    });
}

/// What lines say why letters are not stored, each with their number.
fn not_stored(logs: &Logs) -> Vec<String> {
    let is_it =
        |line: &&Value| line["message"] == "dead letters not stored: their records come again";
    let lines = logs.lines();
    lines
        .iter()
        .filter(is_it)
        .map(|line| format!("{} {}", line["letters"], line["error"]))
        .collect()
}

#[test]
fn with_ten_thousand_rejected_records_and_a_hanging_queue_the_answer_comes_with_its_margin_left() {
    for (budget, state) in [
        (9_000, ""),
        (30_000, ""),
        (9_000, "[state]\ntable = \"settled\"\n"),
    ] {
        in_virtual_time(async {
            let document = format!(
                "{state}[pipeline]\nfallback_budget_ms = {budget}\ndeadline_margin_ms = 1500\n[log]\naudit = \"off\""
            );
            let Place { aws, handler, .. } = place(
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
            let told = not_stored(&logs);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with("10000 "), "{told:?}");
            let errors = logs
                .lines()
                .iter()
                .filter(|line| line["level"] == "ERROR")
                .count();
            assert_eq!(errors, 1);
            let attempts = aws.struck();
            assert!(
                attempts <= 8 * 3 + 4,
                "{attempts} attempts, though no call is begun when the time is over"
            );
        });
    }
}

#[test]
fn a_line_of_the_audit_trail_is_not_begun_when_its_time_is_over() {
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
            let told: Vec<Value> = logs
                .lines()
                .into_iter()
                .filter(|line| line["level"] == "WARN")
                .collect();
            assert_eq!(told.len(), usize::from(expected == 0), "{told:?}");
            assert!(told.iter().all(|line| line["records"] == 50));
        }
    });
}
