//! End-to-end lag of a stream of changes, from the arrival of a record to the answer of its system.
//!
//! The release binary runs behind a Runtime API, once for each shard that is under way. The poller
//! of the event source mapping is simulated in real time: it reads each shard once a second, and
//! collects a batch until it is full or its window has ended. Both systems answer after [`ANSWER`],
//! the state table after [`TABLE`].

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::read::GzDecoder;
use futures_util::future::try_join_all;
use serde_json::json;
use tempfile::NamedTempFile;
use testkit::mock_aws::{Faults, MockAws};
use testkit::mock_hubspot::{self, MockHubSpot};
use testkit::mock_salesforce::MockSalesforce;
use testkit::runtime_api::{Function, InvocationOutcome};
use testkit::server::{Api, Reply, Request, Server};
use testkit::stream;
use tokio::time::{Instant, sleep_until};

use crate::process::BINARY;
use crate::record;
use crate::say;

/// Time after which a system answers a call.
pub(crate) const ANSWER: Duration = Duration::from_millis(150);

/// Time after which the state table answers a call.
pub(crate) const TABLE: Duration = Duration::from_millis(5);

/// Shards of a new stream on demand.
pub(crate) const SHARDS: usize = 4;

/// Time between two reads of a shard.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// Time limit of an invocation, as in the template.
pub(crate) const TIME: Duration = Duration::from_mins(2);

/// Length of the streams of up to a hundred changes a second, and of that of a thousand.
const SLOW: Duration = Duration::from_secs(80);
const FAST: Duration = Duration::from_secs(20);

/// Streams of one change a second, for enough records.
const STREAMS: u64 = 3;

/// Settings of the event source mapping, and the rate of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Changes a second.
    pub(crate) rate: u32,
    pub(crate) window: Duration,
    pub(crate) batch_size: usize,
}

const fn mapping(rate: u32, window: u64, batch_size: usize) -> Mapping {
    Mapping {
        rate,
        window: Duration::from_secs(window),
        batch_size,
    }
}

/// Mappings that are measured. A batch of a slower stream never reaches the smaller size.
const MAPPINGS: [Mapping; 15] = [
    mapping(1, 0, 1000),
    mapping(1, 1, 1000),
    mapping(1, 5, 1000),
    mapping(10, 0, 1000),
    mapping(10, 1, 1000),
    mapping(10, 5, 1000),
    mapping(100, 0, 1000),
    mapping(100, 1, 1000),
    mapping(100, 5, 100),
    mapping(100, 5, 1000),
    mapping(1000, 0, 1000),
    mapping(1000, 1, 100),
    mapping(1000, 1, 1000),
    mapping(1000, 2, 1000),
    mapping(1000, 5, 1000),
];

/// System whose lag is measured, with the function that serves it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    Salesforce,
    HubSpot,
}

impl Destination {
    pub(crate) const BOTH: [Self; 2] = [Self::Salesforce, Self::HubSpot];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Salesforce => "Salesforce",
            Self::HubSpot => "HubSpot",
        }
    }

    /// Returns the name of the destination in the settings.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Salesforce => "salesforce",
            Self::HubSpot => "hubspot",
        }
    }
}

/// Mean parts of the lag of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    /// Arrival to the read of the shard.
    pub(crate) poll: Duration,
    /// The shard's last batch is under way.
    pub(crate) last_batch: Duration,
    /// The batch window.
    pub(crate) window: Duration,
    /// Invocation to its first call, without a rate limit.
    pub(crate) own: Duration,
    /// First call to the record's own one, without a rate limit.
    pub(crate) queue: Duration,
    /// Slots of the rate limit: what the function's part is longer with the default limit.
    pub(crate) slots: Duration,
}

/// Lag of one mapping and destination.
#[derive(Clone, Debug)]
pub(crate) struct Lag {
    pub(crate) mapping: Mapping,
    pub(crate) destination: Destination,
    pub(crate) records: usize,
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
    pub(crate) parts: Parts,
    /// Calls of the destination in a day.
    pub(crate) calls_a_day: u64,
}

