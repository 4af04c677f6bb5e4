//! Tests of the log listeners that the cases use.

use std::sync::Barrier;
use std::thread;

use serde_json::Value;
use testkit::harness::Logs;
use testkit::listener::listen;

/// Number of threads, of which half listen.
const THREADS: usize = 8;

/// Functions that log their number inside a span, each at callsites of its own.
macro_rules! callsites {
    ($($number:literal)*) => {
        [$(|| {
            let span = tracing::info_span!(target: "contact_sync::test", "span", of_span = $number);
            span.in_scope(|| tracing::info!(target: "contact_sync::test", of_event = $number));
        }),*]
    };
}

/// Reaches callsites on several threads, each callsite at the same time. `capture` reaches one
/// while it listens. Returns the lines that a listener missed or got from another thread.
fn miscaptured(
    callsites: &[fn()],
    capture: impl Fn(usize, fn()) -> Option<String> + Sync,
) -> Vec<String> {
    let start = Barrier::new(THREADS);
    let reach_all = &|is_listening: bool| {
        let mut miscaptured = Vec::new();
        for (number, callsite) in callsites.iter().enumerate() {
            start.wait();
            if is_listening {
                miscaptured.extend(capture(number, *callsite));
            } else {
                callsite();
            }
        }
        miscaptured
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|at| scope.spawn(move || reach_all(at % 2 == 0)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

#[test]
fn a_line_first_logged_without_a_listener_is_captured_when_it_is_logged_again() {
    for (number, callsite) in callsites![0 1 2 3].into_iter().enumerate() {
        let logs = listen();
        thread::scope(|scope| drop(scope.spawn(callsite)));
        assert_eq!(logs.lines(), [""; 0], "another thread's line");
        callsite();
        assert_eq!(logs.lines(), [format!("INFO of_event={number}")]);
    }
}

#[test]
fn a_listener_captures_only_its_own_thread() {
    let callsites: [fn(); 64] = callsites![
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60
        61 62 63
    ];
    let miscaptured = miscaptured(&callsites, |number, callsite| {
        let logs = listen();
        callsite();
        let lines = logs.lines();
        let is_right = lines == [format!("INFO of_event={number}")];
        if is_right {
            None
        } else {
            Some(format!("{number}: {lines:?}"))
        }
    });
    assert_eq!(miscaptured, Vec::<String>::new());
}

#[test]
fn lines_are_captured_with_their_spans_whichever_thread_logs_first() {
    let callsites: [fn(); 32] = callsites![
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    ];
    let miscaptured = miscaptured(&callsites, |number, callsite| {
        let logs = Logs::listen();
        callsite();
        let lines = logs.lines();
        let is_own = |line: &Value| line["of_event"] == number && line["of_span"] == number;
        let is_right = matches!(&lines[..], [line] if is_own(line));
        if is_right {
            None
        } else {
            Some(format!("{number}: {lines:?}"))
        }
    });
    assert_eq!(miscaptured, Vec::<String>::new());
}

#[test]
fn a_listener_is_restored_when_its_replacement_is_dropped() {
    let log = |number: usize| tracing::info!(target: "contact_sync::test", number);
    let outer = listen();
    let inner = Logs::listen();
    log(1);
    assert_eq!(inner.lines().len(), 1);
    drop(inner);
    log(2);
    assert_eq!(outer.lines(), ["INFO number=2"]);
}
