//! Folds the fields of a contact's changes, each field by its policy. Pure.

use std::collections::BTreeMap;

use super::json_object::{FieldValue, Fields};
use crate::model::{Conditions, FieldPolicy, MatchPolicy};

/// The policies of one system's fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policies<'a> {
    pub(super) matching: MatchPolicy,
    pub(super) fields: &'a BTreeMap<String, FieldPolicy>,
    pub(super) baseline_field: &'a str,
}

impl Policies<'_> {
    /// Returns whether every field of every contact is written.
    fn are_default(&self) -> bool {
        self.matching == MatchPolicy::Upsert && self.fields.is_empty()
    }

    /// Returns whether some contact is looked up for a policy.
    pub(super) fn read_fields(&self) -> bool {
        let is_conditional =
            |policy: &FieldPolicy| !matches!(policy, FieldPolicy::Always | FieldPolicy::Never);
        self.matching != MatchPolicy::Upsert || self.fields.values().any(is_conditional)
    }

    /// Returns the policy of a field.
    pub(super) fn of(&self, name: &str) -> FieldPolicy {
        self.fields.get(name).copied().unwrap_or_default()
    }
}

/// The fields of the changes so far, by policy.
pub(super) struct Folding<'a, V> {
    policies: Policies<'a>,
    is_first: bool,
    always: Fields<'a, V>,
    create: Fields<'a, V>,
    empty: Fields<'a, V>,
    unedited: Fields<'a, V>,
}

impl<'a, V: FieldValue> Folding<'a, V> {
    /// Builds a folding without changes.
    pub(super) fn new(policies: Policies<'a>) -> Self {
        Self {
            policies,
            is_first: true,
            always: Fields::new(),
            create: Fields::new(),
            empty: Fields::new(),
            unedited: Fields::new(),
        }
    }

    /// Adds the fields of the next change. Of changes that only create a record, the first one
    /// does, and the others find it.
    pub(super) fn take(&mut self, fields: Fields<'a, V>) {
        let is_first = std::mem::replace(&mut self.is_first, false);
        if self.policies.are_default() {
            self.always.merge(fields);
            return;
        }
        if self.policies.matching == MatchPolicy::CreateOnly && !is_first {
            return;
        }
        for (name, value) in fields.into_iter() {
            match self.policies.of(name) {
                FieldPolicy::Always => self.always.set(name, value),
                FieldPolicy::Create if is_first && !value.is_empty() => {
                    self.create.set(name, value);
                }
                FieldPolicy::Empty if !value.is_empty() && self.empty.get(name).is_none() => {
                    self.empty.add(name, value);
                }
                FieldPolicy::Unedited => self.unedited.set(name, value),
                FieldPolicy::Create | FieldPolicy::Empty | FieldPolicy::Never => {}
            }
        }
    }