/// Measures all mappings and destinations, with streams of `percent` of their length.
pub(crate) async fn measure(percent: u32) -> Result<Vec<Lag>, String> {
    let (slow, fast): (Vec<_>, Vec<_>) = MAPPINGS.into_iter().partition(|of| of.rate < 1000);
    let mut runs = run_all(
        &slow,
        SLOW * percent / 100,
        &[Limit::Default, Limit::Lifted],
    )
    .await?;
    for limit in [Limit::Default, Limit::Lifted] {
        runs.extend(run_all(&fast, FAST * percent / 100, &[limit]).await?);
    }
    let mut all = Vec::new();
    for mapping in MAPPINGS {
        for destination in Destination::BOTH {
            let of = |limit| {
                let of = runs.iter().filter(|run| {
                    run.mapping == mapping && run.destination == destination && run.limit == limit
                });
                of.collect::<Vec<_>>()
            };
            all.push(lag(&of(Limit::Default), &of(Limit::Lifted))?);
        }
    }
    Ok(all)
}

/// Rate limit of the systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Default,
    Lifted,
}

/// Runs the mappings with all destinations and limits at once.
async fn run_all(
    mappings: &[Mapping],
    length: Duration,
    limits: &[Limit],
) -> Result<Vec<Run>, String> {
    let mut runs = Vec::new();
    let mut streams: HashMap<(u32, u64), Arc<Stream>> = HashMap::new();
    for mapping in mappings {
        for seed in 0..if mapping.rate == 1 { STREAMS } else { 1 } {
            let stream = streams
                .entry((mapping.rate, seed))
                .or_insert_with(|| Arc::new(Stream::new(mapping.rate, length, seed)));
            for destination in Destination::BOTH {
                for limit in limits {
                    runs.push(Run::of(*mapping, destination, *limit, Arc::clone(stream)));
                }
            }
        }
    }
    let mut ready = Vec::new();
    for run in runs {
        ready.push(run.await?);
    }
    say(&format!(
        "lag: {} streams of {} s",
        ready.len(),
        length.as_secs()
    ));
    let started = Instant::now() + Duration::from_millis(100);
    try_join_all(
        ready
            .into_iter()
            .map(|run| tokio::spawn(run.stream(started))),
    )
    .await
    .map_err(|error| error.to_string())?
    .into_iter()
    .collect()
}

fn lag(runs: &[&Run], lifted: &[&Run]) -> Result<Lag, String> {
    let first = runs.first().ok_or("no run")?;
    let records: Vec<&Delivered> = runs.iter().flat_map(|run| &run.delivered).collect();
    let mut lags: Vec<Duration> = records.iter().map(|record| record.lag()).collect();
    lags.sort_unstable();
    let lifted: Vec<&Delivered> = lifted.iter().flat_map(|run| &run.delivered).collect();
    let (own, queue) = (
        mean(&lifted, Delivered::own),
        mean(&lifted, Delivered::queue),
    );
    let parts = Parts {
        poll: mean(&records, |record| record.read - record.arrived),
        last_batch: mean(&records, |record| record.free - record.read),
        window: mean(&records, |record| record.invoked - record.free),
        own,
        queue,
        slots: mean(&records, |record| record.called - record.invoked).saturating_sub(own + queue),
    };
    let time: Duration = runs.iter().map(|run| run.length).sum();
    let calls: usize = runs.iter().map(|run| run.calls).sum();
    let per_day = calls as u128 * 86_400_000 / time.as_millis().max(1);
    Ok(Lag {
        mapping: first.mapping,
        destination: first.destination,
        records: records.len(),
        median: lags[lags.len() / 2],
        p99: lags[(lags.len() * 99 / 100).min(lags.len() - 1)],
        parts,
        calls_a_day: u64::try_from(per_day).unwrap_or(u64::MAX),
    })
}

fn mean(records: &[&Delivered], of: impl Fn(&Delivered) -> Duration) -> Duration {
    let sum: Duration = records.iter().map(|record| of(record)).sum();
    sum / u32::try_from(records.len().max(1)).expect("fits")
}

/// Record of the stream.
#[derive(Debug)]
struct Arriving {
    /// Index of its contact.
    id: usize,
    /// Time since the start.
    arrives: Duration,
    json: String,
}

/// Records by shard, and the time of the first read of each shard.
#[derive(Debug)]
struct Stream {
    shards: Vec<Vec<Arriving>>,
    first_reads: Vec<Duration>,
    length: Duration,
}

