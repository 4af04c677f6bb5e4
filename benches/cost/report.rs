//! Report with tables and the plot.

use std::fmt::Write as _;
use std::time::Duration;

use crate::callgrind::{Instructions, thousands};
use crate::first::FirstDelivery;
use crate::plot::{self, Line};
use crate::process::{BATCH, LARGEST, Measured};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches");

/// Stages of the plot, each with its case.
const STAGES: [&str; 8] = [
    "consume",
    "fold",
    "transform for Salesforce",
    "transform for HubSpot",
    "Salesforce batch",
    "HubSpot batch",
    "Salesforce answer",
    "HubSpot answer",
];

/// Writes `report.md` and `report.svg`.
pub(crate) fn write(
    counted: &Instructions,
    measured: &Measured,
    first: &[FirstDelivery; 3],
) -> Result<(), String> {
    let of = |case: &str| counted.by_case[case];
    let whole = |records: u64| of(&format!("whole, {records} records"));
    let changes = |changes: u64| match changes {
        1 => whole(1000),
        more => of(&format!("whole, {more} changes a contact")),
    };
    let mut text = format!(
        "<!-- written by `make bench` -->\n\n## Instructions a record\n\n\
         Records of 0.9 KB, counted by callgrind, rustc {} on {}. \
         The whole is an invocation from the event's JSON to the answer: \
         decode, validate, route, fold, transform, make the batches and send them over HTTP \
         to both systems, read the answers; audit trail off.\n\n\
         ![Instructions by stage, and how they grow](report.svg)\n\n\
         | stage | instructions a record |\n| --- | ---: |\n",
        counted.rustc, counted.arch
    );
    for stage in STAGES {
        let _ = writeln!(text, "| {stage} | {} |", thousands(of(stage)));
    }
    let _ = writeln!(
        text,
        "| **whole, 1,000 records** (aim: at most 60,000) | **{}** |\n",
        thousands(whole(1000))
    );
    text.push_str(
        "| records in the batch | instructions a record | changes of each contact | \
         instructions a record |\n",
    );
    text.push_str("| ---: | ---: | ---: | ---: |\n");
    for (records, each) in [(100, 1), (1000, 10), (10_000, 100)] {
        let (by_records, by_changes) = (thousands(whole(records)), thousands(changes(each)));
        let _ = writeln!(
            text,
            "| {} | {by_records} | {each} | {by_changes} |",
            thousands(records)
        );
    }
    let _ = write!(text, "\n## Whole runs\n\n{}", process_table(measured));
    let _ = write!(text, "\n## First delivery\n\n{}", first_table(first));
    let lines = [
        Line {
            name: "records in a batch".to_owned(),
            points: [100, 1000, 10_000].map(|x| (x, whole(x))),
        },
        Line {
            name: "changes of a contact".to_owned(),
            points: [1, 10, 100].map(|x| (x, changes(x))),
        },
    ];
    let bars = STAGES.map(|stage| (stage, of(stage)));
    let svg = plot::svg(&bars, &lines).map_err(|error| error.to_string())?;
    for (name, content) in [("report.md", &text), ("report.svg", &svg)] {
        std::fs::write(format!("{FOLDER}/{name}"), content)
            .map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// Formats the results of the whole runs of the binary.
pub(crate) fn process_table(measured: &Measured) -> String {
    let Measured {
        starts,
        own_times,
        cpu,
        calls,
        peak_kib,
        event_bytes,
        both,
        slower,
    } = measured;
    let percent = both.as_secs_f64() / slower.as_secs_f64();
    let rows = [
        (
            "start to first poll, median".to_owned(),
            millis(at(starts, 50)),
            "8 ms",
        ),
        (
            format!("own time of {BATCH} records, median"),
            millis(at(own_times, 50)),
            "",
        ),
        (
            format!("own time of {BATCH} records, p99"),
            millis(at(own_times, 99)),
            "3 ms",
        ),
        (
            "CPU time a record".to_owned(),
            format!("{:.1} µs", cpu.as_secs_f64() * 1e6),
            "",
        ),
        (
            "API calls for 1,000 records of both systems".to_owned(),
            calls.to_string(),
            "",
        ),
        (
            format!(
                "peak memory, an event of {LARGEST} records and {:.1} MB",
                mega(*event_bytes)
            ),
            format!(
                "{:.1} MB",
                mega(usize::try_from(*peak_kib).unwrap_or(0) * 1024)
            ),
            "48 MB",
        ),
        (
            "time with both systems, by the slower one's alone".to_owned(),
            format!("{percent:.2}"),
            "1.1",
        ),
    ];
    let mut text = format!(
        "The release binary behind a Runtime API, both mocks on loopback in another process, \
         {} cores. Own time is an invocation's time less the systems' own. \
         Times are this machine's, and noisy.\n\n\
         | figure | measured | aim: at most |\n| --- | ---: | ---: |\n",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    for (name, value, aim) in rows {
        let _ = writeln!(text, "| {name} | {value} | {aim} |");
    }
    text
}

/// Formats the results of the first deliveries.
pub(crate) fn first_table(measured: &[FirstDelivery; 3]) -> String {
    let mut text =
        "Preset `production`; both systems, the parameter store, the secrets, the table \
         and the queue over TLS with an authority of the bench; one lead and one customer. Medians \
         of nine starts. A throttled process runs for 29 % of each 20 ms, as much as 512 MB buy, \
         and loses that time also while it waits.\n\n\
         | speed | start to first poll | start to acknowledged by both systems | first invocation \
         | a warm one | first / warm (aim: at most 2) | handshakes in the first (aim: 0) |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    let names = [
        "full",
        "full until the first poll, then 0.29",
        "0.29 throughout",
    ];
    for (name, first) in names.iter().zip(measured) {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {:.2} | {} |",
            millis(first.init),
            millis(first.acknowledged),
            millis(first.first),
            millis(first.warm),
            first.first.as_secs_f64() / first.warm.as_secs_f64(),
            first.handshakes
        );
    }
    text
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn mega(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
