//! Tests of the simulated stream and mapping against observations of AWS: the batches that a
//! function receives, and the batches that are discarded. Other tests of redelivery depend on it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::harness::in_virtual_time;
use testkit::kinesis::{
    Invocation, InvocationOutcome, Mapping, OnFailure, Payload, Report, Stream,
};
use tokio::time::{Instant, sleep_until};

/// Builds a stream of records of one letter or digit each, in one shard and with one key. All have
/// arrived at the start.
fn stream(names: &str) -> Stream {
    let mut stream = Stream::new(1);
    for name in names.chars() {
        stream.put("key", name.to_string().as_bytes(), Duration::ZERO);
    }
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

fn reported<'a>(identifiers: impl IntoIterator<Item = &'a String>) -> InvocationOutcome {
    let entries = identifiers
        .into_iter()
        .map(|identifier| json!({"itemIdentifier": identifier}));
    InvocationOutcome::Answer(json!({"batchItemFailures": entries.collect::<Vec<_>>()}))
}

/// Builds a function that reports these records as failed.
fn reports(bad: &'static str) -> impl AsyncFn(Invocation) -> InvocationOutcome {
    async move |invocation: Invocation| reported(&identifiers(&invocation, bad))
}

/// Builds a function that fails with an error if it receives one of these records.
fn throws(bad: &'static str) -> impl AsyncFn(Invocation) -> InvocationOutcome {
    async move |invocation: Invocation| {
        if identifiers(&invocation, bad).is_empty() {
            reported([])
        } else {
            InvocationOutcome::Error
        }
    }
}

/// Formats the deliveries: the names of the records, and `=` for a repeated request id.
fn deliveries(report: &Report, stream: &Stream) -> String {
    let (mut request_ids, mut deliveries) = (Vec::new(), Vec::new());
    for delivery in &report.deliveries {
        let mut text = String::new();
        for at in &delivery.places {
            text.push(char::from(stream.shards[delivery.shard][*at].data[0]));
        }
        if request_ids.contains(&&delivery.request_id) {
            text.push('=');
        }
        request_ids.push(&delivery.request_id);
        deliveries.push(text);
    }
    deliveries.join(" ")
}

/// Formats the discarded batches: the names of the records, the condition and the number of
/// invocations.
fn discarded(report: &Report) -> String {
    let mut batches = Vec::new();
    for discarded in &report.discarded {
        let names: String = discarded
            .records
            .iter()
            .map(|record| char::from(record.data[0]))
            .collect();
        let context = &discarded.document["requestContext"];
        let condition = context["condition"].as_str().expect("a condition");
        let count = &context["approximateInvokeCount"];
        batches.push(format!("{names} {condition} {count}"));
    }
    batches.join(", ")
}

fn run(
    mapping: &Mapping,
    names: &str,
    function: impl AsyncFn(Invocation) -> InvocationOutcome,
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
fn a_reported_failure_causes_the_observed_deliveries() {
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
fn progress_resets_the_retries() {
    // Each record fails once, and so the batch five times: with one retry no record is lost.
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
fn a_response_without_failures_is_a_success_in_any_form() {
    for response in [
        json!({"batchItemFailures": []}),
        json!({"batchItemFailures": null}),
        json!({}),
        json!(null),
        json!(""),
    ] {
        let function = async |_: Invocation| InvocationOutcome::Answer(response.clone());
        assert_eq!(
            run(&mapping(1, true), "12", function),
            ("12".to_owned(), String::new()),
            "{response}"
        );
    }
}

#[test]
fn an_identifier_of_no_record_fails_the_whole_batch() {
    for entry in [
        json!({"itemIdentifier": ""}),
        json!({"itemIdentifier": null}),
        json!({"wrong_key": "1"}),
        json!({"itemIdentifier": "123"}),
    ] {
        // The same applies beside a valid identifier.
        let function = async |invocation: Invocation| {
            let good = json!({"itemIdentifier": invocation.records[1].sequence_number});
            InvocationOutcome::Answer(json!({"batchItemFailures": [good, entry]}))
        };
        let expected = (
            "12 12=".to_owned(),
            "12 RetryAttemptsExhausted 2".to_owned(),
        );
        assert_eq!(run(&mapping(1, false), "12", function), expected, "{entry}");
    }
}

#[test]
fn the_first_failed_record_counts_and_not_the_lowest_number() {
    // Numbers of an emulation such as 9, 10, 11 are in another order as texts.
    let mut stream = Stream::new(1);
    for (number, name) in [("9", "a"), ("10", "b"), ("11", "c")] {
        stream.append(0, number, "key", name.as_bytes(), Duration::ZERO);
    }
    let report = in_virtual_time(mapping(0, false).drain(&stream, reports("cb")));
    assert_eq!(deliveries(&report, &stream), "abc bc");
}

#[test]
fn records_with_one_sequence_number_are_redelivered_together() {
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
fn a_record_that_is_too_large_is_discarded_and_the_next_one_is_delivered() {
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
            InvocationOutcome::Throttled
        } else {
            reported([])
        }
    };
    let (deliveries, discarded) = run(&mapping(0, true), "12", function);
    assert_eq!((&*deliveries, &*discarded), ("12 12= 12= 12= 12= 12=", ""));
}

#[test]
fn records_beyond_the_maximum_age_are_discarded_and_younger_ones_are_delivered() {
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
            InvocationOutcome::Error
        } else {
            reported([])
        }
    };
    let report = in_virtual_time(mapping.drain(&stream, function));
    let batch = &report.discarded[0];
    assert!(
        discarded(&report).starts_with("12 RecordAgeExceeded "),
        "{}",
        discarded(&report)
    );
    assert!(batch.document["responseContext"].is_null());
    assert!(deliveries(&report, &stream).ends_with(" 3"));

    // A record that is too old before its first delivery is never delivered, and still counts as
    // one invocation.
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
fn batches_of_one_shard_overlap_and_records_of_one_key_stay_in_order() {
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
            return InvocationOutcome::Error;
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
fn a_lost_checkpoint_redelivers_records() {
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
fn the_message_of_a_discarded_batch_contains_the_position_of_its_records() {
    let discarded = |function: &dyn Fn(Invocation) -> InvocationOutcome| {
        let report = in_virtual_time(
            mapping(3, false).drain(&stream("12"), async |invocation| function(invocation)),
        );
        report.discarded[0].clone()
    };
    let partial = discarded(&|invocation| reported(&identifiers(&invocation, "1")));
    insta::assert_json_snapshot!("on_failure", partial.document);
    assert_eq!(
        (partial.key, &partial.document["payload"]),
        (None, &Value::Null)
    );
    assert_eq!(
        discarded(&|_| InvocationOutcome::Error).document["responseContext"]["functionError"],
        "Unhandled"
    );
}

#[test]
fn the_object_of_a_discarded_batch_contains_the_whole_event_too() {
    let discarded = |on_failure: OnFailure| {
        let mapping = Mapping {
            on_failure,
            ..mapping(0, true)
        };
        let mut stream = stream("123");
        // This record is in a separate batch, a minute later.
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
            assert_eq!(document, message.document, "all fields of a message");
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
