//! One round of a replay: selects the records of some sources, puts them back in order, and deletes
//! the sources without pending records.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use indicatif::ProgressBar;

use super::super::bucket::Bucket;
use super::super::failure::Failure;
use super::super::kinesis_producer::{PendingRecord, Producer};
use super::super::queue::{Held, Queue, Received};
use super::super::stream::compare;
use super::Replay;
use super::invoke::{self, PendingInvoke};
use super::pick::Entry;
use super::source::{Origin, Place, Record, Source};

/// Queue or bucket that contains the sources.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) queue: Option<Queue>,
    pub(super) bucket: Option<Bucket>,
    keep: bool,
    dry_run: bool,
    /// Messages that other readers do not see and that were not deleted.
    held: Held,
    /// Records that are back in the stream. A record that two destinations rejected has two dead
    /// letters.
    pub(super) done: HashSet<Identity>,
    /// Random keys, so that a producer cannot construct records whose contents have the same hash.
    hasher: RandomState,
}

/// Identity of a record. Its position alone is not unique: a stream that is created again restarts
/// its numbers, a record of another source has no number, and the sub-sequence of a record depends
/// on its batch. A record with two identities is put back twice, which is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    stream: String,
    shard: String,
    sequence_number: String,
    sub_sequence: u64,
    /// Hash of the partition key and the data.
    content: u64,
}

impl Identity {
    /// Compares two identities by the order of the stream.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let shard = (&self.stream, &self.shard).cmp(&(&other.stream, &other.shard));
        shard
            .then_with(|| compare(&self.sequence_number, &other.sequence_number))
            .then(self.sub_sequence.cmp(&other.sub_sequence))
    }
}

/// State of a source while its records are put back.
pub(super) struct SourceState {
    name: String,
    origin: Origin,
    /// Number of records that are not in the stream yet.
    pub(super) pending: usize,
    /// Whether the source is kept even if all its records are put back.
    pub(super) is_kept: bool,
    /// Whether the source was deleted, or needs no deletion.
    is_done: bool,
}

impl SourceState {
    fn new(source: &Source) -> Self {
        Self {
            name: source.name.clone(),
            origin: source.origin,
            pending: 0,
            is_kept: source.kept_because.is_some()
                || source.records.is_empty()
                || source.origin == Origin::Stream,
            is_done: false,
        }
    }
}

impl Store {
    /// Creates a store without a queue or a bucket.
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

    /// Returns the identity of a record.
    pub(super) fn identity(&self, record: &Record) -> Identity {
        Identity {
            stream: match &record.place {
                Place::Stream(stream) => stream.name_or_arn().to_owned(),
                Place::Function(place) => place.event_source_arn.clone().unwrap_or_default(),
            },
            shard: record.shard.clone(),
            sequence_number: record.sequence_number.clone(),
            sub_sequence: record.sub_sequence,
            content: self.hasher.hash_one((&record.key, &record.data)),
        }
    }

    /// Receives messages that were not received before.
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

    /// Releases the messages that were not deleted.
    pub(super) async fn release(&self) {
        if let Some(queue) = &self.queue {
            queue.release(&self.held).await;
        }
    }

    /// Deletes sources. Returns for each source whether it was deleted.
    async fn delete(&mut self, sources: &[&mut SourceState]) -> Result<Vec<bool>, Failure> {
        if let Some(queue) = &self.queue {
            let mut handles = Vec::with_capacity(sources.len());
            for source in sources {
                let handle = self.held.get(&source.name);
                handles.push(handle.map(String::as_str).unwrap_or_default());
            }
            let deleted = queue.delete(&handles).await?;
            for (source, is_deleted) in sources.iter().zip(&deleted) {
                if *is_deleted {
                    self.held.remove(&source.name);
                }
            }
            return Ok(deleted);
        }
        if let Some(bucket) = &self.bucket {
            for source in sources {
                bucket.delete(&source.name).await?;
            }
        }
        Ok(vec![true; sources.len()])
    }
}

