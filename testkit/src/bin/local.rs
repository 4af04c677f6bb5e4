//! `make run`: delivers a generated stream to the handler with both mocks, injects faults, and
//! compares the destinations with the source, contact by contact. With a `FORMAT`, the stream
//! carries the rows of a table in the format of a change feed. With `--serve`, serves only the
//! mocks, for `make watch`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contact_sync::lambda::Handler;
use contact_sync::settings::Preset;
use contact_sync::telemetry::{JsonLogLayer, LogFormat};
use serde_json::Value;
use testkit::feed::{Expected, FeedFormat, FeedRecord, TableFeed};
use testkit::generator::{Generated, MockStreamGenerator, Plan, attribute_settings};
use testkit::harness::Mocks;
use testkit::kinesis::{Invocation, InvocationOutcome, Mapping, Record, Report, Stream};
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::Endpoint as SalesforceCall;
use testkit::server::Answer;
use testkit::source::Source;
use tracing_subscriber::layer::SubscriberExt;

const SHARDS: usize = 4;
const BATCH: usize = 500;

/// Sums of the metrics, by destination ("" for the invocation) and name.
type Sums = Arc<Mutex<BTreeMap<(String, String), u64>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--serve") {
        return serve().await;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("\nFAILED: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves the mocks until the process ends. Prints the variables of the mocks first.
async fn serve() -> ExitCode {
    let mocks = Mocks::start_with(|_| {}, |behavior| behavior.require_a_name = false).await;
    say("CONTACT_SYNC_PRESET=local");
    for (name, value) in mocks.variables() {
        say(&format!("{name}={value}"));
    }
    say("# ready");
    std::future::pending().await
}

async fn run() -> Result<(), String> {
    let (plan, format) = (plan()?, feed_format()?);
    let sums = Sums::default();
    listen(Arc::clone(&sums));
    let mocks = Mocks::start().await;
    inject_faults(&mocks);
    let handler = mocks.handler(
        Preset::Local,
        &format!(
            "{SETTINGS}{}{}",
            attribute_settings(),
            format.map(FeedFormat::settings).unwrap_or_default()
        ),
    );

    let records = records(plan, format);
    let mut source = Source::default();
    for record in &records {
        if let Expected::Change(change) = &record.expected {
            source.apply(change, None);
        }
    }
    say(&format!(
        "{} records{} of {} contacts in {SHARDS} shards, batches of {BATCH}, SEED={}\n\
         injected faults: invalid records, row locks, throttling, a rotated token,\n\
         an outage of HubSpot\n",
        records.len(),
        match format {
            Some(format) => format!(" of {}", format.name()),
            None => String::new(),
        },
        plan.contacts,
        plan.seed
    ));
    let mut stream = Stream::new(SHARDS);
    for record in &records {
        stream.put(&record.partition_key, &record.data, Duration::ZERO);
    }
    let started = Instant::now();
    let report = feed(&handler, &stream, &mocks).await?;
    let took = started.elapsed();
    table(
        &sums.lock().expect("no panic"),
        &mocks,
        records.len(),
        report.records(),
        took,
    );

    let differences = mocks.differences(&source);
    let violations = mocks.violations();
    if let Some(violation) = violations.first() {
        return Err(format!(
            "{} protocol violations, the first: {violation}",
            violations.len()
        ));
    }
    if let Some(difference) = differences.first() {
        return Err(format!(
            "{} contacts differ, the first: {difference}",
            differences.len()
        ));
    }
    say(&format!(
        "\nBoth systems equal the source: {} leads in Salesforce, {} contacts in HubSpot, \
         compared field by field.",
        mocks.salesforce.leads().len(),
        mocks.hubspot.contacts().len()
    ));
    Ok(())
}

/// Rate limits and backoffs that are short enough for a local run.
const SETTINGS: &str = "
[salesforce]
rate_limit = { requests = 1000, per_ms = 1000 }
retry = { base_delay_ms = 5, max_delay_ms = 100 }
[hubspot]
rate_limit = { requests = 1000, per_ms = 1000 }
retry = { base_delay_ms = 5, max_delay_ms = 100 }
";

/// Generates the records: changes, or the rows of a table in the format of a feed.
fn records(plan: Plan, feed: Option<FeedFormat>) -> Vec<FeedRecord> {
    let Some(format) = feed else {
        return MockStreamGenerator::new(plan).map(of_change).collect();
    };
    // A table has its changes in one order.
    let plan = Plan {
        one_late_in: 0,
        ..plan
    };
    let mut table = TableFeed::new(format, plan.seed);
    let mut records = Vec::new();
    for record in MockStreamGenerator::new(plan) {
        records.extend(table.records(&record));
    }
    records
}

/// Converts a generated change, whose data is the change.
fn of_change(generated: Generated) -> FeedRecord {
    FeedRecord {
        partition_key: generated.partition_key,
        data: generated.data,
        expected: match generated.change {
            Some(change) => Expected::Change(change),
            None => Expected::Rejected,
        },
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "FORMAT is this example's argument, not a setting"
)]
fn feed_format() -> Result<Option<FeedFormat>, String> {
    let name = std::env::var("FORMAT").unwrap_or_default();
    if matches!(&*name, "" | "contact-change") {
        return Ok(None);
    }
    if let Some(format) = FeedFormat::from_name(&name) {
        return Ok(Some(format));
    }
    let names = FeedFormat::ALL.map(FeedFormat::name).join(", ");
    Err(format!(
        "FORMAT is `{name}`; allowed: contact-change, {names}"
    ))
}

fn plan() -> Result<Plan, String> {
    let mut plan = Plan::default();
    if let Some(seed) = variable("SEED")? {
        plan.seed = seed;
    }
    if let Some(records) = variable("RECORDS")? {
        plan.records = usize::try_from(records).map_err(|error| error.to_string())?;
        plan.contacts = (plan.records / 4).max(1);
    }
    Ok(plan)
}

#[expect(
    clippy::disallowed_methods,
    reason = "SEED and RECORDS are this example's arguments, not settings"
)]
fn variable(name: &str) -> Result<Option<u64>, String> {
    let Ok(value) = std::env::var(name) else {
        return Ok(None);
    };
    value
        .parse()
        .map(Some)
        .map_err(|_| format!("{name} is `{value}`; allowed: a number"))
}

