//! The order in which a contact's changes hold, contract section 2: as they come, but in a batch by
//! `version`, where both of two changes carry one. Which changes share a batch is the mapping's
//! affair, so that a change that was overtaken by a newer one leaves one of two states behind,
//! unless it is known how the two were delivered.

use std::collections::BTreeSet;

use serde_json::Value;

use super::kinesis::{Record, Report};

/// Shard and place of a record.
type Place = (usize, usize);

/// What a system may hold of a contact after its changes so far: a record, or none.
#[derive(Clone, Debug)]
pub struct Possible<R> {
    states: BTreeSet<Option<R>>,
    /// Without the last change.
    before: BTreeSet<Option<R>>,
    last: Option<(Value, Option<Place>)>,
}

impl<R: Ord> Default for Possible<R> {
    fn default() -> Self {
        Self {
            states: BTreeSet::from([None]),
            before: BTreeSet::new(),
            last: None,
        }
    }
}

impl<R: Clone + Ord> Possible<R> {
    /// Applies one change; `step` says what it leaves of a record. `delivered` is the change's own
    /// record, and how all were delivered.
    pub fn apply(
        &mut self,
        change: &Value,
        delivered: Option<(&Record, &Report)>,
        step: impl Fn(Option<R>, &Value) -> Option<R>,
    ) {
        let place = delivered.map(|(record, _)| (record.shard, record.at));
        let as_they_came = self.states.iter().map(|state| step(state.clone(), change));
        let after = match self.overtaking(change) {
            None => as_they_came.collect(),
            Some((newer, newer_place)) => {
                let by_version = self
                    .before
                    .iter()
                    .map(|state| step(step(state.clone(), change), newer));
                let met =
                    delivered.and_then(|(_, report)| report.together((*newer_place)?, place?));
                match met {
                    Some(true) => by_version.collect(),
                    Some(false) => as_they_came.collect(),
                    None => by_version.chain(as_they_came).collect(),
                }
            }
        };
        self.before = std::mem::replace(&mut self.states, after);
        self.last = Some((change.clone(), place));
    }

    pub fn states(&self) -> impl Iterator<Item = Option<&R>> {
        self.states.iter().map(Option::as_ref)
    }

    /// The last change, if it is newer than this one. That it has not overtaken another one itself
    /// is the generator's promise.
    fn overtaking(&self, change: &Value) -> Option<&(Value, Option<Place>)> {
        let version = change["version"].as_u64()?;
        self.last
            .as_ref()
            .filter(|(last, _)| last["version"].as_u64() > Some(version))
    }
}