impl Stream {
    /// Builds a stream with random arrivals, half of its records for each system.
    fn new(rate: u32, length: Duration, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed * 1000 + u64::from(rate));
        let mut shards: Vec<Vec<Arriving>> = (0..SHARDS).map(|_| Vec::new()).collect();
        let (mut arrives, mut id) = (Duration::ZERO, 0);
        loop {
            arrives += gap(&mut random, f64::from(rate));
            if arrives > length {
                break;
            }
            let shard = random.usize(..SHARDS);
            let change = record::change(id, usize::MAX, &["lead", "customer"]).to_string();
            let at = shards[shard].len();
            let json = stream::record(shard, at, &format!("c-{id:06}"), change.as_bytes());
            shards[shard].push(Arriving {
                id,
                arrives,
                json: json.to_string(),
            });
            id += 1;
        }
        Self {
            shards,
            first_reads: (0..SHARDS).map(|_| POLL.mul_f64(random.f64())).collect(),
            length,
        }
    }
}

/// Returns the time between two arrivals, which are independent of each other.
pub(crate) fn gap(random: &mut fastrand::Rng, rate: f64) -> Duration {
    Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate)
}

/// Returns the time of the read that finds a record that arrived at `arrives`.
pub(crate) fn read_at(first_read: Duration, arrives: Duration) -> Duration {
    let late = arrives.saturating_sub(first_read);
    let reads = late.as_nanos().div_ceil(POLL.as_nanos());
    first_read + POLL * u32::try_from(reads).expect("fits")
}

/// Times of a delivered record.
#[derive(Clone, Copy, Debug)]
struct Delivered {
    arrived: Instant,
    read: Instant,
    /// Time from which the shard could be invoked with the record.
    free: Instant,
    invoked: Instant,
    first_call: Instant,
    called: Instant,
    answered: Instant,
}

impl Delivered {
    fn lag(&self) -> Duration {
        self.answered - self.arrived
    }

    fn own(&self) -> Duration {
        self.first_call - self.invoked
    }

    fn queue(&self) -> Duration {
        self.called - self.first_call
    }
}

/// Run of one stream through one function.
struct Run {
    mapping: Mapping,
    destination: Destination,
    limit: Limit,
    length: Duration,
    stream: Arc<Stream>,
    function: Deployed,
    delivered: Vec<Delivered>,
    calls: usize,
}

impl Run {
    async fn of(
        mapping: Mapping,
        destination: Destination,
        limit: Limit,
        stream: Arc<Stream>,
    ) -> Result<Self, String> {
        let mut settings = vec![(
            "CONTACT_SYNC__PIPELINE__DESTINATIONS".to_owned(),
            format!("[\"{}\"]", destination.key()),
        )];
        if limit == Limit::Lifted {
            let system = destination.key().to_uppercase();
            let limit = "{ requests = 100_000, per_ms = 1000 }".to_owned();
            settings.push((format!("CONTACT_SYNC__{system}__RATE_LIMIT"), limit));
        }
        let function = Deployed::start(settings).await;
        function
            .warm(if mapping.rate < 100 { 2 } else { SHARDS })
            .await?;
        Ok(Self {
            mapping,
            destination,
            limit,
            length: stream.length,
            stream,
            function,
            delivered: Vec::new(),
            calls: 0,
        })
    }

    /// Delivers the stream from `started` on.
    async fn stream(mut self, started: Instant) -> Result<Self, String> {
        let shards = self.stream.shards.iter().zip(&self.stream.first_reads);
        let batches = shards.map(|(records, first)| self.shard(records, *first, started));
        let batches = try_join_all(batches).await?;
        let mut calls: HashMap<usize, Seen> = HashMap::new();
        let seen = self.function.systems(self.destination).seen();
        self.calls = seen.len();
        for call in seen {
            for id in call.ids.iter() {
                calls.insert(*id, call.clone());
            }
        }
        for batch in batches.into_iter().flatten() {
            let called = |(id, _): &(usize, Duration)| calls.get(id).map(|call| call.at);
            let Some(first_call) = batch.records.iter().filter_map(called).min() else {
                continue;
            };
            for (id, arrives) in &batch.records {
                let Some(call) = calls.get(id) else { continue };
                let read = started + read_at(batch.first_read, *arrives);
                self.delivered.push(Delivered {
                    arrived: started + *arrives,
                    read,
                    free: read.max(batch.free),
                    invoked: batch.invoked,
                    first_call,
                    called: call.at,
                    answered: call.answered,
                });
            }
        }
        let expected: usize = self.stream.shards.iter().map(Vec::len).sum();
        if self.delivered.len() < expected / 3 {
            return Err(format!("{} of {expected} records", self.delivered.len()));
        }
        Ok(self)
    }

