//! Tests of the laws where systems store versions, over random streams, batchings and faults. Both
//! systems end equal to the changes applied one by one, no older version is written over a newer
//! one, and no settled record is sent again.
//!
//! `SCHEDULES=10000 cargo test --all-features --test scenarios versions` runs that many schedules
//! in each mode.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use testkit::evidence::{case, seeds, write_report};
use testkit::harness::in_virtual_time;
use testkit::kinesis::{Mapping, Stream};
use testkit::memory::{BOMB, Faults, POISON};
use testkit::stream::sequence_number;
use testkit::table;

use super::world::{World, id_of, one_by_one};

/// The largest version.
const LARGEST: u64 = (1 << 53) - 1;

/// The injected faults of the table and the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InjectedFaults {
    None,
    /// Some reads of the table fail.
    Unread,
    /// Calls of the table are refused or hang, and invocations die.
    Everything,
}

/// The results of schedules.
#[derive(Debug, Default)]
struct Numbers {
    schedules: u64,
    deliveries: usize,
    deaths: usize,
    lookups: usize,
    older_over_newer: usize,
    sent_again: usize,
}

/// Returns changes of few contacts with growing versions. Each sets a field of its own.
fn changes(random: &mut fastrand::Rng) -> Vec<Value> {
    let mut versions = [0_u64; 6];
    let mut contact = 0;
    let count = random.usize(1..50);
    let one = |at: usize| {
        if random.u32(..3) > 0 {
            contact = random.usize(..versions.len());
        }
        let operation = ["create", "update", "update", "update", "delete"][random.usize(..5)];
        versions[contact] += random.u64(1..4);
        let mut version = versions[contact];
        let mut attributes = Map::new();
        if operation != "delete" {
            attributes.insert(format!("own-{at}"), at.into());
            attributes.insert(["a", "b"][random.usize(..2)].to_owned(), at.into());
            match random.u32(..30) {
                0 => drop(attributes.insert(POISON.to_owned(), true.into())),
                1 => drop(attributes.insert(BOMB.to_owned(), true.into())),
                _ => {}
            }
        }
        if random.u32(..30) == 0 {
            version = LARGEST + random.u64(1..=u64::MAX - LARGEST);
        }
        let kind = ["lead", "prospect", "customer"][contact % 3];
        json!({
            "event_id": format!("e-{at}"), "operation": operation,
            "occurred_at": "2026-11-20T10:15:00Z", "version": version,
            "replay": random.u32(..4) == 0,
            "contact": {"id": format!("c-{contact}"), "type": kind, "attributes": attributes},
        })
    };
    (0..count).map(one).collect()
}

fn stream(changes: &[Value]) -> Stream {
    let mut stream = Stream::new(1);
    for (at, change) in changes.iter().enumerate() {
        // Some records share a number, as the parts of an aggregate do, and then also a lane.
        let is_part = at % 5 == 4 && id_of(&changes[at - 1]) == id_of(change);
        let number = sequence_number(0, if is_part { at - 1 } else { at });
        stream.append(
            0,
            &number,
            &id_of(change),
            change.to_string().as_bytes(),
            Duration::ZERO,
        );
    }
    stream
}

fn table_faults(random: &mut fastrand::Rng, injected: InjectedFaults) -> table::Faults {
    match injected {
        InjectedFaults::None => table::Faults::default(),
        InjectedFaults::Unread => table::Faults {
            unread: random.u32(10..60),
            ..table::Faults::default()
        },
        InjectedFaults::Everything => table::Faults {
            refused: random.u32(..40),
            hanging: random.u32(..20),
            ..table::Faults::default()
        },
    }
}

/// Returns whether no write of an older version is allowed. Where invocations die, no outcome is
/// stored, and only a guard of all changes compares.
fn is_strict(mode: &str, injected: InjectedFaults) -> bool {
    injected != InjectedFaults::Everything || mode == "always"
}

