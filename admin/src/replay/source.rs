//! Sources of records to put back (a message, an object or the stream itself), and the retrieval of
//! their data.

use aws_sdk_kinesis::Client;
use contact_sync::lambda::envelope;
use contact_sync::model::{self, Data, KafkaOrigin, KinesisOrigin, Origin as RecordOrigin};
use contact_sync::source::layers::{Aggregates, split_aggregates};
use serde_json::Value;
use time::OffsetDateTime;

use super::super::failed_message::{
    BatchInfo, Discarded, DiscardedBatch, FailedMessage, Rejected, RejectedRecord,
};
use super::super::failure::Failure;
use super::super::stream::{Stream, StreamRecord};
use super::invoke::KafkaPlace;
use super::policy::RecordContext;

/// Kind of a source, which determines its deletion after all its records are put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Message of the queue.
    Message,
    /// Object of the bucket.
    Object,
    /// Page of the stream, which is not deleted.
    Stream,
}

/// Message, object or page of the stream, with its records.
#[derive(Debug)]
pub(super) struct Source {
    /// Id of the message, key of the object or id of the shard.
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) records: Vec<Record>,
    /// Reason why the source is kept even if all its records are put back.
    pub(super) kept_because: Option<String>,
}

/// Place that a record is put back into.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Stream of Kinesis.
    Stream(Stream),
    /// Function that takes records of Kafka.
    Function(KafkaPlace),
}

/// Record of a source.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) shard: String,
    pub(super) sequence_number: String,
    pub(super) sub_sequence: u64,
    /// Partition key of Kinesis.
    pub(super) key: String,
    /// First arrival in the stream of Kinesis, in seconds since 1970.
    pub(super) arrival: Option<f64>,
    /// Explicit hash key of Kinesis, which decides the shard in place of the key.
    pub(super) hash_key: Option<u128>,
    pub(super) data: Vec<u8>,
    /// Destination that rejected the record.
    pub(super) rejected_by: Option<String>,
    /// Code with which the record was rejected before it was sent to any destination.
    pub(super) rejected_unsent: Option<String>,
    /// Whether the filters have selected the record already.
    pub(super) is_selected: bool,
    /// Whether the data contains other records too.
    pub(super) is_part: bool,
}

/// Retrieves the records of failed messages.
#[derive(Debug)]
pub(super) struct Finder {
    pub(super) client: Client,
    /// Stream of `--stream`: records are put into it, and are read from it if a failed message does
    /// not name its stream.
    pub(super) stream: Option<Stream>,
    /// Function of `--function`, which takes the records of Kafka.
    pub(super) function: Option<String>,
}

const EXPIRED: &str = "the retention of the stream has ended for it, or for a part of it";
const NO_POSITION: &str = "it does not contain its position in a stream";
const NO_STREAM: &str = "it does not name its stream: name it with --stream";
const NO_KEY: &str = "it has no partition key";
const NO_DATA: &str = "the record had no data";
const NOT_BASE64: &str = "its data is not base64";
const NO_FUNCTION: &str =
    "it is a record of Kafka: name the function that takes it with --function";
const NO_KAFKA_DATA: &str = "its data did not fit a dead letter, and the tool reads no Kafka: read \
                             the record at its partition and offset with a consumer of your own, \
                             correct it, and have the producer send it again";
const NO_KAFKA_EVENT: &str = "the message names offsets alone, and the tool reads no Kafka: replay \
                              the mapping's objects in S3, or set the consumer group back";
const UNREADABLE_RECORD: &str = "one of its records has no position or no data";

impl Source {
    /// Creates a source without records.
    pub(super) fn new(name: String, origin: Origin) -> Self {
        Self {
            name,
            origin,
            records: Vec::new(),
            kept_because: None,
        }
    }
}

impl Finder {
    /// Retrieves the records of a failed message.
    pub(super) async fn source(
        &self,
        name: String,
        origin: Origin,
        message: FailedMessage,
    ) -> Result<Source, Failure> {
        let mut source = Source::new(name, origin);
        match message {
            FailedMessage::Rejected(rejected) if rejected.record.is_kafka() => {
                match self.rejected_of_kafka(*rejected) {
                    Ok(record) => source.records.push(record),
                    Err(reason) => source.kept_because = Some(reason.to_owned()),
                }
            }
            FailedMessage::Rejected(rejected) => match self.rejected(*rejected).await? {
                Ok(record) => source.records.push(record),
                Err(reason) => source.kept_because = Some(reason.to_owned()),
            },
            FailedMessage::Discarded(discarded) => self.discarded(*discarded, &mut source).await?,
            FailedMessage::Unknown(reason) => source.kept_because = Some(reason.to_owned()),
        }
        Ok(source)
    }

