//! Where records that are to be put back come from: a message, an object, or the stream itself; and
//! how their data is got together.

use std::collections::HashMap;

use aws_sdk_kinesis::Client;

use super::super::failed_message::{Discarded, FailedMessage, Rejected};
use super::super::failure::Failure;
use super::super::stream::{Raw, Stream};
use super::policy::Known;

/// What to delete once all its records are back in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A message of the queue.
    Message,
    /// An object of the bucket.
    Object,
    /// The stream: nothing.
    Stream,
}

/// A message, an object or a page of the stream, and its records.
#[derive(Debug)]
pub(super) struct Source {
    /// The message's id, the object's key or the shard's id.
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) records: Vec<Record>,
    /// Why it stays even if all its records are put back.
    pub(super) stays: Option<String>,
}

/// A record of a source.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) stream: Stream,
    pub(super) shard: String,
    pub(super) sequence_number: String,
    pub(super) sub_sequence: u64,
    pub(super) key: String,
    pub(super) data: Vec<u8>,
    pub(super) refused_by: Option<String>,
    /// The code for which it was rejected before it was sent to any destination.
    pub(super) refused_unsent: Option<String>,
    /// The filters have been asked already.
    pub(super) is_meant: bool,
    /// Its data holds other records too.
    pub(super) is_part: bool,
}

/// Fetches what letters only point to.
#[derive(Debug)]
pub(super) struct Finder {
    pub(super) client: Client,
    /// Into which stream records go, and from which they come where a letter does not say.
    pub(super) stream: Option<Stream>,
}

const EXPIRED: &str = "the stream no longer holds it, or not all of it: its retention is over";
const NO_PLACE: &str = "it does not say where in a stream it was";
const NO_STREAM: &str = "it does not name its stream: --stream NAME does";
const NO_KEY: &str = "it has no partition key";
const NO_DATA: &str = "the record had no data";

impl Finder {
    /// The records of a letter.
    pub(super) async fn source(
        &self,
        name: String,
        origin: Origin,
        letter: FailedMessage,
    ) -> Result<Source, Failure> {
        let mut source = Source {
            name,
            origin,
            records: Vec::new(),
            stays: None,
        };
        let found = match letter {
            FailedMessage::Rejected(rejected) => {
                self.rejected(*rejected).await?.map(|record| vec![record])
            }
            FailedMessage::Discarded(discarded) => {
                self.discarded(*discarded, &mut source.stays).await?
            }
            FailedMessage::Unknown(why) => Err(why),
        };
        match found {
            Ok(records) => source.records = records,
            Err(why) => source.stays = Some(why.to_owned()),
        }
        Ok(source)
    }

    /// The record of a dead letter of ours; from the stream, where the letter could not carry the
    /// data.
    async fn rejected(&self, letter: Rejected) -> Result<Result<Record, &'static str>, Failure> {
        let Rejected {
            record: place,
            reason,
            ..
        } = letter;
        let own = place
            .event_source_arn
            .as_deref()
            .map(|arn| Stream::new(self.client.clone(), arn));
        let Some(stream) = self.stream.clone().or_else(|| own.clone()) else {
            return Ok(Err(NO_STREAM));
        };
        let shard = place.shard_id.unwrap_or_default();
        let number = place.sequence_number.unwrap_or_default();
        let mut record = Record {
            stream,
            key: place.partition_key.unwrap_or_default(),
            data: Vec::new(),
            refused_by: reason.destination,
            refused_unsent: Some(reason.code)
                .filter(|_| matches!(&*reason.stage, "decode" | "validate")),
            is_meant: true,
            is_part: false,
            sub_sequence: place.sub_sequence,
            shard,
            sequence_number: number,
        };
        if let Some(data) = place.data {
            // What was no base64 cannot be put back: Kinesis itself encodes.
            let Ok(data) = base64_simd::STANDARD.decode_to_vec(&data) else {
                return Ok(Err("its data is no base64"));
            };
            record.data = data;
        } else if place.data_omitted {
            if record.shard.is_empty() || record.sequence_number.is_empty() {
                return Ok(Err(NO_PLACE));
            }
            let from = own.as_ref().unwrap_or(&record.stream);
            let found = from
                .range(
                    &record.shard,
                    &record.sequence_number,
                    &record.sequence_number,
                )
                .await?;
            let Some(raw) = found.records.into_iter().next().filter(|_| found.is_whole) else {
                return Ok(Err(EXPIRED));
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

    /// The records of a batch that the mapping gave up: those that it kept, or else those of the
    /// range in the stream.
    async fn discarded(
        &self,
        letter: Discarded,
        stays: &mut Option<String>,
    ) -> Result<Result<Vec<Record>, &'static str>, Failure> {
        let own = Stream::new(self.client.clone(), &letter.batch.stream_arn);
        let target = self.stream.as_ref().unwrap_or(&own);
        let shard = letter.batch.shard_id;
        let Some(events) = letter.payload else {
            let range = own.range(
                &shard,
                &letter.batch.start_sequence_number,
                &letter.batch.end_sequence_number,
            );
            let range = range.await?;
            if !range.is_whole {
                *stays = Some(EXPIRED.to_owned());
            }
            return Ok(Ok(range
                .records
                .into_iter()
                .map(|raw| Record::of_stream(raw, &shard, target))
                .collect()));
        };
        let mut records = Vec::with_capacity(events.len());
        let mut seen: HashMap<String, u64> = HashMap::new();
        for event in events {
            let Ok(data) = base64_simd::STANDARD.decode_to_vec(&event.kinesis.data) else {
                *stays = Some("the data of one of its records is no base64".to_owned());
                continue;
            };
            // De-aggregated records share their sequence number, and are told apart by their order.
            let part = seen
                .entry(event.kinesis.sequence_number.clone())
                .or_default();
            let raw = Raw {
                sequence_number: event.kinesis.sequence_number,
                partition_key: event.kinesis.partition_key,
                data,
                arrival: None,
            };
            records.push(Record {
                sub_sequence: *part,
                ..Record::of_stream(raw, &shard, target)
            });
            *part += 1;
        }
        Ok(Ok(records))
    }
}

impl Record {
    /// Returns what is known of it besides its data.
    pub(super) fn known(&self) -> Known<'_> {
        Known {
            refused_by: self.refused_by.as_deref(),
            refused_unsent: self.refused_unsent.as_deref(),
            is_meant: self.is_meant,
            is_part: self.is_part,
        }
    }

    /// A record as it lies in the stream, to be put into `target`.
    pub(super) fn of_stream(raw: Raw, shard: &str, target: &Stream) -> Self {
        Self {
            stream: target.clone(),
            shard: shard.to_owned(),
            sequence_number: raw.sequence_number,
            sub_sequence: 0,
            key: raw.partition_key,
            data: raw.data,
            refused_by: None,
            refused_unsent: None,
            is_meant: false,
            is_part: false,
        }
    }
}