    /// Delivers a shard, batch by batch.
    async fn shard(
        &self,
        records: &[Arriving],
        first_read: Duration,
        started: Instant,
    ) -> Result<Vec<Batch>, String> {
        let (mut batches, mut next, mut free) = (Vec::new(), 0, Duration::ZERO);
        let read = |record: &Arriving| read_at(first_read, record.arrives);
        while let Some(first) = records.get(next) {
            let closes = read(first).max(free) + self.mapping.window;
            let fires = match records.get(next + self.mapping.batch_size - 1) {
                Some(last) => closes.min(read(last).max(free)),
                None => closes,
            };
            sleep_until(started + fires).await;
            let due = started.elapsed();
            let batch: Vec<&Arriving> = records[next..]
                .iter()
                .take(self.mapping.batch_size)
                .take_while(|record| read(record) <= due)
                .collect();
            next += batch.len();
            let texts: Vec<&str> = batch.iter().map(|record| &*record.json).collect();
            let event = format!("{{\"Records\":[{}]}}", texts.join(","));
            let invoked = self.function.invoke(event).await?;
            batches.push(Batch {
                records: batch
                    .iter()
                    .map(|record| (record.id, record.arrives))
                    .collect(),
                first_read,
                free: started + free,
                invoked,
            });
            free = started.elapsed();
        }
        Ok(batches)
    }
}

/// Delivered batch: its contacts with their arrival, and its times.
struct Batch {
    records: Vec<(usize, Duration)>,
    first_read: Duration,
    free: Instant,
    invoked: Instant,
}

/// Function with its environments, its systems and its table.
pub(crate) struct Deployed {
    variables: Vec<(String, String)>,
    idle: Mutex<Vec<Function>>,
    salesforce: Arc<Watched<MockSalesforce>>,
    hubspot: Arc<Watched<MockHubSpot>>,
    pub(crate) table: Arc<SlowTable>,
    _servers: [Server; 3],
    _secrets: [NamedTempFile; 2],
}

impl Deployed {
    /// Starts the systems and the table. `settings` are variables besides their addresses.
    pub(crate) async fn start(settings: Vec<(String, String)>) -> Self {
        let (salesforce, _own) = MockSalesforce::start_with(|mock| mock.latency = ANSWER).await;
        let (hubspot, _own) = MockHubSpot::start_with(|mock| mock.latency = ANSWER).await;
        let mut secret = salesforce.secret();
        let watched_salesforce = Watched::new(Arc::clone(&salesforce));
        let watched_hubspot = Watched::new(hubspot);
        let table = Arc::new(SlowTable::new());
        let servers = [
            Server::start(Arc::clone(&watched_salesforce)).await,
            Server::start(Arc::clone(&watched_hubspot)).await,
            Server::start(Arc::clone(&table)).await,
        ];
        let urls = servers.each_ref().map(Server::url);
        salesforce.set_instance_url(Some(urls[0].clone()));
        secret["login_url"] = json!(urls[0]);
        let secrets = [secret, json!({"access_token": mock_hubspot::TOKEN})].map(|secret| {
            let mut file = NamedTempFile::new().expect("a file");
            file.write_all(secret.to_string().as_bytes())
                .expect("written");
            file
        });
        let file = |secret: &NamedTempFile| format!("file:{}", secret.path().display());
        let mut variables = vec![
            ("CONTACT_SYNC_PRESET".to_owned(), "local".to_owned()),
            ("AWS_ENDPOINT_URL".to_owned(), urls[2].clone()),
        ];
        for (name, value) in [
            ("STATE__TABLE", "contact-sync".to_owned()),
            ("PIPELINE__CONCURRENCY_SHARE", SHARDS.to_string()),
            ("SALESFORCE__SECRET_ID", file(&secrets[0])),
            ("HUBSPOT__SECRET_ID", file(&secrets[1])),
            ("HUBSPOT__BASE_URL", urls[1].clone()),
        ] {
            variables.push((format!("CONTACT_SYNC__{name}"), value));
        }
        variables.extend(settings);
        Self {
            variables,
            idle: Mutex::default(),
            salesforce: watched_salesforce,
            hubspot: watched_hubspot,
            table,
            _servers: servers,
            _secrets: secrets,
        }
    }

