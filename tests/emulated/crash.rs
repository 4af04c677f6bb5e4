//! The real binary, killed at random points while a stream goes through it, with AWS refusing,
//! hanging and losing answers: in the end both systems equal the source, and every record that
//! nobody can accept has its dead letter.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use testkit::cloud::Cloud;
use testkit::evidence::{ended, seeds};
use testkit::generator::{Generated, MockStreamGenerator, Plan, attribute_variables};
use testkit::harness::Mocks;
use testkit::kinesis::{Ended, Invocation, Mapping, Stream};
use testkit::mock_salesforce::Endpoint;
use testkit::proxy::Treatment;
use testkit::runtime_api::Function;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");

/// So many deliveries meet trouble. Then nothing goes wrong any more, so that the stream comes to
/// its end.
const TROUBLED: usize = 60;

/// Far longer than a run takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(30);

/// What is around the function.
struct World {
    mocks: Mocks,
    cloud: Cloud,
}

impl World {
    async fn start() -> Self {
        let slow = Duration::from_millis(3);
        let mocks = Mocks::start_with(
            |habits| habits.latency = slow,
            |habits| habits.latency = slow,
        )
        .await;
        let cloud = Cloud::start(&mocks).await;
        Self { mocks, cloud }
    }

    async fn function(&self) -> Function {
        let mut variables = self.cloud.variables();
        variables.extend(attribute_variables());
        for (name, value) in [
            ("CONTACT_SYNC_PRESET", "test"),
            (
                "CONTACT_SYNC__HUBSPOT__BASE_URL",
                &*self.mocks.hubspot_server.url(),
            ),
            ("CONTACT_SYNC__SALESFORCE__BATCH_SIZE", "20"),
            ("CONTACT_SYNC__HUBSPOT__BATCH_SIZE", "20"),
        ] {
            variables.push((name.to_owned(), value.to_owned()));
        }
        Function::start(Path::new(BINARY), &variables).await
    }

    /// Everything that was asked of anybody so far: the clock by which the process dies.
    fn requests(&self) -> usize {
        let salesforce = [
            Endpoint::Token,
            Endpoint::Upsert,
            Endpoint::Query,
            Endpoint::Delete,
        ];
        let salesforce: usize = salesforce
            .iter()
            .map(|endpoint| self.mocks.salesforce.count(*endpoint))
            .sum();
        salesforce + self.mocks.hubspot.seen().len() + self.cloud.proxy.requests()
    }

    async fn has_seen(&self, requests: usize) {
        while self.requests() < requests {
            sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
    }
}

/// One run: the function, and what makes trouble.
struct Run<'a> {
    world: &'a World,
    function: Function,
    random: fastrand::Rng,
    /// Deliveries that are still to meet trouble.
    troubled: usize,
    deaths: usize,
}

