//! Whole runs of the binary with a Runtime API; the mocks run on a separate thread.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use testkit::harness::Mocks;
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::Endpoint as SalesforceCall;
use testkit::runtime_api::{Function, InvocationOutcome};
use tokio::runtime::Runtime;

use crate::record;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");

/// Time limit of an invocation.
const TIME: Duration = Duration::from_mins(1);

const STARTS: usize = 40;
const WARMING: usize = 20;
const INVOCATIONS: usize = 400;
/// Number of records of an invocation.
pub(crate) const BATCH: usize = 100;

/// Number of records of Lambda's largest event, 6 MB.
pub(crate) const LARGEST: usize = 3400;

/// Latency of the destinations in the comparison of both with the slower one.
const LATENCY: Duration = Duration::from_millis(300);

/// Results of the measurement.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Times from the start of the process to its first poll, sorted.
    pub(crate) starts: Vec<Duration>,
    /// Times of invocations without the time of the mocks, sorted.
    pub(crate) own_times: Vec<Duration>,
    /// CPU time per record.
    pub(crate) cpu: Duration,
    /// Numbers of API calls per thousand records, in batches of [`BATCH`] and of a thousand.
    pub(crate) calls: [usize; 2],
    /// Peak memory of the process, for an event of [`LARGEST`] records.
    pub(crate) peak_kib: u64,
    pub(crate) event_bytes: usize,
    /// Time of an invocation with records of both destinations, and time of an invocation with
    /// records of the slower destination alone.
    pub(crate) both: Duration,
    pub(crate) slower: Duration,
}

/// Runs all measurements.
pub(crate) async fn measure() -> Result<Measured, String> {
    let builder = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = builder.map_err(|error| error.to_string())?;
    let (quick, slow) = (
        mocks(&runtime, Duration::ZERO).await?,
        mocks(&runtime, LATENCY).await?,
    );
    let starts = starts(&quick).await?;
    let (own_times, cpu, calls) = invocations(&quick).await?;
    let (peak_kib, event_bytes) = largest(&quick).await?;
    let (both, slower) = in_parallel(&slow).await?;
    let violations = [quick.violations(), slow.violations()].concat();
    runtime.shutdown_background();
    if let Some(violation) = violations.first() {
        return Err(format!("a protocol violation: {violation}"));
    }
    Ok(Measured {
        starts,
        own_times,
        cpu,
        calls,
        peak_kib,
        event_bytes,
        both,
        slower,
    })
}

/// Starts the mocks on threads of `runtime`, with this latency.
async fn mocks(runtime: &Runtime, latency: Duration) -> Result<Mocks, String> {
    let starting = Mocks::start_with(
        move |behavior| behavior.latency = latency,
        move |behavior| behavior.latency = latency,
    );
    runtime
        .spawn(starting)
        .await
        .map_err(|error| error.to_string())
}

/// Starts the binary with the mocks alone.
async fn start(mocks: &Mocks) -> Function {
    let mut variables = mocks.variables();
    for (name, value) in [
        ("CONTACT_SYNC_PRESET", "local"),
        ("CONTACT_SYNC__LOG__AUDIT", "off"),
        (
            "CONTACT_SYNC__SALESFORCE__RATE_LIMIT",
            "{ requests = 100_000, per_ms = 1000 }",
        ),
        (
            "CONTACT_SYNC__HUBSPOT__RATE_LIMIT",
            "{ requests = 100_000, per_ms = 1000 }",
        ),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    Function::start(Path::new(BINARY), &variables).await
}

async fn starts(mocks: &Mocks) -> Result<Vec<Duration>, String> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let mut function = start(mocks).await;
        starts.push(
            function
                .time_to_first_poll()
                .await
                .ok_or("the function did not start")?,
        );
        function.kill().await;
    }
    starts.sort_unstable();
    Ok(starts)
}

/// Invokes the function, and checks that all records are delivered. Returns the time.
pub(crate) async fn invoke(function: &mut Function, event: &Bytes) -> Result<Duration, String> {
    let started = Instant::now();
    let outcome = function.invoke(event.clone(), "bench", TIME).await;
    let took = started.elapsed();
    match &outcome {
        InvocationOutcome::Answer(answer)
            if answer["batchItemFailures"]
                .as_array()
                .is_some_and(Vec::is_empty) =>
        {
            Ok(took)
        }
        outcome => Err(format!("an invocation failed: {outcome:?}")),
    }
}

/// Measures own times, CPU time per record, and calls per thousand records.
async fn invocations(mocks: &Mocks) -> Result<(Vec<Duration>, Duration, [usize; 2]), String> {
    let mut function = start(mocks).await;
    let event = Bytes::from(record::event(BATCH, BATCH));
    for _ in 0..WARMING {
        invoke(&mut function, &event).await?;
    }
    let (cpu_before, calls_before) = (cpu(&function)?, calls(mocks));
    let mut own_times = Vec::new();
    for _ in 0..INVOCATIONS {
        let before = busy(mocks);
        let took = invoke(&mut function, &event).await?;
        own_times.push(took.saturating_sub(busy(mocks).saturating_sub(before)));
    }
    own_times.sort_unstable();
    let records = u32::try_from(INVOCATIONS * BATCH).expect("fits");
    let cpu = cpu(&function)?.saturating_sub(cpu_before);
    let of_batches = (calls(mocks) - calls_before) * 1000 / (INVOCATIONS * BATCH);
    let calls_before = calls(mocks);
    invoke(&mut function, &record::event(1000, 1000).into()).await?;
    let of_thousand = calls(mocks) - calls_before;
    Ok((own_times, cpu / records, [of_batches, of_thousand]))
}

/// Measures the peak memory for the largest event. Returns it with the size of the event.
async fn largest(mocks: &Mocks) -> Result<(u64, usize), String> {
    let mut function = start(mocks).await;
    let event = Bytes::from(record::event(LARGEST, LARGEST));
    invoke(&mut function, &event).await?;
    let status = read(&function, "status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
    let peak = peak
        .and_then(|peak| peak.trim().parse().ok())
        .ok_or("the peak cannot be read")?;
    Ok((peak, event.len()))
}

/// Measures an invocation with records of both destinations, and an invocation with records of the
/// slower destination alone.
async fn in_parallel(slow: &Mocks) -> Result<(Duration, Duration), String> {
    let mut function = start(slow).await;
    let mut times = Vec::new();
    let types: [&[&str]; 4] = [
        &["lead", "customer"],
        &["lead", "customer"],
        &["lead"],
        &["customer"],
    ];
    for (types, count) in types.into_iter().zip([200, 200, 100, 100]) {
        times.push(invoke(&mut function, &record::event_of(count, count, types).into()).await?);
    }
    // The first invocation opens the connections and gets the token.
    Ok((times[1], times[2].max(times[3])))
}

fn busy(mocks: &Mocks) -> Duration {
    mocks.salesforce_server.busy() + mocks.hubspot_server.busy()
}

fn calls(mocks: &Mocks) -> usize {
    mocks.salesforce.count(SalesforceCall::Upsert) + mocks.hubspot.count(HubSpotCall::Upsert)
}

/// Returns the CPU time of all threads of the process.
pub(crate) fn cpu(function: &Function) -> Result<Duration, String> {
    let id = function.id().ok_or("the function has ended")?;
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).map_err(|error| error.to_string())?;
    let nanos = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Ok(Duration::from_nanos(nanos.sum()))
}

fn read(function: &Function, file: &str) -> Result<String, String> {
    let id = function.id().ok_or("the function has ended")?;
    std::fs::read_to_string(format!("/proc/{id}/{file}")).map_err(|error| error.to_string())
}