    /// Returns the record of a dead letter. Reads it from the stream if the dead letter omits its
    /// data. The inner error is the reason why the record cannot be put back.
    async fn rejected(
        &self,
        dead_letter: Rejected,
    ) -> Result<Result<Record, &'static str>, Failure> {
        let Rejected {
            record: rejected,
            reason,
            ..
        } = dead_letter;
        // A consumer with enhanced fan-out counts the parts of an aggregate by batch.
        let is_split_by_lambda = rejected
            .event_source_arn
            .as_deref()
            .is_some_and(|arn| arn.contains("/consumer/"));
        let own = rejected
            .event_source_arn
            .as_deref()
            .map(|arn| Stream::new(self.client.clone(), arn));
        let Some(stream) = self.stream.clone().or_else(|| own.clone()) else {
            return Ok(Err(NO_STREAM));
        };
        let is_unsent = matches!(&*reason.stage, "decode" | "validate");
        let from = own.unwrap_or_else(|| stream.clone());
        let mut record = Record {
            place: Place::Stream(stream),
            key: rejected.partition_key.unwrap_or_default(),
            arrival: rejected.approximate_arrival,
            hash_key: rejected.explicit_hash_key.and_then(|key| key.parse().ok()),
            data: Vec::new(),
            rejected_by: reason.destination,
            rejected_unsent: is_unsent.then_some(reason.code),
            is_selected: true,
            is_part: false,
            sub_sequence: rejected.sub_sequence,
            shard: rejected.shard_id.unwrap_or_default(),
            sequence_number: rejected.sequence_number.unwrap_or_default(),
        };
        if let Some(data) = rejected.data {
            // Data that is not base64 cannot be put back: Kinesis itself encodes data.
            let Ok(data) = base64_simd::STANDARD.decode_to_vec(&data) else {
                return Ok(Err(NOT_BASE64));
            };
            record.data = data;
        } else if rejected.data_omitted {
            if record.shard.is_empty() || record.sequence_number.is_empty() {
                return Ok(Err(NO_POSITION));
            }
            let found = from
                .range(
                    &record.shard,
                    &record.sequence_number,
                    &record.sequence_number,
                )
                .await?;
            let raw = match found.records.into_iter().next() {
                Some(raw) if found.is_complete => raw,
                _ => return Ok(Err(EXPIRED)),
            };
            record.take_part(raw, is_split_by_lambda);
        } else {
            return Ok(Err(NO_DATA));
        }
        Ok(if record.key.is_empty() {
            Err(NO_KEY)
        } else {
            Ok(record)
        })
    }

    /// Returns the record of a dead letter of Kafka. The error is the reason why it cannot be put
    /// back.
    fn rejected_of_kafka(&self, dead_letter: Rejected) -> Result<Record, &'static str> {
        let Rejected { record, reason, .. } = dead_letter;
        let function = self.function.clone().ok_or(NO_FUNCTION)?;
        if record.data_omitted {
            return Err(NO_KAFKA_DATA);
        }
        let data = record
            .data
            .as_deref()
            .map(|data| base64_simd::STANDARD.decode_to_vec(data));
        let data = data.transpose().map_err(|_| NOT_BASE64)?;
        let is_unsent = matches!(&*reason.stage, "decode" | "validate");
        let place = kafka_place(record, function, data.is_none()).ok_or(NO_POSITION)?;
        Ok(Record {
            rejected_by: reason.destination,
            rejected_unsent: is_unsent.then_some(reason.code),
            is_selected: true,
            ..Record::of_kafka(place, data.unwrap_or_default())
        })
    }

    /// Adds the records of a discarded batch to the source: the records of its event, or those of
    /// its range in the stream.
    async fn discarded(&self, discarded: Discarded, source: &mut Source) -> Result<(), Failure> {
        let function = self
            .function
            .clone()
            .or(discarded.function().map(str::to_owned));
        match (discarded.batch, discarded.payload) {
            (DiscardedBatch::Kinesis(batch), Some(event)) => {
                let own = Stream::new(self.client.clone(), &batch.stream_arn);
                let target = self.stream.as_ref().unwrap_or(&own);
                let shard = &batch.shard_id;
                add_event(&event, source, |record| {
                    Record::of_event(record, shard, target)
                });
                Ok(())
            }
            (DiscardedBatch::Kinesis(batch), None) => self.discarded_range(&batch, source).await,
            (DiscardedBatch::Kafka(_), Some(event)) => {
                match function {
                    None => source.kept_because = Some(NO_FUNCTION.to_owned()),
                    Some(function) => add_event(&event, source, |record| {
                        Record::of_kafka_event(record, &function)
                    }),
                }
                Ok(())
            }
            (DiscardedBatch::Kafka(_), None) => {
                source.kept_because = Some(NO_KAFKA_EVENT.to_owned());
                Ok(())
            }
        }
    }

    /// Adds the records of a range of the stream.
    async fn discarded_range(&self, batch: &BatchInfo, source: &mut Source) -> Result<(), Failure> {
        let own = Stream::new(self.client.clone(), &batch.stream_arn);
        let target = self.stream.as_ref().unwrap_or(&own);
        let range = own.range(
            &batch.shard_id,
            &batch.start_sequence_number,
            &batch.end_sequence_number,
        );
        let range = range.await?;
        if !range.is_complete {
            source.kept_because = Some(EXPIRED.to_owned());
        }
        for raw in range.records {
            source
                .records
                .extend(Record::of_stream(raw, &batch.shard_id, target));
        }
        Ok(())
    }
}

