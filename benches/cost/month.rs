//! Cost of a month, from measured figures and the list of prices.
//!
//! Measured, with the release binary: the bytes that an invocation logs, its time on the fraction
//! of a processor that 512 MB buy, its calls of the table and of the systems. Simulated, by the
//! poller of `lag.rs` in virtual time: the invocations of a month, and their records.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::first::Throttle;
use crate::lag::{self, Deployed, SHARDS};
use crate::record;

const PRICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/prices.toml");
const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/template.yaml");

/// Changes a month.
pub(crate) const VOLUMES: [u64; 4] = [10_000, 1_000_000, 10_000_000, 100_000_000];

/// Seconds and hours of a month of 30.4 days.
const MONTH: f64 = 2_628_000.0;
const HOURS: f64 = 730.0;

/// Records of the measured invocations. Figures between two of them are interpolated.
const SIZES: [usize; 5] = [1, 10, 100, 300, 1000];

/// Measured invocations of each size, after the first.
const REPEATS: u32 = 4;

/// Bytes of Lambda's own lines of an invocation in its JSON format: `platform.start`,
/// `platform.report` with the ids of the trace. By the fields that AWS documents.
/// <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>
const PLATFORM_BYTES: f64 = 750.0;

/// Bytes of a record in the stream: the data of the bench's record fits 1 KB, which is the least
/// that is billed.
const RECORD_BYTES: f64 = 1024.0;

/// Memory of the function, in GB.
const MEMORY: f64 = 0.5;

/// Simulated batches and records, at most.
const BATCHES: usize = 3000;
const RECORDS: usize = 200_000;

/// Records of a call of Salesforce and of HubSpot.
const FULL: [usize; 2] = [200, 100];

/// Brokers of Amazon MSK, each with a copy of every record, and the least storage of one in GB.
const BROKERS: f64 = 2.0;
const BROKER_GB: f64 = 10.0;

/// Days for which a record is kept.
const KEPT_DAYS: f64 = 7.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    pub(crate) region: String,
    pub(crate) read: String,
    price: BTreeMap<String, Price>,
    stack: BTreeMap<String, Stack>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    pub(crate) usd: f64,
    pub(crate) unit: String,
    pub(crate) source: String,
    pub(crate) confirmed: Option<String>,
}

/// What the templates make.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stack {
    metrics: u32,
    alarm_metrics: u32,
    dashboards: u32,
}

impl Prices {
    pub(crate) fn read() -> Result<Self, String> {
        let text = std::fs::read_to_string(PRICES).map_err(|error| format!("{PRICES}: {error}"))?;
        toml::from_str(&text).map_err(|error| format!("{PRICES}: {error}"))
    }

    fn usd(&self, name: &str) -> f64 {
        self.price[name].usd
    }

    /// Returns the prices by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Price> {
        self.price.values()
    }
}

/// Functions of a deployment, by the parameter `Destinations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Separate,
    Together,
}

impl Mode {
    pub(crate) const BOTH: [Self; 2] = [Self::Separate, Self::Together];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Separate => "separate",
            Self::Together => "together",
        }
    }

    fn functions(self) -> &'static [Serves] {
        match self {
            Self::Separate => &[Serves::Salesforce, Serves::HubSpot],
            Self::Together => &[Serves::Both],
        }
    }
}

/// Systems of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Serves {
    Salesforce,
    HubSpot,
    Both,
}

impl Serves {
    const ALL: [Self; 3] = [Self::Salesforce, Self::HubSpot, Self::Both];

    fn destinations(self) -> &'static str {
        match self {
            Self::Salesforce => "[\"salesforce\"]",
            Self::HubSpot => "[\"hubspot\"]",
            Self::Both => "[]",
        }
    }

    fn systems(self) -> [bool; 2] {
        [self != Self::HubSpot, self != Self::Salesforce]
    }
}

/// Setting `log.audit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Audit {
    All,
    Failures,
    Off,
}

impl Audit {
    pub(crate) const ALL: [Self; 3] = [Self::All, Self::Failures, Self::Off];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failures => "failures",
            Self::Off => "off",
        }
    }
}

/// Figures of an invocation with one of [`SIZES`] records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) millis: f64,
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    pub(crate) log_bytes: f64,
}

