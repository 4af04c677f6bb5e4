//! The laws where systems keep versions, over random streams, batchings and faults: both systems
//! end equal to the changes applied one by one, no older version is written over a newer one, and
//! what is settled is not sent again.
//!
//! `SCHEDULES=10000 cargo test --all-features --test scenarios versions` runs so many schedules in
//! each mode.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use testkit::evidence::{case, seeds, tell};
use testkit::harness::in_virtual_time;
use testkit::kinesis::{Mapping, Stream};
use testkit::memory::{BOMB, Faults, POISON};
use testkit::stream::sequence_number;
use testkit::table;

use super::world::{World, id_of, one_by_one};

/// The largest version.
const LARGEST: u64 = (1 << 53) - 1;

/// How the table and the function fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Not at all.
    None,
    /// The table cannot be read now and then.
    Unread,
    /// The table refuses or is silent, and invocations die.
    Everything,
}

/// What schedules came to.
#[derive(Debug, Default)]
struct Numbers {
    schedules: u64,
    deliveries: usize,
    deaths: usize,
    lookups: usize,
    older_over_newer: usize,
    sent_again: usize,
}

/// Changes of few contacts, whose versions grow. Each sets a field of its own.
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
            "event_id": format!("e-{at}"), "operation": operation, "occurred_at": "2026-11-20T10:15:00Z",
            "version": version, "replay": random.u32(..4) == 0,
            "contact": {"id": format!("c-{contact}"), "type": kind, "attributes": attributes},
        })
    };
    (0..count).map(one).collect()
}

fn stream(changes: &[Value]) -> Stream {
    let mut stream = Stream::new(1);
    for (at, change) in changes.iter().enumerate() {
        // Now and then two records share a number, as the parts of an aggregate do, and then a
        // lane, too.
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

fn table_faults(random: &mut fastrand::Rng, trouble: Trouble) -> table::Faults {
    match trouble {
        Trouble::None => table::Faults::default(),
        Trouble::Unread => table::Faults {
            unread: random.u32(10..60),
            ..table::Faults::default()
        },
        Trouble::Everything => table::Faults {
            refused: random.u32(..40),
            hanging: random.u32(..20),
            ..table::Faults::default()
        },
    }
}

/// Whether no write may be of an older version. Where invocations die nobody remembers, and only a
/// guard of all changes compares.
fn is_strict(mode: &str, trouble: Trouble) -> bool {
    trouble != Trouble::Everything || mode == "always"
}

/// One schedule to its end.
async fn run(seed: u64, mode: &str, trouble: Trouble, numbers: &mut Numbers) -> Result<(), String> {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut percent = |most: u32| random.u32(..=most);
    let (lost, throttled, row, short) = (percent(25), percent(20), percent(30), percent(10));
    // Where an answer is lost, what it told of comes again, in other pieces. It is compared where
    // all changes are, and else written in stream order: an older change over a newer one of which
    // nobody heard, until that comes again, too.
    let (lost, short) = if is_strict(mode, trouble) && mode != "always" {
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
    let world = World::guarded(seed, faults, table_faults(&mut random, trouble), mode);
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
            trouble == Trouble::Everything,
        )
        .await?;
    numbers.schedules += 1;
    numbers.deliveries += tally.deliveries;
    numbers.deaths += tally.deaths;
    let sound = changes
        .iter()
        .filter(|change| change["version"].as_u64() <= Some(LARGEST))
        .cloned();
    let sound: Vec<Value> = sound.collect();
    for (system, kinds) in world
        .systems
        .iter()
        .zip([["lead", "customer"], ["prospect", "customer"]])
    {
        let (held, expected): (BTreeMap<_, _>, _) = (system.records(), one_by_one(&sound, &kinds));
        if held != expected {
            return Err(format!("held {held:?}\nexpected {expected:?}"));
        }
        let (older, again) = (system.older_over_newer(), system.written_again());
        let sent_again = again.iter().filter(|name| name.starts_with("own-")).count();
        numbers.lookups += system.lookups();
        numbers.older_over_newer += older.len();
        numbers.sent_again += sent_again;
        if is_strict(mode, trouble) {
            older
                .first()
                .map_or(Ok(()), |older| Err(format!("older over newer: {older}")))?;
        }
        if trouble == Trouble::None && sent_again > 0 {
            return Err(format!("sent again: {again:?}"));
        }
    }
    Ok(())
}

fn run_all(mode: &str, count: u64) {
    let mut numbers = Numbers::default();
    for seed in seeds(count) {
        let trouble = [Trouble::None, Trouble::Unread, Trouble::Everything]
            [usize::try_from(seed % 3).expect("small")];
        let ended = case(seed, || {
            in_virtual_time(run(seed, mode, trouble, &mut numbers))
        });
        ended.unwrap_or_else(|broken| {
            panic!("SEED={seed} {mode} {trouble:?}: {broken}\nso far: {numbers:?}")
        });
    }
    let Numbers {
        schedules,
        deliveries,
        deaths,
        lookups,
        ..
    } = numbers;
    tell(
        &format!("settled {mode}"),
        format!(
            "{schedules} schedules, {deliveries} invocations, {deaths} killed, {lookups} look-ups"
        ),
    );
}

#[test]
fn no_older_version_is_written_over_a_newer_one_and_nothing_settled_is_sent_again_where_all_are_compared()
 {
    run_all("always", 200);
}

#[test]
fn no_older_version_is_written_over_a_newer_one_and_nothing_settled_is_sent_again_where_replays_are_compared()
 {
    run_all("replays", 200);
}

#[test]
fn without_a_guard_the_laws_are_seen_to_be_broken() {
    let mut numbers = Numbers::default();
    for seed in 0..60 {
        let _ = in_virtual_time(run(seed, "off", Trouble::Unread, &mut numbers));
    }
    assert!(
        numbers.older_over_newer > 0 && numbers.sent_again > 0,
        "{numbers:?}"
    );
}
