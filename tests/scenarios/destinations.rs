//! Tests of functions that serve some destinations each (`pipeline.destinations`): each record
//! belongs to the functions of its destinations, and an outage of one system delays no other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::{Layer, Preset, load};
use serde_json::{Value, json};
use testkit::aws::no_aws;
use testkit::evidence::write_report;
use testkit::harness::{CLIENT, Logs, Mocks, batch, change, in_virtual_time};
use testkit::kinesis::{Invocation, Mapping, Stream};
use testkit::memory::{self, Memory};
use testkit::mock_aws::{self, MockAws};
use testkit::stream::{failures, invoke};
use tokio::time::Instant;

use crate::convergence::streams::{LEFT, RIGHT, ROUTES};

fn person(id: &str, kind: &str) -> Value {
    let fields = json!({"last_name": "Lovelace", "company": "Acme"});
    change("create", id, kind, fields)
}

/// Builds the function that serves one destination.
fn function_of(mocks: &Mocks, destination: &str) -> Handler {
    let document = format!(
        "[pipeline]\ndestinations = [\"{destination}\"]\n\
         [filter]\ntypes = [\"lead\", \"prospect\", \"customer\"]\n\
         [routes]\nprospect = [\"salesforce\", \"hubspot\"]"
    );
    let settings = mocks.settings(Preset::Test, &document);
    App::default()
        .with_function(destination)
        .build(Preset::Test, &settings, &no_aws())
        .expect("a handler")
}

#[tokio::test]
async fn each_record_is_settled_by_the_functions_of_its_destinations_and_filtered_by_the_others() {
    let mocks = Mocks::start().await;
    let mut nameless = change("create", "c-4", "lead", json!({}));
    nameless["event_id"] = Value::Null;
    let changes = [
        person("c-0", "lead"),
        person("c-1", "customer"),
        person("c-2", "prospect"),
        person("c-3", "vendor"),
        nameless,
        change("create", "c-5", "customer", json!({"email": "no address"})),
    ];
    let records = batch(&changes);
    for (destination, fates) in [
        (
            "salesforce",
            [
                "delivered",
                "filtered OTHER_DESTINATION",
                "delivered",
                "filtered FILTERED_TYPE",
                "rejected MISSING_FIELD",
                "rejected INVALID_EMAIL",
            ],
        ),
        (
            "hubspot",
            [
                "filtered OTHER_DESTINATION",
                "delivered",
                "delivered",
                "filtered FILTERED_TYPE",
                "filtered OTHER_DESTINATION",
                "filtered OTHER_DESTINATION",
            ],
        ),
    ] {
        let logs = Logs::listen();
        let response = invoke(&function_of(&mocks, destination), &records, "r").await;
        assert!(failures(&response).is_empty(), "{destination}");
        let mut found = logs.audit();
        found.sort_by_key(|line| line["sequence_number"].to_string());
        assert_eq!(found.len(), fates.len(), "a line for each record");
        for ((line, fate), change) in found.iter().zip(fates).zip(&changes) {
            let code = line["code"].as_str().map(|code| format!(" {code}"));
            let text = format!(
                "{}{}",
                line["fate"].as_str().expect("a fate"),
                code.unwrap_or_default()
            );
            assert_eq!(text, fate, "{destination}: {change}");
            assert_eq!(line["contact_id"], change["contact"]["id"], "{line}");
        }
        for metrics in logs.metrics("").iter().chain(&logs.metrics(destination)) {
            assert_eq!(metrics["Function"], destination, "{metrics}");
        }
    }
    let keys = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let leads: Vec<String> = mocks.salesforce.leads().into_keys().collect();
    let contacts: Vec<String> = mocks.hubspot.contacts().into_keys().collect();
    assert_eq!(
        (leads, contacts),
        (keys(&["c-0", "c-2"]), keys(&["c-1", "c-2"]))
    );
}

#[tokio::test]
async fn a_function_neither_reads_the_secret_of_another_destination_nor_calls_it() {
    let mocks = Mocks::start().await;
    std::fs::remove_file(mocks.hubspot_secret.path()).expect("removed");
    let logs = Logs::listen();
    let records = batch(&[person("c-0", "prospect"), person("c-1", "customer")]);
    let response = invoke(&function_of(&mocks, "salesforce"), &records, "r").await;
    assert!(failures(&response).is_empty());
    assert_eq!(logs.fates(), ["delivered", "filtered OTHER_DESTINATION"]);
    assert!(logs.metrics("hubspot").is_empty(), "no call, and no record");
    let warnings = logs.lines();
    let warnings = warnings.iter().filter(|line| line["level"] == "WARN");
    assert_eq!(warnings.count(), 0);
}

/// Length of the outage, and the time at which it begins.
const OUTAGE: Duration = Duration::from_mins(10);
const BEGINS: Duration = Duration::from_mins(2);

/// Time between two records. One in two is for the system that stays available.
const EVERY: Duration = Duration::from_millis(500);

/// Builds a stream of new contacts for both systems in turn, over 20 minutes.
fn stream() -> Stream {
    let mut stream = Stream::new(1);
    for at in 0..2_400_u32 {
        let kind = if at % 2 == 0 { "lead" } else { "customer" };
        let id = format!("c-{at}");
        let data = person(&id, kind).to_string();
        stream.put(&id, data.as_bytes(), EVERY * at);
    }
    stream
}