/// Adds the records of an event to the source, those of aggregates one by one. Keeps the source if
/// a record cannot be read.
fn add_event(
    event: &Value,
    source: &mut Source,
    convert: impl Fn(&model::Record<'_>) -> Option<Record>,
) {
    let text = event.to_string();
    let records = envelope(&text).unwrap_or_default();
    let aggregates = Aggregates::of(&records);
    for record in split_aggregates(records, &aggregates) {
        match convert(&record) {
            Some(record) => source.records.push(record),
            None => source.kept_because = Some(UNREADABLE_RECORD.to_owned()),
        }
    }
    if source.records.is_empty() {
        source.kept_because = Some(UNREADABLE_RECORD.to_owned());
    }
}

/// Returns a time in seconds since 1970.
fn seconds(time: OffsetDateTime) -> f64 {
    (time - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

/// Returns the bytes of a record's data; `None` if they are not base64.
fn bytes(record: &model::Record<'_>) -> Option<Vec<u8>> {
    match record.data.as_ref()? {
        Data::Base64(text) => base64_simd::STANDARD.decode_to_vec(&**text).ok(),
        Data::Bytes(bytes) => Some(bytes.to_vec()),
    }
}

/// Returns the place of a dead letter of Kafka; `None` if it lacks its position.
fn kafka_place(record: RejectedRecord, function: String, is_tombstone: bool) -> Option<KafkaPlace> {
    Some(KafkaPlace {
        function,
        event_source_arn: record.event_source_arn,
        topic: record.topic?,
        partition: record.partition?,
        offset: record.offset?,
        key: record.key,
        timestamp: record.timestamp,
        is_tombstone,
    })
}

impl Record {
    /// Returns the context of the record for the policy.
    pub(super) fn context<'a>(&'a self, received: &'a model::Record<'a>) -> RecordContext<'a> {
        RecordContext {
            rejected_by: self.rejected_by.as_deref(),
            rejected_unsent: self.rejected_unsent.as_deref(),
            is_selected: self.is_selected,
            is_part: self.is_part,
            is_marked: matches!(self.place, Place::Function(_)),
            record: Some(received),
        }
    }

    /// Returns the record as the function would get it.
    pub(super) fn received(&self) -> model::Record<'_> {
        let data = base64_simd::STANDARD.encode_to_string(&self.data);
        let data = Some(Data::Base64(data.into()));
        let (origin, data) = match &self.place {
            Place::Stream(_) => {
                let origin = KinesisOrigin {
                    sequence_number: Some(self.sequence_number.as_str().into()),
                    partition_key: Some(self.key.as_str().into()),
                    approximate_arrival: self.arrival,
                    ..KinesisOrigin::default()
                };
                (RecordOrigin::Kinesis(origin), data)
            }
            Place::Function(place) => {
                let origin = KafkaOrigin {
                    topic_partition: place.list().into(),
                    offset: Some(place.offset),
                    key: place.key.as_deref().map(Into::into),
                    timestamp: place.timestamp,
                    is_null: place.is_tombstone,
                    ..KafkaOrigin::default()
                };
                (
                    RecordOrigin::Kafka(origin),
                    data.filter(|_| !place.is_tombstone),
                )
            }
        };
        model::Record {
            origin,
            data,
            ..model::Record::default()
        }
    }

    /// Takes keys and data of a record of the stream, or of the record of its aggregate with the
    /// same sub-sequence.
    fn take_part(&mut self, raw: StreamRecord, is_split_by_lambda: bool) {
        self.key.clone_from(&raw.partition_key);
        self.hash_key = None;
        self.data.clone_from(&raw.data);
        self.is_part = self.sub_sequence > 0;
        if is_split_by_lambda {
            return;
        }
        let Place::Stream(target) = &self.place else {
            return;
        };
        let mut parts = Self::of_stream(raw, &self.shard, target).into_iter();
        if let Some(part) = parts.find(|part| part.sub_sequence == self.sub_sequence) {
            self.key = part.key;
            self.hash_key = part.hash_key;
            self.data = part.data;
            self.is_part = false;
        }
    }

    /// Builds the records of a record of the stream, to be put into `target`: its own, or those of
    /// its aggregate.
    pub(super) fn of_stream(raw: StreamRecord, shard: &str, target: &Stream) -> Vec<Self> {
        let record = model::Record {
            origin: RecordOrigin::Kinesis(KinesisOrigin {
                sequence_number: Some(raw.sequence_number.into()),
                partition_key: Some(raw.partition_key.into()),
                approximate_arrival: raw.arrival.map(seconds),
                ..KinesisOrigin::default()
            }),
            ..model::Record::of_data(base64_simd::STANDARD.encode_to_string(&raw.data))
        };
        let records = vec![record];
        let aggregates = Aggregates::of(&records);
        let records = split_aggregates(records, &aggregates);
        records
            .iter()
            .filter_map(|record| Self::of_event(record, shard, target))
            .collect()
    }

    /// Builds a record from a record of an event of Kinesis, to be put into `target`.
    fn of_event(record: &model::Record<'_>, shard: &str, target: &Stream) -> Option<Self> {
        let origin = record.kinesis()?;
        Some(Self {
            place: Place::Stream(target.clone()),
            shard: shard.to_owned(),
            sequence_number: origin.sequence_number.clone()?.into_owned(),
            sub_sequence: origin.sub_sequence,
            key: origin.partition_key.clone()?.into_owned(),
            arrival: origin.approximate_arrival,
            hash_key: origin.hash_key(),
            data: bytes(record)?,
            rejected_by: None,
            rejected_unsent: None,
            is_selected: false,
            is_part: false,
        })
    }

    /// Builds a record from a record of an event of Kafka.
    fn of_kafka_event(record: &model::Record<'_>, function: &str) -> Option<Self> {
        let origin: &KafkaOrigin<'_> = record.kafka()?;
        let data = match &record.data {
            None if origin.is_null => None,
            _ => Some(bytes(record)?),
        };
        let place = KafkaPlace {
            function: function.to_owned(),
            event_source_arn: record.event_source_arn.clone().map(Into::into),
            topic: origin.topic().to_owned(),
            partition: origin.partition()?,
            offset: origin.offset?,
            key: origin.key.clone().map(Into::into),
            timestamp: origin.timestamp,
            is_tombstone: data.is_none(),
        };
        Some(Self::of_kafka(place, data.unwrap_or_default()))
    }

    fn of_kafka(place: KafkaPlace, data: Vec<u8>) -> Self {
        Self {
            shard: place.list(),
            sequence_number: place.offset.to_string(),
            sub_sequence: 0,
            key: place.key.clone().unwrap_or_default(),
            arrival: None,
            hash_key: None,
            place: Place::Function(place),
            data,
            rejected_by: None,
            rejected_unsent: None,
            is_selected: false,
            is_part: false,
        }
    }
}
