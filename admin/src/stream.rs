//! Kinesis stream, read by a range of sequence numbers or from a point in time.

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

/// Pause between reads. A shard allows five reads per second, to all its readers together.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const READ_INTERVAL: Duration = Duration::from_millis(250);

/// Client of a stream, by name or ARN.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    client: Client,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
}

/// Record of the stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamRecord {
    pub(crate) sequence_number: String,
    pub(crate) partition_key: String,
    pub(crate) data: Vec<u8>,
    pub(crate) arrival: Option<OffsetDateTime>,
}

/// Records of a range that the stream still contains.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) records: Vec<StreamRecord>,
    /// Whether the first and the last record of the range, and so all between them, are contained.
    pub(crate) is_complete: bool,
}

/// Reader of a shard, page by page.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    stream: &'a Stream,
    shard: String,
    iterator: Option<String>,
    /// Sequence number of the last record that was read.
    last: Option<String>,
    next_read: Instant,
}

/// Records of one read.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) records: Vec<StreamRecord>,
    /// Whether the reader has reached the latest record of the shard.
    pub(crate) is_last: bool,
}

/// Removes the consumer that an enhanced fan-out mapping adds to the ARN of a stream.
pub(crate) fn without_consumer(arn: &str) -> &str {
    match arn.split_once("/consumer/") {
        Some((stream, _)) => stream,
        None => arn,
    }
}

/// Compares sequence numbers as numbers: real ones have 56 digits, those of emulations fewer.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl Stream {
    /// Creates a client for the stream. Removes the consumer from an ARN.
    pub(crate) fn new(client: Client, name_or_arn: &str) -> Self {
        let text = without_consumer(name_or_arn).to_owned();
        let (name, arn) = if text.starts_with("arn:") {
            (None, Some(text))
        } else {
            (Some(text), None)
        };
        Self { client, name, arn }
    }

    /// Returns the Kinesis client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the name or the ARN of the stream.
    pub(crate) fn name_or_arn(&self) -> &str {
        self.name
            .as_deref()
            .or(self.arn.as_deref())
            .unwrap_or_default()
    }

    /// Lists the ids of the shards in ascending order: a parent precedes its children.
    pub(crate) async fn shards(&self) -> Result<Vec<String>, Failure> {
        let (mut ids, mut next) = (Vec::new(), None);
        loop {
            let call = self.client.list_shards();
            // The token of a further page excludes the name of the stream.
            let call = match next {
                None => call
                    .set_stream_name(self.name.clone())
                    .set_stream_arn(self.arn.clone()),
                token => call.set_next_token(token),
            };
            let response = call.send().await;
            let response = response.map_err(|error| {
                self.failure("listing the shards of", "kinesis:ListShards", &error)
            })?;
            for shard in response.shards.unwrap_or_default() {
                ids.push(shard.shard_id);
            }
            next = response.next_token;
            if next.is_none() {
                break;
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Reads the records from `first` to `last`, both included, that the stream still contains.
    pub(crate) async fn range(
        &self,
        shard: &str,
        first: &str,
        last: &str,
    ) -> Result<Range, Failure> {
        let mut range = Range {
            records: Vec::new(),
            is_complete: false,
        };
        let iterator = self
            .iterator(shard)
            .shard_iterator_type(ShardIteratorType::AtSequenceNumber);
        let iterator = match iterator.starting_sequence_number(first).send().await {
            Ok(response) => response.shard_iterator,
            // The retention of the shard, or of the number in it, has ended.
            Err(error)
                if matches!(
                    error.code(),
                    Some("ResourceNotFoundException" | "InvalidArgumentException")
                ) =>
            {
                return Ok(range);
            }
            Err(error) => return Err(self.failure("reading", "kinesis:GetShardIterator", &error)),
        };
        let mut reader = self.reader(shard, iterator);
        'pages: while let Some(page) = reader.next().await? {
            for record in page.records {
                let order = compare(&record.sequence_number, last);
                if order.is_le() {
                    range.records.push(record);
                }
                if order.is_ge() {
                    break 'pages;
                }
            }
            if page.is_last {
                break;
            }
        }
        range.is_complete = range.has_ends(first, last);
        Ok(range)
    }

    /// Creates a reader of `shard` that begins at `time`.
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
            time.map_err(|_| Failure::new("the time is out of range", "use a later time"))?;
        let response = call.timestamp(time).send().await;
        let response = response
            .map_err(|error| self.failure("reading", "kinesis:GetShardIterator", &error))?;
        Ok(self.reader(shard, response.shard_iterator))
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

    /// Builds the failure of a call that needs `permission`, with the name of the stream.
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
            &format!("{doing} the stream {}", self.name_or_arn()),
            permission,
            error,
        )
    }
}

impl Range {
    /// Returns whether the range begins with `first` and ends with `last`.
    fn has_ends(&self, first: &str, last: &str) -> bool {
        match (self.records.first(), self.records.last()) {
            (Some(begin), Some(end)) => {
                compare(&begin.sequence_number, first).is_eq()
                    && compare(&end.sequence_number, last).is_eq()
            }
            _ => false,
        }
    }
}

impl Reader<'_> {
    /// Reads the next page. Returns `None` if the shard is closed and read to its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, Failure> {
        let Some(iterator) = self.iterator.take() else {
            return Ok(None);
        };
        sleep_until(self.next_read).await;
        let response = match self.get(&iterator).await {
            // An iterator expires after five minutes. Putting the records of a page back can take
            // longer.
            Err(error) if error.code() == Some("ExpiredIteratorException") => {
                match self.renewed_iterator().await? {
                    Some(iterator) => self.get(&iterator).await,
                    None => Err(error),
                }
            }
            response => response,
        };
        let response = response
            .map_err(|error| self.stream.failure("reading", "kinesis:GetRecords", &error))?;
        self.next_read = Instant::now() + READ_INTERVAL;
        if let Some(record) = response.records.last() {
            self.last = Some(record.sequence_number.clone());
        }
        self.iterator = response.next_shard_iterator;
        let is_last =
            response.records.is_empty() && response.millis_behind_latest.unwrap_or_default() == 0;
        let records = response.records.into_iter().map(|record| StreamRecord {
            arrival: record
                .approximate_arrival_timestamp
                .and_then(|at| super::time_arg::from_unix_seconds(at.as_secs_f64())),
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

    /// Requests an iterator that continues after the last record. Returns `None` if no record was
    /// read.
    async fn renewed_iterator(&self) -> Result<Option<String>, Failure> {
        let Some(last) = &self.last else {
            return Ok(None);
        };
        let call = self
            .stream
            .iterator(&self.shard)
            .shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
        let response = call.starting_sequence_number(last).send().await;
        let response = response.map_err(|error| {
            self.stream
                .failure("reading", "kinesis:GetShardIterator", &error)
        })?;
        Ok(response.shard_iterator)
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
    fn the_arn_of_a_consumer_contains_the_arn_of_its_stream() {
        let stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/changes";
        assert_eq!(
            without_consumer(&format!("{stream}/consumer/fast:1763633700")),
            stream
        );
        assert_eq!(without_consumer(stream), stream);
    }

    #[test]
    fn a_range_is_complete_if_it_contains_both_ends() {
        let record = |number: &str| StreamRecord {
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
                records: numbers.into_iter().map(record).collect(),
                is_complete: false,
            };
            assert_eq!(range.has_ends("5", "7"), expected);
        }
    }
}
