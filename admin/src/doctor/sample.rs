//! Sample of the stream: the share of the records that can be decoded, their formats, their columns
//! and their size.

mod rows;

use std::collections::BTreeMap;
use std::fmt::Write;

use contact_sync::model::{KinesisOrigin, Origin, Record};
use contact_sync::source::layers::{Aggregates, split_aggregates};
use contact_sync::source::{RecordDecoder, SourceSettings};
use time::{Duration, OffsetDateTime};

use self::rows::Rows;
use super::super::failure::Failure;
use super::super::feed::FeedRecord;
use super::super::stream::{Stream, StreamRecord};
use super::Line;

/// Age of the oldest record of a sample.
const SINCE: Duration = Duration::days(1);

/// Bound of the reads of one shard. Kinesis answers many reads of a quiet shard without a record.
const MOST_READS: usize = 40;

/// Size of an event that Lambda takes, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const LARGEST_EVENT: usize = 6 * 1024 * 1024;

/// Size of a record in an event besides its data and its partition key, in bytes.
const ENVELOPE: usize = 620;

/// Counts of the records of a sample.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// Records of the stream, of which some are aggregates.
    received: usize,
    /// Records, those of aggregates included.
    records: usize,
    decoded: usize,
    /// Number of records that cannot be decoded, by code.
    codes: BTreeMap<String, usize>,
    /// Size of the records in an event, in bytes.
    bytes: usize,
    rows: Rows,
}

impl Sample {
    /// Reads about `records` records of the last day, the same number of each shard.
    pub(super) async fn read(
        stream: &Stream,
        records: usize,
        decoder: &RecordDecoder,
    ) -> Result<Self, Failure> {
        let shards = stream.shards().await?;
        let of_each = records.div_ceil(shards.len().max(1));
        let mut sample = Self::default();
        for shard in shards {
            sample.read_shard(stream, &shard, of_each, decoder).await?;
        }
        Ok(sample)
    }

    /// Reads up to `most` records of one shard.
    async fn read_shard(
        &mut self,
        stream: &Stream,
        shard: &str,
        most: usize,
        decoder: &RecordDecoder,
    ) -> Result<(), Failure> {
        let end = self.received + most;
        let since = OffsetDateTime::now_utc() - SINCE;
        let mut reader = stream.since(shard, since).await?;
        for _ in 0..MOST_READS {
            let Some(page) = reader.next().await? else {
                break;
            };
            let left = end - self.received;
            for record in page.records.iter().take(left) {
                self.add(record, decoder);
            }
            if page.is_last || self.received >= end {
                break;
            }
        }
        Ok(())
    }

    /// Counts a record of the stream, or each record of an aggregate.
    fn add(&mut self, record: &StreamRecord, decoder: &RecordDecoder) {
        let text = base64_simd::STANDARD.encode_to_string(&record.data);
        let arrived_at = record.arrival.unwrap_or_else(OffsetDateTime::now_utc);
        self.received += 1;
        self.bytes += text.len() + record.partition_key.len() + ENVELOPE;
        let records = vec![Record {
            origin: Origin::Kinesis(KinesisOrigin {
                partition_key: Some(record.partition_key.as_str().into()),
                ..KinesisOrigin::default()
            }),
            ..Record::of_data(text)
        }];
        let aggregates = Aggregates::of(&records);
        for record in split_aggregates(records, &aggregates) {
            self.records += 1;
            self.rows.add(&FeedRecord::of(&record));
            match decoder.decode(&record, arrived_at) {
                Ok(_) => self.decoded += 1,
                Err(refusal) => {
                    let code = refusal.rejection.code.as_str().to_owned();
                    *self.codes.entry(code).or_default() += 1;
                }
            }
        }
    }

    /// Reports the sample, for a source with these settings and a mapping with this `BatchSize`.
    pub(super) fn lines(&self, source: &SourceSettings, batch_size: Option<i32>) -> Vec<Line> {
        if self.records == 0 {
            let text = "the stream holds no record of the last day";
            return vec![Line::skipped("sample", text)];
        }
        let mut lines = vec![self.decoding()];
        lines.extend(self.rows.lines(source));
        lines.extend(batch_size.and_then(|size| self.batches(size)));
        lines
    }

    /// Reports the share of the records that can be decoded. Warns of the others, which become dead
    /// letters. With less than half, the stream has another format.
    fn decoding(&self) -> Line {
        let Self {
            received,
            records,
            decoded,
            ..
        } = self;
        let percent = 100 * decoded / records;
        let size = self.bytes / records;
        let mut text = format!(
            "{decoded} of {records} records can be decoded ({percent} %); \
             each takes {size} bytes of an event"
        );
        if records > received {
            let _ = write!(text, "; KPL aggregates hold them in {received} records");
        }
        let _ = write!(text, "; formats: {}", self.rows.formats());
        for (code, count) in &self.codes {
            let _ = write!(text, "; {code}: {count}");
        }
        if 2 * decoded < *records {
            text.push_str(": correct the producer, or choose the format that it writes");
            return Line::fail("sample", text);
        }
        if decoded < records {
            return Line::warn("sample", text);
        }
        Line::ok("sample", text)
    }

