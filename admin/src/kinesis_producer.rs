//! Putting records into streams: full calls, each key in its order, what is refused for now again
//! after a while.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use tokio::time::{Instant, sleep_until};

use super::failure::Failure;
use super::stream::Stream;

/// Records in one call, and bytes of them with their keys. By now 10 MiB are allowed; every region
/// takes this. <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const MOST_RECORDS: usize = 500;
const MOST_BYTES: usize = 5 * 1024 * 1024;

/// So far ahead a call looks for records of other keys: a hot key must not make each call walk
/// through everything.
const LOOK_AHEAD: usize = 5_000;

/// So many calls in a row that put nothing are enough: the stream has no room, and half a minute
/// made none.
const CALLS_IN_VAIN: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// A record to be put.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) stream: Stream,
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
    /// What it came from, to whoever asked for it.
    pub(crate) source: usize,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is in the stream.
    Done,
    /// The stream will never take it, for this reason.
    Refused(String),
    /// Not now.
    Later(String),
}

/// What was put and what was not, while putting goes on.
#[derive(Debug)]
pub(crate) struct Putting {
    pending: Vec<Ready>,
    in_vain: u32,
}

/// What one call came to.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The sources of the records that are in the stream now.
    pub(crate) done: Vec<usize>,
    /// The sources of those that will not be, and why.
    pub(crate) failed: Vec<(usize, String)>,
}

