//! The world of the tests: two systems in memory, a table in the process, the function, and
//! Lambda's deliveries with deaths of invocations, all in virtual time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::AdapterSpec;
use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::{Layer, Preset, load};
use serde_json::{Map, Value, json};
use testkit::harness::CLIENT;
use testkit::kinesis::{Invocation, InvocationOutcome, Mapping, Stream};
use testkit::memory::{BOMB, Faults, Memory, POISON};
use testkit::stream::sequence_number;
use testkit::table::{self, Table};
use tokio::time::{Instant, sleep_until, timeout};

pub(crate) const NAMES: [&str; 2] = ["one", "two"];

/// The result of a schedule.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) written: usize,
    pub(crate) deliveries: usize,
    pub(crate) deaths: usize,
    pub(crate) answers_lost: usize,
}

/// Two systems, a table, and the function.
pub(crate) struct World {
    pub(crate) systems: [Arc<Memory>; 2],
    pub(crate) table: Table,
    pub(crate) handler: Handler,
    has_table: bool,
    keeps_versions: bool,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        faults: Faults,
        table_faults: table::Faults,
        has_table: bool,
    ) -> Self {
        let systems = [0, 1].map(|at| Memory::named(NAMES[at], seed + at as u64, faults));
        let table = Table::new(seed, table_faults);
        let handler = handler(&systems, &table, has_table, false, "contact-sync", "");
        Self {
            systems,
            table,
            handler,
            has_table,
            keeps_versions: false,
        }
    }

    /// Creates a world with systems that store versions, which are compared in this mode.
    pub(crate) fn guarded(
        seed: u64,
        faults: Faults,
        table_faults: table::Faults,
        mode: &str,
    ) -> Self {
        let world = Self {
            keeps_versions: true,
            ..Self::new(seed, faults, table_faults, true)
        };
        let document = format!("[guard]\nmode = \"{mode}\"\nversion = \"version\"");
        Self {
            handler: world.other("contact-sync", &document),
            ..world
        }
    }

    /// Starts another function on the same stream, with the same systems and the same table.
    pub(crate) fn other(&self, name: &str, document: &str) -> Handler {
        handler(
            &self.systems,
            &self.table,
            self.has_table,
            self.keeps_versions,
            name,
            document,
        )
    }

    fn heal(&self) {
        for system in &self.systems {
            system.heal();
        }
        self.table.heal();
    }

    /// Drains the stream through the mapping. With `deaths`, any invocation may die.
    pub(crate) async fn drain(
        &self,
        mapping: &Mapping,
        stream: &Stream,
        seed: u64,
        deaths: bool,
    ) -> Result<Tally, String> {
        let (random, tally) = (
            RefCell::new(fastrand::Rng::with_seed(seed)),
            RefCell::new(Tally::default()),
        );
        let heals_at = 80 * mapping.parallelization_factor;
        let function = async |invocation: Invocation| {
            tally.borrow_mut().deliveries += 1;
            let deliveries = tally.borrow().deliveries;
            if deliveries == heals_at {
                self.heal();
            }
            let dice = if deaths && deliveries < heals_at {
                random.borrow_mut().u32(..100)
            } else {
                100
            };
            let dies_at = Instant::now() + Duration::from_millis(random.borrow_mut().u64(1..2500));
            let ended = tokio::select! {
                biased;
                () = self.table.written.notified(), if dice < 15 => {
                    tally.borrow_mut().answers_lost += 1;
                    InvocationOutcome::Error
                }
                () = sleep_until(dies_at), if (15..35).contains(&dice) => InvocationOutcome::Error,
                ended = invocation.handle(&self.handler) => ended,
            };
            tally.borrow_mut().deaths += usize::from(ended == InvocationOutcome::Error);
            ended
        };
        let drained = timeout(Duration::from_hours(12), mapping.drain(stream, function)).await;
        let report = drained
            .map_err(|_| "not drained in half a day, most of it without faults".to_owned())?;
        if report.lost(stream) > 0 {
            return Err(format!("lost: {} records", report.lost(stream)));
        }
        Ok(tally.into_inner())
    }
}

fn handler(
    systems: &[Arc<Memory>; 2],
    table: &Table,
    has_table: bool,
    keeps_versions: bool,
    function: &str,
    document: &str,
) -> Handler {
    let routes = "lead = [\"one\"]\nprospect = [\"two\"]\n\
                  customer = [\"one\", \"two\"]\nvendor = [\"two\"]";
    let name = if has_table { "settled" } else { "" };
    let document = format!("[routes]\n{routes}\n[state]\ntable = \"{name}\"\n{document}");
    let layer = Layer::from_toml("the test", &document).expect("TOML");
    let settings = load(Preset::Test, &[layer], &NAMES).expect("allowed");
    let mut app = App::empty()
        .with_http(CLIENT.clone())
        .with_function(function);
    for (name, memory) in NAMES.into_iter().zip(systems) {
        let memory = Arc::clone(memory);
        app = app.with(
            name,
            AdapterSpec {
                keeps_versions,
                ..memory.spec(2)
            },
        );
    }
    app.build(Preset::Test, &settings, &table.config())
        .expect("a handler")
}

