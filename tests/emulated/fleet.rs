//! Rate limits of several processes of the real binary with one account, with and without a shared
//! table.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use contact_sync::dispatch::{LeaseTable, RateLimiter, RequestCost};
use contact_sync::model::Destination;
use contact_sync::model::limits::RateLimit;
use contact_sync::telemetry::DestinationMetrics;
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::evidence::write_report;
use testkit::harness::{Logs, Mocks, batch, change};
use testkit::mock_hubspot::{Behavior, Seen};
use testkit::moto::{Moto, create_table};
use testkit::runtime_api::{Function, InvocationOutcome};
use tokio::time::Instant;

const TABLE: &str = "contact-sync-state";
const PROCESSES: usize = 4;

/// Six windows of a hundred calls.
const CALLS: usize = 600;

/// Contacts in one call, for tests that count calls only.
const SMALL: usize = 10;

/// Bound of the attempts while the table is late.
const TRIES: usize = 20;

/// Cost of one request that others follow.
const ONE: RequestCost = RequestCost {
    requests: 1,
    total: u32::MAX,
};

/// Creates the table as the template does.
async fn table(moto: &Moto) -> aws_sdk_dynamodb::Client {
    let client = aws_sdk_dynamodb::Client::new(&moto.config());
    create_table(&client, TABLE).await;
    client
}

/// Returns whether the table was late, as it is occasionally on a busy machine. A limiter then
/// works without leases.
fn was_late(logs: &Logs) -> bool {
    let message = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("rate limit not shared"))
    };
    logs.lines().iter().any(message)
}

async fn next_slot(client: &aws_sdk_dynamodb::Client) -> u64 {
    let request = client.get_item().table_name(TABLE).consistent_read(true);
    let request = request.key("pk", AttributeValue::S("rate#hubspot".to_owned()));
    let item = request
        .key("sk", AttributeValue::S("lease".to_owned()))
        .send()
        .await
        .expect("an answer")
        .item;
    item.expect("an item")["next_slot"]
        .as_n()
        .expect("a number")
        .parse()
        .expect("whole")
}

/// Blocks of slots never overlap: the item advances by at least the period of each spent slot.
#[tokio::test]
async fn environments_lease_from_one_item_by_conditional_writes() {
    let moto = Moto::start().await;
    let client = table(&moto).await;
    let budget = RateLimit {
        requests: 1001,
        per_ms: 20_000,
    };
    let limiter = || {
        let limiter = RateLimiter::new(budget, 1);
        limiter.share_through(LeaseTable::new(
            Arc::new(client.clone()),
            TABLE,
            Destination("hubspot"),
        ));
        limiter
    };
    let (metrics, far) = (
        DestinationMetrics::default(),
        Instant::now() + Duration::from_mins(10),
    );
    let lease = async || {
        let first = limiter();
        drop(first.acquire(ONE, far, &metrics).await.expect("in time"));
        let begin = next_slot(&client).await;
        let others: Vec<RateLimiter> = (0..4).map(|_| limiter()).collect();
        join_all(others.iter().map(|limiter| async {
            for _ in 0..10 {
                drop(limiter.acquire(ONE, far, &metrics).await.expect("in time"));
            }
        }))
        .await;
        next_slot(&client).await - begin
    };
    let mut leased = None;
    for _ in 0..TRIES {
        let logs = Logs::listen();
        let micros = lease().await;
        if !was_late(&logs) {
            leased = Some(micros);
            break;
        }
    }
    let period = 21_000;
    assert!(
        leased.expect("the table is in time at least once") >= 40 * period,
        "40 slots of 21 ms"
    );
    let too_soon = Instant::now() + Duration::from_millis(1);
    let crowded = RateLimiter::new(
        RateLimit {
            requests: 2,
            per_ms: 60_000,
        },
        1,
    );
    crowded.share_through(LeaseTable::new(
        Arc::new(client.clone()),
        TABLE,
        Destination("hubspot"),
    ));
    drop(crowded.acquire(ONE, far, &metrics).await.expect("in time"));
    assert!(
        crowded.acquire(ONE, too_soon, &metrics).await.is_none(),
        "the next slot is a minute away"
    );
}