/// Figures of a function by the number of records in the event.
#[derive(Clone, Debug)]
struct Measured([Figures; SIZES.len()]);

impl Measured {
    fn at(&self, records: usize) -> Figures {
        let above = SIZES.iter().position(|size| *size >= records);
        let above = above.unwrap_or(SIZES.len() - 1).max(1);
        let (low, high) = (count(SIZES[above - 1]), count(SIZES[above]));
        let part = ((count(records) - low) / (high - low)).clamp(0.0, 1.0);
        let between = |of: fn(&Figures) -> f64| {
            let (low, high) = (of(&self.0[above - 1]), of(&self.0[above]));
            low + (high - low) * part
        };
        Figures {
            millis: between(|of| of.millis),
            reads: between(|of| of.reads),
            writes: between(|of| of.writes),
            log_bytes: between(|of| of.log_bytes),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn whole(number: u64) -> f64 {
    number as f64
}

/// All measured figures, and the prices.
#[derive(Debug)]
pub(crate) struct Months {
    pub(crate) prices: Prices,
    measured: BTreeMap<(Serves, Audit), Measured>,
    /// Defaults of the template.
    pub(crate) window: u64,
    batch_size: usize,
    traces: bool,
}

/// Measures the figures.
pub(crate) async fn measure() -> Result<Months, String> {
    let mut runs = Vec::new();
    for serves in Serves::ALL {
        for audit in Audit::ALL {
            runs.push(figures(serves, audit));
        }
    }
    let mut measured = BTreeMap::new();
    let mut times: BTreeMap<Serves, Times> = BTreeMap::new();
    for run in try_join_all(runs).await? {
        let all = times.entry(run.serves).or_default();
        for (all, times) in all.iter_mut().zip(run.times) {
            all.extend(times);
        }
        measured.insert((run.serves, run.audit), Measured(run.figures));
    }
    // The lines of the audit trail take less time than the measurement varies.
    for ((serves, _), Measured(figures)) in &mut measured {
        for (figures, times) in figures
            .iter_mut()
            .zip(&mut times.get_mut(serves).expect("run")[..])
        {
            times.sort_by(f64::total_cmp);
            figures.millis = times[times.len() / 2];
        }
    }
    Ok(Months {
        prices: Prices::read()?,
        measured,
        window: template_default("BatchWindowSeconds")?
            .parse()
            .map_err(|_| "a number")?,
        batch_size: template_default("BatchSize")?
            .parse()
            .map_err(|_| "a number")?,
        traces: template_default("Tracing")? == "Active",
    })
}

/// Returns the default of a parameter of the template.
fn template_default(name: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(TEMPLATE).map_err(|error| error.to_string())?;
    let parameter = text.split(&format!("\n  {name}:\n")).nth(1);
    let default = parameter.and_then(|text| text.split("    Default: ").nth(1)?.lines().next());
    Ok(default
        .ok_or_else(|| format!("no {name}"))?
        .trim_matches('"')
        .to_owned())
}

/// Times of the invocations of each size, in milliseconds.
type Times = [Vec<f64>; SIZES.len()];

/// Result of the invocations of one function.
struct Run {
    serves: Serves,
    audit: Audit,
    figures: [Figures; SIZES.len()],
    times: Times,
}

/// Invokes a function with events of each size.
async fn figures(serves: Serves, audit: Audit) -> Result<Run, String> {
    let settings = [
        ("PIPELINE__DESTINATIONS", serves.destinations()),
        ("LOG__AUDIT", audit.name()),
    ];
    let settings =
        settings.map(|(name, value)| (format!("CONTACT_SYNC__{name}"), value.to_owned()));
    let deployed = Deployed::start(settings.into()).await;
    let mut function = deployed.environment().await?;
    let throttle = Throttle::start(&function);
    let mut all = [Figures::default(); SIZES.len()];
    let mut all_times = Times::default();
    for ((size, figures), times) in SIZES.into_iter().zip(&mut all).zip(&mut all_times) {
        let event = record::event(size, size);
        for repeat in 0..=REPEATS {
            // Slots of the rate limit, and lines, of the invocation before it.
            sleep_until(Instant::now() + Duration::from_millis(400)).await;
            let (lines, before) = (function.lines().len(), deployed.table.calls());
            let started = Instant::now();
            lag::delivered(&function.invoke(event.clone(), "month", lag::TIME).await)?;
            let took = started.elapsed();
            if repeat == 0 {
                continue;
            }
            sleep_until(Instant::now() + Duration::from_millis(50)).await;
            let after = deployed.table.calls();
            let lines = function.lines().split_off(lines);
            let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
            times.push(took.as_secs_f64() * 1e3);
            figures.reads += whole(after[0] - before[0]) / f64::from(REPEATS);
            figures.writes += whole(after[1] - before[1]) / f64::from(REPEATS);
            figures.log_bytes += count(bytes) / f64::from(REPEATS);
        }
    }
    drop(throttle);
    function.kill().await;
    Ok(Run {
        serves,
        audit,
        figures: all,
        times: all_times,
    })
}

/// Deployment whose month is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) volume: u64,
    pub(crate) window: u64,
    pub(crate) audit: Audit,
    pub(crate) traces: bool,
}

/// Cost of a month in USD, and what it is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Month {
    pub(crate) invocations: f64,
    pub(crate) records_each: f64,
    pub(crate) stream: f64,
    pub(crate) kafka: f64,
    pub(crate) lambda: f64,
    pub(crate) logs: f64,
    pub(crate) traces: f64,
    pub(crate) table: f64,
    pub(crate) secrets: f64,
    pub(crate) metrics: f64,
    /// Calls of Salesforce and of HubSpot in a day.
    pub(crate) calls_a_day: [f64; 2],
}

impl Month {
    /// Returns the sum with a stream of Kinesis.
    pub(crate) fn sum(&self) -> f64 {
        self.stream + self.of_records() + self.secrets + self.metrics
    }