pub(crate) fn id_of(change: &Value) -> String {
    change["contact"]["id"].as_str().expect("an id").to_owned()
}

/// Returns changes of few contacts, often several of one contact in a row. A contact keeps its
/// type.
fn changes(random: &mut fastrand::Rng, count: usize) -> Vec<Value> {
    let mut contact = 0;
    let one = |at: usize| {
        if random.u32(..3) > 0 {
            contact = random.usize(..9);
        }
        let operation = ["create", "update", "update", "update", "delete"][random.usize(..5)];
        let mut attributes = Map::new();
        for name in ["a", "b", "c"] {
            if random.bool() {
                attributes.insert(
                    name.to_owned(),
                    if random.u32(..8) == 0 {
                        Value::Null
                    } else {
                        at.into()
                    },
                );
            }
        }
        if operation != "delete" {
            match random.u32(..30) {
                0 => drop(attributes.insert(POISON.to_owned(), true.into())),
                1 => drop(attributes.insert(BOMB.to_owned(), true.into())),
                _ => {}
            }
        }
        let kind = ["lead", "prospect", "customer"][contact % 3];
        json!({
            "event_id": format!("e-{at}"), "operation": operation,
            "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {"id": format!("c-{contact}"), "type": kind, "attributes": attributes},
        })
    };
    (0..count).map(one).collect()
}

pub(crate) fn one_by_one(
    changes: &[Value],
    kinds: &[&str],
) -> BTreeMap<String, Map<String, Value>> {
    let mut records: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|change| kinds.contains(&change["contact"]["type"].as_str().expect("a type")))
    {
        let attributes = change["contact"]["attributes"]
            .as_object()
            .expect("an object");
        if change["operation"] == "delete" {
            records.remove(&id_of(change));
        } else if !attributes.contains_key(POISON) && !attributes.contains_key(BOMB) {
            records
                .entry(id_of(change))
                .or_default()
                .extend(attributes.clone());
        }
    }
    records
}

/// Runs one schedule. Fails with the difference from the law. Systems that forget `forgotten`
/// percent of their acknowledged writes break it.
pub(crate) async fn run(seed: u64, has_table: bool, forgotten: u32) -> Result<Tally, String> {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut percent = |most: u32| random.u32(..=most);
    let (lost, throttled, row, short) = (percent(25), percent(20), percent(30), percent(10));
    let faults = Faults {
        lost,
        throttled,
        row,
        short,
        forgotten,
        ..Faults::default()
    };
    // Where the stream is read again, the table has to respond: it lists the items with later
    // changes to clear.
    let readings = percent(2) as usize;
    let may_fail = u32::from(readings == 0);
    let table_faults = table::Faults {
        refused: may_fail * percent(40),
        hanging: may_fail * percent(20),
        ..table::Faults::default()
    };
    let world = World::new(seed, faults, table_faults, has_table);
    let changes = {
        let count = random.usize(1..60);
        changes(&mut random, count)
    };
    // Concurrent batches of one shard: each contact in one lane, with interleaved sequence numbers.
    let mut stream = Stream::new(1);
    for (at, change) in changes.iter().enumerate() {
        // Some records share a number, as the parts of an aggregate do.
        let number = sequence_number(0, if at % 11 == 10 { at - 1 } else { at });
        stream.append(
            0,
            &number,
            &id_of(change),
            change.to_string().as_bytes(),
            Duration::ZERO,
        );
    }
    let mapping = Mapping {
        batch_size: random.usize(1..30),
        parallelization_factor: random.usize(1..4),
        bisect: random.u32(..4) > 0,
        backoff: (Duration::from_millis(214), Duration::from_secs(2)),
        made_anew: readings,
        seed,
        ..Mapping::default()
    };
    let mut tally = world.drain(&mapping, &stream, seed * 7, true).await?;
    for (system, kinds) in world
        .systems
        .iter()
        .zip([["lead", "customer"], ["prospect", "customer"]])
    {
        let (held, expected) = (system.records(), one_by_one(&changes, &kinds));
        if held != expected {
            return Err(format!("held {held:?}\nexpected {expected:?}"));
        }
        tally.written += system.written().len();
    }
    Ok(tally)
}