impl Run<'_> {
    /// What goes wrong at the systems and at AWS during the next delivery.
    fn make_trouble(&mut self, in_trouble: bool) {
        let World { mocks, cloud } = self.world;
        let refused = Treatment::Refuse(
            400,
            "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
        );
        let ways = [
            refused,
            Treatment::Slow(Duration::from_millis(300)),
            Treatment::Hang,
            Treatment::LoseAnswer,
        ];
        for service in [
            "DynamoDB_20120810.Query",
            "DynamoDB_20120810.PutItem",
            "AmazonSQS",
            "secretsmanager",
        ] {
            let strikes = in_trouble && self.random.u32(..5) == 0;
            let way = ways[self.random.usize(..ways.len())];
            cloud
                .proxy
                .treat(service, if strikes { way } else { Treatment::Pass });
        }
        let every = |random: &mut fastrand::Rng| {
            if in_trouble && random.bool() {
                random.u64(2..6)
            } else {
                u64::MAX
            }
        };
        mocks.salesforce.throttle_every(every(&mut self.random));
        mocks.hubspot.throttle_every(every(&mut self.random));
        if in_trouble && self.random.u32(..4) == 0 {
            mocks.salesforce.lose_answers(1);
            mocks.hubspot.lose_answers(1);
        }
    }

    /// Delivers a batch; in time of trouble every second process dies at a random request of the
    /// delivery.
    async fn deliver(&mut self, invocation: Invocation) -> Ended {
        let in_trouble = self.troubled > 0;
        self.troubled = self.troubled.saturating_sub(1);
        self.make_trouble(in_trouble);
        let dies = in_trouble && self.random.bool();
        let dies_after = self.world.requests() + self.random.usize(..10);
        let time = Duration::from_secs(if in_trouble { 4 } else { 30 });
        let ended = tokio::select! {
            ended = self.function.invoke(invocation.event, &invocation.request_id, time) => ended.into(),
            () = self.world.has_seen(dies_after), if dies => Ended::Error,
        };
        // Or its answer is sent and never heard, as when the process ends with it on its way.
        if matches!(ended, Ended::Answer(_)) && (!dies || self.random.bool()) {
            return ended;
        }
        self.deaths += 1;
        self.function.kill().await;
        self.function = self.world.function().await;
        Ended::Error
    }
}

/// Brings the records through the function, one batch at a time. Gives the deaths.
async fn drain(world: &World, seed: u64, records: &[Generated], troubled: usize) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut stream = Stream::new(2);
    records
        .iter()
        .for_each(|record| stream.put(&record.partition_key, &record.data, Duration::ZERO));
    let backoff = (Duration::from_millis(1), Duration::from_millis(20));
    let mapping = Mapping {
        batch_size: random.usize(20..80),
        bisect: random.bool(),
        backoff,
        ..Mapping::default()
    };
    let run = Mutex::new(Run {
        world,
        function: world.function().await,
        random,
        troubled,
        deaths: 0,
    });
    let function = async |invocation: Invocation| run.lock().await.deliver(invocation).await;
    let report = timeout(PATIENCE, mapping.drain(&stream, function))
        .await
        .expect("drained in half an hour");
    assert_eq!(report.lost(&stream), 0);
    run.into_inner().deaths
}

async fn one(seed: u64) {
    let world = World::start().await;
    let plan = Plan {
        seed,
        records: 600,
        contacts: 150,
        one_bad_in: 40,
        one_late_in: 30,
    };
    let records: Vec<Generated> = MockStreamGenerator::new(plan).collect();
    let deaths = drain(&world, seed, &records, TROUBLED).await;
    let letters = world.cloud.dead_letters().await;
    assert_eq!(
        world.mocks.broken_promises(&records, &letters),
        [""; 0],
        "SEED={seed}"
    );
    assert!(deaths > 5, "SEED={seed}: only {deaths} deaths");
}

#[tokio::test]
async fn whenever_the_process_dies_both_systems_end_equal_to_the_source() {
    for seed in seeds(2) {
        ended(seed, AssertUnwindSafe(one(seed)).catch_unwind().await);
    }
}

#[tokio::test]
async fn systems_that_forget_and_a_queue_that_loses_a_letter_are_found_out() {
    let world = World::start().await;
    let plan = Plan {
        seed: 1,
        records: 80,
        contacts: 20,
        one_bad_in: 10,
        one_late_in: 0,
    };
    let records: Vec<Generated> = MockStreamGenerator::new(plan).collect();
    world.mocks.salesforce.forget();
    drain(&world, 1, &records, 0).await;
    let letters = world.cloud.dead_letters().await;
    let broken = world.mocks.broken_promises(&records, &letters);
    assert!(
        !broken.is_empty() && broken.iter().all(|promise| promise.ends_with("is missing")),
        "{broken:?}"
    );
    let broken = world.mocks.broken_promises(&records, &letters[1..]);
    assert!(
        broken
            .iter()
            .any(|promise| promise.starts_with("dead letters of")),
        "{broken:?}"
    );
}
