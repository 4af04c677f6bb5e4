//! Streams: shards and their records.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::stream;

/// Record of a simulated stream.
#[derive(Clone, Debug)]
pub struct Record {
    pub shard: usize,
    /// Index in its shard. De-aggregated records of a consumer have one sequence number.
    pub at: usize,
    pub sequence_number: String,
    pub partition_key: String,
    pub data: Vec<u8>,
    /// Time of arrival, since the start of the mapping.
    pub arrives: Duration,
    /// JSON of the record in an event.
    pub json: String,
}

/// Simulated stream: records by shard, in order.
#[derive(Clone, Debug)]
pub struct Stream {
    /// ARN of the stream, or of its consumer with enhanced fan-out, in records and messages.
    pub arn: String,
    pub shards: Vec<Vec<Arc<Record>>>,
}

impl Stream {
    pub fn new(shards: usize) -> Self {
        Self::named(stream::ARN, shards)
    }

    pub fn named(arn: &str, shards: usize) -> Self {
        Self {
            arn: arn.to_owned(),
            shards: vec![Vec::new(); shards],
        }
    }

    /// Puts a record into the shard of its key.
    pub fn put(&mut self, partition_key: &str, data: &[u8], arrives: Duration) {
        let shard = spread(partition_key, self.shards.len());
        let number = stream::sequence_number(shard, self.shards[shard].len());
        self.append(shard, &number, partition_key, data, arrives);
    }

    /// Puts the user records of an aggregate. A consumer with enhanced fan-out receives each of
    /// them, all with the sequence number of the aggregate.
    pub fn put_aggregate(&mut self, partition_key: &str, data: &[&[u8]], arrives: Duration) {
        let shard = spread(partition_key, self.shards.len());
        let number = stream::sequence_number(shard, self.shards[shard].len());
        for data in data {
            self.append(shard, &number, partition_key, data, arrives);
        }
    }

    /// Puts a record into this shard, with this sequence number.
    pub fn append(
        &mut self,
        shard: usize,
        number: &str,
        partition_key: &str,
        data: &[u8],
        arrives: Duration,
    ) {
        let at = self.shards[shard].len();
        let mut json = event_record(shard, number, partition_key, data, arrives);
        json["eventSourceARN"] = self.arn.as_str().into();
        let record = Record {
            shard,
            at,
            sequence_number: number.to_owned(),
            partition_key: partition_key.to_owned(),
            data: data.to_vec(),
            arrives,
            json: json.to_string(),
        };
        self.shards[shard].push(Arc::new(record));
    }

    /// Returns a stream of the same records with modified data.
    pub fn mapped(&self, data: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let mut stream = Self::named(&self.arn, self.shards.len());
        for record in self.shards.iter().flatten() {
            let Record {
                shard,
                sequence_number,
                partition_key,
                arrives,
                ..
            } = &**record;
            stream.append(
                *shard,
                sequence_number,
                partition_key,
                &data(&record.data),
                *arrives,
            );
        }
        stream
    }

    /// Returns the number of records.
    #[expect(clippy::len_without_is_empty, reason = "no test needs it")]
    pub fn len(&self) -> usize {
        self.shards.iter().map(Vec::len).sum()
    }
}

/// Assigns a key to one of `count` groups.
pub(super) fn spread(partition_key: &str, count: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    partition_key.hash(&mut hasher);
    usize::try_from(hasher.finish() % count as u64).expect("fits")
}

fn event_record(
    shard: usize,
    number: &str,
    partition_key: &str,
    data: &[u8],
    arrives: Duration,
) -> Value {
    let mut record = stream::record(shard, 0, partition_key, data);
    record["eventID"] = format!("shardId-{shard:012}:{number}").into();
    record["kinesis"]["sequenceNumber"] = number.into();
    record["kinesis"]["approximateArrivalTimestamp"] =
        (stream::ARRIVAL + arrives.as_secs_f64()).into();
    record
}
