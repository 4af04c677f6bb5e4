//! Report with tables and the plot.

use std::fmt::Write as _;
use std::time::Duration;

use crate::callgrind::{Instructions, thousands};
use crate::first::FirstDelivery;
use crate::lag::Lag;
use crate::month::Months;
use crate::plot::{self, Line};
use crate::process::{BATCH, LARGEST, Measured};
use crate::{roots, tables};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

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

/// Everything that was measured.
pub(crate) struct Figures<'a> {
    pub(crate) counted: &'a Instructions,
    pub(crate) measured: &'a Measured,
    pub(crate) first: &'a [FirstDelivery; 3],
    pub(crate) roots: &'a roots::Times,
    pub(crate) months: &'a Months,
    pub(crate) lags: &'a [Lag],
}

/// Writes `report.md`, the plots, and the blocks of the documentation.
pub(crate) fn write(figures: &Figures<'_>) -> Result<(), String> {
    let Figures {
        counted,
        measured,
        first,
        roots,
        months,
        lags,
    } = figures;
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
    let _ = write!(
        text,
        "\n## Formats and layers\n\n{}",
        tables::format_table(of)
    );
    let _ = write!(text, "\n## Whole runs\n\n{}", process_table(measured));
    let _ = write!(text, "\n## First delivery\n\n{}", first_table(first));
    let _ = write!(text, "\n## Root certificates\n\n{}", roots::table(roots));
    let lag = tables::lag_tables(lags);
    let _ = write!(text, "\n## Lag\n\n![Lag by rate](lag.svg)\n\n{lag}");
    let cost = tables::cost_tables(months);
    let blocks = [
        ("operate/lag.md", "lag", tables::best_table(lags)),
        ("operate/cost.md", "cost", cost),
        ("internals/performance.md", "figures", summary(figures)),
    ];
    for ((page, name, content), title) in blocks.iter().zip([
        "The best window and batch size",
        "Cost of a month",
        "Summary",
    ]) {
        let _ = write!(text, "\n## {title}\n\n");
        if *name == "cost" {
            text.push_str(
                "Times, lines and calls of the table are measured for an invocation of 1 to 1,000 \
                 records at 0.29 of a processor; the invocations of a month are simulated. \
                 `benches/README.md` has the method.\n\n\
                 ![Cost of a month by volume](cost.svg)\n\n",
            );
        }
        text.push_str(&tables::block(name, content));
        tables::write_block(page, name, content)?;
    }
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
    let plot = |svg: Result<String, std::fmt::Error>| svg.map_err(|error| error.to_string());
    let (lag, cost) = (plot(plot::lag(lags))?, plot(plot::cost(months))?);
    for (name, content) in [
        ("benches/report.md", &text),
        ("benches/report.svg", &svg),
        ("benches/lag.svg", &lag),
        ("benches/cost.svg", &cost),
        ("docs/diagrams/lag.svg", &lag),
        ("docs/diagrams/cost.svg", &cost),
    ] {
        std::fs::write(format!("{FOLDER}/{name}"), content)
            .map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// Formats the figures that the documentation repeats.
fn summary(figures: &Figures<'_>) -> String {
    let Figures {
        counted,
        measured,
        first,
        ..
    } = figures;
    let whole = |records: u64| thousands(counted.by_case[&format!("whole, {records} records")]);
    let share = measured.both.as_secs_f64() / measured.slower.as_secs_f64();
    let peak = mega(usize::try_from(measured.peak_kib).unwrap_or(0) * 1024);
    let rows = [
        (
            "instructions a record, from the event to both systems' answers".to_owned(),
            whole(1000),
            "60,000",
        ),
        (
            "the same in batches of 100 and of 10,000".to_owned(),
            format!("{}, {}", whole(100), whole(10_000)),
            "",
        ),
        (
            "CPU time a record".to_owned(),
            format!("{:.1} µs", measured.cpu.as_secs_f64() * 1e6),
            "",
        ),
        (
            format!("own time of {BATCH} records, p99"),
            millis(at(&measured.own_times, 99)),
            "3 ms",
        ),
        (
            "start to first poll, median, systems and AWS without TLS".to_owned(),
            millis(at(&measured.starts, 50)),
            "8 ms",
        ),
        (
            "handshakes in the first invocation, everything over TLS".to_owned(),
            first[0].handshakes.iter().sum::<usize>().to_string(),
            "0",
        ),
        (
            "start to acknowledged by both systems, everything over TLS, median".to_owned(),
            format!("{:.0} ms", first[0].acknowledged.as_secs_f64() * 1e3),
            "250 ms",
        ),
        (
            format!(
                "peak memory, an event of {} records",
                thousands(LARGEST as u64)
            ),
            format!("{peak:.1} MB"),
            "48 MB",
        ),
        (
            "time with both systems, divided by that with the slower one alone".to_owned(),
            format!("{share:.2}"),
            "1.1",
        ),
        (
            "API calls for 1,000 records in batches of 100 and of 1,000, half for each system"
                .to_owned(),
            format!("{}, {}", measured.calls[0], measured.calls[1]),
            "",
        ),
    ];
    let mut text = "| figure | measured | aim: at most |\n| --- | ---: | ---: |\n".to_owned();
    for (name, value, aim) in rows {
        let _ = writeln!(text, "| {name} | {value} | {aim} |");
    }
    text
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
            "API calls for 1,000 records of both systems, in batches of 100 and of 1,000"
                .to_owned(),
            format!("{}, {}", calls[0], calls[1]),
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
         and loses that time also while it waits. A quarter of a second lies between two \
         invocations, so that none waits for the rate limit. Own time is the process's CPU time: \
         without the time of the systems and of the emulation. `make bench` fails where an own \
         time is above twice a warm one, with a handshake, and where the acknowledgement takes \
         more than 250 ms at full speed.\n\n\
         | speed | start to first poll | start to acknowledged by both systems | first invocation, \
         own time | a warm one, own time | own, first / warm (aim: at most 2) | handshakes in the \
         first (aim: 0) |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    let names = [
        "full",
        "full until the first poll, then 0.29",
        "0.29 throughout",
    ];
    for (name, first) in names.iter().zip(measured) {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {}, {} | {}, {} | {:.2} | {} |",
            millis(first.init),
            millis(first.acknowledged),
            millis(first.first),
            millis(first.own_first),
            millis(first.warm),
            millis(first.own_warm),
            first.ratio(),
            first.handshakes.iter().sum::<usize>()
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
