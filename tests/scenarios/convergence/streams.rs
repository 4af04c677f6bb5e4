//! Generates random streams for the systems in memory, and their expected final state.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use testkit::kinesis::{Report, Stream};
use testkit::memory::{BOMB, POISON};
use testkit::orders::Possible;

use super::laws::{DeadLetters, HELD, in_order, key};

/// The two systems, and the routes to them.
pub(crate) const LEFT: &str = "left";
pub(crate) const RIGHT: &str = "right";
pub(crate) const ROUTES: &str = "[routes]\nlead = [\"left\"]\nprospect = [\"left\", \"right\"]\n\
    customer = [\"right\"]\nvendor = [\"right\"]\n";

fn destinations(kind: Option<&str>) -> &'static [&'static str] {
    match kind {
        Some("lead") => &[LEFT],
        Some("prospect") | None => &[LEFT, RIGHT],
        Some(_) => &[RIGHT],
    }
}

const TYPES: [&str; 4] = ["lead", "prospect", "customer", "vendor"];

/// Returns a stream of changes of few contacts. Some are refused by the systems, some by the
/// decoder, and some make a transformation panic. Some are parts of an aggregate.
pub(crate) fn changes(random: &mut fastrand::Rng) -> Stream {
    let mut stream = Stream::new(random.usize(1..=3));
    let (records, contacts) = (random.usize(1..120), random.usize(1..16));
    let (mut arrives, mut at) = (Duration::ZERO, 0);
    while at < records {
        arrives += Duration::from_millis(if random.u32(..5) == 0 {
            random.u64(..5_000)
        } else {
            random.u64(..50)
        });
        let contact = random.usize(..contacts);
        let partition_key = format!("c-{contact}");
        if random.u32(..12) == 0 {
            // Two changes of the contact in reverse order.
            let [older, newer] = [0, 1].map(|part| versioned(random, at + part, contact));
            let waits = Duration::from_millis(if random.bool() {
                0
            } else {
                random.u64(..2_000)
            });
            stream.put(&partition_key, newer.as_bytes(), arrives);
            stream.put(&partition_key, older.as_bytes(), arrives + waits);
            (arrives, at) = (arrives + waits, at + 2);
            continue;
        }
        if random.u32(..15) == 0 {
            let parts: Vec<String> = (0..random.usize(2..5))
                .map(|part| change(random, at + part, contact).to_string())
                .collect();
            at += parts.len();
            let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
            stream.put_aggregate(&partition_key, &parts, arrives);
            continue;
        }
        let data = if random.u32(..40) == 0 {
            invalid_change(random, at)
        } else {
            change(random, at, contact).to_string()
        };
        stream.put(&partition_key, data.as_bytes(), arrives);
        at += 1;
    }
    stream
}

