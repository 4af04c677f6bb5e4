//! Tables of the lag, the cost of a month and the formats, and the blocks of the documentation that
//! repeat them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::callgrind::thousands;
use crate::formats::{Feed, Row};
use crate::lag::{ANSWER, Destination, Lag, POLL, SHARDS, TABLE};
use crate::month::{Audit, Mode, Month, Months, Plan, VOLUMES, dollars};
use crate::record;

/// Returns the calls that a system allows its smallest paid account in a day, of all clients.
fn daily_calls(destination: Destination) -> u64 {
    match destination {
        Destination::Salesforce => 100_000,
        Destination::HubSpot => 250_000,
    }
}

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// Wraps a text into the markers of a block, which `tests/docs` compares with the documentation's.
pub(crate) fn block(name: &str, text: &str) -> String {
    format!("{}\n\n{}\n\n{}\n", begin(name), text.trim(), end(name))
}

fn begin(name: &str) -> String {
    format!("<!-- {name}: written by `make bench` -->")
}

fn end(name: &str) -> String {
    format!("<!-- end of {name} -->")
}

/// Replaces the block of a page of the documentation.
pub(crate) fn write_block(page: &str, name: &str, text: &str) -> Result<(), String> {
    let path = format!("{FOLDER}/docs/{page}");
    let old = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let begins = old.find(&begin(name));
    let ends = old.find(&end(name)).map(|at| at + end(name).len());
    let (Some(begins), Some(ends)) = (begins, ends) else {
        return Err(format!("{path}: the block `{name}` is missing"));
    };
    let block = block(name, text);
    let new = format!("{}{}{}", &old[..begins], block.trim_end(), &old[ends..]);
    std::fs::write(&path, new).map_err(|error| format!("{path}: {error}"))
}

/// Formats the instructions of each format and layer.
pub(crate) fn format_table(of: impl Fn(&str) -> u64) -> String {
    let bytes = |data: &[u8]| thousands(data.len() as u64);
    let change = record::change(0, 200, &["lead"]).to_string();
    let row = |feed: Feed, row| bytes(feed.record(row, 0, 200).to_string().as_bytes());
    let layer = |layer: record::Layer| bytes(&record::wrapped(layer, 0, 200));
    let rows = [
        ("contact-change", bytes(change.as_bytes()), "consume"),
        ("in gzip", layer(record::Layer::Gzip), "consume gzip"),
        ("in zstd", layer(record::Layer::Zstd), "consume zstd"),
        (
            "in a CloudEvent",
            layer(record::Layer::CloudEvent),
            "consume CloudEvents",
        ),
        (
            "in KPL aggregates of 100",
            bytes(change.as_bytes()),
            "consume KPL aggregates",
        ),
        (
            "debezium, insert",
            row(Feed::Debezium, Row::Inserted),
            "consume debezium insert",
        ),
        (
            "debezium, update with the row before",
            row(Feed::Debezium, Row::Updated),
            "consume debezium update",
        ),
        (
            "debezium, insert in its schema envelope",
            row(Feed::DebeziumWithSchema, Row::Inserted),
            "consume debezium insert with its schema",
        ),
        (
            "debezium, flattened row",
            row(Feed::Flattened, Row::Inserted),
            "consume debezium flattened",
        ),
        (
            "dms, insert",
            row(Feed::Dms, Row::Inserted),
            "consume dms insert",
        ),
        (
            "dms, update with the row before",
            row(Feed::Dms, Row::Updated),
            "consume dms update",
        ),
        (
            "dynamodb, insert",
            row(Feed::Dynamodb, Row::Inserted),
            "consume dynamodb insert",
        ),
        (
            "dynamodb, update with the row before",
            row(Feed::Dynamodb, Row::Updated),
            "consume dynamodb update",
        ),
    ];
    let mut text = "The same contact in each format, from the record's data to the validated \
                    change. An update changes one of 23 columns. The transport layers hold a \
                    `contact-change`; any format may be within them.\n\n\
                    | format | bytes a record | instructions a record |\n| --- | ---: | ---: |\n"
        .to_owned();
    for (name, bytes, case) in rows {
        let _ = writeln!(text, "| {name} | {bytes} | {} |", thousands(of(case)));
    }
    let _ = writeln!(
        text,
        "\nA whole invocation of 1,000 `contact-change` takes {} instructions a record from \
         Kinesis, {} from Kafka. Where no record has a layer, the search of the event for \
         aggregates takes {} of them; the other layers are known by the first byte, and a \
         CloudEvent by an attribute that is read with the others.",
        thousands(of("whole, 1000 records")),
        thousands(of("whole, 1000 records of Kafka")),
        thousands(of("search for aggregates")),
    );
    text
}

fn millis(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        short if short < 10.0 => format!("{short:.1}"),
        long => thousands(Duration::from_secs_f64(long).as_secs()),
    }
}

