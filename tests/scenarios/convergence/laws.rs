//! The laws of any system. The message of a broken law begins with its name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::kinesis::{Record, Report, Stream};

pub(crate) const NOT_DRAINED: &str = "not drained";
pub(crate) const LOST: &str = "lost";
pub(crate) const HELD: &str = "held";
pub(crate) const DEAD_LETTER_EXTRA: &str = "an extra dead letter";
pub(crate) const DEAD_LETTER_MISSING: &str = "a dead letter is missing";
pub(crate) const ORDER: &str = "an older version over a newer one";
pub(crate) const PROTOCOL_VIOLATION: &str = "a protocol violation";

/// The messages of all broken laws.
pub(crate) type Broken = Vec<String>;

/// Collects the messages of all broken laws.
pub(crate) fn all_hold(laws: impl IntoIterator<Item = Result<(), String>>) -> Result<(), Broken> {
    let broken: Broken = laws.into_iter().filter_map(Result::err).collect();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(broken)
    }
}

/// Returns the number of runs that break this law.
pub(crate) fn count<T>(law: &str, runs: impl IntoIterator<Item = Result<T, Broken>>) -> usize {
    let breaks = |run: &Result<T, Broken>| {
        run.as_ref()
            .is_err_and(|broken| broken.iter().any(|b| b.starts_with(law)))
    };
    runs.into_iter().filter(breaks).count()
}

/// Checks that a response settled each record of a drained stream, and that none was discarded.
pub(crate) fn nothing_lost(report: &Report, stream: &Stream) -> Result<(), String> {
    match report.lost(stream) {
        0 => Ok(()),
        lost => Err(format!(
            "{LOST}: {lost} of {} records, {} batches discarded",
            stream.len(),
            report.discarded.len()
        )),
    }
}

/// Checks that no mock saw a protocol violation.
pub(crate) fn no_protocol_violation(seen: impl IntoIterator<Item = String>) -> Result<(), String> {
    match seen.into_iter().next() {
        Some(violation) => Err(format!("{PROTOCOL_VIOLATION}: {violation}")),
        None => Ok(()),
    }
}

/// Identifies a record by the fields of its dead letter. The parts of an aggregate differ only in
/// their data.
pub(crate) type Key = (usize, String, String);

pub(crate) fn key(record: &Record) -> Key {
    (
        record.shard,
        record.sequence_number.clone(),
        base64_simd::STANDARD.encode_to_string(&record.data),
    )
}

/// The place of a rejection: a destination, or (`""`) before any destination is called.
pub(crate) type Place = &'static str;

/// The records that must have a dead letter, and those that may have one.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    pub must: BTreeSet<(Key, Place)>,
    /// Invalid records that a delete may have replaced before they were sent.
    pub may: BTreeSet<(Key, Place)>,
    contacts: BTreeMap<(Place, String), ContactState>,
}

/// The state of a contact at a place.
#[derive(Debug, Default)]
struct ContactState {
    /// The contact's records that must have a dead letter.
    must: Vec<Key>,
    /// The version of the contact's last change, where that is a delete.
    deleted: Option<u64>,
}

impl DeadLetters {
    /// Adds a change of a contact, which the place refuses or not.
    pub(crate) fn take(
        &mut self,
        record: &Record,
        change: &Value,
        place: Place,
        contact: &str,
        is_refused: bool,
    ) {
        let state = self
            .contacts
            .entry((place, contact.to_owned()))
            .or_default();
        let version = change["version"].as_u64();
        // A newer delete came before the change: in one batch with it the change is not sent.
        let is_older = state
            .deleted
            .take()
            .is_some_and(|deleted| version.is_some_and(|own| own < deleted));
        if change["operation"] == "delete" {
            // In one batch with the delete, the invalid changes before it are not sent.
            for dead_letter in state.must.drain(..).map(|key| (key, place)) {
                self.must.remove(&dead_letter);
                self.may.insert(dead_letter);
            }
            state.deleted = version;
        } else if is_refused && is_older {
            self.may.insert((key(record), place));
        } else if is_refused {
            state.must.push(key(record));
            self.must.insert((key(record), place));
        }
    }

    /// Checks that no valid record has a dead letter.
    pub(crate) fn none_extra(&self, dead_letters: &[Value]) -> Result<(), String> {
        for dead_letter in dead_letters {
            let mut expected = self.must.iter().chain(&self.may);
            if !expected.any(|expected| is_of(dead_letter, expected)) {
                return Err(format!("{DEAD_LETTER_EXTRA}: {dead_letter}"));
            }
        }
        Ok(())
    }

    /// Checks that each rejected record has its dead letter.
    pub(crate) fn none_missing(&self, dead_letters: &[Value]) -> Result<(), String> {
        for expected in &self.must {
            if !dead_letters
                .iter()
                .any(|dead_letter| is_of(dead_letter, expected))
            {
                return Err(format!("{DEAD_LETTER_MISSING}: {expected:?}"));
            }
        }
        Ok(())
    }
}

fn is_of(dead_letter: &Value, ((shard, number, data), place): &(Key, Place)) -> bool {
    let record = &dead_letter["record"];
    record["sequence_number"] == **number
        && record["data"] == **data
        && record["shard_id"] == *format!("shardId-{shard:012}")
        && dead_letter["reason"]["destination"]
            .as_str()
            .unwrap_or_default()
            == *place
}

/// Returns the changes of a stream, those of each contact in the order of application: they share a
/// partition key.
pub(crate) fn in_order(stream: &Stream) -> impl Iterator<Item = (&Record, Option<Value>)> {
    let records = stream.shards.iter().flatten();
    records.map(|record| (&**record, serde_json::from_slice(&record.data).ok()))
}

/// Checks that both states are equal. The message names the first difference.
pub(crate) fn same<T: std::fmt::Debug + PartialEq>(
    name: &str,
    held: &BTreeMap<String, T>,
    expected: &BTreeMap<String, T>,
) -> Result<(), String> {
    let ids: BTreeSet<&String> = held.keys().chain(expected.keys()).collect();
    for id in ids {
        let (held, expected) = (held.get(id), expected.get(id));
        if held != expected {
            return Err(format!(
                "{HELD} by {name} of {id}: {held:?}\nexpected: {expected:?}"
            ));
        }
    }
    Ok(())
}