/// Returns data that is not a change because of its JSON, its shape, or a value.
fn invalid_change(random: &mut fastrand::Rng, at: usize) -> String {
    let id = format!("e-{at}");
    match random.u32(..4) {
        0 => format!("no change: {at}"),
        1 => json!({"event_id": id, "operation": "create"}).to_string(),
        2 => json!({"event_id": id, "operation": 1, "occurred_at": "2026-11-20T10:15:00Z"})
            .to_string(),
        _ => json!({"event_id": id, "operation": "create", "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {"id": " ", "type": "lead"}})
        .to_string(),
    }
}

fn versioned(random: &mut fastrand::Rng, at: usize, contact: usize) -> String {
    let mut change = change(random, at, contact);
    change["version"] = (at + 1).into();
    change.to_string()
}

fn change(random: &mut fastrand::Rng, at: usize, contact: usize) -> Value {
    let operation = ["create", "update", "update", "update", "delete"][random.usize(..5)];
    // Most changes keep the contact's type.
    let kind = if random.u32(..10) == 0 {
        TYPES[random.usize(..4)]
    } else {
        TYPES[contact % 4]
    };
    let id = match random.u32(..6) {
        0 => format!(" C-{contact}\u{a0}"),
        1..3 => format!("C-{contact}"),
        _ => format!("c-{contact}"),
    };
    let mut person = json!({"id": id, "type": kind});
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
    if operation == "delete" {
        if random.u32(..4) == 0 {
            person.as_object_mut().expect("an object").remove("type");
        }
    } else {
        match random.u32(..60) {
            0 => drop(attributes.insert(POISON.to_owned(), true.into())),
            1 => drop(attributes.insert(BOMB.to_owned(), true.into())),
            2 => person["company"] = "PANIC".into(),
            _ => {}
        }
    }
    person["attributes"] = attributes.into();
    let mut change = json!({
        "event_id": format!("e-{at}"), "operation": operation,
        "occurred_at": "2026-11-20T10:15:00Z", "contact": person,
    });
    if random.bool() {
        change["version"] = (at + 1).into();
    }
    change
}

/// The expected state of the systems, and the expected dead letters.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// By system and id.
    held: BTreeMap<(&'static str, String), Possible<Texts>>,
    pub dead_letters: DeadLetters,
}

/// A record's values, each as JSON.
type Texts = BTreeMap<String, String>;

impl Expected {
    /// Applies the changes one by one, without the refused ones.
    pub(crate) fn of(stream: &Stream, report: &Report) -> Self {
        let mut expected = Self::default();
        for (record, change) in in_order(stream) {
            let Some(change) = change.filter(is_valid) else {
                expected.dead_letters.must.insert((key(record), ""));
                continue;
            };
            let contact = &change["contact"];
            let id = contact["id"].as_str().expect("an id").trim().to_lowercase();
            let attributes = contact["attributes"].as_object().expect("an object");
            let is_refused = attributes.contains_key(POISON)
                || attributes.contains_key(BOMB)
                || contact["company"] == "PANIC";
            for name in destinations(contact["type"].as_str()) {
                expected
                    .dead_letters
                    .take(record, &change, name, &id, is_refused);
                if !is_refused {
                    let possible = expected.held.entry((name, id.clone())).or_default();
                    possible.apply(&change, Some((record, report)), after);
                }
            }
        }
        expected
    }

    /// Checks that the system holds a possible result of its changes.
    pub(crate) fn is_held(
        &self,
        system: &'static str,
        held: &BTreeMap<String, Map<String, Value>>,
    ) -> Result<(), String> {
        let ours = self
            .held
            .keys()
            .filter(|(name, _)| *name == system)
            .map(|(_, id)| id);
        let none = Possible::default();
        for id in ours.chain(held.keys()) {
            let texts = |fields: &Map<String, Value>| -> Texts {
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_string()))
                    .collect()
            };
            let held = held.get(id).map(texts);
            let possible = self.held.get(&(system, id.clone())).unwrap_or(&none);
            if !possible.states().any(|state| state == held.as_ref()) {
                return Err(format!(
                    "{HELD} by {system} of {id}: {held:?}\nexpected: {possible:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Returns whether a change has a contact's id.
fn is_valid(change: &Value) -> bool {
    change["contact"]["id"]
        .as_str()
        .is_some_and(|id| !id.trim().is_empty())
}

fn after(held: Option<Texts>, change: &Value) -> Option<Texts> {
    if change["operation"] == "delete" {
        return None;
    }
    let mut held = held.unwrap_or_default();
    let attributes = change["contact"]["attributes"]
        .as_object()
        .expect("an object");
    held.extend(
        attributes
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string())),
    );
    Some(held)
}

/// Returns a stream of whole contacts of any version, in any order, and the final state where
/// `guard` compares them with the held versions. One by one, a change with an older version than
/// the held one is skipped; where no version is held, no change is older. (Live changes that are
/// not compared come in their order, and replayed changes among them are older.)
///
/// Where `version` is the scale, every change has one. Some exceed the largest version of a
/// destination: they are rejected.
pub(crate) fn versions(
    random: &mut fastrand::Rng,
    guard: &str,
    scale: &str,
) -> (Stream, BTreeMap<String, Map<String, Value>>) {
    let mut stream = Stream::new(random.usize(1..=2));
    let mut held: BTreeMap<String, u64> = BTreeMap::new();
    for at in 0..random.usize(1..60) {
        let contact = random.usize(..6);
        let (id, is_replay) = (format!("c-{contact}"), random.bool());
        let is_compared = guard != "replays" || is_replay;
        let newest = at as u64 + 1;
        let version = if is_compared {
            random.u64(0..newest)
        } else {
            newest
        };
        // In a batch `version` decides and not the order: the result of a delete would depend on
        // the ends of batches.
        let is_numbered = scale == "version" || contact.is_multiple_of(2);
        let is_too_large = scale == "version" && random.u32(..12) == 0;
        let is_delete = !is_numbered && random.u32(..3) == 0;
        let mut change = json!({
            "event_id": format!("e-{at}"),
            "operation": if is_delete { "delete" } else { "update" },
            "occurred_at": format!("2026-11-20T10:15:{version:02}Z"), "replay": is_replay,
            "contact": {"id": id, "type": "lead", "attributes": {"a": version, "b": version}},
        });
        if is_numbered {
            change["version"] = if is_too_large {
                (1 << 53) + version
            } else {
                version
            }
            .into();
        }
        stream.put(
            &id,
            change.to_string().as_bytes(),
            Duration::from_millis(random.u64(..200) + at as u64 * 100),
        );
        if is_too_large || is_compared && held.get(&id).is_some_and(|held| *held > version) {
            continue;
        }
        if is_delete {
            held.remove(&id);
        } else {
            held.insert(id, version);
        }
    }
    let whole = |version: u64| {
        Map::from_iter([
            ("a".to_owned(), version.into()),
            ("b".to_owned(), version.into()),
        ])
    };
    let expected = held
        .into_iter()
        .map(|(id, version)| (id, whole(version)))
        .collect();
    (stream, expected)
}