    fn systems(&self, destination: Destination) -> &dyn Calls {
        match destination {
            Destination::Salesforce => &*self.salesforce,
            Destination::HubSpot => &*self.hubspot,
        }
    }

    /// Starts environments, and waits until they are ready.
    async fn warm(&self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let function = self.environment().await?;
            self.idle.lock().expect("sound").push(function);
        }
        Ok(())
    }

    /// Starts an environment.
    pub(crate) async fn environment(&self) -> Result<Function, String> {
        let mut function = Function::start(Path::new(BINARY), &self.variables).await;
        let polled = function.time_to_first_poll().await;
        polled.ok_or_else(|| format!("no start: {:?}", function.lines()))?;
        Ok(function)
    }

    /// Invokes an environment that is idle, or a new one. Returns the time of the invocation.
    async fn invoke(&self, event: String) -> Result<Instant, String> {
        let idle = self.idle.lock().expect("sound").pop();
        let mut function = match idle {
            Some(function) => function,
            None => self.environment().await?,
        };
        let invoked = Instant::now();
        delivered(&function.invoke(event, "lag", TIME).await)?;
        self.idle.lock().expect("sound").push(function);
        Ok(invoked)
    }
}

/// Checks that no record of an invocation failed.
pub(crate) fn delivered(outcome: &InvocationOutcome) -> Result<(), String> {
    match outcome {
        InvocationOutcome::Answer(answer) if answer["batchItemFailures"] == json!([]) => Ok(()),
        outcome => Err(format!("an invocation failed: {outcome:?}")),
    }
}

/// Call of a system that carries records.
#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    answered: Instant,
    ids: Arc<[usize]>,
}

/// Mock whose calls are recorded.
struct Watched<A> {
    api: Arc<A>,
    seen: Mutex<Vec<Seen>>,
}

impl<A> Watched<A> {
    fn new(api: Arc<A>) -> Arc<Self> {
        Arc::new(Self {
            api,
            seen: Mutex::default(),
        })
    }
}

/// Recorded calls.
trait Calls {
    fn seen(&self) -> Vec<Seen>;
}

impl<A> Calls for Watched<A> {
    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("sound").clone()
    }
}

impl<A: Api> Api for Watched<A> {
    fn reply(&self, request: &Request) -> Reply {
        let at = Instant::now();
        let reply = self.api.reply(request);
        let ids = ids(&request.body);
        if let Reply::Later(wait, _) = &reply
            && !ids.is_empty()
        {
            let (answered, ids) = (at + *wait, ids.into());
            self.seen
                .lock()
                .expect("sound")
                .push(Seen { at, answered, ids });
        }
        reply
    }
}

/// Returns the contacts of a request's body.
fn ids(body: &[u8]) -> Vec<usize> {
    const BEFORE: &[u8] = b"\"c-";
    let mut text = Vec::new();
    if body.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(body).read_to_end(&mut text).expect("gzip");
    } else {
        text.extend_from_slice(body);
    }
    let mut ids = Vec::new();
    for at in 0..text.len() {
        let Some(rest) = text[at..].strip_prefix(BEFORE) else {
            continue;
        };
        let digits: String = (rest.iter().take_while(|byte| byte.is_ascii_digit()))
            .map(|byte| char::from(*byte))
            .collect();
        ids.extend(digits.parse::<usize>());
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// State table that answers after [`TABLE`], and counts its calls.
pub(crate) struct SlowTable {
    aws: Arc<MockAws>,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl SlowTable {
    fn new() -> Self {
        Self {
            aws: MockAws::new(1, Faults::default()),
            reads: AtomicU64::default(),
            writes: AtomicU64::default(),
        }
    }

    /// Returns the number of reads and of writes so far.
    pub(crate) fn calls(&self) -> [u64; 2] {
        [&self.reads, &self.writes].map(|count| count.load(Relaxed))
    }
}

impl Api for SlowTable {
    fn reply(&self, request: &Request) -> Reply {
        match request.header("x-amz-target") {
            Some("DynamoDB_20120810.Query") => self.reads.fetch_add(1, Relaxed),
            Some("DynamoDB_20120810.UpdateItem" | "DynamoDB_20120810.PutItem") => {
                self.writes.fetch_add(1, Relaxed)
            }
            _ => 0,
        };
        match self.aws.reply(request) {
            Reply::Answer(answer) => Reply::Later(TABLE, answer),
            reply => reply,
        }
    }
}