/// Formats the lag of every mapping.
pub(crate) fn lag_tables(lags: &[Lag]) -> String {
    let mut text = format!(
        "From a record's arrival in the stream to the answer of its system, in milliseconds. The \
         release binary with the limits of the preset `production`, a function for each system, {} \
         shards, random arrivals. The systems answer after {} ms, the state table after {} ms; both \
         are assumptions, without TLS. The poller is simulated in real time and reads each shard \
         once in {} s. The parts are means. Own: decoding, the calls of the state table, building \
         the first batch. Queue: further batches that wait for one of four calls in flight. Both \
         are measured without a rate limit; slots are what the default limit adds.\n",
        SHARDS,
        ANSWER.as_millis(),
        TABLE.as_millis(),
        POLL.as_secs(),
    );
    for destination in Destination::BOTH {
        let _ = write!(
            text,
            "\n### Lag of {}\n\n| changes a second | window, s | `BatchSize` | records | median | p99 | read \
             of the shard | last batch | window | own | queue | slots | system | calls a day |\n\
             | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | \
             ---: | ---: |\n",
            destination.name()
        );
        for lag in lags.iter().filter(|lag| lag.destination == destination) {
            let (mapping, parts) = (lag.mapping, lag.parts);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                thousands(mapping.rate.into()),
                mapping.window.as_secs(),
                thousands(mapping.batch_size as u64),
                thousands(lag.records as u64),
                millis(lag.median),
                millis(lag.p99),
                millis(parts.poll),
                millis(parts.last_batch),
                millis(parts.window),
                millis(parts.own),
                millis(parts.queue),
                millis(parts.slots),
                millis(ANSWER),
                thousands(lag.calls_a_day),
            );
        }
    }
    text
}

/// Formats the best mapping of each rate.
pub(crate) fn best_table(lags: &[Lag]) -> String {
    let mut text = "| changes a second | system | least lag | median, p99 | calls a day | least \
                    lag within the daily calls | median, p99 |\n\
                    | ---: | --- | --- | ---: | ---: | --- | ---: |\n"
        .to_owned();
    let mapping = |lag: &Lag| {
        format!(
            "{} s, {}",
            lag.mapping.window.as_secs(),
            thousands(lag.mapping.batch_size as u64)
        )
    };
    let times = |lag: &Lag| format!("{}, {} ms", millis(lag.median), millis(lag.p99));
    let mut rates: Vec<u32> = lags.iter().map(|lag| lag.mapping.rate).collect();
    rates.dedup();
    for rate in rates {
        for destination in Destination::BOTH {
            let of = || {
                let of = lags.iter();
                of.filter(|lag| lag.mapping.rate == rate && lag.destination == destination)
            };
            let Some(best) = of().min_by_key(|lag| lag.p99) else {
                continue;
            };
            let few = of().filter(|lag| lag.calls_a_day <= daily_calls(destination));
            let (few_mapping, few_times) = match few.min_by_key(|lag| lag.p99) {
                Some(lag) => (mapping(lag), times(lag)),
                None => ("none of those measured".to_owned(), String::new()),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {few_mapping} | {few_times} |",
                thousands(rate.into()),
                destination.name(),
                mapping(best),
                times(best),
                thousands(best.calls_a_day),
            );
        }
    }
    let _ = writeln!(
        text,
        "\nA pair is the window and `BatchSize`. The least p99 decides. The daily calls are those of \
         the smallest paid accounts, of all their clients: {} of Salesforce, {} of HubSpot.",
        thousands(daily_calls(Destination::Salesforce)),
        thousands(daily_calls(Destination::HubSpot)),
    );
    text
}

fn volume(changes: u64) -> String {
    match changes {
        under if under < 1_000_000 => format!("{} thousand", under / 1000),
        over => format!("{} million", over / 1_000_000),
    }
}

fn row(text: &mut String, name: &str, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
}

fn head(text: &mut String, first: &str) {
    row(text, first, VOLUMES.map(volume));
    row(text, "---", VOLUMES.map(|_| "---:".to_owned()));
}

/// Formats a number with two digits that count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers are positive and far below 2^52"
)]
fn rounded(number: f64) -> String {
    if number < 10.0 {
        return format!("{number:.1}");
    }
    let unit = 10_f64.powf(number.log10().floor() - 1.0);
    thousands(((number / unit).round() * unit).round() as u64)
}

