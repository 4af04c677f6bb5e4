//! Picks the records of a round that go back into the stream.

use std::collections::HashMap;

use super::super::confirm::confirm;
use super::super::stream::Stream;
use super::Replay;
use super::policy::ReplayDecision;
use super::republish::{Holder, Identity};
use super::source::{Origin, Record, Source};

/// A record, and the sources that hold it.
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) key: String,
    pub(super) data: Vec<u8>,
    pub(super) stream: Stream,
    pub(super) holders: Vec<usize>,
}

/// The records of one round that go back, each once, and their places by identity.
#[derive(Default)]
struct Picked {
    entries: Vec<Entry>,
    places: HashMap<Identity, usize>,
}

/// Says why a record that would be rejected again is left where it is.
fn rejected_again(code: &str) -> String {
    format!(
        "the function rejects it again ({code}): it has to be corrected where it comes from; --force puts it back all the same"
    )
}

impl Picked {
    /// Adds a record, or the source to the one that is known.
    fn add(&mut self, source: usize, identity: Identity, record: Record, data: Vec<u8>) {
        if let Some(place) = self.places.get(&identity) {
            self.entries[*place].holders.push(source);
            return;
        }
        self.places.insert(identity.clone(), self.entries.len());
        let Record { stream, key, .. } = record;
        self.entries.push(Entry {
            identity,
            key,
            data,
            stream,
            holders: vec![source],
        });
    }
}

impl Replay<'_> {
    /// The records that go back, in the order of the stream, each once.
    pub(super) fn judge_all(&mut self, sources: Vec<Source>, holders: &mut [Holder]) -> Vec<Entry> {
        self.ask_about_rejected(&sources);
        let mut picked = Picked::default();
        for (at, source) in sources.into_iter().enumerate() {
            if self.report.limit.is_none() {
                self.judge_source((at, source), &mut holders[at], &mut picked);
            } else {
                holders[at].stays = true;
            }
        }
        let mut entries = picked.entries;
        entries.sort_by(|a, b| a.identity.compare(&b.identity));
        entries
    }

    /// Asks a person, once, whether to put back what the function rejects again.
    fn ask_about_rejected(&mut self, sources: &[Source]) {
        if !self.may_ask {
            return;
        }
        let records = sources.iter().flat_map(|source| &source.records);
        let is_rejected = |record: &&Record| {
            matches!(
                self.judge.judge(&record.data, record.known()),
                ReplayDecision::RejectedAgain(_)
            )
        };
        let count = records.filter(is_rejected).count();
        if count == 0 {
            return;
        }
        self.may_ask = false;
        let question = format!(
            "The function rejects {count} of these changes again. Put them back all the same?"
        );
        if confirm(&question) {
            self.judge.take_rejected();
        }
    }

    /// Judges the records that are not back in the stream yet.
    fn judge_records(&self, records: Vec<Record>) -> Vec<(Identity, Record, ReplayDecision)> {
        let mut judged = Vec::with_capacity(records.len());
        for record in records {
            let identity = self.store.identity(&record);
            if !self.store.done.contains(&identity) {
                let verdict = self.judge.judge(&record.data, record.known());
                judged.push((identity, record, verdict));
            }
        }
        judged
    }

    /// Picks the records of one source that go back. A source that brings none does not count for
    /// the limit, and one that the limit forbids is left as if it had not been looked at.
    fn judge_source(
        &mut self,
        (at, source): (usize, Source),
        holder: &mut Holder,
        picked: &mut Picked,
    ) {
        let Source {
            name,
            origin,
            records,
            stays,
        } = source;
        let judged = self.judge_records(records);
        let brings = |(identity, _, verdict): &(Identity, Record, ReplayDecision)| {
            matches!(verdict, ReplayDecision::PutBack(_)) && !picked.places.contains_key(identity)
        };
        if origin != Origin::Stream && judged.iter().any(brings) && !self.take_one() {
            holder.stays = true;
            return;
        }
        if let Some(reason) = &stays {
            self.report.leave(&name, reason);
        }
        for (identity, record, verdict) in judged {
            let reason = match verdict {
                ReplayDecision::PutBack(_) if origin == Origin::Stream && !self.take_one() => break,
                ReplayDecision::PutBack(data) => {
                    holder.open += 1;
                    picked.add(at, identity, record, data);
                    continue;
                }
                ReplayDecision::NotMeant => {
                    self.report.not_meant += 1;
                    holder.stays = true;
                    continue;
                }
                ReplayDecision::Left(reason) => reason.to_owned(),
                ReplayDecision::RejectedAgain(code) => rejected_again(&code),
            };
            self.report.leave(&name, &reason);
            holder.stays = true;
        }
    }
}