/// Runs one schedule.
async fn run(
    seed: u64,
    mode: &str,
    injected: InjectedFaults,
    numbers: &mut Numbers,
) -> Result<(), String> {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut percent = |most: u32| random.u32(..=most);
    let (lost, throttled, row, short) = (percent(25), percent(20), percent(30), percent(10));
    // After a lost response its records are redelivered, in other pieces. They are compared where
    // all changes are. Otherwise they are written in stream order: an older change over a newer one
    // whose outcome is unknown, until the newer one is redelivered, too.
    let (lost, short) = if is_strict(mode, injected) && mode != "always" {
        (0, 0)
    } else {
        (lost, short)
    };
    let faults = Faults {
        lost,
        throttled,
        row,
        short,
        ..Faults::default()
    };
    let world = World::guarded(seed, faults, table_faults(&mut random, injected), mode);
    let changes = changes(&mut random);
    let mapping = Mapping {
        batch_size: random.usize(1..30),
        parallelization_factor: random.usize(1..4),
        bisect: random.u32(..4) > 0,
        backoff: (Duration::from_millis(214), Duration::from_secs(2)),
        seed,
        ..Mapping::default()
    };
    let tally = world
        .drain(
            &mapping,
            &stream(&changes),
            seed * 7,
            injected == InjectedFaults::Everything,
        )
        .await?;
    numbers.schedules += 1;
    numbers.deliveries += tally.deliveries;
    numbers.deaths += tally.deaths;
    let valid: Vec<Value> = changes
        .iter()
        .filter(|change| change["version"].as_u64() <= Some(LARGEST))
        .cloned()
        .collect();
    for (system, kinds) in world
        .systems
        .iter()
        .zip([["lead", "customer"], ["prospect", "customer"]])
    {
        let (held, expected): (BTreeMap<_, _>, _) = (system.records(), one_by_one(&valid, &kinds));
        if held != expected {
            return Err(format!("held {held:?}\nexpected {expected:?}"));
        }
        let (older, again) = (system.older_over_newer(), system.written_again());
        let sent_again = again.iter().filter(|name| name.starts_with("own-")).count();
        numbers.lookups += system.lookups();
        numbers.older_over_newer += older.len();
        numbers.sent_again += sent_again;
        if is_strict(mode, injected)
            && let Some(older) = older.first()
        {
            return Err(format!("older over newer: {older}"));
        }
        if injected == InjectedFaults::None && sent_again > 0 {
            return Err(format!("sent again: {again:?}"));
        }
    }
    Ok(())
}

fn run_all(mode: &str, count: u64) {
    let mut numbers = Numbers::default();
    for seed in seeds(count) {
        let injected = [
            InjectedFaults::None,
            InjectedFaults::Unread,
            InjectedFaults::Everything,
        ][usize::try_from(seed % 3).expect("small")];
        let result = case(seed, || {
            in_virtual_time(run(seed, mode, injected, &mut numbers))
        });
        result.unwrap_or_else(|broken| {
            panic!("SEED={seed} {mode} {injected:?}: {broken}\nso far: {numbers:?}")
        });
    }
    let Numbers {
        schedules,
        deliveries,
        deaths,
        lookups,
        ..
    } = numbers;
    write_report(
        &format!("settled {mode}"),
        format!(
            "{schedules} schedules, {deliveries} invocations, {deaths} killed, \
             {lookups} look-ups"
        ),
    );
}

#[test]
fn a_guard_of_all_changes_keeps_versions_and_sends_no_settled_change_again() {
    run_all("always", 200);
}

#[test]
fn a_guard_of_replays_keeps_versions_and_sends_no_settled_change_again() {
    run_all("replays", 200);
}

#[test]
fn without_a_guard_the_laws_are_broken() {
    let mut numbers = Numbers::default();
    for seed in 0..60 {
        let _ = in_virtual_time(run(seed, "off", InjectedFaults::Unread, &mut numbers));
    }
    assert!(
        numbers.older_over_newer > 0 && numbers.sent_again > 0,
        "{numbers:?}"
    );
}