/// Formats the cost of a month.
pub(crate) fn cost_tables(months: &Months) -> String {
    let of = |plan: Plan| months.month(plan);
    let plans = VOLUMES.map(|volume| months.default_plan(volume));
    let defaults = plans.map(of);
    let mut text = format!(
        "USD a month in {}, by the prices of {}, without free tiers. The calls of Salesforce and \
         HubSpot are part of their licences. Changes of 0.9 KB arrive at random, spread evenly over \
         time and {SHARDS} shards, half for each system; settings are the defaults of the template: \
         a function for each destination, a window of {} s.\n\n",
        months.prices.region, months.prices.read, months.window
    );
    head(&mut text, "changes a month");
    let line = |text: &mut String, name: &str, of: fn(&Month) -> f64| {
        row(
            text,
            name,
            defaults.each_ref().map(|month| dollars(of(month))),
        );
    };
    row(
        &mut text,
        "invocations of both functions",
        defaults.map(|month| rounded(month.invocations)),
    );
    row(
        &mut text,
        "records in one",
        defaults.map(|month| rounded(month.records_each)),
    );
    line(&mut text, "Kinesis: a stream on demand, 7 days", |month| {
        month.stream
    });
    line(&mut text, "metrics, alarms, dashboards", |month| {
        month.metrics
    });
    line(&mut text, "logs with `log.audit = \"all\"`", |month| {
        month.logs
    });
    line(&mut text, "Lambda", |month| month.lambda);
    line(&mut text, "X-Ray", |month| month.traces);
    line(&mut text, "DynamoDB", |month| month.table);
    line(&mut text, "secrets", |month| month.secrets);
    row(
        &mut text,
        "**sum**",
        defaults
            .each_ref()
            .map(|month| format!("**{}**", dollars(month.sum()))),
    );
    for (at, system) in ["Salesforce", "HubSpot"].into_iter().enumerate() {
        row(
            &mut text,
            &format!("calls of {system} in a day"),
            defaults.map(|month| rounded(month.calls_a_day[at])),
        );
    }
    text.push_str("\n### Window and functions\n\nSums, and the calls of Salesforce in a day.\n\n");
    head(&mut text, "`Destinations`, window");
    for mode in Mode::BOTH {
        for window in [0, 1, 5, 30] {
            row(
                &mut text,
                &format!("{}, {window} s", mode.name()),
                plans.map(|plan| {
                    let month = of(Plan {
                        mode,
                        window,
                        ..plan
                    });
                    let calls = rounded(month.calls_a_day[0]);
                    format!("{} ({calls})", dollars(month.sum()))
                }),
            );
        }
    }
    let one = months.of_one(Audit::All);
    let single = of(months.default_plan(VOLUMES[0]));
    let _ = write!(
        text,
        "\nAn event of one record costs {:.2} USD a million in Lambda, logs and table{}, in the mean \
         of both functions. That of Salesforce takes {:.0} ms, {:.1} kB of lines, {:.0} read and \
         {:.0} write of the table. A window saves where a second \
         record arrives within it. One of 1 s saves a dollar a month against none from {} changes \
         a month on, one of 5 s against 1 s from {}, one of 30 s against 5 s from {}. Below that a \
         longer window only adds its seconds.\n",
        single.of_records() / single.invocations * 1e6,
        if single.traces > 0.0 {
            " and X-Ray"
        } else {
            ""
        },
        one.millis,
        one.log_bytes / 1e3,
        one.reads,
        one.writes,
        rounded_volume(months.break_even(0, 1)),
        rounded_volume(months.break_even(1, 5)),
        rounded_volume(months.break_even(5, 30)),
    );
    text.push_str("\n### Settings\n\nSums with one other setting.\n\n");
    head(&mut text, "setting");
    for audit in [Audit::Failures, Audit::Off] {
        row(
            &mut text,
            &format!("`log.audit = \"{}\"`", audit.name()),
            plans.map(|plan| dollars(of(Plan { audit, ..plan }).sum())),
        );
    }
    let traces = !plans[0].traces;
    row(
        &mut text,
        if traces {
            "`Tracing=Active`"
        } else {
            "`Tracing=PassThrough`"
        },
        plans.map(|plan| dollars(of(Plan { traces, ..plan }).sum())),
    );
    let kafka = |month: &Month| month.sum() - month.stream + month.kafka;
    row(
        &mut text,
        "`Source=msk`, two brokers kafka.t3.small of 10 GB or 7 days, one topic",
        defaults.each_ref().map(|month| dollars(kafka(month))),
    );
    row(
        &mut text,
        "`Source=msk`, `Destinations=together`",
        plans.map(|plan| {
            dollars(kafka(&of(Plan {
                mode: Mode::Together,
                ..plan
            })))
        }),
    );
    let [all, failures, off] = Audit::ALL.map(|audit| months.bytes(audit));
    let _ = write!(
        text,
        "\nOf a record `log.audit = \"all\"` writes {:.0} bytes, `failures` {:.0}, `off` {:.0}; an \
         invocation's other lines have {:.1} kB, {:.1} kB and {:.1} kB, beside 0.8 kB of Lambda's \
         own. A function writes a line also for records of the other destination.\n",
        all[0],
        failures[0],
        off[0],
        all[1] / 1e3,
        failures[1] / 1e3,
        off[1] / 1e3,
    );
    text.push_str(
        "\n### Prices\n\nA price with \"no\" was not confirmed on that day.\n\n\
         | price | USD | confirmed |\n| --- | ---: | --- |\n",
    );
    for price in months.prices.all() {
        let confirmed = match &price.confirmed {
            Some(page) => format!("[yes]({page})"),
            None => "no".to_owned(),
        };
        let _ = writeln!(
            text,
            "| [{}]({}) | {} | {confirmed} |",
            price.unit, price.source, price.usd
        );
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn rounded_volume(changes: u64) -> String {
    rounded(changes as f64)
}
