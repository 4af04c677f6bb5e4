//! A Kinesis stream, read: a range of sequence numbers to its exact end, or a stretch of time.

use std::cmp::Ordering;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_sdk_kinesis::operation::get_shard_iterator::builders::GetShardIteratorFluentBuilder;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};

use super::failure::Failure;

/// A shard allows five reads in a second, to all its readers together.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const BETWEEN_READS: Duration = Duration::from_millis(250);

/// A stream, by name or ARN.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    client: Client,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
}

/// A record as it lies in the stream.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) sequence_number: String,
    pub(crate) partition_key: String,
    pub(crate) data: Vec<u8>,
    pub(crate) arrival: Option<OffsetDateTime>,
}

/// What is left of a range of records.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) records: Vec<Raw>,
    /// First and last are among them, and so is everything between.
    pub(crate) is_whole: bool,
}

/// Reads a shard page by page.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    stream: &'a Stream,
    shard: String,
    iterator: Option<String>,
    /// The last record that was read.
    last: Option<String>,
    next_read: Instant,
}

/// One answer: its records, and whether the shard's present end is reached.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) records: Vec<Raw>,
    pub(crate) is_last: bool,
}

/// An ARN without the consumer that an enhanced fan-out mapping adds to it.
pub(crate) fn without_consumer(arn: &str) -> &str {
    arn.split_once("/consumer/")
        .map_or(arn, |(stream, _)| stream)
}

/// Compares sequence numbers as numbers: the real ones have 56 digits, those of emulations fewer.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl Stream {
    pub(crate) fn new(client: Client, name_or_arn: &str) -> Self {
        let text = without_consumer(name_or_arn).to_owned();
        let (name, arn) = if text.starts_with("arn:") {
            (None, Some(text))
        } else {
            (Some(text), None)
        };
        Self { client, name, arn }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What people call it.
    pub(crate) fn called(&self) -> &str {
        self.name
            .as_deref()
            .or(self.arn.as_deref())
            .unwrap_or_default()
    }

    /// The shards' ids. They grow: a parent's is smaller than its children's.
    pub(crate) async fn shards(&self) -> Result<Vec<String>, Failure> {
        let (mut ids, mut next) = (Vec::new(), None);
        loop {
            let call = self.client.list_shards();
            // What comes after the first page is asked for by its token alone.
            let call = match next {
                None => call
                    .set_stream_name(self.name.clone())
                    .set_stream_arn(self.arn.clone()),
                token => call.set_next_token(token),
            };
            let answer = call.send().await;
            let answer = answer.map_err(|error| {
                self.failure("listing the shards of", "kinesis:ListShards", &error)
            })?;
            ids.extend(
                answer
                    .shards
                    .unwrap_or_default()
                    .into_iter()
                    .map(|shard| shard.shard_id),
            );
            next = answer.next_token;
            if next.is_none() {
                break;
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// The records from `first` to `last`, both included, as far as the stream still holds them.
    pub(crate) async fn range(
        &self,
        shard: &str,
        first: &str,
        last: &str,
    ) -> Result<Range, Failure> {
        let nothing = Range {
            records: Vec::new(),
            is_whole: false,
        };
        let iterator = self
            .iterator(shard)
            .shard_iterator_type(ShardIteratorType::AtSequenceNumber);
        let iterator = match iterator.starting_sequence_number(first).send().await {
            Ok(answer) => answer.shard_iterator,
            // The shard, or the number in it, is beyond the stream's retention.
            Err(error)
                if matches!(
                    error.code(),
                    Some("ResourceNotFoundException" | "InvalidArgumentException")
                ) =>
            {
                return Ok(nothing);
            }
            Err(error) => return Err(self.failure("reading", "kinesis:GetShardIterator", &error)),
        };
        let mut reader = self.reader(shard, iterator);
        let mut range = nothing;
        while let Some(page) = reader.next().await? {
            for record in page.records {
                match compare(&record.sequence_number, last) {
                    Ordering::Greater => return Ok(range.judged(first, last)),
                    Ordering::Equal => {
                        range.records.push(record);
                        return Ok(range.judged(first, last));
                    }
                    Ordering::Less => range.records.push(record),
                }
            }
            if page.is_last {
                break;
            }
        }
        Ok(range.judged(first, last))
    }

    /// Reads `shard` from `time` on.
    pub(crate) async fn since(
        &self,
        shard: &str,
        time: OffsetDateTime,
    ) -> Result<Reader<'_>, Failure> {
        let call = self
            .iterator(shard)
            .shard_iterator_type(ShardIteratorType::AtTimestamp);
        let time = DateTime::from_nanos(time.unix_timestamp_nanos());
        let time =
            time.map_err(|_| Failure::new("the time is out of range", "name another one"))?;
        let answer = call.timestamp(time).send().await;
        let answer =
            answer.map_err(|error| self.failure("reading", "kinesis:GetShardIterator", &error))?;
        Ok(self.reader(shard, answer.shard_iterator))
    }

    fn reader(&self, shard: &str, iterator: Option<String>) -> Reader<'_> {
        Reader {
            stream: self,
            shard: shard.to_owned(),
            iterator,
            last: None,
            next_read: Instant::now(),
        }
    }

    fn iterator(&self, shard: &str) -> GetShardIteratorFluentBuilder {
        let call = self.client.get_shard_iterator().shard_id(shard);
        call.set_stream_name(self.name.clone())
            .set_stream_arn(self.arn.clone())
    }

    pub(crate) fn failure<E, R>(
        &self,
        doing: &str,
        permission: &str,
        error: &SdkError<E, R>,
    ) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        Failure::aws(
            &format!("{doing} the stream {}", self.called()),
            permission,
            error,
        )
    }
}

