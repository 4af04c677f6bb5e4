//! Folds the changes of one contact, in one batch and for one destination, into the fewest writes
//! with the same result. Pure.
//!
//! The law: the result of a step equals the result of its changes one by one, in order. An upsert
//! carries every change since the last delete. A delete replaces every change before it.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::model::{ContactChange, Operation, Position, Positions};

/// The writes of one contact at one destination: a delete, an upsert, or a delete and then an
/// upsert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The changes up to the last delete, which is the last item. Empty without a delete.
    pub delete: Positions,
    /// The changes after the delete, in the order of application. Empty where a delete is the last
    /// change.
    pub upsert: Positions,
}

impl Step {
    /// Removes the changes for which `keep` returns false. Calls `keep` in the order of
    /// application.
    pub fn retain(
        self,
        is_delete: impl Fn(Position) -> bool,
        mut keep: impl FnMut(Position) -> bool,
    ) -> Self {
        let kept: Positions = self
            .delete
            .into_iter()
            .chain(self.upsert)
            .filter(|position| keep(*position))
            .collect();
        let deletes = match kept.iter().rposition(|position| is_delete(*position)) {
            Some(last) => last + 1,
            None => 0,
        };
        let (delete, upsert) = kept.split_at(deletes);
        Self {
            delete: delete.into(),
            upsert: upsert.into(),
        }
    }

    /// Returns whether the step has no writes.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.upsert.is_empty()
    }
}

/// A change and its position in the batch.
pub type Placed<'a> = (Position, &'a ContactChange);

