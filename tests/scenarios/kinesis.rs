//! The stream simulator, held to what was observed of the real thing: which batches a function
//! gets, and what is discarded. The other tests' word about redelivery is worth as much as this.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::harness::in_virtual_time;
use testkit::kinesis::{Ended, Invocation, Mapping, OnFailure, Payload, Report, Stream};
use tokio::time::{Instant, sleep_until};

/// Records of one letter or digit each, all there from the start, in one shard and of one key.
fn stream(names: &str) -> Stream {
    let mut stream = Stream::new(1);
    names
        .chars()
        .for_each(|name| stream.put("key", name.to_string().as_bytes(), Duration::ZERO));
    stream
}

fn names(invocation: &Invocation) -> String {
    invocation
        .records
        .iter()
        .map(|record| char::from(record.data[0]))
        .collect()
}

fn identifiers(invocation: &Invocation, bad: &str) -> Vec<String> {
    let is_bad = |name: u8| bad.contains(char::from(name));
    let bad = invocation
        .records
        .iter()
        .filter(|record| is_bad(record.data[0]));
    bad.map(|record| record.sequence_number.clone()).collect()
}

fn reported<'a>(identifiers: impl IntoIterator<Item = &'a String>) -> Ended {
    let entries = identifiers
        .into_iter()
        .map(|identifier| json!({"itemIdentifier": identifier}));
    Ended::Answer(json!({"batchItemFailures": entries.collect::<Vec<_>>()}))
}

/// A function that reports these records whenever it gets them.
fn reports(bad: &'static str) -> impl AsyncFn(Invocation) -> Ended {
    async move |invocation: Invocation| reported(&identifiers(&invocation, bad))
}

/// A function that ends with an error whenever it gets one of these records.
fn throws(bad: &'static str) -> impl AsyncFn(Invocation) -> Ended {
    async move |invocation: Invocation| {
        if identifiers(&invocation, bad).is_empty() {
            reported([])
        } else {
            Ended::Error
        }
    }
}