/// Injects the faults that last for the whole run.
fn inject_faults(mocks: &Mocks) {
    mocks.salesforce.throttle_every(11);
    mocks.salesforce.lock_every(97);
    mocks.hubspot.throttle_every(13);
}

/// Time limit of a run, longer than any run takes.
const TIME_LIMIT: Duration = Duration::from_mins(10);

/// Delivers the stream to the handler by a mapping with short backoffs. The mapping retries whole
/// batches, so that the printed numbers can be compared with the number of contacts.
async fn feed(handler: &Handler, stream: &Stream, mocks: &Mocks) -> Result<Report, String> {
    let backoff = (Duration::from_millis(200), Duration::from_millis(1600));
    let mapping = Mapping {
        batch_size: BATCH,
        bisect: false,
        backoff,
        ..Mapping::default()
    };
    let (done, invocations, is_down) = (Cell::new(0), Cell::new(0), Cell::new(false));
    let function = async |invocation: Invocation| {
        invocations.set(invocations.get() + 1);
        inject_timed_faults(invocations.get(), mocks);
        let records = invocation.records.clone();
        let outcome = invocation.handle(handler).await;
        let settled = settled(&outcome, &records);
        if settled > 0 {
            done.set(done.get() + settled);
            progress(done.get(), stream.len());
        } else if !is_down.replace(true) {
            say("\na destination is unavailable: its records are retried until it is available");
        }
        outcome
    };
    let drained = tokio::time::timeout(TIME_LIMIT, mapping.drain(stream, function)).await;
    drained.map_err(|_| {
        format!(
            "the time limit is reached at record {} of {}",
            done.get(),
            stream.len()
        )
    })
}

