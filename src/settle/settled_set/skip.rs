//! Which changes are left out because earlier invocations settled them. Pure.
//!
//! Without a guard, after a change that is sent every one that changes something is sent as well:
//! an older one must not have the last word. With a guard an older change cannot have it, so that
//! what is settled is left out behind one that is sent, too, as long as it is newer; and what is
//! sent is compared with the destination.

use std::collections::HashSet;

use super::PriorOutcomes;
use super::batch::contact_hash;
use crate::contact::{ContactChange, Operation};
use crate::fold::{Position, Step};
use crate::settle::RecordOutcome;

/// What is left of a destination's steps.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// The steps without the changes that are settled.
    pub(crate) steps: Vec<Step>,
    /// Changes that are compared with the destination, whatever else is: a newer change of their
    /// contact is left out, or they were settled themselves.
    pub(crate) compared: HashSet<Position>,
}

/// Leaves out of one destination's steps what is settled.
pub(crate) struct Skipping<'a> {
    pub(crate) earlier: &'a PriorOutcomes,
    pub(crate) changes: &'a [Option<Box<ContactChange>>],
    pub(crate) destination: usize,
    /// Whether the destination's guard protects newer changes from older ones.
    pub(crate) is_guarded: bool,
}

impl Skipping<'_> {
    /// Returns the steps without what is settled. `report` gets each change that is left out.
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
            let (step, is_overtaken) = self.left_of(step, &mut report);
            let is_compared = is_overtaken || self.is_behind(&step);
            let again =
                |at: &&Position| is_compared || self.earlier.is_resent(**at, self.destination);
            if self.is_guarded {
                rest.compared
                    .extend(step.delete.iter().chain(&step.upsert).filter(again));
            }
            if !step.is_empty() {
                rest.steps.push(step);
            }
        }
        rest
    }

    /// Returns what is left of a step, and whether a change that is left out is behind one that is
    /// not.
    fn left_of(
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

    /// Whether a settled change stays in effect where older changes, up to this version, are sent
    /// before it.
    fn outlasts(&self, position: Position, version: u64, newest_sent: Option<u64>) -> bool {
        match newest_sent {
            None => true,
            // Where the contact is gone there is no version that an older change is compared with.
            Some(sent) => self.is_guarded && !self.is_delete(position) && version > sent,
        }
    }

    /// Whether a later change of the step's contact lies behind the batch, and is settled.
    fn is_behind(&self, step: &Step) -> bool {
        let first = step.delete.first().or(step.upsert.first());
        let change = first.and_then(|position| self.change(*position));
        let is_later = |change: &ContactChange| {
            self.earlier
                .later
                .contains_key(&(self.destination, contact_hash(&change.contact.id)))
        };
        change.is_some_and(is_later)
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
    use crate::contact::{Contact, ContactId, ContactType, VersionSource};
    use crate::fold::fold;
    use crate::settle::Fate;
    use crate::settle::settled_set::item::{DestinationOutcome, PriorOutcome};

    /// A contact's changes, a word each: `u`psert or `d`elete, its version, and what is known of
    /// it: `w`ritten, `n`othing changed, `a`gain, or nothing. Those of version 0 have none.
    fn changes(text: &str) -> (Vec<Option<Box<ContactChange>>>, PriorOutcomes) {
        let (mut changes, mut earlier) = (Vec::new(), PriorOutcomes::default());
        for word in text.split(' ') {
            let digits = word[1..].trim_end_matches(['w', 'n', 'a']);
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
                replay: false,
                contact: Contact::bare(
                    ContactId::new("c").expect("valid"),
                    Some(ContactType::Lead),
                ),
            })));
            let mark = |ordered, is_resent| {
                PriorOutcome::At(vec![DestinationOutcome {
                    destination: 0,
                    fate: Fate::Delivered,
                    ordered,
                    is_resent,
                }])
            };
            earlier.known.push(match &word[1 + digits.len()..] {
                "w" => Some(mark(Some(7), false)),
                "n" => Some(mark(None, false)),
                "a" => Some(mark(Some(7), true)),
                _ => None,
            });
        }
        (changes, earlier)
    }

    /// The changes that are sent, and of these the compared ones.
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
        let mut told = 0;
        let rest = skipping.rest(steps, |_, _| told += 1);
        let sent: Vec<_> = rest
            .steps
            .iter()
            .flat_map(|step| step.delete.iter().chain(&step.upsert))
            .copied()
            .collect();
        assert_eq!(
            sent.len() + told,
            changes.len(),
            "each change is sent or told of"
        );
        let compared = sent
            .iter()
            .copied()
            .filter(|at| rest.compared.contains(at))
            .collect();
        (sent, compared)
    }

    #[test]
    fn without_a_guard_nothing_that_was_written_is_left_out_after_a_change_that_is_sent() {
        for (text, expected) in [
            ("u0w", &[][..]),
            ("u0", &[0]),
            ("u0w u0", &[1]),
            ("u0 u0w", &[0, 1]),
            ("u0w u0 u0w", &[1, 2]),
            ("u0 u0n u0", &[0, 2]),
            ("u0n u0w", &[]),
            // Versions turned the order round: what came later in the batch comes first.
            ("u2w u1", &[1, 0]),
        ] {
            assert_eq!(sent(text, false), (expected.to_vec(), vec![]), "{text}");
        }
    }

    #[test]
    fn with_a_guard_what_is_settled_is_left_out_and_what_it_overtook_is_compared() {
        for (text, expected, compared) in [
            ("u1w", &[][..], &[][..]),
            ("u1 u2", &[0, 1], &[]),
            ("u1w u2w u3", &[2], &[]),
            ("u1 u2w", &[0], &[0]),
            ("u9w u5", &[1], &[1]),
            ("u1 u2n", &[0], &[]),
            ("u1w d2a", &[1], &[1]),
            ("u1w d2a u3", &[1, 2], &[1]),
            // A tie is not stale, and behind a delete nothing is held: the later change is needed
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
