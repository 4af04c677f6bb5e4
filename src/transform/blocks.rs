//! Splits the changes of one contact, in the order of application, into blocks: the fewest writes
//! with the same result as the changes one by one, each compared as the guard requires. Pure.
//!
//! One by one, a compared change is skipped where it is older than the version that the destination
//! holds at that point: the version found there, or that of the last written change. After a delete
//! the destination holds no version, and no change is older than that. Of a block's changes, those
//! older than another change of the block are skipped with any version at the destination
//! (`outdated`). Only the changes before them depend on that version, which one look-up reads.

use smallvec::SmallVec;

use super::versions::{Class, HeldVersion, Ordered};
use crate::dispatch::WriteKind;
use crate::model::Positions;

/// Changes that become one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: WriteKind,
    /// The changes in their order. A delete is the last of its block.
    pub(super) sources: Positions,
    /// Whether some of the changes depend on the version at the destination.
    pub(super) is_guarded: bool,
    /// The version of the last written change.
    pub(super) version: u64,
}

/// Splits the changes of one contact into blocks, which are written one after the other.
pub(super) fn blocks(changes: impl Iterator<Item = Ordered>) -> SmallVec<[Block; 1]> {
    let mut blocks: SmallVec<[Block; 1]> = SmallVec::new();
    let mut open: Option<Open> = None;
    for change in changes {
        let current = open.get_or_insert_with(|| Open::at(change));
        if current.take(change)
            && let Some(closed) = open.take()
        {
            push_delete(&mut blocks, closed.block);
        }
    }
    blocks.extend(open.map(|open| open.block));
    blocks
}

/// A block that accepts more changes.
struct Open {
    block: Block,
    held: HeldVersion,
    /// Whether a change is written unconditionally, so that the version after it is known.
    is_certain: bool,
}

impl Open {
    /// Creates an empty block for changes from `first` on.
    fn at(first: Ordered) -> Self {
        let Ordered {
            version,
            is_compared,
            ..
        } = first;
        let block = Block {
            kind: WriteKind::Upsert,
            sources: Positions::new(),
            is_guarded: is_compared,
            version,
        };
        Self {
            block,
            held: HeldVersion::default(),
            is_certain: false,
        }
    }

    /// Adds the next change. Returns whether it is a delete that ends the block.
    fn take(&mut self, change: Ordered) -> bool {
        self.block.sources.push(change.position);
        if self.held.take(change) == Class::Outdated {
            return false;
        }
        self.block.version = change.version;
        self.is_certain |= !change.is_compared;
        if change.is_delete {
            self.block.kind = WriteKind::Delete;
            self.block.is_guarded = !self.is_certain;
        }
        change.is_delete
    }
}