/// Sends the contacts of one process, batch by batch, and redelivers batches with failures. Returns
/// the number of leases for which the table was late.
async fn work(variables: &[(String, String)], process: usize, contacts: usize) -> u64 {
    let mut function =
        Function::start(Path::new(env!("CARGO_BIN_EXE_contact-sync")), variables).await;
    let batch_size = contacts / 6;
    for (round, first) in (0..contacts).step_by(batch_size).enumerate() {
        let person = |at: usize| {
            let id = format!("c-{process}-{at}");
            change(
                "create",
                &id,
                "customer",
                json!({"last_name": "Lovelace", "email": format!("{id}@example.com")}),
            )
        };
        let event =
            json!({"Records": batch(&(first..first + batch_size).map(person).collect::<Vec<_>>())})
                .to_string();
        let mut delivery = 0;
        loop {
            let request = format!("r-{process}-{round}-{delivery}");
            let ended = function
                .invoke(event.clone(), &request, Duration::from_mins(5))
                .await;
            assert!(
                matches!(ended, InvocationOutcome::Answer(_)),
                "{ended:?} {:?}",
                function.lines().last()
            );
            if ended.failures().is_empty() {
                break;
            }
            delivery += 1;
            assert!(delivery < 20, "{ended:?}");
        }
    }
    function.kill().await;
    function.exit().await;
    let lines = function.lines();
    let metrics = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    metrics
        .filter_map(|line| line["LeaseFailures"].as_u64())
        .sum()
}

/// Setup of processes that send to one account with a budget of a hundred calls in a window.
struct Setup<'a> {
    window: Duration,
    in_a_call: usize,
    processes: usize,
    /// The table that they share.
    moto: Option<&'a Moto>,
    /// Whether the last process cannot reach the table.
    is_last_cut_off: bool,
    /// Whether HubSpot refuses calls beyond the budget, and reports the calls left.
    is_limited: bool,
}

impl<'a> Setup<'a> {
    fn new(window: Duration, in_a_call: usize, moto: Option<&'a Moto>) -> Self {
        Self {
            window,
            in_a_call,
            processes: PROCESSES,
            moto,
            is_last_cut_off: false,
            is_limited: true,
        }
    }

    /// Returns a setup of two processes, one of which cannot reach the table.
    fn cut_off(window: Duration, in_a_call: usize, moto: &'a Moto, is_limited: bool) -> Self {
        Self {
            processes: 2,
            is_last_cut_off: true,
            is_limited,
            ..Self::new(window, in_a_call, Some(moto))
        }
    }

    fn variables(&self, mocks: &Mocks, process: usize) -> Vec<(String, String)> {
        let mut variables = mocks.variables();
        let mut set = |name: &str, value: String| variables.push((name.to_owned(), value));
        set("CONTACT_SYNC_PRESET", "test".to_owned());
        set("CONTACT_SYNC__LOG__AUDIT", "off".to_owned());
        // The values of production: the dispatcher knows the remaining calls.
        set("CONTACT_SYNC__PIPELINE__QUEUE_CAPACITY", "512".to_owned());
        set(
            "CONTACT_SYNC__PIPELINE__TRANSFORM_CONCURRENCY",
            "64".to_owned(),
        );
        set(
            "CONTACT_SYNC__PIPELINE__CONCURRENCY_SHARE",
            self.processes.to_string(),
        );
        set(
            "CONTACT_SYNC__HUBSPOT__BATCH_SIZE",
            self.in_a_call.to_string(),
        );
        let budget = format!("{{ requests = 100, per_ms = {} }}", self.window.as_millis());
        set("CONTACT_SYNC__HUBSPOT__RATE_LIMIT", budget);
        let retry = "{ max_attempts = 4, base_delay_ms = 200, max_delay_ms = 10000 }";
        set("CONTACT_SYNC__HUBSPOT__RETRY", retry.to_owned());
        set(
            "CONTACT_SYNC__HUBSPOT__REQUEST_TIMEOUT_MS",
            "20000".to_owned(),
        );
        if let Some(moto) = self.moto {
            let is_cut_off = self.is_last_cut_off && process + 1 == self.processes;
            set(
                "AWS_ENDPOINT_URL",
                if is_cut_off {
                    "http://127.0.0.1:9".to_owned()
                } else {
                    moto.url.clone()
                },
            );
            set("CONTACT_SYNC__STATE__TABLE", TABLE.to_owned());
        }
        variables
    }

    async fn load(&self) -> Load {
        let edit = |hubspot: &mut Behavior| {
            hubspot.latency = Duration::from_millis(20);
            hubspot.quota_headers = self.is_limited;
        };
        let mocks = Mocks::start_with(|_| {}, edit).await;
        if self.is_limited {
            mocks.hubspot.limit(100, self.window);
        }
        let contacts = CALLS * self.in_a_call;
        let work = async |process| {
            work(
                &self.variables(&mocks, process),
                process,
                contacts / self.processes,
            )
            .await
        };
        let unleased = join_all((0..self.processes).map(work)).await.iter().sum();
        assert_eq!(mocks.hubspot.contacts().len(), contacts);
        Load {
            unleased,
            ..Load::of(&mocks.hubspot.seen(), self.window)
        }
    }
}

