//! The laws that hold whatever the systems are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::kinesis::{Record, Stream};

/// A record, as a dead letter tells of it. The data have a say: the parts of an aggregate share the rest.
pub(crate) type Key = (usize, String, String);

pub(crate) fn key(record: &Record) -> Key {
    (record.shard, record.sequence_number.clone(), base64_simd::STANDARD.encode_to_string(&record.data))
}

/// Where a record is refused: at a destination, or (`""`) before any is asked.
pub(crate) type Place = &'static str;

/// Which records have to have a dead letter, and which may have one.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    pub must: BTreeSet<(Key, Place)>,
    /// Refused, but a later delete may have spared them the question.
    pub may: BTreeSet<(Key, Place)>,
    /// Those of `must`, by place and contact.
    of_contact: BTreeMap<(Place, String), Vec<Key>>,
}

impl DeadLetters {
    /// The record of this contact is refused there.
    pub(crate) fn refused(&mut self, record: &Record, place: Place, contact: &str) {
        self.must.insert((key(record), place));
        self.of_contact.entry((place, contact.to_owned())).or_default().push(key(record));
    }

    /// The contact is deleted there: where the delete shared a batch with refused changes, these were not sent.
    pub(crate) fn deleted(&mut self, place: Place, contact: &str) {
        for key in self.of_contact.remove(&(place, contact.to_owned())).unwrap_or_default() {
            let letter = (key, place);
            self.must.remove(&letter);
            self.may.insert(letter);
        }
    }

    /// Holds the stored letters against what has to be stored.
    pub(crate) fn check(&self, letters: &[Value]) -> Result<(), String> {
        let mut missing = self.must.clone();
        for letter in letters {
            let found = self.must.iter().chain(&self.may).find(|expected| is_of(letter, expected));
            match found {
                Some(expected) => drop(missing.remove(expected)),
                None => return Err(format!("a dead letter of a record with which nothing is wrong: {letter}")),
            }
        }
        match missing.first() {
            Some(missing) => Err(format!("{} rejected without a dead letter, the first: {missing:?}", self.must.len())),
            None => Ok(()),
        }
    }
}

fn is_of(letter: &Value, ((shard, number, data), place): &(Key, Place)) -> bool {
    let record = &letter["record"];
    record["sequence_number"] == **number
        && record["data"] == **data
        && record["shard_id"] == *format!("shardId-{shard:012}")
        && letter["reason"]["destination"].as_str().unwrap_or_default() == *place
}

/// The changes of a stream in the order in which they hold: that of their contact, whose changes share a key.
pub(crate) fn in_order(stream: &Stream) -> impl Iterator<Item = (&Record, Option<Value>)> {
    let records = stream.shards.iter().flatten();
    records.map(|record| (&**record, serde_json::from_slice(&record.data).ok()))
}

/// What differs, as a sentence.
pub(crate) fn same<T: std::fmt::Debug + PartialEq>(
    name: &str,
    held: &BTreeMap<String, T>,
    expected: &BTreeMap<String, T>,
) -> Result<(), String> {
    let ids: BTreeSet<&String> = held.keys().chain(expected.keys()).collect();
    for id in ids {
        let (held, expected) = (held.get(id), expected.get(id));
        if held != expected {
            return Err(format!("{name} holds of {id}: {held:?}\nexpected: {expected:?}"));
        }
    }
    Ok(())
}