impl Putting {
    pub(crate) fn new(records: Vec<Ready>) -> Self {
        Self {
            pending: records,
            in_vain: 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// One call, and the wait before it where the last one put nothing.
    pub(crate) async fn step(&mut self) -> Result<Progress, Failure> {
        if self.in_vain > 0 {
            let wait = FIRST_WAIT * 2_u32.pow(self.in_vain - 1);
            sleep_until(Instant::now() + wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
        let chosen = choose(&self.pending);
        let batch: Vec<&Ready> = chosen.iter().map(|at| &self.pending[*at]).collect();
        let outcomes = put(&batch).await?;
        let outcomes: Vec<(usize, Put)> = chosen.into_iter().zip(outcomes).collect();
        let settled = outcomes
            .iter()
            .any(|(_, outcome)| !matches!(outcome, Put::Later(_)));
        self.in_vain = if settled { 0 } else { self.in_vain + 1 };
        if self.in_vain == CALLS_IN_VAIN {
            return Ok(self.give_up(outcomes));
        }
        let mut progress = Progress::default();
        let mut gone = HashSet::new();
        for (at, outcome) in outcomes {
            let source = self.pending[at].source;
            match outcome {
                Put::Done => progress.done.push(source),
                Put::Refused(reason) => progress.failed.push((source, reason)),
                Put::Later(_) => continue,
            }
            gone.insert(at);
        }
        let mut at = 0..;
        self.pending
            .retain(|_| at.next().is_none_or(|at| !gone.contains(&at)));
        Ok(progress)
    }

    /// Nothing more is put into a stream that took none of these: it would take none of what waits
    /// for it either.
    fn give_up(&mut self, outcomes: Vec<(usize, Put)>) -> Progress {
        let reason = outcomes.into_iter().find_map(|(_, outcome)| match outcome {
            Put::Later(reason) => Some(reason),
            Put::Done | Put::Refused(_) => None,
        });
        let reason = reason.unwrap_or_default();
        let full = self
            .pending
            .first()
            .map(|record| record.stream.called().to_owned());
        let is_full = |record: &mut Ready| Some(record.stream.called()) == full.as_deref();
        let given_up = self
            .pending
            .extract_if(.., is_full)
            .map(|record| (record.source, reason.clone()));
        let failed = given_up.collect();
        self.in_vain = 0;
        Progress {
            failed,
            ..Progress::default()
        }
    }
}

/// Which of the pending records the next call carries: of one stream, no key twice. Kinesis
/// promises no order within a call, and may take the second of two and not the first.
fn choose(pending: &[Ready]) -> Vec<usize> {
    let Some(first) = pending.first() else {
        return Vec::new();
    };
    let mut keys = HashSet::new();
    let (mut chosen, mut bytes) = (Vec::new(), 0);
    for (at, record) in pending.iter().enumerate().take(LOOK_AHEAD) {
        let same_stream = record.stream.called() == first.stream.called();
        let size = record.data.len() + record.key.len();
        // A key that is passed over once stays passed over: its later records have to wait.
        let is_new = keys.insert((record.stream.called(), record.key.as_str()));
        if !same_stream || !is_new {
            continue;
        }
        if chosen.len() == MOST_RECORDS || (bytes + size > MOST_BYTES && !chosen.is_empty()) {
            break;
        }
        bytes += size;
        chosen.push(at);
    }
    chosen
}

/// Puts a batch. A record that makes Kinesis refuse all of them is found by sending each alone.
async fn put(batch: &[&Ready]) -> Result<Vec<Put>, Failure> {
    if let Some(outcomes) = call(batch).await? {
        return Ok(outcomes);
    }
    let mut outcomes = Vec::with_capacity(batch.len());
    for record in batch {
        let alone = call(&[record])
            .await?
            .and_then(|mut outcomes| outcomes.pop());
        outcomes.push(alone.unwrap_or_else(|| {
            Put::Refused("the stream does not take it: too large, or no key".to_owned())
        }));
    }
    Ok(outcomes)
}

/// One call; `None` where Kinesis refuses it as a whole for what is in it.
async fn call(batch: &[&Ready]) -> Result<Option<Vec<Put>>, Failure> {
    let Some(stream) = batch.first().map(|record| &record.stream) else {
        return Ok(Some(Vec::new()));
    };
    let entry = |record: &&Ready| {
        let entry = PutRecordsRequestEntry::builder().data(Blob::new(record.data.as_slice()));
        entry.partition_key(&record.key).build().ok()
    };
    let entries: Option<Vec<_>> = batch.iter().map(entry).collect();
    let call = stream
        .client()
        .put_records()
        .set_stream_name(stream.name.clone())
        .set_stream_arn(stream.arn.clone());
    let answer = match call.set_records(entries).send().await {
        Ok(answer) => answer,
        Err(error) => match error.code() {
            Some("ValidationException" | "InvalidArgumentException") => return Ok(None),
            Some(code) if code.contains("Throttl") || code.contains("ThroughputExceeded") => {
                return Ok(Some(vec![Put::Later(code.to_owned()); batch.len()]));
            }
            _ => return Err(stream.failure("writing to", "kinesis:PutRecords", &error)),
        },
    };
    let mut outcomes: Vec<Put> = answer
        .records
        .iter()
        .map(|result| match &result.error_code {
            None if result.sequence_number.is_some() => Put::Done,
            code => Put::Later(
                code.clone()
                    .unwrap_or_else(|| "no sequence number".to_owned()),
            ),
        })
        .collect();
    // What the answer does not speak of is not taken for put.
    outcomes.resize(batch.len(), Put::Later("no result".to_owned()));
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

    fn ready(stream: &str, key: &str, bytes: usize) -> Ready {
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
            .build();
        let stream = Stream::new(aws_sdk_kinesis::Client::from_conf(config), stream);
        Ready {
            stream,
            key: key.to_owned(),
            data: vec![0; bytes],
            source: 0,
        }
    }

    /// A Kinesis without room.
    #[derive(Clone, Debug, Default)]
    struct Full(Arc<AtomicU32>);

    impl HttpConnector for Full {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.0.fetch_add(1, Ordering::Relaxed);
            let asked: Value =
                serde_json::from_slice(request.body().bytes().expect("in memory")).expect("JSON");
            let count = asked["Records"].as_array().expect("records").len();
            let refused = json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"});
            let answer = json!({"FailedRecordCount": count, "Records": vec![refused; count]});
            let answer =
                HttpResponse::new(200.try_into().expect("a status"), answer.to_string().into());
            HttpConnectorFuture::ready(Ok(answer))
        }
    }

    impl HttpClient for Full {
        fn http_connector(
            &self,
            _: &HttpConnectorSettings,
            _: &RuntimeComponents,
        ) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_takes_nothing_is_given_up_as_a_whole() {
        let full = Full::default();
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
            .region(aws_sdk_kinesis::config::Region::new("eu-west-1"))
            .credentials_provider(aws_sdk_kinesis::config::Credentials::for_tests())
            .http_client(full.clone());
        let stream = Stream::new(aws_sdk_kinesis::Client::from_conf(config.build()), "s");
        let one_key = |source| Ready {
            stream: stream.clone(),
            key: "a".to_owned(),
            data: vec![0],
            source,
        };
        let mut putting = Putting::new((0..20).map(one_key).collect());
        let (started, mut failed) = (Instant::now(), Vec::new());
        while !putting.is_done() {
            let step = putting.step().await.expect("answered");
            assert!(step.done.is_empty());
            failed.extend(step.failed.into_iter().map(|(source, _)| source));
        }
        assert_eq!(failed, (0..20).collect::<Vec<_>>());
        assert_eq!(full.0.load(Ordering::Relaxed), CALLS_IN_VAIN);
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "{:?}",
            started.elapsed()
        );
    }

    #[test]
    fn a_call_carries_no_key_twice_and_one_stream_only() {
        let records = [
            ("s", "a"),
            ("s", "b"),
            ("s", "a"),
            ("t", "c"),
            ("s", "c"),
            ("s", "b"),
        ];
        let records: Vec<Ready> = records
            .iter()
            .map(|(stream, key)| ready(stream, key, 1))
            .collect();
        assert_eq!(choose(&records), [0, 1, 4]);
        assert_eq!(choose(&records[2..]), [0, 2, 3]);
        assert!(choose(&[]).is_empty());
    }

    #[test]
    fn a_call_carries_500_records_and_5_mib_but_one_record_however_large() {
        let many: Vec<Ready> = (0..700).map(|at| ready("s", &at.to_string(), 1)).collect();
        assert_eq!(choose(&many).len(), 500);
        let large: Vec<Ready> = (0..4)
            .map(|at| ready("s", &at.to_string(), 2 * 1024 * 1024))
            .collect();
        assert_eq!(choose(&large), [0, 1]);
        assert_eq!(
            choose(&[ready("s", "a", MOST_BYTES + 1), ready("s", "b", 1)]),
            [0]
        );
    }

    #[test]
    fn a_record_that_does_not_fit_is_not_overtaken_by_a_later_one_of_its_key() {
        let records = [
            ready("s", "a", 1),
            ready("s", "b", MOST_BYTES),
            ready("s", "b", 1),
        ];
        assert_eq!(choose(&records), [0]);
    }
}
