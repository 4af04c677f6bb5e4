//! Runs schedules over real sockets: the handler of the factory, against the strict mocks of both
//! systems, with broken connections, truncated and missing responses, and credentials that change
//! during the run.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::Preset;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use testkit::evidence::{ended, seeds, write_report};
use testkit::feed::{Expected, FeedFormat, FeedRecord, TableFeed};
use testkit::generator::{MockStreamGenerator, Plan, attribute_settings};
use testkit::harness::Mocks;
use testkit::kinesis::{Invocation, InvocationOutcome, Mapping, Report, Stream};
use testkit::mock_aws::{self, MockAws};
use testkit::mock_salesforce::{self, Endpoint, Subfault, refusal, row_error};
use testkit::server::{Answer, Reply, Server};
use testkit::source::Source;
use testkit::{aws, mock_hubspot};
use tokio::time::timeout;

use super::falsified::Falsified;
use super::laws::{
    Broken, DEAD_LETTER_MISSING, DeadLetters, HELD, NOT_DRAINED, PROTOCOL_VIOLATION, all_hold,
    count, in_order, key, no_protocol_violation, nothing_lost,
};
use super::numbers::Numbers;

/// The part that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Sound,
    /// Nothing is broken, and Salesforce gets several collections in a call.
    Collections,
    /// Both systems acknowledge writes that they do not make.
    ForgetfulSystems,
    /// A system has a limit of one record a call, where the adapter assumes more.
    NarrowSalesforce,
    NarrowHubSpot,
    /// The queue acknowledges dead letters that it does not store.
    ForgetfulQueue,
    /// A rule of the contract is broken.
    Falsified(Falsified),
}

/// A stream of the rows of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed {
    format: FeedFormat,
    /// Whether another client deletes contacts in both systems. Each contact is updated once more
    /// after that.
    is_deleted_elsewhere: bool,
}

impl Feed {
    fn of(format: FeedFormat) -> Self {
        Self {
            format,
            is_deleted_elsewhere: false,
        }
    }
}

/// Time of arrival of the updates after which no other client deletes contacts.
const LAST_UPDATES: Duration = Duration::from_millis(50);

/// Both systems, a queue and a table on loopback, and a stream.
pub(crate) struct World {
    pub mocks: Mocks,
    pub aws: Arc<MockAws>,
    pub aws_server: Server,
    /// The delivered stream, and the original one.
    pub stream: Stream,
    put: Stream,
    /// Contacts that the systems refuse.
    refused: BTreeSet<String>,
    /// The delivered stream, where that is not of the own format.
    feed: Option<Feed>,
    /// Contacts of one destination that have a change after all others.
    updated_last: Vec<String>,
    random: RefCell<fastrand::Rng>,
    has_collections: bool,
    has_table: bool,
    rotations: Cell<u32>,
    injected: Cell<u64>,
}

impl World {
    pub(crate) async fn start(seed: u64, records: usize, variant: Variant) -> Self {
        Self::start_feed(seed, records, variant, None).await
    }