/// Adds a delete. Merges it with the delete before it where the later one decides the result in any
/// case.
fn push_delete(blocks: &mut SmallVec<[Block; 1]>, later: Block) {
    match blocks.last_mut() {
        Some(block)
            if !(block.is_guarded && later.is_guarded) || later.version >= block.version =>
        {
            block.sources.extend(later.sources);
            block.is_guarded &= later.is_guarded;
            block.version = later.version;
        }
        _ => blocks.push(later),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::versions::survey;
    use super::*;
    use crate::model::Position;

    /// Parses changes: `u`psert or `d`elete with a version, and `!` where the change is not
    /// compared, as in `u1 u2! d3`.
    fn changes(text: &str) -> Vec<Ordered> {
        let change = |(position, word): (usize, &str)| Ordered {
            position,
            is_delete: word.starts_with('d'),
            version: word[1..].trim_end_matches('!').parse().expect("a version"),
            is_compared: !word.ends_with('!'),
        };
        text.split(' ').enumerate().map(change).collect()
    }

    /// Formats each block with its version, and `?` where it is guarded.
    fn shown(text: &str) -> String {
        let blocks = blocks(changes(text).into_iter());
        let block = |block: &Block| {
            let kind = if block.kind == WriteKind::Delete {
                "d"
            } else {
                "u"
            };
            let guard = if block.is_guarded { "?" } else { "" };
            format!("{kind}{}{guard} {:?}", block.version, block.sources)
        };
        blocks.iter().map(block).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn guarded_changes_are_split_into_the_fewest_blocks() {
        for (text, expected) in [
            ("u1", "u1? [0]"),
            ("u1!", "u1 [0]"),
            ("u1 u2 u3", "u3? [0, 1, 2]"),
            ("u3 u1 u2 u3", "u3? [0, 1, 2, 3]"),
            ("u1! u2! u1!", "u1 [0, 1, 2]"),
            // After an unconditional write the held version is known; before it, the version is
            // unknown.
            ("u2! u1 u3", "u3 [0, 1, 2]"),
            ("u2 u1! u3", "u3? [0, 1, 2]"),
            ("d1", "d1? [0]"),
            ("u1 d2 u3", "d2? [0, 1] | u3? [2]"),
            ("u1! d2 u3", "d2 [0, 1] | u3? [2]"),
            ("u2 d1! u3!", "d1 [0, 1] | u3 [2]"),
            ("u2 d1 u3", "u3? [0, 1, 2]"),
            ("u1 d2 u3 d4 u5", "d4? [0, 1, 2, 3] | u5? [4]"),
            ("u1 d9 u3 d4 u5", "d9? [0, 1] | d4? [2, 3] | u5? [4]"),
            ("u1 d9! u3 d4 u5", "d4 [0, 1, 2, 3] | u5? [4]"),
            ("u1 d9 u3 d4! u5", "d4 [0, 1, 2, 3] | u5? [4]"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn a_look_up_decides_the_changes_before_the_first_unconditional_one() {
        for (text, held, older, outdated, written) in [
            ("u1 u2 u3", None, &[][..], &[][..], &[0, 1, 2][..]),
            ("u1 u2 u3", Some(2), &[0], &[], &[1, 2]),
            ("u1 u2 u3", Some(4), &[0, 1, 2], &[], &[]),
            ("u3 u1 u2 u3", None, &[], &[1, 2], &[0, 3]),
            ("u3 u1 u2 u3", Some(3), &[], &[1, 2], &[0, 3]),
            ("u3 u1 u2 u4", Some(4), &[0, 1, 2], &[], &[3]),
            ("u3 u1! u2", Some(9), &[0], &[], &[1, 2]),
        ] {
            let found = survey(held, changes(text).into_iter());
            let found = (&found.older[..], &found.outdated[..], &found.written[..]);
            assert_eq!(found, (older, outdated, written), "{text}, held: {held:?}");
        }
    }

    /// The state of a destination: a version, and the written changes.
    type State = Option<(u64, Vec<Position>)>;

    fn write(state: &mut State, change: Ordered) {
        if change.is_delete {
            *state = None;
        } else {
            let written = state.take().map(|(_, written)| written).unwrap_or_default();
            *state = Some((change.version, [written, vec![change.position]].concat()));
        }
    }

    fn one_by_one(mut state: State, changes: &[Ordered]) -> State {
        for change in changes {
            let held = state.as_ref().map(|(version, _)| *version);
            if !change.is_compared || held <= Some(change.version) {
                write(&mut state, *change);
            }
        }
        state
    }

    fn by_blocks(mut state: State, changes: &[Ordered]) -> State {
        for block in blocks(changes.iter().copied()) {
            let held = state.as_ref().map(|(version, _)| *version);
            match block.kind {
                WriteKind::Delete if block.is_guarded && held > Some(block.version) => {}
                WriteKind::Delete => state = None,
                WriteKind::Upsert => {
                    let held = if block.is_guarded { held } else { None };
                    let of = block.sources.iter().map(|at| changes[*at]);
                    let left = survey(held, of);
                    assert!(block.is_guarded || left.older.is_empty());
                    for at in &left.written {
                        write(&mut state, changes[*at]);
                    }
                }
            }
        }
        state
    }

    fn any_changes() -> impl Strategy<Value = Vec<Ordered>> {
        let change = (any::<bool>(), 0_u64..6, any::<bool>(), 0_u32..3);
        proptest::collection::vec(change, 1..9).prop_map(|changes| {
            let ordered = |(position, (is_delete, version, is_compared, mostly)): (
                usize,
                (bool, u64, bool, u32),
            )| {
                Ordered {
                    position,
                    is_delete: is_delete && mostly == 0,
                    version,
                    is_compared,
                }
            };
            changes.into_iter().enumerate().map(ordered).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn blocks_have_the_same_result_as_the_changes_one_by_one(
            held in proptest::option::of(0_u64..6),
            changes in any_changes(),
        ) {
            let state = || held.map(|version| (version, vec![99]));
            prop_assert_eq!(by_blocks(state(), &changes), one_by_one(state(), &changes));
        }
    }
}