    /// Returns the part that grows with the records, without the stream.
    pub(crate) fn of_records(&self) -> f64 {
        self.lambda + self.logs + self.traces + self.table
    }
}

impl Months {
    /// Returns the plan with the defaults of the template.
    pub(crate) fn default_plan(&self, volume: u64) -> Plan {
        Plan {
            mode: Mode::Separate,
            volume,
            window: self.window,
            audit: Audit::All,
            traces: self.traces,
        }
    }

    /// Returns the figures of an invocation with one record, by audit, of a function of its own for
    /// Salesforce.
    pub(crate) fn of_one(&self, audit: Audit) -> Figures {
        self.measured[&(Serves::Salesforce, audit)].at(1)
    }

    /// Returns the bytes of the lines of a record and of an invocation, of a function for both
    /// systems.
    pub(crate) fn bytes(&self, audit: Audit) -> [f64; 2] {
        let measured = &self.measured[&(Serves::Both, audit)];
        let [low, high] = [300, 1000].map(|records| measured.at(records).log_bytes);
        let each = (high - low) / 700.0;
        [each, measured.at(1).log_bytes - each]
    }

    /// Computes the cost of a month.
    pub(crate) fn month(&self, plan: Plan) -> Month {
        let usd = |name: &str| self.prices.usd(name);
        let functions = plan.mode.functions();
        let volume = whole(plan.volume);
        let mut month = Month::default();
        for serves in functions {
            let measured = &self.measured[&(*serves, plan.audit)];
            let time = |records| Duration::from_secs_f64(measured.at(records).millis / 1e3);
            let batches = batches(volume / MONTH, plan.window, self.batch_size, &time);
            let records: usize = batches.iter().sum();
            let mut random = fastrand::Rng::with_seed(plan.volume);
            // Of a month.
            let factor = volume / count(records);
            let invocations = count(batches.len()) * factor;
            month.invocations += invocations;
            month.records_each = volume / invocations;
            for records in batches {
                let figures = measured.at(records);
                let seconds = figures.millis.ceil() / 1e3;
                month.lambda += factor * seconds * MEMORY * usd("lambda_gb_second");
                let bytes = figures.log_bytes + PLATFORM_BYTES;
                month.logs += factor * bytes / 1e9 * usd("logs_gb");
                month.table += factor * figures.reads / 1e6 * usd("table_million_reads")
                    + factor * figures.writes / 1e6 * usd("table_million_writes");
                for (system, calls) in calls(*serves, records, &mut random).into_iter().enumerate()
                {
                    month.calls_a_day[system] += factor * count(calls) * 86_400.0 / MONTH;
                }
            }
            month.lambda += invocations / 1e6 * usd("lambda_million_requests");
            if plan.traces {
                month.traces += traces(invocations) / 1e6 * usd("trace_million");
            }
        }
        let stack = self.prices.stack[plan.mode.name()];
        month.metrics = f64::from(stack.metrics) * usd("metric_month")
            + f64::from(stack.alarm_metrics) * usd("alarm_metric_month")
            + f64::from(stack.dashboards) * usd("dashboard_month");
        month.secrets = 2.0 * usd("secret_month");
        let gb = volume * RECORD_BYTES / 1024.0_f64.powi(3);
        let gb_a_day = gb / (HOURS / 24.0);
        // The first day is free.
        let kept = gb_a_day * (KEPT_DAYS - 1.0);
        month.stream = HOURS * usd("kinesis_stream_hour")
            + gb * usd("kinesis_gb_in")
            + gb * count(functions.len()) * usd("kinesis_gb_out")
            + kept * usd("kinesis_gb_month");
        // One topic: each function has a mapping with a poller of its own, and the units are not
        // shared.
        month.kafka = HOURS * BROKERS * usd("msk_broker_hour")
            + BROKERS * BROKER_GB.max(gb_a_day * KEPT_DAYS) * usd("msk_gb_month")
            + HOURS * count(functions.len()) * usd("poller_hour");
        month
    }

