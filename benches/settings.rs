//! Benchmark of the settings at a start: parses the layers, merges them and validates the result.
//! The first run corresponds to a start, and is printed. It is mostly scheduling delay on a busy
//! machine: the median is compared with the budget.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use contact_sync::adapters::DESTINATIONS;
use contact_sync::settings::{Layer, Preset, load};

/// Time that a start may spend on its settings.
const BUDGET: Duration = Duration::from_millis(2);

const DOCUMENT: &str = include_str!("../tests/fixtures/kitchen-sink.toml");

const VARIABLES: [(&str, &str); 3] = [
    (
        "CONTACT_SYNC__DEAD_LETTER__QUEUE_URL",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
    ),
    ("CONTACT_SYNC__PIPELINE__CONCURRENCY_SHARE", "8"),
    (
        "CONTACT_SYNC__HUBSPOT__ALLOWED_HOSTS",
        r#"["eu.api.hubapi.com"]"#,
    ),
];

fn start() {
    let document = Layer::from_toml("the document", DOCUMENT).expect("TOML");
    let variables =
        VARIABLES.map(|(name, value)| Layer::from_variable(name, value).expect("a variable"));
    let layers: Vec<Layer> = std::iter::once(document).chain(variables).collect();
    black_box(load(Preset::Production, &layers, &DESTINATIONS).expect("good settings"));
}

fn main() {
    let mut times: Vec<Duration> = (0..1001)
        .map(|_| {
            let begun = Instant::now();
            start();
            begun.elapsed()
        })
        .collect();
    let first = times[0];
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("settings: {first:?} the first time, {median:?} in the median; at most {BUDGET:?}");
    assert!(median < BUDGET, "the settings take too long");
}