/// Result of the calls of all processes.
#[derive(Debug)]
struct Load {
    accepted: usize,
    refused: usize,
    /// Leases for which the table was late.
    unleased: u64,
    /// Use of the budget from the first call to the last, in percent.
    used: f64,
    /// Accepted calls of the fullest window.
    fullest: usize,
    /// Accepted and refused calls of the fullest window.
    fullest_made: usize,
}

impl Load {
    fn of(seen: &[Seen], window: Duration) -> Self {
        let at = |statuses: &[u16]| {
            let is_one =
                |seen: &&Seen| seen.status.is_some_and(|status| statuses.contains(&status));
            seen.iter()
                .filter(is_one)
                .map(|seen| seen.at)
                .collect::<Vec<_>>()
        };
        let (accepted, refused, made) = (at(&[200]), at(&[429]), at(&[200, 429]));
        // The time before the first call is excluded: it is the start of the processes.
        let elapsed = made[made.len() - 1] - made[0];
        let windows = elapsed.as_secs_f64() / window.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "hundreds of calls")]
        let used = accepted.len() as f64 / windows;
        let (fullest, fullest_made) = (fullest(&accepted, window), fullest(&made, window));
        Self {
            accepted: accepted.len(),
            refused: refused.len(),
            unleased: 0,
            used,
            fullest,
            fullest_made,
        }
    }
}

/// Returns the number of calls in the fullest window.
fn fullest(at: &[Instant], window: Duration) -> usize {
    let inside = |first: usize| {
        at[first..]
            .iter()
            .take_while(|other| **other < at[first] + window)
            .count()
    };
    (0..at.len()).map(inside).max().unwrap_or(0)
}

/// Does not check the use of the budget, because a busy machine uses less: the limiter's own tests
/// in virtual time and `make fleet` check it. While the table is late, a process keeps to its
/// share, and others may still lease the whole budget.
#[tokio::test]
async fn four_processes_that_share_a_table_are_refused_at_most_one_call_in_a_hundred() {
    let moto = Moto::start().await;
    let client = table(&moto).await;
    let load = Setup::new(Duration::from_secs(3), SMALL, Some(&moto))
        .load()
        .await;
    assert!(next_slot(&client).await > 0, "slots were leased");
    let is_disturbed = load.unleased > 0;
    assert!(
        is_disturbed || load.refused * 100 <= load.accepted + load.refused,
        "{load:?}"
    );
}

#[tokio::test]
async fn four_processes_without_a_table_keep_to_their_shares_and_are_never_refused() {
    let load = Setup::new(Duration::from_millis(1500), SMALL, None)
        .load()
        .await;
    assert_eq!(load.refused, 0, "{load:?}");
}

/// Runs by `make fleet`.
#[tokio::test]
#[ignore = "takes five minutes and wants a quiet machine"]
async fn four_processes_send_sixty_thousand_contacts_at_hubspots_own_pace() {
    let moto = Moto::start().await;
    table(&moto).await;
    let window = Duration::from_secs(10);
    let shared = Setup::new(window, 100, Some(&moto)).load().await;
    let unshared = Setup::new(window, 100, None).load().await;
    let cut_off = Setup::cut_off(window, 100, &moto, false).load().await;
    let reported = Setup::cut_off(window, 100, &moto, true).load().await;
    for (
        name,
        Load {
            accepted,
            refused,
            used,
            fullest,
            fullest_made,
            ..
        },
    ) in [
        ("fleet", &shared),
        ("fleet-shares", &unshared),
        ("fleet-cut-off", &cut_off),
        ("fleet-reported", &reported),
    ] {
        let calls = accepted + refused;
        write_report(
            name,
            format_args!(
                "{} contacts in {calls} calls, {refused} refused; {used:.1} % of 100 calls in \
                 10 s, in the fullest 10 s {fullest_made} made and {fullest} accepted",
                accepted * 100
            ),
        );
    }
    assert!(
        shared.refused * 100 <= shared.accepted + shared.refused,
        "{shared:?}"
    );
    assert!(shared.used >= 90.0, "{shared:?}");
    assert_eq!(unshared.refused, 0, "{unshared:?}");
    assert!(
        cut_off.fullest_made <= 150,
        "the budget, and the share of the process without a table: {cut_off:?}"
    );
    assert!(
        reported.fullest_made <= 100,
        "the budget, by the reported calls left: {reported:?}"
    );
}