    /// Returns the value of a field after the changes so far, where each is written.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.always.get(name).or_else(|| self.unedited.get(name))
    }

    /// Returns whether a change so far gives a new record a value of this field.
    pub(super) fn is_in_new(&self, name: &str) -> bool {
        [&self.always, &self.create, &self.empty, &self.unedited]
            .iter()
            .any(|fields| fields.get(name).is_some())
    }

    /// Returns whether no change was added.
    pub(super) fn is_empty(&self) -> bool {
        self.is_first
    }

    /// Returns whether the record has to be looked up for a policy.
    pub(super) fn is_conditional(&self) -> bool {
        let conditional = [&self.create, &self.empty, &self.unedited];
        self.policies.matching != MatchPolicy::Upsert
            || conditional.iter().any(|fields| !fields.is_empty())
    }

    /// Returns the fields that are written with every change, and the conditions of the others.
    /// `tracked_defaults` are the defaults of a new record with the policy `unedited`.
    pub(super) fn finish(
        self,
        tracked_defaults: Vec<Box<str>>,
    ) -> (Fields<'a, V>, Option<Box<Conditions>>) {
        if !self.is_conditional() && tracked_defaults.is_empty() {
            return (self.always, None);
        }
        let Self {
            policies,
            always,
            create,
            empty,
            unedited,
            ..
        } = self;
        let body = |fields: &Fields<'a, V>| (!fields.is_empty()).then(|| fields.body());
        let is_tracked = !unedited.is_empty() || !tracked_defaults.is_empty();
        let baseline_field = if is_tracked {
            policies.baseline_field
        } else {
            ""
        };
        let conditions = Conditions {
            matching: policies.matching,
            create: body(&create),
            empty: body(&empty),
            unedited: body(&unedited),
            tracked_defaults,
            baseline_field: baseline_field.into(),
        };
        (always, Some(Box::new(conditions)))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::model::{Body, ContactId, HeldRecord, Payload};
    use crate::policy::{Decision, decide};

    const FIELDS: [&str; 5] = ["always", "create", "empty", "unedited", "never"];
    const BASELINE: &str = "baseline";

    /// The fields of a record; `None` where there is no record.
    type State = Option<BTreeMap<String, String>>;

    /// A change: the value of some of [`FIELDS`], empty where it clears the field.
    type Change = Vec<Option<&'static str>>;

    fn policies() -> BTreeMap<String, FieldPolicy> {
        FIELDS
            .map(str::to_owned)
            .into_iter()
            .zip(FieldPolicy::ALL)
            .collect()
    }

    fn payload(changes: &[Change], policies: Policies<'_>) -> Payload {
        let mut folding = Folding::new(policies);
        for change in changes {
            let mut fields: Fields<'_, Cow<'_, str>> = Fields::new();
            for (name, value) in FIELDS.iter().zip(change) {
                if let Some(value) = value {
                    fields.set(name, (*value).into());
                }
            }
            fields.set("key", "c".into());
            folding.take(fields);
        }
        let (always, conditions) = folding.finish(Vec::new());
        Payload {
            id: ContactId::new("c").expect("valid"),
            body: Some(always.body()),
            if_new: None,
            conditions,
            version: 0,
            guarded: false,
            record: None,
            is_compared: false,
            whole: None,
        }
    }

    /// Writes a payload as a destination does, after one look-up.
    fn write(state: State, payload: &Payload) -> State {
        let held = state.as_ref().map(|fields| HeldRecord {
            id: None,
            version: None,
            values: fields
                .iter()
                .map(|(name, value)| (name.clone(), raw(value)))
                .collect(),
        });
        let body: Body = match &payload.conditions {
            None => payload.body.clone().expect("a body"),
            Some(conditions) => match decide(payload, conditions, held.as_ref()) {
                Decision::Write(body) => body,
                _ => return state,
            },
        };
        let written: BTreeMap<String, Value> = serde_json::from_str(body.get()).expect("JSON");
        let mut fields = state.unwrap_or_default();
        for (name, value) in written {
            fields.insert(name, value.as_str().expect("a text").to_owned());
        }
        fields.retain(|_, value| !value.is_empty());
        Some(fields)
    }

    fn raw(text: &str) -> Box<serde_json::value::RawValue> {
        serde_json::value::to_raw_value(text).expect("JSON")
    }

    /// Leaves out the baseline's hashes, which may differ in entries that have no effect.
    fn visible(state: State) -> State {
        let mut fields = state?;
        fields.remove(BASELINE);
        Some(fields)
    }

    fn any_changes() -> impl Strategy<Value = Vec<Change>> {
        let value = proptest::option::of(proptest::sample::select(vec!["", "a", "b", "c"]));
        proptest::collection::vec(proptest::collection::vec(value, FIELDS.len()), 1..5)
    }

    fn any_match() -> impl Strategy<Value = MatchPolicy> {
        use MatchPolicy::{CreateOnly, UpdateOnly, Upsert};
        proptest::sample::select(vec![Upsert, Upsert, UpdateOnly, CreateOnly])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn folded_changes_have_the_result_of_the_changes_one_by_one(
            matching in any_match(),
            earlier in proptest::option::of(any_changes()),
            edits in proptest::collection::vec((0..5_usize, "[abz]?"), 0..3),
            changes in any_changes(),
            later in any_changes(),
        ) {
            let fields = policies();
            let of = |matching| Policies { matching, fields: &fields, baseline_field: BASELINE };
            // Earlier deliveries, then the edits of a person.
            let mut start: State = None;
            for change in earlier.iter().flatten() {
                let upsert = of(MatchPolicy::Upsert);
                start = write(start, &payload(std::slice::from_ref(change), upsert));
            }
            if let Some(record) = &mut start {
                for (field, value) in edits {
                    record.insert(FIELDS[field].to_owned(), value);
                }
                record.retain(|_, value| !value.is_empty());
            }
            let policies = of(matching);
            let folded = write(start.clone(), &payload(&changes, policies));
            let mut single = start;
            for change in &changes {
                single = write(single, &payload(std::slice::from_ref(change), policies));
            }
            prop_assert_eq!(visible(folded.clone()), visible(single.clone()));
            // The hashes have the same effect on each later delivery.
            let next = payload(&later, policies);
            prop_assert_eq!(visible(write(folded, &next)), visible(write(single, &next)));
        }
    }
}
