//! What the settings cost a start: reading the layers, merging them, judging the result. A real
//! start is the first time, which is told; on a busy machine that is mostly waiting, so the median
//! is held to the budget.
#![expect(clippy::print_stdout, reason = "a benchmark's answer")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use contact_sync::adapters::DESTINATIONS;
use contact_sync::settings::{Layer, Preset, load};

/// What a start may spend on its settings.
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