/// Injects the faults of single invocations: rotates the credentials before the third batch of the
/// shards, and begins an outage before the sixth, which ends four invocations later.
fn inject_timed_faults(invocation: usize, mocks: &Mocks) {
    if invocation == 2 * SHARDS + 1 {
        mocks.salesforce.expire_tokens();
        mocks.hubspot.rotate_token("pat-mock-2");
        let secret = r#"{"access_token":"pat-mock-2"}"#;
        std::fs::write(mocks.hubspot_secret.path(), secret).expect("the file is ours");
    }
    if invocation == 5 * SHARDS + 1 {
        mocks
            .hubspot
            .reply_to_each(Answer::html(503, "<h1>Sorry</h1>"));
    }
    // By then each shard has met the outage.
    if invocation == 6 * SHARDS + 1 {
        mocks.hubspot.reply_normally();
    }
}

/// Returns the number of records by which a response moves the checkpoint.
fn settled(outcome: &InvocationOutcome, records: &[Arc<Record>]) -> usize {
    let InvocationOutcome::Answer(response) = outcome else {
        return 0;
    };
    let first_failed = &response["batchItemFailures"][0]["itemIdentifier"];
    records
        .iter()
        .position(|record| *first_failed == record.sequence_number)
        .unwrap_or(records.len())
}

fn progress(done: usize, total: usize) {
    if std::io::stdout().is_terminal() {
        let line = format!("\r{done:>8} of {total} records settled");
        let _ = std::io::stdout()
            .write_all(line.as_bytes())
            .and_then(|()| std::io::stdout().flush());
    } else {
        say(&format!("{done:>8} of {total} records settled"));
    }
}

fn table(
    sums: &BTreeMap<(String, String), u64>,
    mocks: &Mocks,
    records: usize,
    delivered: usize,
    took: Duration,
) {
    let sum = |destination: &str, name: &str| {
        sums.get(&(destination.to_owned(), name.to_owned()))
            .copied()
            .unwrap_or_default()
    };
    say("\n");
    say(&format!(
        "{:<22} {:>10} {:>10} {:>10}",
        "", "all", "salesforce", "hubspot"
    ));
    for name in [
        "RecordsDelivered",
        "RecordsSuperseded",
        "RecordsFiltered",
        "RecordsRejected",
        "RecordsFailed",
        "ApiCalls",
        "Retries",
        "RateLimited",
    ] {
        let [salesforce, hubspot] =
            ["salesforce", "hubspot"].map(|destination| sum(destination, name));
        let all = if name.starts_with("Records") {
            sum("", name)
        } else {
            salesforce + hubspot
        };
        say(&format!(
            "{name:<22} {all:>10} {salesforce:>10} {hubspot:>10}"
        ));
    }
    let writes = |upserts: usize, deletes: usize| format!("{upserts} upserts, {deletes} deletes");
    say(&format!(
        "\ncalls that wrote: Salesforce {}; HubSpot {}",
        writes(
            mocks.salesforce.count(SalesforceCall::Upsert),
            mocks.salesforce.count(SalesforceCall::Delete)
        ),
        writes(
            mocks.hubspot.count(HubSpotCall::Upsert),
            mocks.hubspot.count(HubSpotCall::Archive)
        ),
    ));
    say(&format!(
        "records received {delivered}: {records} and {} redelivered",
        delivered - records
    ));
    let rate = f64::from(u32::try_from(records).unwrap_or(u32::MAX)) / took.as_secs_f64();
    say(&format!(
        "{:.1} s, {rate:.0} records/s (an unoptimized build)",
        took.as_secs_f64()
    ));
}

/// Sums the metrics that the function emits, and prints its errors.
fn listen(sums: Sums) {
    let add = move |line: &str| {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let Some(metrics) = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array() else {
            if line["level"] == "ERROR" {
                say(&format!("\n{line}"));
            }
            return;
        };
        let destination = line["Destination"].as_str().unwrap_or_default();
        let mut sums = sums.lock().expect("no panic");
        for name in metrics.iter().filter_map(|metric| metric["Name"].as_str()) {
            let value = line[name].as_u64().unwrap_or_default();
            *sums
                .entry((destination.to_owned(), name.to_owned()))
                .or_default() += value;
        }
    };
    let lines = JsonLogLayer::new(tracing::Level::ERROR, LogFormat::Json, Box::new(add));
    // No subscriber is set before: this is the start of the process.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // An error of standard output cannot be reported.
    let _ = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush());
}