/// Both systems, the shared state table, and the functions that read the stream.
struct World {
    systems: [Arc<Memory>; 2],
    aws: Arc<MockAws>,
    stream: Stream,
}

/// The longest time from a record's arrival to its write, by system.
type Lags = [Duration; 2];

impl World {
    /// Builds the systems, of which the second one is unavailable for a while.
    fn new(outage: Option<(Duration, Duration)>) -> Self {
        let away = |away| memory::Faults {
            away,
            ..memory::Faults::default()
        };
        Self {
            systems: [
                Memory::named(LEFT, 1, away(None)),
                Memory::named(RIGHT, 2, away(outage)),
            ],
            aws: MockAws::new(3, mock_aws::Faults::default()),
            stream: stream(),
        }
    }

    /// Builds the function of these destinations.
    fn function(&self, name: &str, served: &[&str]) -> Handler {
        let document = format!(
            "{ROUTES}[state]\ntable = \"state\"\n\
             [dead_letter]\nqueue_url = \"http://127.0.0.1:9/letters\"\n\
             [pipeline]\ndestinations = {served:?}\n"
        );
        let layer = Layer::from_toml("the test", &document).expect("TOML");
        let settings = load(Preset::Test, &[layer], &[LEFT, RIGHT]).expect("allowed");
        let mut app = App::empty().with_http(CLIENT.clone()).with_function(name);
        for (name, system) in [LEFT, RIGHT].into_iter().zip(&self.systems) {
            app = app.with(name, system.spec(4));
        }
        app.build(Preset::Test, &settings, &self.aws.config())
            .expect("a handler")
    }

    /// Drains the stream through a function of these destinations. Returns the lag of each contact
    /// that the function wrote.
    async fn drain(&self, name: &str, served: &[&str]) -> BTreeMap<String, Duration> {
        let handler = self.function(name, served);
        let started = Instant::now();
        let (written, lags) = (RefCell::new([0, 0]), RefCell::new(BTreeMap::new()));
        let note = |system: usize| {
            let keys = self.systems[system].written();
            for key in &keys[written.borrow()[system]..] {
                let at: u32 = key[2..].parse().expect("a number");
                let lag = started.elapsed().saturating_sub(EVERY * at);
                lags.borrow_mut().entry(key.clone()).or_insert(lag);
            }
            written.borrow_mut()[system] = keys.len();
        };
        let function = async |invocation: Invocation| {
            let outcome = invocation.handle(&handler).await;
            for (at, system) in [LEFT, RIGHT].into_iter().enumerate() {
                if served.contains(&system) {
                    note(at);
                }
            }
            outcome
        };
        let mapping = Mapping {
            window: Duration::from_secs(1),
            ..Mapping::default()
        };
        let report = mapping.drain(&self.stream, function).await;
        assert_eq!(
            (report.lost(&self.stream), report.discarded.len()),
            (0, 0),
            "{name}"
        );
        lags.into_inner()
    }

    /// Returns the longest lag of each system, after all records were delivered.
    fn longest(&self, lags: &BTreeMap<String, Duration>) -> Lags {
        assert_eq!(lags.len(), self.stream.len(), "every record is delivered");
        let of_system = |rest| {
            let lags = lags
                .iter()
                .filter(|(key, _)| key[2..].parse::<u32>().expect("a number") % 2 == rest);
            *lags.map(|(_, lag)| lag).max().expect("records")
        };
        for system in &self.systems {
            assert_eq!(system.violations(), Vec::<String>::new());
        }
        assert_eq!(self.aws.violations(), Vec::<String>::new());
        [of_system(0), of_system(1)]
    }
}

/// Runs one function for each system, on the same stream and the same state table.
fn separate(outage: Option<(Duration, Duration)>) -> Lags {
    in_virtual_time(async {
        let world = World::new(outage);
        let (mut lags, right) = tokio::join!(
            world.drain("sync-left", &[LEFT]),
            world.drain("sync-right", &[RIGHT])
        );
        lags.extend(right);
        world.longest(&lags)
    })
}

/// Runs one function for both systems.
fn together(outage: Option<(Duration, Duration)>) -> Lags {
    in_virtual_time(async {
        let world = World::new(outage);
        let lags = world.drain("sync", &[LEFT, RIGHT]).await;
        world.longest(&lags)
    })
}

#[test]
fn an_outage_of_one_system_does_not_delay_the_function_of_the_other() {
    let outage = Some((BEGINS, BEGINS + OUTAGE));
    let [usual, usual_of_right] = separate(None);
    let [separate, of_right] = separate(outage);
    let [together, _] = together(outage);
    assert!(usual < Duration::from_secs(5), "{usual:?}");
    assert_eq!(separate, usual, "the other function is not concerned");
    assert!(together > OUTAGE / 2, "{together:?}");
    assert!(
        of_right > OUTAGE / 2 && of_right > usual_of_right,
        "{of_right:?}"
    );
    write_report(
        "independent destinations",
        format!(
            "one system unavailable for {} minutes, virtual time; the longest lag of the other: \
             usually {:.1} s, with a function for each {:.1} s, with one function {:.1} s\n",
            OUTAGE.as_secs() / 60,
            usual.as_secs_f64(),
            separate.as_secs_f64(),
            together.as_secs_f64()
        ),
    );
}