    /// Returns the number of changes a month from which one window costs at least a dollar less
    /// than another, within a tenth.
    pub(crate) fn break_even(&self, shorter: u64, longer: u64) -> u64 {
        let mut volume = VOLUMES[0];
        while volume < VOLUMES[3] {
            let of = |window| {
                let plan = self.default_plan(volume);
                self.month(Plan { window, ..plan }).of_records()
            };
            if of(shorter) - of(longer) >= 1.0 {
                break;
            }
            volume += volume / 10;
        }
        volume
    }
}

/// Returns the traces that X-Ray records: the first invocation of each second, and 5 % of the
/// others.
fn traces(invocations: f64) -> f64 {
    let rate = invocations / MONTH;
    let first = 1.0 - (-rate).exp();
    (first + 0.05 * (rate - first)) * MONTH
}

/// Returns the calls of Salesforce and HubSpot for an event, half of whose records each has.
fn calls(serves: Serves, records: usize, random: &mut fastrand::Rng) -> [usize; 2] {
    let leads = (0..records).filter(|_| random.bool()).count();
    let mut calls = [leads, records - leads];
    for ((calls, full), serves) in calls.iter_mut().zip(FULL).zip(serves.systems()) {
        *calls = if serves { calls.div_ceil(full) } else { 0 };
    }
    calls
}

/// Returns the records of each batch of one shard, of a stream with this rate in a second.
fn batches(
    rate: f64,
    window: u64,
    batch_size: usize,
    time: &dyn Fn(usize) -> Duration,
) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(1);
    let rate = rate / count(SHARDS);
    let window = Duration::from_secs(window);
    let first_read = Duration::ZERO;
    let mut arrives = lag::gap(&mut random, rate);
    let (mut batches, mut records, mut free) = (Vec::new(), 0, Duration::ZERO);
    while batches.len() < BATCHES && records < RECORDS {
        let closes = lag::read_at(first_read, arrives).max(free) + window;
        let (mut batch, mut due) = (0, closes);
        while batch < batch_size && lag::read_at(first_read, arrives) <= closes {
            due = lag::read_at(first_read, arrives);
            batch += 1;
            arrives += lag::gap(&mut random, rate);
        }
        if batch < batch_size {
            due = closes;
        }
        free = due.max(free) + time(batch);
        records += batch;
        batches.push(batch);
    }
    batches
}

/// Formats a number of USD.
pub(crate) fn dollars(usd: f64) -> String {
    if usd >= 10.0 {
        format!("{usd:.0}")
    } else {
        format!("{usd:.2}")
    }
}