    /// Starts a world whose stream carries the rows of a table, in this format.
    pub(crate) async fn start_feed(
        seed: u64,
        records: usize,
        variant: Variant,
        feed: Option<Feed>,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mocks = mocks(variant).await;
        let forgotten = if variant == Variant::ForgetfulQueue {
            50
        } else {
            0
        };
        let faults = mock_aws::Faults {
            refused: 3,
            lost: 5,
            entry: 10,
            forgotten,
            ..mock_aws::Faults::default()
        };
        let aws = MockAws::new(seed, faults);
        let aws_server = Server::start(Arc::clone(&aws)).await;
        let plan = Plan {
            seed,
            records,
            contacts: random.usize(2..25),
            one_bad_in: 15,
            // A table has its changes in one order.
            one_late_in: if feed.is_some() { 0 } else { 10 },
        };
        let mut put = Stream::new(random.usize(1..=2));
        let mut stream = put.clone();
        let mut table = feed.map(|feed| TableFeed::new(feed.format, seed));
        if let (Some(table), Some(feed)) = (&mut table, feed) {
            table.has_each_row_before = feed.is_deleted_elsewhere;
        }
        for record in MockStreamGenerator::new(plan) {
            let records = match &mut table {
                Some(table) => table.records(&record),
                None => Vec::new(),
            };
            if table.is_none() {
                let arrives = Duration::from_millis(random.u64(..30));
                put.put(&record.partition_key, &record.data, arrives);
            }
            for record in records {
                let arrives = Duration::from_millis(random.u64(..30));
                put.put(&record.partition_key, &expected_data(&record), arrives);
                stream.put(&record.partition_key, &record.data, arrives);
            }
        }
        if let (Some(table), true) = (&mut table, is_deleted_elsewhere(feed)) {
            for record in table.updates_of_all() {
                put.put(&record.partition_key, &expected_data(&record), LAST_UPDATES);
                stream.put(&record.partition_key, &record.data, LAST_UPDATES);
            }
        }
        match variant {
            Variant::Falsified(rule) => stream = rule.stream(&put),
            _ if feed.is_none() => stream = put.clone(),
            _ => {}
        }
        // The systems refuse every change of some contacts.
        let refused: BTreeSet<String> = (0..plan.contacts)
            .filter(|_| random.u32(..10) == 0)
            .map(|contact| format!("c-{contact:06}"))
            .collect();
        let no = row_error("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no", &["Phone"]);
        for id in &refused {
            mocks.salesforce.fail_row(id, no.clone(), u32::MAX);
            mocks.hubspot.fail_batches_with(id);
        }
        mocks.salesforce.throttle_every(random.u64(5..40));
        mocks.salesforce.lock_every(random.u64(5..60));
        mocks.hubspot.throttle_every(random.u64(5..40));
        let updated_last = updated_last(&put);
        let (random, rotations, injected) = (random.into(), Cell::new(0), Cell::new(0));
        let has_table = has_table(seed);
        Self {
            mocks,
            aws,
            aws_server,
            stream,
            put,
            refused,
            feed,
            updated_last,
            random,
            has_collections: variant == Variant::Collections,
            has_table,
            rotations,
            injected,
        }
    }

    /// Returns the settings, as TOML. With faults the timeouts are short. Without faults they are
    /// long, so that a busy machine only makes the test slow.
    pub(crate) fn document(&self, is_faulty: bool) -> String {
        let table = if self.has_table { "state" } else { "" };
        let (request, budget) = if is_faulty {
            (80, 1_000)
        } else {
            (2_000, 20_000)
        };
        let queue = format!("{}/letters", self.aws_server.url());
        let retry = "retry = { max_attempts = 3, base_delay_ms = 1, max_delay_ms = 5 }";
        let system = format!("request_timeout_ms = {request}\n{retry}\n");
        let salesforce = if self.has_collections {
            "batch_size = 3\ncollections_per_call = 5\n"
        } else {
            "batch_size = 7\n"
        };
        format!(
            "[dead_letter]\nqueue_url = \"{queue}\"\n[state]\ntable = \"{table}\"\n\
             [pipeline]\nfallback_budget_ms = {budget}\ndeadline_margin_ms = 300\n\
             [salesforce]\n{salesforce}{system}[hubspot]\nbatch_size = 7\n{system}{}{}",
            attribute_settings(),
            self.feed
                .map(|feed| feed.format.settings())
                .unwrap_or_default()
        )
    }

    /// Decides whether to inject a fault, with this probability, and counts the injected ones.
    pub(crate) fn injects(&self, percent: u32) -> bool {
        let injects = self.random.borrow_mut().u32(..100) < percent;
        self.injected.set(self.injected.get() + u64::from(injects));
        injects
    }

    /// Returns a random delay.
    pub(crate) fn random_delay(&self, most_ms: u64) -> Duration {
        Duration::from_millis(self.random.borrow_mut().u64(..most_ms))
    }

