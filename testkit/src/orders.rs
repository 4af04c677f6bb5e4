//! Order of a contact's changes, contract section 2: by arrival, but within a batch by `version`,
//! if both of two changes have one. The mapping decides which changes are in one batch: a change
//! that was overtaken by a newer one results in one of two states, unless the deliveries are known.

use std::collections::BTreeSet;

use serde_json::Value;

use super::kinesis::{Record, Report};

/// Shard and index of a record.
type Place = (usize, usize);

/// Possible states of a contact in a destination after its changes so far: a record, or none.
#[derive(Clone, Debug)]
pub struct Possible<R> {
    states: BTreeSet<Option<R>>,
    /// Possible states before the last change.
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
    /// Applies one change; `step` returns the record after a change. `delivered` is the record of
    /// the change and the report of all deliveries.
    pub fn apply(
        &mut self,
        change: &Value,
        delivered: Option<(&Record, &Report)>,
        step: impl Fn(Option<R>, &Value) -> Option<R>,
    ) {
        let place = delivered.map(|(record, _)| (record.shard, record.at));
        let by_arrival = self.states.iter().map(|state| step(state.clone(), change));
        let after = match self.overtaking(change) {
            None => by_arrival.collect(),
            Some((newer, newer_place)) => {
                let by_version = self
                    .before
                    .iter()
                    .map(|state| step(step(state.clone(), change), newer));
                let share_batch =
                    delivered.and_then(|(_, report)| report.together((*newer_place)?, place?));
                match share_batch {
                    Some(true) => by_version.collect(),
                    Some(false) => by_arrival.collect(),
                    None => by_version.chain(by_arrival).collect(),
                }
            }
        };
        self.before = std::mem::replace(&mut self.states, after);
        self.last = Some((change.clone(), place));
    }

    pub fn states(&self) -> impl Iterator<Item = Option<&R>> {
        self.states.iter().map(Option::as_ref)
    }

    /// Returns the last change, if it is newer than this one. The generator guarantees that the
    /// last change has not overtaken another change itself.
    fn overtaking(&self, change: &Value) -> Option<&(Value, Option<Place>)> {
        let version = change["version"].as_u64()?;
        self.last
            .as_ref()
            .filter(|(last, _)| last["version"].as_u64() > Some(version))
    }
}
