//! What Lambda's event source mapping does with a batch that was not settled at once: a partial failure moves the
//! checkpoint to the lowest failed record; an invocation without an answer leaves it where it is; with bisection a batch
//! that makes no progress is halved.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>

use std::collections::VecDeque;

use serde_json::Value;

/// How one delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// All of it.
    All,
    /// The lowest failed record is at this place.
    Until(usize),
    /// No answer: an error, or the end of the process.
    Nothing,
}

impl Delivered {
    /// What an answer's sequence numbers say of `batch`.
    pub fn from_failures(batch: &[Value], failures: &[String]) -> Self {
        let places = failures.iter().map(|number| {
            let is_it = |record: &Value| record["kinesis"]["sequenceNumber"] == number.as_str();
            batch.iter().position(is_it).unwrap_or_else(|| panic!("{number} is not in the batch"))
        });
        places.min().map_or(Self::All, Self::Until)
    }
}

/// The deliveries of one shard, or of one lane of it where batches are under way at once.
#[derive(Debug)]
pub struct Mapping {
    records: Vec<Value>,
    batches: VecDeque<Vec<Value>>,
    bisects: bool,
}

impl Mapping {
    /// Cuts `records` into batches of `size`.
    pub fn new(records: &[Value], size: usize, bisects: bool) -> Self {
        let mut mapping = Self { records: records.to_vec(), batches: VecDeque::new(), bisects };
        mapping.read_again(0, size);
        mapping
    }

    /// Made anew: reads from the record at `from` on, in batches of `size`.
    pub fn read_again(&mut self, from: usize, size: usize) {
        self.batches = self.records[from..].chunks(size).map(<[_]>::to_vec).collect();
    }

    /// The place of the next record.
    pub fn checkpoint(&self) -> usize {
        self.records.len() - self.batches.iter().map(Vec::len).sum::<usize>()
    }

    /// The batch that is delivered next.
    pub fn next(&self) -> Option<&[Value]> {
        self.batches.front().map(Vec::as_slice)
    }

    /// Takes note of how it ended.
    pub fn delivered(&mut self, how: Delivered) {
        let mut batch = self.batches.pop_front().expect("a batch was delivered");
        let made_progress = match how {
            Delivered::All => return,
            Delivered::Until(lowest) => {
                batch.drain(..lowest);
                lowest > 0
            }
            Delivered::Nothing => false,
        };
        let middle = batch.len() / 2;
        if self.bisects && !made_progress && middle > 0 {
            let second = batch.split_off(middle);
            self.batches.push_front(second);
        }
        self.batches.push_front(batch);
    }
}
