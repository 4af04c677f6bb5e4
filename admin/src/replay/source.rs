//! Sources of records to put back (a message, an object or the stream itself), and the retrieval of
//! their data.

use std::collections::HashMap;

use aws_sdk_kinesis::Client;

use super::super::failed_message::{Discarded, FailedMessage, Rejected};
use super::super::failure::Failure;
use super::super::stream::{Stream, StreamRecord};
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

/// Record of a source.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) stream: Stream,
    pub(super) shard: String,
    pub(super) sequence_number: String,
    pub(super) sub_sequence: u64,
    pub(super) key: String,
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
}

const EXPIRED: &str = "the retention of the stream has ended for it, or for a part of it";
const NO_POSITION: &str = "it does not contain its position in a stream";
const NO_STREAM: &str = "it does not name its stream: name it with --stream";
const NO_KEY: &str = "it has no partition key";
const NO_DATA: &str = "the record had no data";

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
        let own = rejected
            .event_source_arn
            .as_deref()
            .map(|arn| Stream::new(self.client.clone(), arn));
        let Some(stream) = self.stream.clone().or_else(|| own.clone()) else {
            return Ok(Err(NO_STREAM));
        };
        let is_unsent = matches!(&*reason.stage, "decode" | "validate");
        let mut record = Record {
            stream,
            key: rejected.partition_key.unwrap_or_default(),
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
                return Ok(Err("its data is not base64"));
            };
            record.data = data;
        } else if rejected.data_omitted {
            if record.shard.is_empty() || record.sequence_number.is_empty() {
                return Ok(Err(NO_POSITION));
            }
            let from = own.as_ref().unwrap_or(&record.stream);
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
            record.key = raw.partition_key;
            record.data = raw.data;
            record.is_part = record.sub_sequence > 0;
        } else {
            return Ok(Err(NO_DATA));
        }
        Ok(if record.key.is_empty() {
            Err(NO_KEY)
        } else {
            Ok(record)
        })
    }

    /// Adds the records of a discarded batch to the source: the records of its event, or those of
    /// its range in the stream.
    async fn discarded(&self, discarded: Discarded, source: &mut Source) -> Result<(), Failure> {
        let own = Stream::new(self.client.clone(), &discarded.batch.stream_arn);
        let target = self.stream.as_ref().unwrap_or(&own);
        let shard = discarded.batch.shard_id;
        let Some(events) = discarded.payload else {
            let range = own.range(
                &shard,
                &discarded.batch.start_sequence_number,
                &discarded.batch.end_sequence_number,
            );
            let range = range.await?;
            if !range.is_complete {
                source.kept_because = Some(EXPIRED.to_owned());
            }
            for raw in range.records {
                source.records.push(Record::of_stream(raw, &shard, target));
            }
            return Ok(());
        };
        let mut parts: HashMap<String, u64> = HashMap::new();
        for event in events {
            let Ok(data) = base64_simd::STANDARD.decode_to_vec(&event.kinesis.data) else {
                let reason = "the data of one of its records is not base64";
                source.kept_because = Some(reason.to_owned());
                continue;
            };
            // De-aggregated records have one sequence number, and are distinguished by their order.
            let part = parts
                .entry(event.kinesis.sequence_number.clone())
                .or_default();
            let raw = StreamRecord {
                sequence_number: event.kinesis.sequence_number,
                partition_key: event.kinesis.partition_key,
                data,
                arrival: None,
            };
            source.records.push(Record {
                sub_sequence: *part,
                ..Record::of_stream(raw, &shard, target)
            });
            *part += 1;
        }
        Ok(())
    }
}

impl Record {
    /// Returns the context of the record for the policy.
    pub(super) fn context(&self) -> RecordContext<'_> {
        RecordContext {
            rejected_by: self.rejected_by.as_deref(),
            rejected_unsent: self.rejected_unsent.as_deref(),
            is_selected: self.is_selected,
            is_part: self.is_part,
        }
    }

    /// Builds a record from a record of the stream, to be put into `target`.
    pub(super) fn of_stream(raw: StreamRecord, shard: &str, target: &Stream) -> Self {
        Self {
            stream: target.clone(),
            shard: shard.to_owned(),
            sequence_number: raw.sequence_number,
            sub_sequence: 0,
            key: raw.partition_key,
            data: raw.data,
            rejected_by: None,
            rejected_unsent: None,
            is_selected: false,
            is_part: false,
        }
    }
}