    /// Injects faults into the next calls.
    pub(crate) fn inject_faults(&self) {
        let Mocks {
            salesforce,
            hubspot,
            ..
        } = &self.mocks;
        for percent in [30, 15] {
            if self.injects(percent) {
                salesforce.next(self.broken_reply());
            }
            if self.injects(percent) {
                hubspot.next(self.broken_reply());
            }
        }
        if self.has_collections && self.injects(40) {
            let at = self.random.borrow_mut().usize(..3);
            salesforce.fail_subrequest(at, self.subfault());
        }
        if self.injects(15) {
            salesforce.lose_answers(1);
        }
        if self.injects(15) {
            hubspot.lose_answers(1);
        }
        if self.injects(8) {
            salesforce.expire_tokens();
        }
        if self.injects(8) {
            self.rotate();
        }
    }

    /// Deletes contacts in both systems, as another client does.
    fn delete_elsewhere(&self) {
        for id in &self.updated_last {
            if self.injects(30) {
                self.mocks.salesforce.delete(id);
                self.mocks.hubspot.delete(id);
            }
        }
    }

    fn broken_reply(&self) -> Reply {
        match self.random.borrow_mut().u32(..5) {
            0 => Reply::Reset,
            1 => Answer::html(503, "<h1>Sorry</h1>").into(),
            2 => Reply::Cut(Answer::json(200, &json!([{"success": true}]))),
            3 => Reply::Hang,
            _ => Answer::html(502, "").into(),
        }
    }

    fn subfault(&self) -> Subfault {
        match self.random.borrow_mut().u32(..6) {
            0 => Subfault::Answer(Answer::html(500, "<h1>Sorry</h1>")),
            1 => Subfault::Answer(refusal(400, "REQUEST_RUNNING_TOO_LONG", "too long")),
            2 => Subfault::Answer(refusal(403, "REQUEST_LIMIT_EXCEEDED", "Concurrent")),
            3 => Subfault::Omitted,
            4 => Subfault::Entry(json!(null)),
            _ => Subfault::Lost,
        }
    }

    /// Rotates both secrets. The old ones are refused.
    fn rotate(&self) {
        self.rotations.set(self.rotations.get() + 1);
        let Mocks {
            salesforce,
            hubspot,
            ..
        } = &self.mocks;
        salesforce.rotate_secret(&format!("mock-secret-{}", self.rotations.get()));
        salesforce.expire_tokens();
        let token = format!("pat-rotated-{}", self.rotations.get());
        hubspot.rotate_token(&token);
        std::fs::write(
            self.mocks.salesforce_secret.path(),
            salesforce.secret().to_string(),
        )
        .expect("written");
        let secret = json!({"access_token": token}).to_string();
        std::fs::write(self.mocks.hubspot_secret.path(), secret).expect("written");
    }

    /// Checks the laws once the stream is drained.
    pub(crate) fn check(&self, report: &Report) -> Result<(), Broken> {
        let (source, expected) = self.expected(report);
        let differences = self.mocks.differences(&source);
        let held = match differences.first() {
            Some(first) => Err(format!(
                "{HELD}: {} contacts differ, the first: {first}",
                differences.len()
            )),
            None => Ok(()),
        };
        let dead_letters = self.aws.dead_letters();
        all_hold([
            nothing_lost(report, &self.stream),
            held,
            expected.none_extra(&dead_letters),
            expected.none_missing(&dead_letters),
            no_protocol_violation([self.mocks.violations(), self.aws.violations()].concat()),
        ])
    }

