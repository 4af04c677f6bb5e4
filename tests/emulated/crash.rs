//! Kills the real binary at random points while it processes a stream, with AWS calls that are
//! refused, hang, and lose their responses. In the end both systems equal the source, and every
//! invalid record has its dead letter.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use testkit::cloud::Cloud;
use testkit::evidence::{ended, seeds};
use testkit::generator::{Generated, MockStreamGenerator, Plan, attribute_variables};
use testkit::harness::Mocks;
use testkit::kinesis::{Invocation, InvocationOutcome, Mapping, Stream};
use testkit::mock_salesforce::Endpoint;
use testkit::proxy::Treatment;
use testkit::runtime_api::Function;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");

/// Number of the first deliveries, into which faults are injected. The others have none, so that
/// the stream is drained.
const FAULTY_DELIVERIES: usize = 60;

/// Far longer than a run takes, on a busy machine too.
const TIMEOUT: Duration = Duration::from_mins(30);

/// The mocks around the function.
struct World {
    mocks: Mocks,
    cloud: Cloud,
}

impl World {
    async fn start() -> Self {
        let slow = Duration::from_millis(3);
        let mocks = Mocks::start_with(
            |behaviour| behaviour.latency = slow,
            |behaviour| behaviour.latency = slow,
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

    /// Returns the number of all requests. It is the clock by which the process is killed.
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

/// One run: the function, and the state of the injected faults.
struct Run<'a> {
    world: &'a World,
    function: Function,
    random: fastrand::Rng,
    /// Number of the remaining deliveries with faults.
    faulty: usize,
    deaths: usize,
}

impl Run<'_> {
    /// Injects faults of the systems and of AWS into the next delivery.
    fn inject_faults(&mut self, is_faulty: bool) {
        let World { mocks, cloud } = self.world;
        let refused = Treatment::Refuse(
            400,
            "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
        );
        let treatments = [
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
            let injects = is_faulty && self.random.u32(..5) == 0;
            let treatment = treatments[self.random.usize(..treatments.len())];
            cloud
                .proxy
                .treat(service, if injects { treatment } else { Treatment::Pass });
        }
        let every = |random: &mut fastrand::Rng| {
            if is_faulty && random.bool() {
                random.u64(2..6)
            } else {
                u64::MAX
            }
        };
        mocks.salesforce.throttle_every(every(&mut self.random));
        mocks.hubspot.throttle_every(every(&mut self.random));
        if is_faulty && self.random.u32(..4) == 0 {
            mocks.salesforce.lose_answers(1);
            mocks.hubspot.lose_answers(1);
        }
    }

    /// Delivers a batch. In a delivery with faults, every second process is killed at a random
    /// request.
    async fn deliver(&mut self, invocation: Invocation) -> InvocationOutcome {
        let is_faulty = self.faulty > 0;
        self.faulty = self.faulty.saturating_sub(1);
        self.inject_faults(is_faulty);
        let dies = is_faulty && self.random.bool();
        let dies_after = self.world.requests() + self.random.usize(..10);
        let time = Duration::from_secs(if is_faulty { 4 } else { 30 });
        let ended = tokio::select! {
            ended = self.function.invoke(invocation.event, &invocation.request_id, time) => {
                ended.into()
            }
            () = self.world.has_seen(dies_after), if dies => InvocationOutcome::Error,
        };
        // The response may be lost, as where the process ends while sending it.
        if matches!(ended, InvocationOutcome::Answer(_)) && (!dies || self.random.bool()) {
            return ended;
        }
        self.deaths += 1;
        self.function.kill().await;
        self.function = self.world.function().await;
        InvocationOutcome::Error
    }
}

/// Drains the records through the function, one batch at a time. Returns the number of deaths.
async fn drain(world: &World, seed: u64, records: &[Generated], faulty: usize) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut stream = Stream::new(2);
    for record in records {
        stream.put(&record.partition_key, &record.data, Duration::ZERO);
    }
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
        faulty,
        deaths: 0,
    });
    let function = async |invocation: Invocation| run.lock().await.deliver(invocation).await;
    let report = timeout(TIMEOUT, mapping.drain(&stream, function))
        .await
        .expect("drained in half an hour");
    assert_eq!(report.lost(&stream), 0);
    run.into_inner().deaths
}

async fn run(seed: u64) {
    let world = World::start().await;
    let plan = Plan {
        seed,
        records: 600,
        contacts: 150,
        one_bad_in: 40,
        one_late_in: 30,
    };
    let records: Vec<Generated> = MockStreamGenerator::new(plan).collect();
    let deaths = drain(&world, seed, &records, FAULTY_DELIVERIES).await;
    let dead_letters = world.cloud.dead_letters().await;
    assert_eq!(
        world.mocks.broken_promises(&records, &dead_letters),
        [""; 0],
        "SEED={seed}"
    );
    assert!(deaths > 5, "SEED={seed}: only {deaths} deaths");
}

#[tokio::test]
async fn killing_the_process_leaves_both_systems_equal_to_the_source() {
    for seed in seeds(2) {
        ended(seed, AssertUnwindSafe(run(seed)).catch_unwind().await);
    }
}

#[tokio::test]
async fn forgetful_systems_and_a_forgetful_queue_are_detected() {
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
    let dead_letters = world.cloud.dead_letters().await;
    let broken = world.mocks.broken_promises(&records, &dead_letters);
    assert!(
        !broken.is_empty() && broken.iter().all(|promise| promise.ends_with("is missing")),
        "{broken:?}"
    );
    let broken = world.mocks.broken_promises(&records, &dead_letters[1..]);
    assert!(
        broken
            .iter()
            .any(|promise| promise.starts_with("dead letters of")),
        "{broken:?}"
    );
}