    /// Reports a batch size that no event holds.
    fn batches(&self, batch_size: i32) -> Option<Line> {
        let size = self.bytes / self.received;
        let fit = LARGEST_EVENT / size;
        let batch_size = usize::try_from(batch_size).ok()?;
        (batch_size > fit).then(|| {
            let text = format!(
                "BatchSize is {batch_size}, and an event of 6 MB holds some {fit} records of this \
                 size: batches end earlier"
            );
            Line::warn("batch size", text)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::{Value, json};
    use testkit::kpl;

    use super::super::State;
    use super::*;

    fn received(data: Vec<u8>, padding: usize) -> StreamRecord {
        StreamRecord {
            sequence_number: "1".to_owned(),
            partition_key: "p".repeat(padding),
            data,
            arrival: None,
        }
    }

    fn sample(data: &[&str], padding: usize) -> Sample {
        let mut sample = Sample::default();
        for data in data {
            let record = received(data.as_bytes().to_vec(), padding);
            sample.add(&record, &RecordDecoder::new(&SourceSettings::default()));
        }
        sample
    }

    const GOOD: &str = r#"{"event_id":"e","operation":"delete","occurred_at":"2026-11-20T10:15:00Z",
        "contact":{"id":"c-1"}}"#;

    #[test]
    fn the_share_of_decoded_records_and_the_codes_of_the_others_are_reported() {
        let line =
            &sample(&[GOOD, GOOD, "no JSON", "{}"], 1).lines(&SourceSettings::default(), None)[0];
        let parts = [
            "2 of 4 records",
            "(50 %)",
            "formats: contact-change 2, no JSON object 1, plain JSON object 1",
            "INVALID_JSON: 1",
            "MISSING_FIELD: 1",
        ];
        for part in parts {
            assert!(line.text.contains(part), "{part}: {}", line.text());
        }
        assert_eq!(line.state, State::Warn, "the others become dead letters");
        let line = &sample(&[GOOD, GOOD], 1).lines(&SourceSettings::default(), None)[0];
        assert_eq!(line.state, State::Ok, "{}", line.text());
        let line = &sample(&[GOOD, "no JSON", "{}"], 1).lines(&SourceSettings::default(), None)[0];
        assert_eq!(line.state, State::Fail, "{}", line.text());
        assert_eq!(
            sample(&[], 1).lines(&SourceSettings::default(), Some(1))[0].state,
            State::Skipped
        );
    }

    #[test]
    fn each_record_of_an_aggregate_counts_and_layers_are_removed() {
        let gzip = {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(GOOD.as_bytes()).expect("in memory");
            encoder.finish().expect("in memory")
        };
        let data: Value = serde_json::from_str(GOOD).expect("JSON");
        let cloud_event = json!({"specversion": "1.0", "id": "e", "source": "/s", "type": "t",
                                 "data": data})
        .to_string();
        let aggregate = kpl::aggregate(&[
            ("a", GOOD.as_bytes()),
            ("b", &gzip),
            ("c", cloud_event.as_bytes()),
            ("d", b"no JSON"),
        ]);
        let mut sample = Sample::default();
        let decoder = RecordDecoder::new(&SourceSettings::default());
        sample.add(&received(aggregate, 1), &decoder);
        sample.add(&received(GOOD.into(), 1), &decoder);
        let line = &sample.lines(&SourceSettings::default(), None)[0];
        for part in [
            "4 of 5 records can be decoded (80 %)",
            "KPL aggregates hold them in 2 records",
            "formats: contact-change 4, no JSON object 1",
        ] {
            assert!(line.text.contains(part), "{part}: {}", line.text());
        }
        let mut broken = Sample::default();
        broken.add(&received(b"\xf3\x89\x9a\xc2broken".to_vec(), 1), &decoder);
        let line = &broken.lines(&SourceSettings::default(), None)[0];
        assert!(
            line.text.contains("INVALID_AGGREGATE: 1"),
            "{}",
            line.text()
        );
    }

    #[test]
    fn a_batch_that_no_event_holds_is_a_warning() {
        let states = |sample: &Sample, size| -> Vec<(String, State)> {
            let lines = sample.lines(&SourceSettings::default(), Some(size));
            lines
                .into_iter()
                .map(|line| (line.name, line.state))
                .collect()
        };
        let warning = ("batch size".to_owned(), State::Warn);
        assert!(!states(&sample(&[GOOD], 1), 1_000).contains(&warning));
        assert!(!states(&sample(&[GOOD], 20_000), 100).contains(&warning));
        assert!(states(&sample(&[GOOD], 20_000), 1_000).contains(&warning));
    }
}
