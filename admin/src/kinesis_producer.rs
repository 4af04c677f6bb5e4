//! Producer that puts records into Kinesis streams in full batches. Records of one key stay in
//! order, and throttled records are retried with backoff.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use tokio::time::{Instant, sleep_until};

use super::failure::Failure;
use super::stream::Stream;

/// Limits of one call: its records, and the bytes of their data and keys. Some regions allow
/// 10 MiB; every region allows 5 MiB.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const MAX_RECORDS: usize = 500;
const MAX_BYTES: usize = 5 * 1024 * 1024;

/// Number of pending records among which a batch is selected. It bounds the work of each call while
/// most of the records have one key.
const LOOK_AHEAD: usize = 5_000;

/// Number of consecutive calls that put nothing after which the stream is given up: half a minute
/// with the backoff.
const MAX_FRUITLESS_CALLS: u32 = 8;
const FIRST_BACKOFF: Duration = Duration::from_millis(200);

/// Record to put.
#[derive(Clone, Debug)]
pub(crate) struct PendingRecord {
    pub(crate) stream: Stream,
    pub(crate) key: String,
    /// Explicit hash key, which decides the shard in place of the key.
    pub(crate) hash_key: Option<u128>,
    pub(crate) data: Vec<u8>,
    /// Index by which the caller identifies the record.
    pub(crate) source: usize,
}

/// Outcome of a record in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PutOutcome {
    /// The record is in the stream.
    Done,
    /// The stream never accepts the record, for this reason.
    Rejected(String),
    /// The record was throttled, with this error code.
    Throttled(String),
}

/// Producer of a list of records.
#[derive(Debug)]
pub(crate) struct Producer {
    pending: Vec<PendingRecord>,
    /// Number of the latest consecutive calls that put nothing.
    fruitless_calls: u32,
}

/// Progress of one call.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Sources of the records that are in the stream.
    pub(crate) done: Vec<usize>,
    /// Sources of the records that are given up, with the reasons.
    pub(crate) failed: Vec<(usize, String)>,
}

impl Producer {
    /// Creates a producer of these records.
    pub(crate) fn new(records: Vec<PendingRecord>) -> Self {
        Self {
            pending: records,
            fruitless_calls: 0,
        }
    }