    /// Returns the expected state of the systems, and the expected dead letters.
    fn expected(&self, report: &Report) -> (Source, DeadLetters) {
        let (mut source, mut dead_letters) = (Source::default(), DeadLetters::default());
        if is_deleted_elsewhere(self.feed) {
            // A contact that is created again has the status and the stage of a new one.
            source.ignored = &["Status", "lifecyclestage"];
        }
        let delivered = self.stream.shards.iter().flatten();
        for ((record, change), delivered) in in_order(&self.put).zip(delivered) {
            if change.as_ref().is_some_and(|change| *change == filtered()) {
                continue;
            }
            // A falsified record is expected as it was put.
            let dead_letter_of = if self.feed.is_some() {
                delivered
            } else {
                record
            };
            let Some(change) = change.filter(is_valid) else {
                dead_letters.must.insert((key(dead_letter_of), ""));
                continue;
            };
            let id = change["contact"]["id"].as_str().expect("an id");
            let id = id.trim().to_lowercase();
            if self.refused.contains(&id) {
                for place in destinations(&change) {
                    dead_letters.take(dead_letter_of, &change, place, &id, true);
                }
            } else {
                source.apply(&change, Some((record, report)));
            }
        }
        (source, dead_letters)
    }

    pub(crate) fn faults(&self) -> u64 {
        self.injected.get() + self.aws.injected_faults()
    }
}

/// Returns the expected change of a feed's record, as data of the own format.
fn expected_data(record: &FeedRecord) -> Vec<u8> {
    match &record.expected {
        Expected::Change(change) => change.to_string().into_bytes(),
        Expected::Filtered => filtered().to_string().into_bytes(),
        Expected::Rejected => record.data.clone(),
    }
}

/// Marks a record whose expected fate is that it is filtered.
fn filtered() -> Value {
    json!({"filtered": true})
}

fn is_deleted_elsewhere(feed: Option<Feed>) -> bool {
    feed.is_some_and(|feed| feed.is_deleted_elsewhere)
}

/// Returns the contacts whose last change is one of the last updates, and whose changes all have
/// the same destination.
fn updated_last(put: &Stream) -> Vec<String> {
    let mut last: BTreeMap<String, (BTreeSet<&[&str]>, bool)> = BTreeMap::new();
    for (record, change) in in_order(put) {
        let Some(change) = change.filter(is_valid) else {
            continue;
        };
        let id = change["contact"]["id"].as_str().expect("an id");
        let (places, is_last) = last.entry(id.trim().to_lowercase()).or_default();
        places.insert(destinations(&change));
        *is_last = record.arrives == LAST_UPDATES;
    }
    last.retain(|_, (places, is_last)| places.len() == 1 && *is_last);
    last.into_keys().collect()
}

async fn mocks(variant: Variant) -> Mocks {
    let salesforce = |behaviour: &mut mock_salesforce::Behavior| {
        if variant == Variant::NarrowSalesforce {
            behaviour.most_records = 1;
        }
    };
    let hubspot = |behaviour: &mut mock_hubspot::Behavior| {
        behaviour.require_a_name = false;
        if variant == Variant::NarrowHubSpot {
            behaviour.most_inputs = 1;
        }
    };
    let mocks = Mocks::start_with(salesforce, hubspot).await;
    if variant == Variant::ForgetfulSystems {
        mocks.salesforce.forget();
        mocks.hubspot.forget();
    }
    mocks
}

/// Returns whether the generator made a valid change, which its ids show.
fn is_valid(change: &Value) -> bool {
    change["contact"]["id"]
        .as_str()
        .is_some_and(|id| id.trim().to_lowercase().starts_with("c-"))
}

/// Returns the destinations of a change.
fn destinations(change: &Value) -> &'static [&'static str] {
    match change["contact"]["type"]
        .as_str()
        .map(str::to_lowercase)
        .as_deref()
    {
        None => &["salesforce", "hubspot"],
        Some("lead" | "prospect") => &["salesforce"],
        Some(_) => &["hubspot"],
    }
}

