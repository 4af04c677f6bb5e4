//! Selection of the records of a round that are put back into the stream.

use std::collections::HashMap;

use super::Replay;
use super::policy::ReplayDecision;
use super::republish::{Identity, SourceState};
use super::source::{Origin, Place, Record, Source};

/// Selected record, with the sources that contain it.
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) key: String,
    pub(super) hash_key: Option<u128>,
    pub(super) data: Vec<u8>,
    pub(super) place: Place,
    pub(super) sources: Vec<usize>,
}

/// Selected records of one round, each once, and their indices by identity.
#[derive(Default)]
struct Selection {
    entries: Vec<Entry>,
    indices: HashMap<Identity, usize>,
}

/// Returns the reason why a record that would be rejected again is not put back.
fn rejected_again(code: &str) -> String {
    format!(
        "the function rejects it again ({code}): correct it at its source; \
         --force puts it back regardless"
    )
}

/// Returns the reason why a source is kept though the function needs none of its records.
fn all_filtered(code: &str) -> String {
    format!("the function filters all its records ({code}): check its settings; --force deletes it")
}

/// Returns the code of the first record where the function filters all `count` records of a source.
/// Wrong settings do the same.
fn unneeded(decided: &[(Identity, Record, ReplayDecision)], count: usize) -> Option<&'static str> {
    let mut codes = decided.iter().map(|(_, _, decision)| match decision {
        ReplayDecision::Unneeded(code) => Some(*code),
        _ => None,
    });
    let first = codes.next()??;
    (decided.len() == count && codes.all(|code| code.is_some())).then_some(first)
}

impl Selection {
    /// Adds a record. Adds only the source if the record is selected already.
    fn add(&mut self, source: usize, identity: Identity, record: Record, data: Vec<u8>) {
        if let Some(at) = self.indices.get(&identity) {
            self.entries[*at].sources.push(source);
            return;
        }
        self.indices.insert(identity.clone(), self.entries.len());
        let Record {
            place,
            key,
            hash_key,
            ..
        } = record;
        self.entries.push(Entry {
            identity,
            key,
            hash_key,
            data,
            place,
            sources: vec![source],
        });
    }
}

impl Replay<'_> {
    /// Selects the records to put back, each once. Returns them in the order of the stream.
    pub(super) fn select(
        &mut self,
        sources: Vec<Source>,
        states: &mut [SourceState],
    ) -> Vec<Entry> {
        self.ask_about_rejected(&sources);
        let mut selection = Selection::default();
        for (at, source) in sources.into_iter().enumerate() {
            if self.report.limit.is_none() {
                self.select_from_source((at, source), &mut states[at], &mut selection);
            } else {
                states[at].is_kept = true;
            }
        }
        let mut entries = selection.entries;
        entries.sort_by(|a, b| a.identity.compare(&b.identity));
        entries
    }

    /// Asks the operator, once, whether to put back records that the function rejects again.
    fn ask_about_rejected(&mut self, sources: &[Source]) {
        if !self.may_ask {
            return;
        }
        let mut count = 0;
        for record in sources.iter().flat_map(|source| &source.records) {
            let received = record.received();
            let context = record.context(&received);
            let decision = self.policy.decide(&record.data, context);
            if matches!(decision, ReplayDecision::RejectedAgain(_)) {
                count += 1;
            }
        }
        if count == 0 {
            return;
        }
        self.may_ask = false;
        let question = format!(
            "The function rejects {count} of these changes again. Put them back regardless?"
        );
        if self.output.confirm(&question) {
            self.policy.allow_rejected();
            self.is_confirmed = true;
        }
    }

    /// Decides about the records that are not back in the stream yet.
    fn decide_records(&self, records: Vec<Record>) -> Vec<(Identity, Record, ReplayDecision)> {
        let mut decided = Vec::with_capacity(records.len());
        for record in records {
            let identity = self.store.identity(&record);
            if self.store.done.contains(&identity) {
                continue;
            }
            let received = record.received();
            let context = record.context(&received);
            let decision = self.policy.decide(&record.data, context);
            decided.push((identity, record, decision));
        }
        decided
    }

    /// Selects the records of one source to put back. A source without a new record does not count
    /// against the limit. A source beyond the limit is skipped and not reported.
    fn select_from_source(
        &mut self,
        (at, source): (usize, Source),
        state: &mut SourceState,
        selection: &mut Selection,
    ) {
        let Source {
            name,
            origin,
            records,
            kept_because,
        } = source;
        let count = records.len();
        let decided = self.decide_records(records);
        if let Some(code) = unneeded(&decided, count)
            && !self.policy.is_forced()
        {
            self.report.skip(&name, &all_filtered(code));
            state.is_kept = true;
            return;
        }
        let adds_record = decided.iter().any(|(identity, _, decision)| {
            matches!(decision, ReplayDecision::PutBack(_))
                && !selection.indices.contains_key(identity)
        });
        if origin != Origin::Stream && adds_record && !self.consume_limit() {
            state.is_kept = true;
            return;
        }
        if let Some(reason) = &kept_because {
            self.report.skip(&name, reason);
        }
        for (identity, record, decision) in decided {
            let reason = match decision {
                ReplayDecision::PutBack(_) if origin == Origin::Stream && !self.consume_limit() => {
                    break;
                }
                ReplayDecision::PutBack(data) => {
                    state.pending += 1;
                    selection.add(at, identity, record, data);
                    continue;
                }
                ReplayDecision::Filtered => {
                    self.report.filtered += 1;
                    state.is_kept = true;
                    continue;
                }
                ReplayDecision::Unneeded(_) => {
                    self.report.unneeded += 1;
                    continue;
                }
                ReplayDecision::Skipped(reason) => reason.into_owned(),
                ReplayDecision::RejectedAgain(code) => rejected_again(&code),
            };
            self.report.skip(&name, &reason);
            state.is_kept = true;
        }
    }
}
