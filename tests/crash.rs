//! The real binary, killed at random points while a stream goes through it, with AWS refusing, hanging and losing answers:
//! in the end both systems equal the source, and every record that nobody can accept has its dead letter.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::cloud::Cloud;
use support::generator::{MockStreamGenerator, Plan};
use support::harness::Mocks;
use support::kinesis::Stream;
use support::mapping::{Delivered, Mapping};
use support::mock_salesforce::Endpoint;
use support::proxy::Treatment;
use support::runtime_api::{Ended, Function};
use support::source::Source;
use tokio::time::{Instant, sleep_until};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");

/// From this delivery on nothing goes wrong any more, so that the stream comes to its end.
const LAST_TROUBLE: usize = 60;

/// One run: what is under test, and what makes trouble.
struct Run {
    mocks: Mocks,
    cloud: Cloud,
    random: fastrand::Rng,
    deliveries: usize,
    deaths: usize,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let slow = Duration::from_millis(3);
        let mocks = Mocks::start_with(|habits| habits.latency = slow, |habits| habits.latency = slow).await;
        let cloud = Cloud::start(&mocks).await;
        let random = fastrand::Rng::with_seed(seed);
        Self { mocks, cloud, random, deliveries: 0, deaths: 0 }
    }

    async fn function(&self) -> Function {
        let mut variables = self.cloud.variables();
        for (name, value) in [
            ("CONTACT_SYNC_PRESET", "test"),
            ("CONTACT_SYNC__HUBSPOT__BASE_URL", &*self.mocks.hubspot_server.url()),
            ("CONTACT_SYNC__SALESFORCE__BATCH_SIZE", "20"),
            ("CONTACT_SYNC__HUBSPOT__BATCH_SIZE", "20"),
        ] {
            variables.push((name.to_owned(), value.to_owned()));
        }
        Function::start(Path::new(BINARY), &variables).await
    }

    /// Everything that was asked of anybody so far: the clock by which the process dies.
    fn requests(&self) -> usize {
        let salesforce = [Endpoint::Token, Endpoint::Upsert, Endpoint::Query, Endpoint::Delete];
        let salesforce: usize = salesforce.iter().map(|endpoint| self.mocks.salesforce.count(*endpoint)).sum();
        salesforce + self.mocks.hubspot.seen().len() + self.cloud.proxy.calls().len()
    }

    /// What goes wrong at the systems and at AWS during the next delivery.
    fn make_trouble(&mut self) {
        let in_trouble = self.deliveries < LAST_TROUBLE;
        let refused = Treatment::Refuse(400, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException");
        let ways = [refused, Treatment::Slow(Duration::from_millis(300)), Treatment::Hang, Treatment::LoseAnswer];
        for service in ["DynamoDB_20120810.Query", "DynamoDB_20120810.PutItem", "AmazonSQS", "secretsmanager"] {
            let strikes = in_trouble && self.random.u32(..5) == 0;
            let way = ways[self.random.usize(..ways.len())];
            self.cloud.proxy.treat(service, if strikes { way } else { Treatment::Pass });
        }
        let every = |random: &mut fastrand::Rng| if in_trouble && random.bool() { random.u64(2..6) } else { u64::MAX };
        self.mocks.salesforce.throttle_every(every(&mut self.random));
        self.mocks.hubspot.throttle_every(every(&mut self.random));
        if in_trouble && self.random.u32(..4) == 0 {
            self.mocks.salesforce.lose_answers(1);
            self.mocks.hubspot.lose_answers(1);
        }
    }

    /// Delivers a batch; in time of trouble every second process dies at a random request of the delivery.
    async fn deliver(&mut self, function: &mut Function, batch: &[Value]) -> Delivered {
        self.deliveries += 1;
        self.make_trouble();
        let dies = self.deliveries < LAST_TROUBLE && self.random.bool();
        let dies_after = self.requests() + self.random.usize(..10);
        let event = json!({"Records": batch}).to_string();
        let time = Duration::from_secs(if self.deliveries < LAST_TROUBLE { 4 } else { 30 });
        let request_id = format!("r-{}", self.deliveries);
        let ended = tokio::select! {
            ended = function.invoke(event, &request_id, time) => Some(ended),
            () = self.has_seen(dies_after), if dies => None,
        };
        match ended {
            Some(ended @ Ended::Answer(_)) if !dies || self.random.bool() => {
                Delivered::from_failures(batch, &ended.failures())
            }
            // An answer may have been sent and is not heard, as when the process ends with it on its way.
            _ => {
                self.deaths += 1;
                function.kill().await;
                *function = self.function().await;
                Delivered::Nothing
            }
        }
    }

    async fn has_seen(&self, requests: usize) {
        while self.requests() < requests {
            sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn whenever_the_process_dies_both_systems_end_equal_to_the_source() {
    #[expect(clippy::disallowed_methods, reason = "replays one run: SEED=n cargo test --test crash")]
    let only = std::env::var("SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let mut deaths = 0;
    for seed in only.map_or(1..3, |seed| seed..seed + 1) {
        let mut run = Run::new(seed).await;
        let plan = Plan { seed, records: 600, contacts: 150, one_bad_in: 40 };
        let generated: Vec<_> = MockStreamGenerator::new(plan).collect();
        let mut source = Source::default();
        generated.iter().filter_map(|record| record.change.as_ref()).for_each(|change| source.apply(change));
        let bad = generated.iter().filter(|record| record.change.is_none()).count();
        let mut stream = Stream::new(2);
        generated.iter().for_each(|record| stream.put(&record.partition_key, &record.data, Duration::ZERO));
        let mut function = run.function().await;
        for shard in &stream.shards {
            let records: Vec<Value> =
                shard.iter().map(|record| serde_json::from_str(&record.json).expect("JSON")).collect();
            let size = run.random.usize(20..80);
            let mut mapping = Mapping::new(&records, size, run.random.bool());
            while let Some(batch) = mapping.next().map(<[_]>::to_vec) {
                let how = run.deliver(&mut function, &batch).await;
                assert!(run.deliveries < 1000, "SEED={seed}: stuck");
                mapping.delivered(how);
            }
        }
        assert_eq!(run.mocks.differences(&source), [""; 0], "SEED={seed}");
        let letters = run.cloud.dead_letters().await;
        let number = |letter: &Value| letter["record"]["sequence_number"].as_str().expect("a number").to_owned();
        let buried: BTreeSet<String> = letters.iter().map(number).collect();
        assert_eq!(buried.len(), bad, "SEED={seed}: a dead letter for each bad record and for no other");
        assert!(run.deaths > 5, "SEED={seed}: only {} deaths", run.deaths);
        deaths += run.deaths;
    }
    assert!(deaths > 0);
}
