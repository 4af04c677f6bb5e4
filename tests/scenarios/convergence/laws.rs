//! The laws that hold whatever the systems are. What a broken one says begins with its name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::kinesis::{Record, Report, Stream};

pub(crate) const NOT_DRAINED: &str = "not drained";
pub(crate) const LOST: &str = "lost";
pub(crate) const HELD: &str = "held";
pub(crate) const LETTER_TOO_MANY: &str = "a dead letter too many";
pub(crate) const LETTER_MISSING: &str = "a dead letter is missing";
pub(crate) const ORDER: &str = "an older version over a newer one";
pub(crate) const MISTAKE: &str = "a mistake";

/// Every law that is broken.
pub(crate) type Broken = Vec<String>;

/// All laws are asked: one that is broken hides no other.
pub(crate) fn all_hold(laws: impl IntoIterator<Item = Result<(), String>>) -> Result<(), Broken> {
    let broken: Broken = laws.into_iter().filter_map(Result::err).collect();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(broken)
    }
}

/// How many of these runs break this law.
pub(crate) fn count<T>(law: &str, runs: impl IntoIterator<Item = Result<T, Broken>>) -> usize {
    let breaks = |run: &Result<T, Broken>| {
        run.as_ref()
            .is_err_and(|broken| broken.iter().any(|b| b.starts_with(law)))
    };
    runs.into_iter().filter(breaks).count()
}

/// Each record of a drained stream was settled by an answer: none was given up, none left out.
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

/// Nobody saw a mistake in a conversation.
pub(crate) fn no_mistake(seen: impl IntoIterator<Item = String>) -> Result<(), String> {
    seen.into_iter()
        .next()
        .map_or(Ok(()), |mistake| Err(format!("{MISTAKE}: {mistake}")))
}

/// A record, as a dead letter tells of it. The data have a say: the parts of an aggregate share the
/// rest.
pub(crate) type Key = (usize, String, String);

pub(crate) fn key(record: &Record) -> Key {
    (
        record.shard,
        record.sequence_number.clone(),
        base64_simd::STANDARD.encode_to_string(&record.data),
    )
}

/// Where a record is refused: at a destination, or (`""`) before any is asked.
pub(crate) type Place = &'static str;

/// Which records have to have a dead letter, and which may have one.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    pub must: BTreeSet<(Key, Place)>,
    /// Refused, but a delete may have spared them the question.
    pub may: BTreeSet<(Key, Place)>,
    /// What was said of a contact.
    said: BTreeMap<(Place, String), AuditFields>,
}

#[derive(Debug, Default)]
struct AuditFields {
    /// Its records that have to have a letter.
    must: Vec<Key>,
    /// The version of its last change, where that is a delete.
    deleted: Option<u64>,
}

impl DeadLetters {
    /// A change of this contact, which is refused there or not.
    pub(crate) fn take(
        &mut self,
        record: &Record,
        change: &Value,
        place: Place,
        contact: &str,
        is_refused: bool,
    ) {
        let said = self.said.entry((place, contact.to_owned())).or_default();
        let version = change["version"].as_u64();
        // It was overtaken by a delete: in one batch with it it is not sent.
        let is_behind = said
            .deleted
            .take()
            .is_some_and(|deleted| version.is_some_and(|own| own < deleted));
        if change["operation"] == "delete" {
            // Where it shares a batch with refused changes, these are not sent.
            for letter in said.must.drain(..).map(|key| (key, place)) {
                self.must.remove(&letter);
                self.may.insert(letter);
            }
            said.deleted = version;
        } else if is_refused && is_behind {
            self.may.insert((key(record), place));
        } else if is_refused {
            said.must.push(key(record));
            self.must.insert((key(record), place));
        }
    }

    /// No letter is of a record with which nothing is wrong.
    pub(crate) fn none_too_many(&self, letters: &[Value]) -> Result<(), String> {
        let is_expected = |letter: &&Value| {
            self.must
                .iter()
                .chain(&self.may)
                .any(|expected| is_of(letter, expected))
        };
        let other = letters.iter().find(|letter| !is_expected(letter));
        other.map_or(Ok(()), |letter| Err(format!("{LETTER_TOO_MANY}: {letter}")))
    }

    /// Each rejected record has its letter.
    pub(crate) fn none_missing(&self, letters: &[Value]) -> Result<(), String> {
        let has_none =
            |expected: &&(Key, Place)| !letters.iter().any(|letter| is_of(letter, expected));
        let missing = self.must.iter().find(has_none);
        missing.map_or(Ok(()), |missing| {
            Err(format!("{LETTER_MISSING}: {missing:?}"))
        })
    }
}

fn is_of(letter: &Value, ((shard, number, data), place): &(Key, Place)) -> bool {
    let record = &letter["record"];
    record["sequence_number"] == **number
        && record["data"] == **data
        && record["shard_id"] == *format!("shardId-{shard:012}")
        && letter["reason"]["destination"].as_str().unwrap_or_default() == *place
}

/// The changes of a stream in the order in which they hold: that of their contact, whose changes
/// share a key.
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
            return Err(format!(
                "{HELD} by {name} of {id}: {held:?}\nexpected: {expected:?}"
            ));
        }
    }
    Ok(())
}