impl Range {
    fn judged(mut self, first: &str, last: &str) -> Self {
        let is = |record: Option<&Raw>, number: &str| {
            record.is_some_and(|record| compare(&record.sequence_number, number) == Ordering::Equal)
        };
        self.is_whole = is(self.records.first(), first) && is(self.records.last(), last);
        self
    }
}

impl Reader<'_> {
    /// The next page; `None` where the shard is closed and read to its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, Failure> {
        let Some(iterator) = self.iterator.take() else {
            return Ok(None);
        };
        sleep_until(self.next_read).await;
        let answer = match self.get(&iterator).await {
            // An iterator lives for five minutes; what was read was put back meanwhile, which may
            // take longer.
            Err(error) if error.code() == Some("ExpiredIteratorException") => {
                match self.renewed().await? {
                    Some(iterator) => self.get(&iterator).await,
                    None => Err(error),
                }
            }
            answer => answer,
        };
        let answer =
            answer.map_err(|error| self.stream.failure("reading", "kinesis:GetRecords", &error))?;
        self.next_read = Instant::now() + BETWEEN_READS;
        if let Some(record) = answer.records.last() {
            self.last = Some(record.sequence_number.clone());
        }
        self.iterator = answer.next_shard_iterator;
        let is_last =
            answer.records.is_empty() && answer.millis_behind_latest.unwrap_or_default() == 0;
        let records = answer.records.into_iter().map(|record| Raw {
            arrival: record
                .approximate_arrival_timestamp
                .and_then(|at| super::time_arg::of_seconds(at.as_secs_f64())),
            sequence_number: record.sequence_number,
            partition_key: record.partition_key.unwrap_or_default(),
            data: record.data.into_inner(),
        });
        Ok(Some(Page {
            records: records.collect(),
            is_last,
        }))
    }

    async fn get(&self, iterator: &str) -> Result<GetRecordsOutput, SdkError<GetRecordsError>> {
        let call = self.stream.client.get_records().shard_iterator(iterator);
        call.set_stream_arn(self.stream.arn.clone()).send().await
    }

    /// An iterator that goes on after the last record; nothing, where none was read.
    async fn renewed(&self) -> Result<Option<String>, Failure> {
        let Some(last) = &self.last else {
            return Ok(None);
        };
        let call = self
            .stream
            .iterator(&self.shard)
            .shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
        let answer = call.starting_sequence_number(last).send().await;
        let answer = answer.map_err(|error| {
            self.stream
                .failure("reading", "kinesis:GetShardIterator", &error)
        })?;
        Ok(answer.shard_iterator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_compared_as_numbers() {
        for (a, b, expected) in [
            ("9", "10", Ordering::Less),
            ("010", "10", Ordering::Equal),
            (
                "49590338271490256608559692538361571095921575989136588898",
                "5",
                Ordering::Greater,
            ),
            ("0", "", Ordering::Equal),
        ] {
            assert_eq!(compare(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_consumers_arn_names_its_stream() {
        let stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/changes";
        assert_eq!(
            without_consumer(&format!("{stream}/consumer/fast:1763633700")),
            stream
        );
        assert_eq!(without_consumer(stream), stream);
    }

    #[test]
    fn a_range_is_whole_where_both_its_ends_are_there() {
        let raw = |number: &str| Raw {
            sequence_number: number.to_owned(),
            partition_key: String::new(),
            data: Vec::new(),
            arrival: None,
        };
        for (numbers, expected) in [
            (vec!["5", "6", "7"], true),
            (vec!["6", "7"], false),
            (vec!["5", "6"], false),
            (vec![], false),
        ] {
            let range = Range {
                records: numbers.into_iter().map(raw).collect(),
                is_whole: false,
            };
            assert_eq!(range.judged("5", "7").is_whole, expected);
        }
    }
}
