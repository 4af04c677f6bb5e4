//! Folding: the changes of one contact, of one batch and for one destination, to the fewest writes
//! that leave the same behind. Pure.
//!
//! The law: what a step leaves equals what its changes would leave one by one, in order. An upsert
//! carries every change since the last delete; whatever came before a delete is gone with it.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::model::{ContactChange, Operation, Position, Positions};

/// What one contact needs at one destination: a delete, an upsert, or a delete and then an upsert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The changes that end in a delete, which is the last of them; empty where nothing is deleted.
    pub delete: Positions,
    /// The changes after it, in the order in which they hold; empty where the delete is the end.
    pub upsert: Positions,
}

impl Step {
    /// The step without the changes that `keep` refuses. It is asked about each in the order in
    /// which they hold.
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
        let deleted = kept.iter().rposition(|position| is_delete(*position));
        let (delete, upsert) = kept.split_at(deleted.map_or(0, |last| last + 1));
        Self {
            delete: delete.into(),
            upsert: upsert.into(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.upsert.is_empty()
    }
}

/// A change and its place in the batch.
pub type Placed<'a> = (Position, &'a ContactChange);

/// One step for each contact, in the order in which the batch first names them.
pub fn fold<'a>(changes: impl IntoIterator<Item = Placed<'a>>) -> Vec<Step> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut contacts: Vec<SmallVec<[Placed<'a>; 1]>> = Vec::new();
    for placed in changes {
        let place = *places
            .entry(placed.1.contact.id.key())
            .or_insert(contacts.len());
        match contacts.get_mut(place) {
            Some(of_one) => of_one.push(placed),
            None => contacts.push(SmallVec::from_buf([placed])),
        }
    }
    contacts
        .into_iter()
        .map(|mut of_one| step(&mut of_one))
        .collect()
}

fn step(changes: &mut [Placed<'_>]) -> Step {
    order_by_version(changes);
    let deleted = changes
        .iter()
        .rposition(|(_, change)| change.operation == Operation::Delete);
    let (delete, upsert) = changes.split_at(deleted.map_or(0, |last| last + 1));
    let positions = |part: &[Placed<'_>]| part.iter().map(|(position, _)| *position).collect();
    Step {
        delete: positions(delete),
        upsert: positions(upsert),
    }
}

/// Versions decide between the changes that carry one; the others keep their places.
fn order_by_version(changes: &mut [Placed<'_>]) {
    if changes.len() < 2 {
        return;
    }
    let places: Positions = (0..changes.len())
        .filter(|at| changes[*at].1.version.is_some())
        .collect();
    let mut versioned: SmallVec<[Placed<'_>; 4]> = places.iter().map(|at| changes[*at]).collect();
    versioned.sort_by_key(|(position, change)| (change.version, *position));
    for (at, placed) in places.into_iter().zip(versioned) {
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
            replay: false,
            contact: Contact::bare(ContactId::new(id).expect("valid"), Some(ContactType::Lead)),
        }
    }

    /// `c`reate, `u`pdate or `d`elete, and a version where a digit follows: `c u3 u2 d`.
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
    fn the_fewest_writes_that_leave_the_same() {
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
    fn contacts_are_told_apart_without_regard_to_letter_case() {
        let changes = ["a", "B", "A", "b", "c"].map(|id| change(id, Operation::Update, None));
        let steps = fold(changes.iter().enumerate());
        let upserts: Vec<_> = steps.iter().map(|step| step.upsert.to_vec()).collect();
        assert_eq!(upserts, [vec![0, 2], vec![1, 3], vec![4]]);
    }

    #[test]
    fn a_step_without_some_of_its_changes_is_the_step_of_the_others() {
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
        fn every_change_is_in_exactly_one_place(
            words in proptest::collection::vec((0_usize..3, 0_usize..3, proptest::option::of(0_u64..4)), 0..30)
        ) {
            let changes: Vec<_> = words
                .iter()
                .map(|(id, operation, version)| change(["a", "b", "c"][*id], Operation::ALL[*operation], *version))
                .collect();
            let steps = fold(changes.iter().enumerate());
            let mut seen: Vec<_> = steps.iter().flat_map(|step| step.delete.iter().chain(&step.upsert)).copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..changes.len()).collect::<Vec<_>>());
            for step in &steps {
                let ends_in_delete = step.delete.last().map(|at| changes[*at].operation) == Some(Operation::Delete);
                prop_assert!(step.delete.is_empty() || ends_in_delete);
                prop_assert!(step.upsert.iter().all(|at| changes[*at].operation != Operation::Delete));
            }
        }
    }
}