    /// Returns whether every record is put or given up.
    pub(crate) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// Puts the next batch. Waits before the call if the previous call put nothing.
    pub(crate) async fn step(&mut self) -> Result<Progress, Failure> {
        if self.fruitless_calls > 0 {
            let backoff = FIRST_BACKOFF * 2_u32.pow(self.fruitless_calls - 1);
            sleep_until(Instant::now() + backoff.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
        let selected = next_batch(&self.pending);
        let batch: Vec<&PendingRecord> = selected.iter().map(|at| &self.pending[*at]).collect();
        let outcomes = put(&batch).await?;
        let outcomes: Vec<(usize, PutOutcome)> = selected.into_iter().zip(outcomes).collect();
        let is_fruitless = outcomes
            .iter()
            .all(|(_, outcome)| matches!(outcome, PutOutcome::Throttled(_)));
        if is_fruitless {
            self.fruitless_calls += 1;
        } else {
            self.fruitless_calls = 0;
        }
        if self.fruitless_calls == MAX_FRUITLESS_CALLS {
            return Ok(self.give_up(outcomes));
        }
        let mut progress = Progress::default();
        let mut settled = HashSet::new();
        for (at, outcome) in outcomes {
            let source = self.pending[at].source;
            match outcome {
                PutOutcome::Done => progress.done.push(source),
                PutOutcome::Rejected(reason) => progress.failed.push((source, reason)),
                PutOutcome::Throttled(_) => continue,
            }
            settled.insert(at);
        }
        let mut at = 0..;
        self.pending
            .retain(|_| at.next().is_none_or(|at| !settled.contains(&at)));
        Ok(progress)
    }

    /// Gives up every pending record of the stream that throttled the last batch.
    fn give_up(&mut self, outcomes: Vec<(usize, PutOutcome)>) -> Progress {
        let reason = outcomes.into_iter().find_map(|(_, outcome)| match outcome {
            PutOutcome::Throttled(reason) => Some(reason),
            PutOutcome::Done | PutOutcome::Rejected(_) => None,
        });
        let reason = reason.unwrap_or_default();
        self.fruitless_calls = 0;
        let mut progress = Progress::default();
        let Some(first) = self.pending.first() else {
            return progress;
        };
        let throttled = first.stream.name_or_arn().to_owned();
        let is_throttled = |record: &mut PendingRecord| record.stream.name_or_arn() == throttled;
        for record in self.pending.extract_if(.., is_throttled) {
            progress.failed.push((record.source, reason.clone()));
        }
        progress
    }
}

/// Selects the pending records of the next call: of one stream, with distinct keys. Kinesis
/// guarantees no order within a call, and may accept the second of two records and not the first.
fn next_batch(pending: &[PendingRecord]) -> Vec<usize> {
    let Some(first) = pending.first() else {
        return Vec::new();
    };
    let mut keys = HashSet::new();
    let (mut selected, mut bytes) = (Vec::new(), 0);
    for (at, record) in pending.iter().enumerate().take(LOOK_AHEAD) {
        let same_stream = record.stream.name_or_arn() == first.stream.name_or_arn();
        let size = record.data.len() + record.key.len();
        // The later records of a key that was skipped are skipped too, to keep their order.
        let is_new = keys.insert((record.stream.name_or_arn(), record.key.as_str()));
        if !same_stream || !is_new {
            continue;
        }
        if selected.len() == MAX_RECORDS || (bytes + size > MAX_BYTES && !selected.is_empty()) {
            break;
        }
        bytes += size;
        selected.push(at);
    }
    selected
}

/// Puts a batch. If Kinesis rejects the whole call, sends each record alone to isolate the
/// offending record.
async fn put(batch: &[&PendingRecord]) -> Result<Vec<PutOutcome>, Failure> {
    if let Some(outcomes) = call(batch).await? {
        return Ok(outcomes);
    }
    let mut outcomes = Vec::with_capacity(batch.len());
    for record in batch {
        let alone = call(&[record])
            .await?
            .and_then(|mut outcomes| outcomes.pop());
        outcomes.push(alone.unwrap_or_else(|| {
            PutOutcome::Rejected("the stream rejects it: too large, or no key".to_owned())
        }));
    }
    Ok(outcomes)
}

/// Sends one call to Kinesis. Returns `None` if Kinesis rejects the whole call because of its
/// content.
async fn call(batch: &[&PendingRecord]) -> Result<Option<Vec<PutOutcome>>, Failure> {
    let Some(stream) = batch.first().map(|record| &record.stream) else {
        return Ok(Some(Vec::new()));
    };
    let entries: Option<Vec<_>> = batch
        .iter()
        .map(|record| {
            PutRecordsRequestEntry::builder()
                .data(Blob::new(record.data.as_slice()))
                .partition_key(&record.key)
                .set_explicit_hash_key(record.hash_key.map(|key| key.to_string()))
                .build()
                .ok()
        })
        .collect();
    let call = stream
        .client()
        .put_records()
        .set_stream_name(stream.name.clone())
        .set_stream_arn(stream.arn.clone());
    let response = match call.set_records(entries).send().await {
        Ok(response) => response,
        Err(error) => match error.code() {
            Some("ValidationException" | "InvalidArgumentException") => return Ok(None),
            Some(code) if code.contains("Throttl") || code.contains("ThroughputExceeded") => {
                return Ok(Some(vec![
                    PutOutcome::Throttled(code.to_owned());
                    batch.len()
                ]));
            }
            _ => return Err(stream.failure("writing to", "kinesis:PutRecords", &error)),
        },
    };
    let mut outcomes: Vec<PutOutcome> = response
        .records
        .iter()
        .map(|result| match &result.error_code {
            None if result.sequence_number.is_some() => PutOutcome::Done,
            code => PutOutcome::Throttled(
                code.clone()
                    .unwrap_or_else(|| "no sequence number".to_owned()),
            ),
        })
        .collect();
    // A record without a result was not put.
    outcomes.resize(batch.len(), PutOutcome::Throttled("no result".to_owned()));
    Ok(Some(outcomes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
    use aws_sdk_kinesis::config::{HttpClient, RuntimeComponents};
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    };
    use serde_json::{Value, json};

    use super::*;

    fn pending_record(stream: &str, key: &str, bytes: usize) -> PendingRecord {
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
            .build();
        let stream = Stream::new(aws_sdk_kinesis::Client::from_conf(config), stream);
        PendingRecord {
            stream,
            key: key.to_owned(),
            hash_key: None,
            data: vec![0; bytes],
            source: 0,
        }
    }

    /// Kinesis that throttles every record, and counts the calls.
    #[derive(Clone, Debug, Default)]
    struct Throttling(Arc<AtomicU32>);

    impl HttpConnector for Throttling {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.0.fetch_add(1, Ordering::Relaxed);
            let body: Value =
                serde_json::from_slice(request.body().bytes().expect("in memory")).expect("JSON");
            let count = body["Records"].as_array().expect("records").len();
            let throttled = json!({
                "ErrorCode": "ProvisionedThroughputExceededException",
                "ErrorMessage": "slow down",
            });
            let body = json!({"FailedRecordCount": count, "Records": vec![throttled; count]});
            let response =
                HttpResponse::new(200.try_into().expect("a status"), body.to_string().into());
            HttpConnectorFuture::ready(Ok(response))
        }
    }

    impl HttpClient for Throttling {
        fn http_connector(
            &self,
            _: &HttpConnectorSettings,
            _: &RuntimeComponents,
        ) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_throttles_every_record_is_given_up_as_a_whole() {
        let throttling = Throttling::default();
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
            .region(aws_sdk_kinesis::config::Region::new("eu-west-1"))
            .credentials_provider(aws_sdk_kinesis::config::Credentials::for_tests())
            .http_client(throttling.clone());
        let stream = Stream::new(aws_sdk_kinesis::Client::from_conf(config.build()), "s");
        let record = |source| PendingRecord {
            stream: stream.clone(),
            key: "a".to_owned(),
            hash_key: None,
            data: vec![0],
            source,
        };
        let mut producer = Producer::new((0..20).map(record).collect());
        let (started, mut failed) = (Instant::now(), Vec::new());
        while !producer.is_done() {
            let progress = producer.step().await.expect("a response");
            assert!(progress.done.is_empty());
            failed.extend(progress.failed.into_iter().map(|(source, _)| source));
        }
        assert_eq!(failed, (0..20).collect::<Vec<_>>());
        assert_eq!(throttling.0.load(Ordering::Relaxed), MAX_FRUITLESS_CALLS);
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "{:?}",
            started.elapsed()
        );
    }

    #[test]
    fn a_batch_has_distinct_keys_and_one_stream() {
        let records = [
            ("s", "a"),
            ("s", "b"),
            ("s", "a"),
            ("t", "c"),
            ("s", "c"),
            ("s", "b"),
        ];
        let records: Vec<PendingRecord> = records
            .iter()
            .map(|(stream, key)| pending_record(stream, key, 1))
            .collect();
        assert_eq!(next_batch(&records), [0, 1, 4]);
        assert_eq!(next_batch(&records[2..]), [0, 2, 3]);
        assert!(next_batch(&[]).is_empty());
    }

    #[test]
    fn a_batch_has_at_most_500_records_and_5_mib_or_a_single_larger_record() {
        let many: Vec<PendingRecord> = (0..700)
            .map(|at| pending_record("s", &at.to_string(), 1))
            .collect();
        assert_eq!(next_batch(&many).len(), 500);
        let large: Vec<PendingRecord> = (0..4)
            .map(|at| pending_record("s", &at.to_string(), 2 * 1024 * 1024))
            .collect();
        assert_eq!(next_batch(&large), [0, 1]);
        assert_eq!(
            next_batch(&[
                pending_record("s", "a", MAX_BYTES + 1),
                pending_record("s", "b", 1)
            ]),
            [0]
        );
    }

    #[test]
    fn a_record_that_does_not_fit_blocks_the_later_records_of_its_key() {
        let records = [
            pending_record("s", "a", 1),
            pending_record("s", "b", MAX_BYTES),
            pending_record("s", "b", 1),
        ];
        assert_eq!(next_batch(&records), [0]);
    }
}