/// The deliveries, each as its records' names, and `=` where the request id was seen before.
fn deliveries(report: &Report, stream: &Stream) -> String {
    let mut seen = Vec::new();
    let word = |delivery: &testkit::kinesis::Delivery| {
        let record = |place: &usize| char::from(stream.shards[delivery.shard][*place].data[0]);
        let again = if seen.contains(&delivery.request_id) {
            "="
        } else {
            ""
        };
        seen.push(delivery.request_id.clone());
        format!(
            "{}{again}",
            delivery.places.iter().map(record).collect::<String>()
        )
    };
    report
        .deliveries
        .iter()
        .map(word)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The discarded batches, each with its condition and count.
fn discarded(report: &Report) -> String {
    let word = |discarded: &testkit::kinesis::Discarded| {
        let names: String = discarded
            .records
            .iter()
            .map(|record| char::from(record.data[0]))
            .collect();
        let context = &discarded.document["requestContext"];
        let condition = context["condition"].as_str().expect("a condition");
        format!("{names} {condition} {}", context["approximateInvokeCount"])
    };
    report
        .discarded
        .iter()
        .map(word)
        .collect::<Vec<_>>()
        .join(", ")
}

fn run(
    mapping: &Mapping,
    names: &str,
    function: impl AsyncFn(Invocation) -> Ended,
) -> (String, String) {
    let stream = stream(names);
    let report = in_virtual_time(mapping.drain(&stream, function));
    (deliveries(&report, &stream), discarded(&report))
}

fn mapping(max_retries: u32, bisect: bool) -> Mapping {
    Mapping {
        max_retries: Some(max_retries),
        bisect,
        ..Mapping::default()
    }
}

#[test]
fn what_was_observed_of_a_reported_failure_is_what_happens() {
    let off = Mapping {
        report_failures: false,
        ..mapping(1, false)
    };
    for (case, mapping, bad, expected, lost) in [
        (
            "failures that nobody asked for are a success",
            &off,
            "2",
            "1234",
            "",
        ),
        (
            "without bisecting the rest goes with it",
            &mapping(1, false),
            "2",
            "1234 234 234=",
            "234 RetryAttemptsExhausted 2",
        ),
        (
            "with bisecting it goes alone",
            &mapping(1, true),
            "2",
            "1234 234 2 2= 34",
            "2 RetryAttemptsExhausted 2",
        ),
        (
            "the lowest counts",
            &mapping(1, true),
            "42",
            "1234 234 2 2= 34 4 4=",
            "2 RetryAttemptsExhausted 2, 4 RetryAttemptsExhausted 2",
        ),
        (
            "the first of all halves the batch",
            &mapping(0, true),
            "1",
            "1234 12 1 2 34",
            "1 RetryAttemptsExhausted 1",
        ),
        (
            "three retries are four invocations",
            &mapping(3, false),
            "1",
            "1234 1234= 1234= 1234=",
            "1234 RetryAttemptsExhausted 4",
        ),
        (
            "nothing reported is a success",
            &mapping(1, true),
            "",
            "1234",
            "",
        ),
    ] {
        assert_eq!(
            run(mapping, "1234", reports(bad)),
            (expected.to_owned(), lost.to_owned()),
            "{case}"
        );
    }
}

#[test]
fn an_error_fails_the_whole_batch() {
    for (mapping, expected, lost) in [
        (
            mapping(1, false),
            "1234 1234=",
            "1234 RetryAttemptsExhausted 2",
        ),
        (
            mapping(1, true),
            "1234 12 1 2 2= 34",
            "2 RetryAttemptsExhausted 2",
        ),
        (
            Mapping {
                report_failures: false,
                ..mapping(0, true)
            },
            "1234 12 1 2 34",
            "2 RetryAttemptsExhausted 1",
        ),
    ] {
        assert_eq!(
            run(&mapping, "1234", throws("2")),
            (expected.to_owned(), lost.to_owned())
        );
    }
}

#[test]
fn progress_gives_all_retries_back() {
    // Each record fails once, and so the batch five times: with one retry nothing is lost.
    let failed = RefCell::new(String::new());
    let function = async |invocation: Invocation| {
        let names = names(&invocation);
        let next = names.chars().find(|name| !failed.borrow().contains(*name));
        failed.borrow_mut().extend(next);
        reported(
            next.iter()
                .flat_map(|name| identifiers(&invocation, &name.to_string()))
                .collect::<Vec<_>>()
                .iter(),
        )
    };
    let (deliveries, discarded) = run(&mapping(1, false), "12345", function);
    assert_eq!(
        (&*deliveries, &*discarded),
        ("12345 12345= 2345 345 45 5", "")
    );
}

#[test]
fn an_answer_without_failures_is_a_success_whatever_its_shape() {
    for answer in [
        json!({"batchItemFailures": []}),
        json!({"batchItemFailures": null}),
        json!({}),
        json!(null),
        json!(""),
    ] {
        let function = async |_: Invocation| Ended::Answer(answer.clone());
        assert_eq!(
            run(&mapping(1, true), "12", function),
            ("12".to_owned(), String::new()),
            "{answer}"
        );
    }
}

#[test]
fn an_identifier_that_names_no_record_fails_the_whole_batch() {
    for entry in [
        json!({"itemIdentifier": ""}),
        json!({"itemIdentifier": null}),
        json!({"wrong_key": "1"}),
        json!({"itemIdentifier": "123"}),
    ] {
        // Beside a good one, too.
        let function = async |invocation: Invocation| {
            let good = json!({"itemIdentifier": invocation.records[1].sequence_number});
            Ended::Answer(json!({"batchItemFailures": [good, entry]}))
        };
        let expected = (
            "12 12=".to_owned(),
            "12 RetryAttemptsExhausted 2".to_owned(),
        );
        assert_eq!(run(&mapping(1, false), "12", function), expected, "{entry}");
    }
}

#[test]
fn the_lowest_place_counts_and_not_the_lowest_number() {
    // An emulation counts 9, 10, 11: as texts these are in another order.
    let mut stream = Stream::new(1);
    for (number, name) in [("9", "a"), ("10", "b"), ("11", "c")] {
        stream.append(0, number, "key", name.as_bytes(), Duration::ZERO);
    }
    let report = in_virtual_time(mapping(0, false).drain(&stream, reports("cb")));
    assert_eq!(deliveries(&report, &stream), "abc bc");
}

#[test]
fn records_that_share_a_number_come_again_together() {
    let mut stream = Stream::new(1);
    stream.put("key", b"1", Duration::ZERO);
    stream.put_aggregate("key", &[b"a", b"b", b"c"], Duration::ZERO);
    let calls = Cell::new(0);
    let function = async |invocation: Invocation| {
        calls.set(calls.get() + 1);
        reported(&if calls.get() == 1 {
            identifiers(&invocation, "c")
        } else {
            Vec::new()
        })
    };
    let report = in_virtual_time(mapping(1, true).drain(&stream, function));
    assert_eq!(deliveries(&report, &stream), "1abc abc");
}

#[test]
fn what_is_too_large_is_tried_in_vain_and_the_next_record_flows() {
    let mut stream = Stream::new(1);
    stream.put("key", &vec![b'x'; 5 * 1024 * 1024], Duration::ZERO);
    stream.put("key", b"1", Duration::ZERO);
    let report = in_virtual_time(mapping(2, true).drain(&stream, reports("")));
    assert_eq!(
        (&*deliveries(&report, &stream), &*discarded(&report)),
        ("1", "x RetryAttemptsExhausted 3")
    );
    assert!(report.discarded[0].document["responseContext"].is_null());
}

#[test]
fn a_batch_is_full_by_number_by_size_or_by_time() {
    let sizes = |mapping: &Mapping, stream: &Stream| -> Vec<usize> {
        let report = in_virtual_time(mapping.drain(stream, reports("")));
        report
            .deliveries
            .iter()
            .map(|delivery| delivery.places.len())
            .collect()
    };
    let by_number = Mapping {
        batch_size: 3,
        ..Mapping::default()
    };
    assert_eq!(sizes(&by_number, &stream("12345678")), [3, 3, 2]);
    let mut large = Stream::new(1);
    (0..7).for_each(|_| large.put("key", &vec![b'x'; 1024 * 1024], Duration::ZERO));
    assert_eq!(sizes(&Mapping::default(), &large), [4, 3]);
    let mut slow = Stream::new(1);
    (0..7).for_each(|at| slow.put("key", b"x", Duration::from_secs(at)));
    assert_eq!(
        sizes(
            &Mapping {
                window: Duration::from_secs(2),
                ..Mapping::default()
            },
            &slow
        ),
        [3, 3, 1]
    );
    assert_eq!(sizes(&Mapping::default(), &slow), [1; 7]);
}

#[test]
fn throttling_costs_no_retry_and_keeps_the_request_id() {
    let calls = Cell::new(0);
    let function = async |_: Invocation| {
        calls.set(calls.get() + 1);
        if calls.get() <= 5 {
            Ended::Throttled
        } else {
            reported([])
        }
    };
    let (deliveries, discarded) = run(&mapping(0, true), "12", function);
    assert_eq!((&*deliveries, &*discarded), ("12 12= 12= 12= 12= 12=", ""));
}

#[test]
fn age_discards_what_nobody_could_take_and_the_younger_records_flow() {
    let mut stream = Stream::new(1);
    for (at, name) in [(0, b"1"), (0, b"2"), (50, b"3")] {
        stream.put("key", name, Duration::from_secs(at));
    }
    let mapping = Mapping {
        max_age: Some(Duration::from_mins(1)),
        bisect: false,
        ..Mapping::default()
    };
    let started = Cell::new(None);
    let function = async |_: Invocation| {
        let started = started.get().unwrap_or_else(|| {
            started.set(Some(Instant::now()));
            Instant::now()
        });
        if started.elapsed() < Duration::from_mins(1) {
            Ended::Error
        } else {
            reported([])
        }
    };
    let report = in_virtual_time(mapping.drain(&stream, function));
    let told = &report.discarded[0];
    assert!(
        discarded(&report).starts_with("12 RecordAgeExceeded "),
        "{}",
        discarded(&report)
    );
    assert!(told.document["responseContext"].is_null());
    assert!(deliveries(&report, &stream).ends_with(" 3"));

    // Too old before the mapping came to it: never delivered, and counted as one invocation all the
    // same.
    let slow = async |_: Invocation| {
        sleep_until(Instant::now() + Duration::from_secs(61)).await;
        reported([])
    };
    let report = in_virtual_time(
        Mapping {
            batch_size: 1,
            ..mapping
        }
        .drain(&stream, slow),
    );
    assert_eq!(
        (&*deliveries(&report, &stream), &*discarded(&report)),
        ("1 3", "2 RecordAgeExceeded 1")
    );
}

#[test]
fn batches_of_one_shard_overlap_and_of_one_key_nothing_overtakes() {
    let mut stream = Stream::new(1);
    for round in 0..8_u8 {
        for key in ["a", "b", "c", "d", "e", "f"] {
            stream.put(key, &[b'0' + round], Duration::ZERO);
        }
    }
    let (under_way, most) = (Cell::new(0), Cell::new(0));
    let order: RefCell<Vec<(String, usize)>> = RefCell::default();
    let failed = Cell::new(false);
    let function = async |invocation: Invocation| {
        under_way.set(under_way.get() + 1);
        most.set(most.get().max(under_way.get()));
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
        under_way.set(under_way.get() - 1);
        if !failed.replace(true) {
            return Ended::Error;
        }
        let done = invocation
            .records
            .iter()
            .map(|record| (record.partition_key.clone(), record.at));
        order.borrow_mut().extend(done);
        reported([])
    };
    let mapping = Mapping {
        parallelization_factor: 4,
        batch_size: 5,
        ..Mapping::default()
    };
    in_virtual_time(mapping.drain(&stream, function));
    assert!((2..=4).contains(&most.get()), "{} at once", most.get());
    let order = order.into_inner();
    assert_eq!(order.len(), stream.len());
    for key in ["a", "b", "c", "d", "e", "f"] {
        let places: Vec<usize> = order
            .iter()
            .filter(|(of, _)| of == key)
            .map(|(_, at)| *at)
            .collect();
        assert!(places.is_sorted() && places.len() == 8, "{key}: {places:?}");
    }
}

#[test]
fn a_lost_checkpoint_brings_delivered_records_again() {
    let mapping = Mapping {
        lost_checkpoints: 30,
        batch_size: 2,
        seed: 7,
        ..Mapping::default()
    };
    let stream = stream("1234567890");
    let report = in_virtual_time(mapping.drain(&stream, reports("")));
    assert!(
        report.lost_checkpoints > 0 && report.records() > stream.len(),
        "{}",
        deliveries(&report, &stream)
    );
    let mut places: Vec<usize> = report
        .deliveries
        .iter()
        .flat_map(|delivery| delivery.places.clone())
        .collect();
    places.dedup();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places, (0..10).collect::<Vec<_>>());
}

