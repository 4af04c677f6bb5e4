//! One round: judges the records of some sources, puts back those that may, in their order, and
//! deletes the sources that have nothing left to put.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use indicatif::ProgressBar;

use super::super::bucket::Bucket;
use super::super::failure::Failure;
use super::super::kinesis_producer::{Putting, Ready};
use super::super::queue::{Held, Queue, Received};
use super::super::stream::compare;
use super::Replay;
use super::pick::Entry;
use super::source::{Origin, Record, Source};

/// The queue or the bucket that sources lie in.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) queue: Option<Queue>,
    pub(super) bucket: Option<Bucket>,
    keep: bool,
    dry_run: bool,
    /// The messages that are hidden from others and were not deleted.
    held: Held,
    /// The records that are back in the stream: one that two destinations refused has two letters.
    pub(super) done: HashSet<Identity>,
    /// Nobody can make two records whose contents it takes for one.
    hasher: RandomState,
}

/// What tells a record from all others. Its place alone does not: a stream that was made anew
/// begins to count anew, a record from elsewhere has no number, and which part of an aggregate one
/// is depends on the batch that it came in. What is taken for two records though it is one goes
/// back twice, harmlessly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    stream: String,
    shard: String,
    sequence_number: String,
    sub_sequence: u64,
    /// Of its partition key and data, as they came.
    content: u64,
}

impl Identity {
    /// The order of the stream.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let shard = (&self.stream, &self.shard).cmp(&(&other.stream, &other.shard));
        shard
            .then_with(|| compare(&self.sequence_number, &other.sequence_number))
            .then(self.sub_sequence.cmp(&other.sub_sequence))
    }
}

/// A source, while its records are put back.
pub(super) struct Holder {
    name: String,
    origin: Origin,
    /// Records that are not in the stream yet.
    pub(super) open: usize,
    /// It is not deleted, whatever becomes of the rest.
    pub(super) stays: bool,
    /// Everything was done for it.
    is_done: bool,
}

impl Holder {
    fn of(source: &Source) -> Self {
        Self {
            name: source.name.clone(),
            origin: source.origin,
            open: 0,
            stays: source.stays.is_some()
                || source.records.is_empty()
                || source.origin == Origin::Stream,
            is_done: false,
        }
    }
}

impl Store {
    pub(super) fn new(keep: bool, dry_run: bool) -> Self {
        let (held, done) = (Held::new(), HashSet::new());
        Self {
            queue: None,
            bucket: None,
            keep,
            dry_run,
            held,
            done,
            hasher: RandomState::new(),
        }
    }

    pub(super) fn identity(&self, record: &Record) -> Identity {
        Identity {
            stream: record.stream.called().to_owned(),
            shard: record.shard.clone(),
            sequence_number: record.sequence_number.clone(),
            sub_sequence: record.sub_sequence,
            content: self.hasher.hash_one((&record.key, &record.data)),
        }
    }

    /// Messages that were not received before.
    pub(super) async fn receive(
        &mut self,
        most: u64,
        progress: &ProgressBar,
    ) -> Result<Received, Failure> {
        let Some(queue) = &self.queue else {
            return Ok(Received {
                is_all: true,
                ..Received::default()
            });
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        queue.receive(most, &mut self.held, progress).await
    }

    /// Lets others see what was not deleted.
    pub(super) async fn release(&self) {
        if let Some(queue) = &self.queue {
            queue.release(&self.held).await;
        }
    }

    /// Deletes sources; says of each whether it is gone.
    async fn delete(&mut self, holders: &[&mut Holder]) -> Result<Vec<bool>, Failure> {
        if let Some(queue) = &self.queue {
            let handle = |holder: &&mut Holder| {
                self.held
                    .get(&holder.name)
                    .map(String::as_str)
                    .unwrap_or_default()
            };
            let gone = queue
                .delete(&holders.iter().map(handle).collect::<Vec<_>>())
                .await?;
            let ids = holders.iter().zip(&gone).filter(|(_, gone)| **gone);
            ids.for_each(|(holder, _)| drop(self.held.remove(&holder.name)));
            return Ok(gone);
        }
        if let Some(bucket) = &self.bucket {
            for holder in holders {
                bucket.delete(&holder.name).await?;
            }
        }
        Ok(vec![true; holders.len()])
    }
}

impl Replay<'_> {
    /// Puts back what may be put back of `sources`, and deletes those that are through.
    pub(super) async fn put_back(&mut self, sources: Vec<Source>) -> Result<(), Failure> {
        let mut holders: Vec<Holder> = sources.iter().map(Holder::of).collect();
        let entries = self.judge_all(sources, &mut holders);
        if self.store.dry_run {
            self.report.put_back += entries.len() as u64;
            let through = holders
                .iter()
                .filter(|holder| !holder.stays && !self.store.keep);
            self.report.deleted += through.count() as u64;
            return Ok(());
        }
        let ready = |(at, entry): (usize, &mut Entry)| Ready {
            stream: entry.stream.clone(),
            key: std::mem::take(&mut entry.key),
            data: std::mem::take(&mut entry.data),
            source: at,
        };
        let mut entries = entries;
        let progress = self
            .output
            .progress("changes put back", Some(entries.len() as u64));
        let mut putting = Putting::new(entries.iter_mut().enumerate().map(ready).collect());
        self.delete_through(&mut holders).await?;
        while !putting.is_done() {
            let step = putting.step().await?;
            progress.inc((step.done.len() + step.failed.len()) as u64);
            for at in step.done {
                self.report.put_back += 1;
                let Entry {
                    identity,
                    holders: of,
                    ..
                } = &entries[at];
                of.iter().for_each(|holder| holders[*holder].open -= 1);
                if of
                    .iter()
                    .any(|holder| holders[*holder].origin != Origin::Stream)
                {
                    self.store.done.insert(identity.clone());
                }
            }
            for (at, reason) in step.failed {
                for holder in &entries[at].holders {
                    holders[*holder].stays = true;
                    self.report.leave(
                        &holders[*holder].name,
                        &format!("the stream did not take it: {reason}"),
                    );
                }
            }
            self.delete_through(&mut holders).await?;
        }
        Ok(())
    }

    /// Deletes the sources whose records are all back.
    async fn delete_through(&mut self, holders: &mut [Holder]) -> Result<(), Failure> {
        let is_through = |holder: &Holder| holder.open == 0 && !holder.stays && !holder.is_done;
        let mut through: Vec<&mut Holder> = holders
            .iter_mut()
            .filter(|holder| is_through(holder))
            .collect();
        through.iter_mut().for_each(|holder| holder.is_done = true);
        if self.store.keep || through.is_empty() {
            return Ok(());
        }
        let gone = self.store.delete(&through).await?;
        for (holder, gone) in through.iter().zip(gone) {
            if gone {
                self.report.deleted += 1;
            } else {
                self.report.leave(
                    &holder.name,
                    "it is back in the stream, but could not be deleted",
                );
            }
        }
        Ok(())
    }
}