/// Returns one step for each contact, in the order of each contact's first change.
pub fn fold<'a>(changes: impl IntoIterator<Item = Placed<'a>>) -> Vec<Step> {
    let mut indexes: HashMap<&str, usize> = HashMap::new();
    let mut contacts: Vec<SmallVec<[Placed<'a>; 1]>> = Vec::new();
    for placed in changes {
        let index = *indexes
            .entry(placed.1.contact.id.key())
            .or_insert(contacts.len());
        match contacts.get_mut(index) {
            Some(changes) => changes.push(placed),
            None => contacts.push(SmallVec::from_buf([placed])),
        }
    }
    contacts
        .into_iter()
        .map(|mut changes| step(&mut changes))
        .collect()
}

fn step(changes: &mut [Placed<'_>]) -> Step {
    order_by_version(changes);
    let is_delete = |(_, change): &Placed<'_>| change.operation == Operation::Delete;
    let deletes = match changes.iter().rposition(is_delete) {
        Some(last) => last + 1,
        None => 0,
    };
    let (delete, upsert) = changes.split_at(deletes);
    Step {
        delete: positions(delete),
        upsert: positions(upsert),
    }
}

fn positions(changes: &[Placed<'_>]) -> Positions {
    changes.iter().map(|(position, _)| *position).collect()
}

/// Sorts the changes that carry a version by it. The others keep their indexes.
fn order_by_version(changes: &mut [Placed<'_>]) {
    if changes.len() < 2 {
        return;
    }
    let indexes: Positions = (0..changes.len())
        .filter(|at| changes[*at].1.version.is_some())
        .collect();
    let mut versioned: SmallVec<[Placed<'_>; 4]> = indexes.iter().map(|at| changes[*at]).collect();
    versioned.sort_by_key(|(position, change)| (change.version, *position));
    for (at, placed) in indexes.into_iter().zip(versioned) {
        changes[at] = placed;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::model::{Contact, ContactId, ContactType, VersionSource};

    fn change(id: &str, operation: Operation, version: Option<u64>) -> ContactChange {
        ContactChange {
            event_id: "e".into(),
            operation,
            occurred_at: OffsetDateTime::UNIX_EPOCH,
            version,
            version_source: VersionSource::default(),
            is_load: false,
            replay: false,
            previous_type: None,
            whole: None,
            contact: Contact::bare(ContactId::new(id).expect("valid"), Some(ContactType::Lead)),
        }
    }

    /// Folds the changes of `text`: `c`reate, `u`pdate or `d`elete, with an optional version, as in
    /// `c u3 u2 d`.
    fn folded(text: &str) -> Vec<(Vec<usize>, Vec<usize>)> {
        let changes: Vec<_> = text
            .split(' ')
            .map(|word| {
                let operation = match &word[..1] {
                    "c" => Operation::Create,
                    "u" => Operation::Update,
                    _ => Operation::Delete,
                };
                change("x", operation, word[1..].parse().ok())
            })
            .collect();
        let steps = fold(changes.iter().enumerate());
        steps
            .into_iter()
            .map(|step| (step.delete.to_vec(), step.upsert.to_vec()))
            .collect()
    }

    #[test]
    fn changes_fold_into_the_fewest_writes_with_the_same_result() {
        for (text, delete, upsert) in [
            ("c", vec![], vec![0]),
            ("d", vec![0], vec![]),
            ("c u u", vec![], vec![0, 1, 2]),
            ("c u d", vec![0, 1, 2], vec![]),
            ("d c u", vec![0], vec![1, 2]),
            ("c d c d u", vec![0, 1, 2, 3], vec![4]),
            ("u3 u1 u2", vec![], vec![1, 2, 0]),
            ("u3 u u2", vec![], vec![2, 1, 0]),
            ("d5 u4", vec![1, 0], vec![]),
            ("u2 u2", vec![], vec![0, 1]),
        ] {
            assert_eq!(folded(text), [(delete, upsert)], "{text}");
        }
    }

    #[test]
    fn ids_that_differ_in_letter_case_name_one_contact() {
        let changes = ["a", "B", "A", "b", "c"].map(|id| change(id, Operation::Update, None));
        let steps = fold(changes.iter().enumerate());
        let upserts: Vec<_> = steps.iter().map(|step| step.upsert.to_vec()).collect();
        assert_eq!(upserts, [vec![0, 2], vec![1, 3], vec![4]]);
    }

    #[test]
    fn retaining_some_changes_gives_the_step_of_those_changes() {
        let step = || Step {
            delete: Positions::from_slice(&[0, 1, 2]),
            upsert: Positions::from_slice(&[3, 4]),
        };
        for (left_out, delete, upsert) in [
            (vec![], vec![0, 1, 2], vec![3, 4]),
            (vec![0, 1, 2], vec![], vec![3, 4]),
            (vec![2], vec![], vec![0, 1, 3, 4]),
            (vec![1, 3, 4], vec![0, 2], vec![]),
            (vec![0, 1, 2, 3, 4], vec![], vec![]),
        ] {
            let rest = step().retain(|at| at == 2, |at| !left_out.contains(&at));
            assert_eq!(
                (rest.delete.to_vec(), rest.upsert.to_vec()),
                (delete, upsert),
                "{left_out:?}"
            );
            assert_eq!(rest.is_empty(), left_out.len() == 5);
        }
    }

    proptest! {
        #[test]
        fn every_change_is_in_exactly_one_step(
            words in proptest::collection::vec(
                (0_usize..3, 0_usize..3, proptest::option::of(0_u64..4)),
                0..30,
            )
        ) {
            let changes: Vec<_> = words
                .iter()
                .map(|(id, operation, version)| {
                    change(["a", "b", "c"][*id], Operation::ALL[*operation], *version)
                })
                .collect();
            let is_delete = |at: &usize| changes[*at].operation == Operation::Delete;
            let steps = fold(changes.iter().enumerate());
            let mut seen = Vec::new();
            for step in &steps {
                seen.extend(step.delete.iter().chain(&step.upsert).copied());
                prop_assert!(step.delete.last().is_none_or(is_delete));
                prop_assert!(!step.upsert.iter().any(is_delete));
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..changes.len()).collect::<Vec<_>>());
        }
    }
}