#[test]
fn the_message_of_a_discarded_batch_tells_where_its_records_are() {
    let told = |function: &dyn Fn(Invocation) -> Ended| {
        let report = in_virtual_time(
            mapping(3, false).drain(&stream("12"), async |invocation| function(invocation)),
        );
        report.discarded[0].clone()
    };
    let partial = told(&|invocation| reported(&identifiers(&invocation, "1")));
    insta::assert_json_snapshot!("on_failure", partial.document);
    assert_eq!(
        (partial.key, &partial.document["payload"]),
        (None, &Value::Null)
    );
    assert_eq!(
        told(&|_| Ended::Error).document["responseContext"]["functionError"],
        "Unhandled"
    );
}

#[test]
fn the_object_of_a_discarded_batch_holds_the_whole_event_besides() {
    let discarded = |on_failure: OnFailure| {
        let mapping = Mapping {
            on_failure,
            ..mapping(0, true)
        };
        let mut stream = stream("123");
        // In a batch of its own, a minute later.
        stream.put("key", b"4", Duration::from_mins(1));
        in_virtual_time(mapping.drain(&stream, reports("24"))).discarded
    };
    let messages = discarded(OnFailure::Message);
    for form in [Payload::Captured, Payload::Documented] {
        let objects = discarded(OnFailure::Object(form));
        assert_eq!(objects.len(), 2);
        for (object, message) in objects.iter().zip(&messages) {
            let mut document = object.document.clone();
            let payload = document
                .as_object_mut()
                .expect("an object")
                .remove("payload")
                .expect("the event");
            assert_eq!(document, message.document, "all that a message says");
            let event: Value = match form {
                Payload::Captured => payload,
                Payload::Documented => {
                    serde_json::from_str(payload.as_str().expect("a text")).expect("JSON")
                }
            };
            let record: Value = serde_json::from_str(&object.records[0].json).expect("JSON");
            assert_eq!(event, json!({"Records": [record]}));
        }
        let keys: Vec<&str> = objects
            .iter()
            .filter_map(|object| object.key.as_deref())
            .collect();
        insta::assert_json_snapshot!("on_failure_keys", keys);
        assert!(keys.is_sorted(), "by shard and time");
    }
}