impl Replay<'_> {
    /// Puts the selected records of `sources` back, and deletes the sources whose records are all
    /// put back.
    pub(super) async fn put_back(&mut self, sources: Vec<Source>) -> Result<(), Failure> {
        let mut states: Vec<SourceState> = sources.iter().map(SourceState::new).collect();
        let mut entries = self.select(sources, &mut states);
        if self.store.dry_run {
            self.report.put_back += entries.len() as u64;
            if !self.store.keep {
                let deleted = states.iter().filter(|state| !state.is_kept).count();
                self.report.deleted += deleted as u64;
            }
            return Ok(());
        }
        self.confirm(&entries)?;
        let progress = self
            .output
            .progress("changes put back", Some(entries.len() as u64));
        let (mut records, mut of_kafka) = (Vec::new(), Vec::new());
        for (at, entry) in entries.iter_mut().enumerate() {
            let data = std::mem::take(&mut entry.data);
            match &entry.place {
                Place::Stream(stream) => records.push(PendingRecord {
                    stream: stream.clone(),
                    key: std::mem::take(&mut entry.key),
                    hash_key: entry.hash_key,
                    data,
                    source: at,
                }),
                Place::Function(place) => of_kafka.push(PendingInvoke {
                    place: place.clone(),
                    data,
                    source: at,
                }),
            }
        }
        let mut producer = Producer::new(records);
        self.delete_finished(&mut states).await?;
        while !producer.is_done() {
            let step = producer.step().await?;
            progress.inc((step.done.len() + step.failed.len()) as u64);
            for at in step.done {
                self.note_put_back(&entries[at], &mut states);
            }
            for (at, reason) in step.failed {
                let reason = format!("the stream did not accept it: {reason}");
                self.note_failed(&entries[at], &mut states, &reason);
            }
            self.delete_finished(&mut states).await?;
        }
        while !of_kafka.is_empty() {
            let outcomes = invoke::step(&self.lambda, &mut of_kafka).await?;
            progress.inc(outcomes.len() as u64);
            for (at, outcome) in outcomes {
                match outcome {
                    Ok(()) => self.note_put_back(&entries[at], &mut states),
                    Err(reason) => self.note_failed(&entries[at], &mut states, &reason),
                }
            }
            self.delete_finished(&mut states).await?;
        }
        Ok(())
    }

    /// Counts a record as put back.
    fn note_put_back(&mut self, entry: &Entry, states: &mut [SourceState]) {
        self.report.put_back += 1;
        for source in &entry.sources {
            states[*source].pending -= 1;
            if states[*source].origin != Origin::Stream {
                self.store.done.insert(entry.identity.clone());
            }
        }
    }

    /// Keeps the sources of a record that was not put back, for this reason.
    fn note_failed(&mut self, entry: &Entry, states: &mut [SourceState], reason: &str) {
        for source in &entry.sources {
            states[*source].is_kept = true;
            self.report.skip(&states[*source].name, reason);
        }
    }

    /// Asks the operator on a terminal, once, whether to begin.
    fn confirm(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let Some(first) = entries.first().filter(|_| !self.is_confirmed) else {
            return Ok(());
        };
        let count = entries.len();
        let target = match &first.place {
            Place::Stream(stream) => format!("into the stream {}", stream.name_or_arn()),
            Place::Function(place) => format!("by invoking {}", place.function),
        };
        let question = format!("{count} selected so far. Put the selected changes back {target}?");
        self.is_confirmed = self.output.confirm(&question);
        if self.is_confirmed {
            return Ok(());
        }
        let remedy = "answer y, or name --yes";
        Err(Failure::new("not confirmed: nothing is put back", remedy))
    }

    /// Deletes the sources whose records are all put back.
    async fn delete_finished(&mut self, states: &mut [SourceState]) -> Result<(), Failure> {
        let mut finished = Vec::new();
        for state in states {
            if state.pending == 0 && !state.is_kept && !state.is_done {
                state.is_done = true;
                finished.push(state);
            }
        }
        if self.store.keep || finished.is_empty() {
            return Ok(());
        }
        let deleted = self.store.delete(&finished).await?;
        for (state, is_deleted) in finished.iter().zip(deleted) {
            if is_deleted {
                self.report.deleted += 1;
            } else {
                self.report.skip(
                    &state.name,
                    "it is back in the stream, but could not be deleted",
                );
            }
        }
        Ok(())
    }
}