/// Returns whether a schedule has a state table: every second one does.
fn has_table(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// Returns the mapping of a schedule. Its backoff is short.
pub(crate) fn mapping(seed: u64) -> Mapping {
    let mut random = fastrand::Rng::with_seed(seed);
    Mapping {
        batch_size: random.usize(5..60),
        parallelization_factor: random.usize(1..=3),
        bisect: random.bool(),
        lost_checkpoints: 10,
        backoff: (Duration::from_millis(1), Duration::from_millis(20)),
        seed,
        ..Mapping::default()
    }
}

/// Far longer than any schedule takes, on a busy machine too.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(30);

/// Number of the first invocations, into which faults are injected.
pub(crate) const FAULTY_INVOCATIONS: u64 = 25;

async fn run(seed: u64, variant: Variant) -> Result<Numbers, Broken> {
    run_feed(seed, variant, None).await
}

async fn run_feed(seed: u64, variant: Variant, feed: Option<Feed>) -> Result<Numbers, Broken> {
    let records = 30 + usize::try_from(seed % 90).expect("fits");
    let world = World::start_feed(seed, records, variant, feed).await;
    let environment = RefCell::new(handler(&world, true));
    let (invocations, kills) = (Cell::new(0), Cell::new(0));
    let (running, is_over) = (Cell::new(0), Cell::new(!is_deleted_elsewhere(feed)));
    // A write of a killed invocation may arrive later, and create a contact from a part of its row.
    let is_quiet = Cell::new(true);
    let function = async |invocation: Invocation| {
        invocations.set(invocations.get() + 1);
        let mut records = invocation.records.iter();
        if records.any(|record| record.arrives == LAST_UPDATES) {
            is_over.set(true);
        }
        if !is_over.get() && is_quiet.get() && running.get() == 0 {
            world.delete_elsewhere();
        }
        running.set(running.get() + 1);
        let is_faulty = invocations.get() <= FAULTY_INVOCATIONS;
        if is_faulty {
            world.inject_faults();
        } else {
            world.aws.heal();
        }
        let handler = environment.borrow().clone();
        let work = invocation.handle(&handler);
        let dies = is_faulty && world.injects(10);
        let time = if dies {
            world.random_delay(60)
        } else {
            Duration::from_mins(1)
        };
        let ended = timeout(time, work).await.unwrap_or_else(|_| {
            kills.set(kills.get() + 1);
            InvocationOutcome::Error
        });
        running.set(running.get() - 1);
        is_quiet.set(!matches!(ended, InvocationOutcome::Error));
        // Lambda may replace an environment at any time, and a breaker's pause is longer than this
        // test's timeout.
        if !ended.settles_all() {
            environment.replace(self::handler(&world, is_faulty));
        }
        ended
    };
    let drained = timeout(TIMEOUT, mapping(seed).drain(&world.stream, function)).await;
    let report = drained.map_err(|_| {
        vec![format!(
            "{NOT_DRAINED} after {} invocations",
            invocations.get()
        )]
    })?;
    world.check(&report)?;
    let numbers = Numbers::of_one(
        &world.stream,
        &report,
        &world.aws,
        world.faults(),
        kills.get(),
    );
    let composite_calls = world.mocks.salesforce.count(Endpoint::Composite) as u64;
    Ok(Numbers {
        composite_calls,
        ..numbers
    })
}

fn handler(world: &World, is_faulty: bool) -> Handler {
    let settings = world
        .mocks
        .settings(Preset::Test, &world.document(is_faulty));
    App::default()
        .build(Preset::Test, &settings, &aws::at(&world.aws_server.url()))
        .expect("a handler")
}

#[tokio::test]
async fn network_faults_leave_both_systems_equal_to_the_source() {
    let run = async |seed| {
        (
            seed,
            AssertUnwindSafe(run(seed, Variant::Sound))
                .catch_unwind()
                .await,
        )
    };
    let mut runs = stream::iter(seeds(25)).map(run).buffer_unordered(4);
    let mut numbers = Numbers::default();
    while let Some((seed, result)) = runs.next().await {
        numbers.take(seed, ended(seed, result));
    }
    write_report("sockets", numbers);
}

#[tokio::test]
async fn several_collections_in_a_call_leave_both_systems_equal_to_the_source() {
    let run = async |seed| {
        let run = run(seed, Variant::Collections);
        (seed, AssertUnwindSafe(run).catch_unwind().await)
    };
    let mut runs = stream::iter(seeds(25)).map(run).buffer_unordered(4);
    let mut numbers = Numbers::default();
    while let Some((seed, result)) = runs.next().await {
        numbers.take(seed, ended(seed, result));
    }
    assert!(
        2 * numbers.composite_calls > numbers.schedules,
        "{} calls of several collections",
        numbers.composite_calls
    );
    write_report("composite", numbers);
}

/// Runs the schedules of a feed. One test for each format, so that each runs for its own minutes in
/// `make soak`.
async fn rows_converge(feed: Feed) {
    let run = async |seed| {
        let run = run_feed(seed, Variant::Sound, Some(feed));
        (seed, AssertUnwindSafe(run).catch_unwind().await)
    };
    let mut runs = stream::iter(seeds(10)).map(run).buffer_unordered(4);
    let mut numbers = Numbers::default();
    while let Some((seed, result)) = runs.next().await {
        numbers.take(seed, ended(seed, result));
    }
    let kind = if feed.is_deleted_elsewhere {
        "deletes"
    } else {
        "rows"
    };
    write_report(&format!("{kind} of {}", feed.format.name()), numbers);
}

#[tokio::test]
async fn rows_of_debezium_leave_both_systems_equal_to_the_table() {
    rows_converge(Feed::of(FeedFormat::Debezium)).await;
}

#[tokio::test]
async fn flattened_rows_of_debezium_leave_both_systems_equal_to_the_table() {
    rows_converge(Feed::of(FeedFormat::Flattened)).await;
}

#[tokio::test]
async fn rows_of_dms_leave_both_systems_equal_to_the_table() {
    rows_converge(Feed::of(FeedFormat::Dms)).await;
}

#[tokio::test]
async fn items_of_dynamodb_leave_both_systems_equal_to_the_table() {
    rows_converge(Feed::of(FeedFormat::Dynamodb)).await;
}

/// Runs the schedules of a feed while another client deletes contacts in both systems: the next
/// update of such a contact brings its whole row.
async fn deleted_contacts_come_back_whole(format: FeedFormat) {
    rows_converge(Feed {
        format,
        is_deleted_elsewhere: true,
    })
    .await;
}

#[tokio::test]
async fn contacts_deleted_elsewhere_come_back_with_each_column_of_debezium() {
    deleted_contacts_come_back_whole(FeedFormat::Debezium).await;
}

#[tokio::test]
async fn contacts_deleted_elsewhere_come_back_with_each_column_of_dms() {
    deleted_contacts_come_back_whole(FeedFormat::Dms).await;
}

#[tokio::test]
async fn contacts_deleted_elsewhere_come_back_with_each_attribute_of_dynamodb() {
    deleted_contacts_come_back_whole(FeedFormat::Dynamodb).await;
}

#[tokio::test]
async fn rows_that_a_system_forgets_are_detected_as_a_difference_from_the_table() {
    for format in FeedFormat::ALL {
        let runs = stream::iter(60..63)
            .map(|seed| run_feed(seed, Variant::ForgetfulSystems, Some(Feed::of(format))))
            .buffer_unordered(3)
            .collect::<Vec<_>>()
            .await;
        assert!(count(HELD, runs) >= 2, "{format:?}");
    }
}

#[tokio::test]
async fn each_broken_variant_on_the_network_is_detected_by_its_law() {
    for (variant, law) in [
        (Variant::ForgetfulSystems, HELD),
        (Variant::NarrowSalesforce, PROTOCOL_VIOLATION),
        (Variant::NarrowHubSpot, PROTOCOL_VIOLATION),
        (Variant::ForgetfulQueue, DEAD_LETTER_MISSING),
        (Variant::Falsified(Falsified::Versions), HELD),
        (Variant::Falsified(Falsified::Attributes), HELD),
        (Variant::Falsified(Falsified::UntypedDeletes), HELD),
        (Variant::Falsified(Falsified::Identities), HELD),
    ] {
        let runs = stream::iter(60..63)
            .map(|seed| run(seed, variant))
            .buffer_unordered(3)
            .collect::<Vec<_>>()
            .await;
        assert!(
            count(law, runs) >= 2,
            "{variant:?}: rarely detected by `{law}`"
        );
    }
}
