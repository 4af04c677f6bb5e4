//! One round: judges the records of some sources, puts back those that may, in their order, and deletes the sources
//! that have nothing left to put.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use indicatif::ProgressBar;

use super::super::bucket::Bucket;
use super::super::failure::Failure;
use super::super::put::{Putting, Ready};
use super::super::queue::{Held, Queue, Received};
use super::super::stream::compare;
use super::Replay;
use super::judge::{Known, Verdict};
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
    done: HashSet<Identity>,
    /// Nobody can make two records whose contents it takes for one.
    hasher: RandomState,
}

/// What tells a record from all others. Its place alone does not: a stream that was made anew begins to count anew, a
/// record from elsewhere has no number, and which part of an aggregate one is depends on the batch that it came in. What
/// is taken for two records though it is one goes back twice, harmlessly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    stream: String,
    shard: String,
    sequence_number: String,
    sub_sequence: u64,
    /// Of its partition key and data, as they came.
    content: u64,
}

impl Identity {
    /// The order of the stream.
    fn compare(&self, other: &Self) -> Ordering {
        let shard = (&self.stream, &self.shard).cmp(&(&other.stream, &other.shard));
        shard
            .then_with(|| compare(&self.sequence_number, &other.sequence_number))
            .then(self.sub_sequence.cmp(&other.sub_sequence))
    }
}

/// A source, while its records are put back.
struct Holder {
    name: String,
    origin: Origin,
    /// Records that are not in the stream yet.
    open: usize,
    /// It is not deleted, whatever becomes of the rest.
    stays: bool,
    /// Everything was done for it.
    is_done: bool,
}

impl Holder {
    fn of(source: &Source) -> Self {
        Self {
            name: source.name.clone(),
            origin: source.origin,
            open: 0,
            stays: source.stays.is_some() || source.records.is_empty() || source.origin == Origin::Stream,
            is_done: false,
        }
    }
}

/// A record, and the sources that hold it.
struct Entry {
    identity: Identity,
    key: String,
    data: Vec<u8>,
    stream: super::Stream,
    holders: Vec<usize>,
}

impl Store {
    pub(super) fn new(keep: bool, dry_run: bool) -> Self {
        let (held, done) = (Held::new(), HashSet::new());
        Self { queue: None, bucket: None, keep, dry_run, held, done, hasher: RandomState::new() }
    }

    fn identity(&self, record: &Record) -> Identity {
        Identity {
            stream: record.stream.called().to_owned(),
            shard: record.shard.clone(),
            sequence_number: record.sequence_number.clone(),
            sub_sequence: record.sub_sequence,
            content: self.hasher.hash_one((&record.key, &record.data)),
        }
    }

    /// Messages that were not received before.
    pub(super) async fn receive(&mut self, most: u64, progress: &ProgressBar) -> Result<Received, Failure> {
        let Some(queue) = &self.queue else { return Ok(Received { is_all: true, ..Received::default() }) };
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
            let handle = |holder: &&mut Holder| self.held.get(&holder.name).map(String::as_str).unwrap_or_default();
            let gone = queue.delete(&holders.iter().map(handle).collect::<Vec<_>>()).await?;
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
            let through = holders.iter().filter(|holder| !holder.stays && !self.store.keep);
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
        let progress = self.output.progress("changes put back", Some(entries.len() as u64));
        let mut putting = Putting::new(entries.iter_mut().enumerate().map(ready).collect());
        self.delete_through(&mut holders).await?;
        while !putting.is_done() {
            let step = putting.step().await?;
            progress.inc((step.done.len() + step.failed.len()) as u64);
            for at in step.done {
                self.report.put_back += 1;
                let Entry { identity, holders: of, .. } = &entries[at];
                of.iter().for_each(|holder| holders[*holder].open -= 1);
                if of.iter().any(|holder| holders[*holder].origin != Origin::Stream) {
                    self.store.done.insert(identity.clone());
                }
            }
            for (at, reason) in step.failed {
                for holder in &entries[at].holders {
                    holders[*holder].stays = true;
                    self.report.leave(&holders[*holder].name, &format!("the stream did not take it: {reason}"));
                }
            }
            self.delete_through(&mut holders).await?;
        }
        Ok(())
    }

    /// The records that go back, in the order of the stream, each once.
    fn judge_all(&mut self, sources: Vec<Source>, holders: &mut [Holder]) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<Identity, usize> = HashMap::new();
        for (at, source) in sources.into_iter().enumerate() {
            if let Some(reason) = &source.stays {
                self.report.leave(&source.name, reason);
            }
            let origin = source.origin;
            for record in source.records {
                let identity = self.store.identity(&record);
                if self.store.done.contains(&identity) {
                    continue;
                }
                let known = Known {
                    refused_by: record.refused_by.as_deref(),
                    is_meant: record.is_meant,
                    is_part: record.is_part,
                };
                match self.judge.judge(&record.data, known) {
                    Verdict::PutBack(_) if origin == Origin::Stream && !self.take_one() => break,
                    Verdict::PutBack(data) => {
                        holders[at].open += 1;
                        if let Some(place) = places.get(&identity) {
                            entries[*place].holders.push(at);
                            continue;
                        }
                        places.insert(identity.clone(), entries.len());
                        let Record { stream, key, .. } = record;
                        entries.push(Entry { identity, key, data, stream, holders: vec![at] });
                    }
                    Verdict::NotMeant => {
                        self.report.not_meant += 1;
                        holders[at].stays = true;
                    }
                    Verdict::Left(reason) => {
                        self.report.leave(&source.name, reason);
                        holders[at].stays = true;
                    }
                }
            }
        }
        entries.sort_by(|a, b| a.identity.compare(&b.identity));
        entries
    }

    /// Deletes the sources whose records are all back.
    async fn delete_through(&mut self, holders: &mut [Holder]) -> Result<(), Failure> {
        let is_through = |holder: &Holder| holder.open == 0 && !holder.stays && !holder.is_done;
        let mut through: Vec<&mut Holder> = holders.iter_mut().filter(|holder| is_through(holder)).collect();
        through.iter_mut().for_each(|holder| holder.is_done = true);
        if self.store.keep || through.is_empty() {
            return Ok(());
        }
        let gone = self.store.delete(&through).await?;
        for (holder, gone) in through.iter().zip(gone) {
            if gone {
                self.report.deleted += 1;
            } else {
                self.report.leave(&holder.name, "it is back in the stream, but could not be deleted");
            }
        }
        Ok(())
    }
}
