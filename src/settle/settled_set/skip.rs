//! Skips the changes that earlier invocations settled. Pure.
//!
//! Without a guard, every write after a change that is sent is sent as well: an older change must
//! not overwrite a newer one. With a guard an older change cannot, so a settled change after one
//! that is sent is skipped, too, as long as it is newer. The change that is sent is then compared
//! with the destination.

use std::collections::HashSet;

use super::PriorOutcomes;
use super::batch::contact_hash;
use crate::fold::Step;
use crate::model::{ContactChange, Operation, Position};
use crate::settle::RecordOutcome;

/// The remaining steps of a destination.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// The steps without the settled changes.
    pub(crate) steps: Vec<Step>,
    /// Changes that are compared with the destination in any mode of the guard: a newer change of
    /// their contact is skipped, or they were settled themselves.
    pub(crate) compared: HashSet<Position>,
}

/// Skips the settled changes of one destination's steps.
pub(crate) struct Skipping<'a> {
    pub(crate) earlier: &'a PriorOutcomes,
    pub(crate) changes: &'a [Option<Box<ContactChange>>],
    pub(crate) destination: usize,
    /// Whether the destination's guard protects newer changes from older ones.
    pub(crate) is_guarded: bool,
}

impl Skipping<'_> {
    /// Returns the steps without the settled changes. Calls `report` with each skipped change.
    pub(crate) fn rest(
        &self,
        steps: Vec<Step>,
        mut report: impl FnMut(Position, RecordOutcome),
    ) -> Rest {
        let PriorOutcomes { known, later, .. } = self.earlier;
        let mut rest = Rest::default();
        if known.iter().all(Option::is_none) && later.is_empty() {
            rest.steps = steps;
            return rest;
        }
        for step in steps {
            let (step, is_overtaken) = self.unsettled(step, &mut report);
            let is_compared = is_overtaken || self.is_before_settled(&step);
            let is_resent =
                |at: &&Position| is_compared || self.earlier.is_resent(**at, self.destination);
            if self.is_guarded {
                rest.compared
                    .extend(step.delete.iter().chain(&step.upsert).filter(is_resent));
            }
            if !step.is_empty() {
                rest.steps.push(step);
            }
        }
        rest
    }

    /// Returns the unsettled changes of a step, and whether a skipped change comes after one of
    /// them.
    fn unsettled(
        &self,
        step: Step,
        report: &mut impl FnMut(Position, RecordOutcome),
    ) -> (Step, bool) {
        let (mut newest_sent, mut is_overtaken) = (None, false);
        let left = step.retain(
            |position| self.is_delete(position),
            |position| {
                let version = self.version(position);
                match self.earlier.at(position, self.destination) {
                    Some((fate, ordered))
                        if !ordered || self.outlasts(position, version, newest_sent) =>
                    {
                        is_overtaken |= ordered && newest_sent.is_some();
                        report(position, RecordOutcome::Settled { fate, ordered });
                        false
                    }
                    _ => {
                        newest_sent = newest_sent.max(Some(version));
                        true
                    }
                }
            },
        );
        (left, is_overtaken)
    }

    /// Returns whether a settled change stays in effect where changes up to the version
    /// `newest_sent` are sent before it.
    fn outlasts(&self, position: Position, version: u64, newest_sent: Option<u64>) -> bool {
        match newest_sent {
            None => true,
            // After a delete the destination holds no version to compare an older change with.
            Some(sent) => self.is_guarded && !self.is_delete(position) && version > sent,
        }
    }

    /// Returns whether a settled change of the step's contact comes after the batch.
    fn is_before_settled(&self, step: &Step) -> bool {
        let first = step.delete.first().or(step.upsert.first());
        let change = first.and_then(|position| self.change(*position));
        change.is_some_and(|change| {
            self.earlier
                .later
                .contains_key(&(self.destination, contact_hash(&change.contact.id)))
        })
    }

    fn change(&self, position: Position) -> Option<&ContactChange> {
        self.changes.get(position)?.as_deref()
    }

    fn is_delete(&self, position: Position) -> bool {
        self.change(position)
            .is_some_and(|change| change.operation == Operation::Delete)
    }

    fn version(&self, position: Position) -> u64 {
        self.change(position)
            .and_then(ContactChange::guard_version)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::fold::fold;
    use crate::model::{Contact, ContactId, ContactType, VersionSource};
    use crate::settle::Fate;
    use crate::settle::settled_set::item::{DestinationOutcome, PriorOutcome};

    /// Parses a contact's changes, a word each: `u`psert or `d`elete, its version, and its prior
    /// outcome: `w`ritten, `n`othing changed, `r`esent, or none. Version 0 stands for none.
    fn changes(text: &str) -> (Vec<Option<Box<ContactChange>>>, PriorOutcomes) {
        let (mut changes, mut earlier) = (Vec::new(), PriorOutcomes::default());
        for word in text.split(' ') {
            let digits = word[1..].trim_end_matches(['w', 'n', 'r']);
            let version: u64 = digits.parse().expect("a version");
            changes.push(Some(Box::new(ContactChange {
                event_id: "e".into(),
                operation: if word.starts_with('d') {
                    Operation::Delete
                } else {
                    Operation::Update
                },
                occurred_at: OffsetDateTime::UNIX_EPOCH,
                version: Some(version).filter(|version| *version > 0),
                version_source: VersionSource::Version,
                is_load: false,
                replay: false,
                previous_type: None,
                whole: None,
                contact: Contact::bare(
                    ContactId::new("c").expect("valid"),
                    Some(ContactType::Lead),
                ),
            })));
            let outcome = |ordered, is_resent| {
                PriorOutcome::At(vec![DestinationOutcome {
                    destination: 0,
                    fate: Fate::Delivered,
                    ordered,
                    is_resent,
                }])
            };
            earlier.known.push(match &word[1 + digits.len()..] {
                "w" => Some(outcome(Some(7), false)),
                "n" => Some(outcome(None, false)),
                "r" => Some(outcome(Some(7), true)),
                _ => None,
            });
        }
        (changes, earlier)
    }

    /// Returns the sent changes, and those of them that are compared.
    fn sent(text: &str, is_guarded: bool) -> (Vec<Position>, Vec<Position>) {
        let (changes, earlier) = changes(text);
        let steps = fold(
            changes
                .iter()
                .enumerate()
                .filter_map(|(at, change)| Some((at, change.as_deref()?))),
        );
        let skipping = Skipping {
            earlier: &earlier,
            changes: &changes,
            destination: 0,
            is_guarded,
        };
        let mut skipped = 0;
        let rest = skipping.rest(steps, |_, _| skipped += 1);
        let sent: Vec<_> = rest
            .steps
            .iter()
            .flat_map(|step| step.delete.iter().chain(&step.upsert))
            .copied()
            .collect();
        assert_eq!(
            sent.len() + skipped,
            changes.len(),
            "each change is sent or reported as skipped"
        );
        let compared = sent
            .iter()
            .copied()
            .filter(|at| rest.compared.contains(at))
            .collect();
        (sent, compared)
    }

    #[test]
    fn without_a_guard_no_written_change_is_skipped_after_a_sent_one() {
        for (text, expected) in [
            ("u0w", &[][..]),
            ("u0", &[0]),
            ("u0w u0", &[1]),
            ("u0 u0w", &[0, 1]),
            ("u0w u0 u0w", &[1, 2]),
            ("u0 u0n u0", &[0, 2]),
            ("u0n u0w", &[]),
            // The versions reverse the order of the batch.
            ("u2w u1", &[1, 0]),
        ] {
            assert_eq!(sent(text, false), (expected.to_vec(), vec![]), "{text}");
        }
    }

    #[test]
    fn with_a_guard_settled_changes_are_skipped_and_older_sent_ones_are_compared() {
        for (text, expected, compared) in [
            ("u1w", &[][..], &[][..]),
            ("u1 u2", &[0, 1], &[]),
            ("u1w u2w u3", &[2], &[]),
            ("u1 u2w", &[0], &[0]),
            ("u9w u5", &[1], &[1]),
            ("u1 u2n", &[0], &[]),
            ("u1w d2r", &[1], &[1]),
            ("u1w d2r u3", &[1, 2], &[1]),
            // A tie is not stale, and after a delete no version is held: the later change is sent
            // again.
            ("u2 u2w", &[0, 1], &[]),
            ("u2 u2w u3w", &[0, 1], &[0, 1]),
            ("u1 d2w", &[0, 1], &[]),
            ("u1 d2w u3w", &[0, 1], &[0, 1]),
        ] {
            assert_eq!(
                sent(text, true),
                (expected.to_vec(), compared.to_vec()),
                "{text}"
            );
        }
    }
}
