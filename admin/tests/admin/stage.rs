//! Fixture of every scenario: a queue, a stream, and the tool with their settings.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;

use contact_sync::adapters::DESTINATIONS;
use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::{Layer, Preset, load};
use serde_json::{Value, json};
use testkit::harness::{self, Mocks};
use testkit::kinesis::{Discarded, Invocation, InvocationOutcome, Mapping, OnFailure, Stream};
use testkit::moto::Moto;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync-admin");

/// Settings with which a replay overwrites no newer data.
pub(crate) const GUARDED: [(&str, &str); 2] = [
    ("CONTACT_SYNC__SALESFORCE__VERSION_FIELD", "Version__c"),
    ("CONTACT_SYNC__HUBSPOT__VERSION_PROPERTY", "version"),
];

/// Queue and stream of an emulation.
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) kinesis: aws_sdk_kinesis::Client,
    pub(crate) queue: String,
    pub(crate) stream: String,
    pub(crate) variables: Vec<(String, String)>,
}

/// Exit code and output of a run of the tool.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl RunResult {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Record of the stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamRecord {
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
    pub(crate) sequence_number: String,
    pub(crate) shard: String,
}

impl StreamRecord {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.data).expect("JSON")
    }
}

impl Stage {
    /// Creates a queue and a stream of this name, with the settings [`GUARDED`].
    pub(crate) async fn new(moto: &Moto, name: &str) -> Self {
        let aws = moto.config();
        let (sqs, kinesis) = (
            aws_sdk_sqs::Client::new(&aws),
            aws_sdk_kinesis::Client::new(&aws),
        );
        let made = sqs
            .create_queue()
            .queue_name(name)
            .send()
            .await
            .expect("a queue");
        kinesis
            .create_stream()
            .stream_name(name)
            .shard_count(2)
            .send()
            .await
            .expect("a stream");
        let described = kinesis
            .describe_stream_summary()
            .stream_name(name)
            .send()
            .await
            .expect("a stream");
        let stream = described
            .stream_description_summary
            .expect("a summary")
            .stream_arn;
        let queue = made.queue_url.expect("its URL");
        let mut variables = vec![
            ("CONTACT_SYNC_PRESET".to_owned(), "test".to_owned()),
            (
                "CONTACT_SYNC__DEAD_LETTER__QUEUE_URL".to_owned(),
                queue.clone(),
            ),
        ];
        variables.extend(GUARDED.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self {
            url: moto.url.clone(),
            sqs,
            kinesis,
            queue,
            stream,
            variables,
        }
    }

    /// Builds a command of the tool without the variables of this process.
    pub(crate) fn command(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().cloned());
        for (name, value) in [
            ("AWS_ENDPOINT_URL", url),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ] {
            command.env(name, value);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn admin(&self, arguments: &[&str]) -> RunResult {
        let output = self
            .command(&self.url, arguments)
            .output()
            .await
            .expect("the tool runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        RunResult {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs the tool on a terminal with this input. The terminal merges standard output and
    /// standard error.
    pub(crate) async fn on_a_terminal(&self, arguments: &[&str], typed: &str) -> RunResult {
        const PTY: &str =
            "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        let tool = self.command(&self.url, arguments);
        let tool = tool.as_std();
        let mut command = Command::new("python3");
        command.args(["-c", PTY, "env", "-i"]);
        for (name, value) in tool.get_envs() {
            let variable = [name, OsStr::new("="), value.unwrap_or_default()];
            command.arg(variable.into_iter().collect::<OsString>());
        }
        command.arg(tool.get_program()).args(tool.get_args());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("python3");
        // Standard input stays open until the tool has ended: its end hangs up the terminal.
        let mut input = child.stdin.take().expect("piped");
        input.write_all(typed.as_bytes()).await.expect("typed");
        let output = child.wait_with_output().await.expect("the tool runs");
        drop(input);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        RunResult {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    pub(crate) fn spawn(&self, url: &str, arguments: &[&str]) -> Child {
        self.command(url, arguments).spawn().expect("the tool runs")
    }

    /// Puts a message into the queue. Returns its id.
    pub(crate) async fn send(&self, body: &Value) -> String {
        let sent = self
            .sqs
            .send_message()
            .queue_url(&self.queue)
            .message_body(body.to_string())
            .send()
            .await;
        sent.expect("sent").message_id.expect("an id")
    }

    /// Returns the number of messages in the queue, including hidden ones. The emulation counts the
    /// visible and the hidden ones one after the other: a message that becomes visible in between
    /// is in neither count. The next answer has it.
    pub(crate) async fn waiting(&self) -> u64 {
        let first = self.counted().await;
        first.max(self.counted().await)
    }

    /// Returns the sum of the counts in one answer.
    async fn counted(&self) -> u64 {
        use aws_sdk_sqs::types::QueueAttributeName as Name;
        let names = [
            Name::ApproximateNumberOfMessages,
            Name::ApproximateNumberOfMessagesNotVisible,
        ];
        let call = self
            .sqs
            .get_queue_attributes()
            .queue_url(&self.queue)
            .set_attribute_names(Some(names.to_vec()));
        let answer = call
            .send()
            .await
            .expect("an answer")
            .attributes
            .expect("attributes");
        names
            .iter()
            .map(|name| answer[name].parse::<u64>().expect("a number"))
            .sum()
    }

    /// Returns the number of visible messages in the queue.
    pub(crate) async fn visible(&self) -> u64 {
        use aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages as Name;
        let answer = self
            .sqs
            .get_queue_attributes()
            .queue_url(&self.queue)
            .attribute_names(Name)
            .send()
            .await;
        answer.expect("an answer").attributes.expect("attributes")[&Name]
            .parse()
            .expect("a number")
    }

    /// Puts a record into the stream. Returns its shard and its sequence number.
    pub(crate) async fn put(&self, key: &str, data: &[u8]) -> (String, String) {
        let data = aws_sdk_kinesis::primitives::Blob::new(data);
        let put = self
            .kinesis
            .put_record()
            .stream_arn(&self.stream)
            .partition_key(key)
            .data(data)
            .send()
            .await;
        let put = put.expect("put");
        (put.shard_id, put.sequence_number)
    }

    /// Reads all records of the stream, shard by shard.
    pub(crate) async fn records(&self) -> Vec<StreamRecord> {
        let shards = self
            .kinesis
            .list_shards()
            .stream_arn(&self.stream)
            .send()
            .await
            .expect("shards");
        let mut found = Vec::new();
        for shard in shards.shards() {
            let iterator = self
                .kinesis
                .get_shard_iterator()
                .stream_arn(&self.stream)
                .shard_id(&shard.shard_id);
            let iterator = iterator
                .shard_iterator_type(aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon);
            let iterator = iterator
                .send()
                .await
                .expect("an iterator")
                .shard_iterator
                .expect("one");
            let read = self
                .kinesis
                .get_records()
                .stream_arn(&self.stream)
                .shard_iterator(iterator)
                .send()
                .await;
            found.extend(
                read.expect("read")
                    .records
                    .into_iter()
                    .map(|record| StreamRecord {
                        key: record.partition_key.unwrap_or_default(),
                        data: record.data.into_inner(),
                        sequence_number: record.sequence_number,
                        shard: shard.shard_id.clone(),
                    }),
            );
        }
        found
    }

    /// Returns the ARN of a consumer of the stream. Messages and objects of a mapping with enhanced
    /// fan-out contain it.
    pub(crate) fn consumer(&self) -> String {
        format!("{}/consumer/fast:1763633700", self.stream)
    }

    /// Reads flattened rows of Debezium.
    pub(crate) fn read_rows(&mut self) {
        let source = [
            ("FORMAT", "debezium"),
            ("COLUMNS__ID", "id"),
            ("COLUMNS__TYPE", "kind"),
            ("COLUMNS__EMAIL", "email"),
        ];
        for (key, value) in source {
            let name = format!("CONTACT_SYNC__SOURCE__{key}");
            self.variables.push((name, value.to_owned()));
        }
    }

    /// Builds a function with these settings, for mocked systems.
    pub(crate) fn handler(&self, moto: &Moto, mocks: &Mocks) -> Handler {
        let mut variables = self.variables.clone();
        variables.extend(mocks.variables());
        mocks.hubspot.create_property("version");
        let layers: Vec<_> = variables
            .iter()
            .filter(|(name, _)| name.starts_with("CONTACT_SYNC__"))
            .map(|(name, value)| Layer::from_variable(name, value).expect("a variable"))
            .collect();
        let preset = Preset::Test;
        let settings = load(preset, &layers, &DESTINATIONS).expect("good");
        App::default()
            .build(preset, &settings, &moto.config())
            .expect("a handler")
    }

    /// Builds a dead letter about this data.
    pub(crate) fn dead_letter(&self, contact: &str, data: &[u8]) -> Value {
        json!({
            "schema": "contact-sync/dead-letter/1",
            "reason": {
                "stage": "deliver",
                "destination": "salesforce",
                "code": "INVALID_EMAIL_ADDRESS",
                "message": "Email: invalid email address: ada@example.con",
                "fields": ["Email"],
            },
            "contact_id": contact,
            "event_id": format!("e-{contact}"),
            "record": {
                "event_source_arn": self.stream,
                "shard_id": "shardId-000000000000",
                "sequence_number": format!("4959{contact:0>20}").replace("c-", "00"),
                "sub_sequence": 0,
                "partition_key": contact,
                "approximate_arrival": 1_763_633_700.123,
                "data": base64_simd::STANDARD.encode_to_string(data),
            },
            "rejected_at": "2026-11-20T10:15:01Z",
        })
    }
}

/// Runs the simulated mapping, without retries, over a stream. Returns the batches that it
/// discards: the records that the function returns as failed, or whole batches if it fails.
pub(crate) async fn discard(
    stream: &Stream,
    batch_size: usize,
    on_failure: OnFailure,
    function: impl AsyncFn(Invocation) -> InvocationOutcome,
) -> Vec<Discarded> {
    let mapping = Mapping {
        batch_size,
        on_failure,
        max_retries: Some(0),
        bisect: false,
        ..Mapping::default()
    };
    mapping.drain(stream, function).await.discarded
}

/// Bucket that receives the discarded batches of the mapping.
pub(crate) struct Bucket {
    s3: aws_sdk_s3::Client,
    name: String,
}

impl Bucket {
    pub(crate) async fn new(moto: &Moto, name: &str) -> Self {
        let s3 = aws_sdk_s3::Client::new(&moto.config());
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder()
            .location_constraint(aws_sdk_s3::types::BucketLocationConstraint::EuWest1)
            .build();
        s3.create_bucket()
            .bucket(name)
            .create_bucket_configuration(place)
            .send()
            .await
            .expect("a bucket");
        Self {
            s3,
            name: name.to_owned(),
        }
    }

    /// Puts discarded batches under the keys of the mapping.
    pub(crate) async fn put(&self, discarded: &[Discarded]) {
        for Discarded { document, key, .. } in discarded {
            let body = document.to_string().into_bytes().into();
            let key = key.as_deref().expect("an object has a key");
            self.s3
                .put_object()
                .bucket(&self.name)
                .key(key)
                .body(body)
                .send()
                .await
                .expect("an object");
        }
    }

    pub(crate) async fn is_empty(&self) -> bool {
        let left = self
            .s3
            .list_objects_v2()
            .bucket(&self.name)
            .send()
            .await
            .expect("a list");
        left.contents().is_empty()
    }
}

/// Builds an update of a lead, as the stream contains it.
pub(crate) fn event(id: &str) -> Value {
    let mut event = harness::change("update", id, "lead", json!({"email": "ada@example.con"}));
    event["version"] = 42.into();
    event
}

/// Formats the time `seconds` ago as dead letters do.
pub(crate) fn ago(seconds: i64) -> String {
    let at = OffsetDateTime::now_utc() - time::Duration::seconds(seconds);
    at.replace_nanosecond(0)
        .expect("a time")
        .format(&Rfc3339)
        .expect("a text")
}
